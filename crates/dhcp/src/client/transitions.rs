//! What leads from one phase to the next.

use std::net::Ipv4Addr;

use super::{Action, Client, Exchange, Phase};
use crate::held::Held;
use crate::lease::Lease;
use crate::reply::{Reply, ReplyError};
use crate::request::{self, Ask};
use crate::timing::extend_wait_ms;

impl Client {
    /// INIT → SELECTING.
    pub(super) fn discover(&mut self, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        let mut exchange = self.exchange_from(now_ms, 0);
        self.send(&mut exchange, Ask::Discover { preferred: self.preferred }, now_ms, out);
        Phase::Selecting(exchange)
    }

    /// INIT-REBOOT → REBOOTING.
    pub(super) fn confirm(&mut self, mut held: Held, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        let mut exchange = self.exchange_from(now_ms, 0);
        self.send(&mut exchange, Ask::Confirm { address: held.lease.address }, now_ms, out);
        held.confirmed = false;
        Phase::Rebooting { exchange, held }
    }

    /// BOUND → RENEWING, and again in RENEWING.
    pub(super) fn renew(
        &mut self,
        mut exchange: Exchange,
        held: Held,
        now_ms: u64,
        out: &mut Vec<Action>,
    ) -> Phase {
        let ask = Ask::Extend { address: held.lease.address };
        if let Some(message) = self.message(&mut exchange, ask, now_ms) {
            out.push(Action::SendUnicast { message, server: held.lease.server });
        }
        exchange.retry_at_ms = now_ms.saturating_add(extend_wait_ms(now_ms, held.rebind_at_ms));
        Phase::Renewing { exchange, held }
    }

    /// RENEWING or REBOOTING → REBINDING; `attempts` were made without an answer.
    pub(super) fn rebind(&mut self, attempts: u32, held: Held, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        let mut exchange = self.exchange_from(now_ms, attempts);
        self.send_rebind(&mut exchange, &held, now_ms, out);
        Phase::Rebinding { exchange, held }
    }

    pub(super) fn send_rebind(
        &mut self,
        exchange: &mut Exchange,
        held: &Held,
        now_ms: u64,
        out: &mut Vec<Action>,
    ) {
        self.send(exchange, Ask::Extend { address: held.lease.address }, now_ms, out);
        // While nobody on this network has confirmed the lease, the pace stays that of a first request.
        if held.confirmed {
            exchange.retry_at_ms = now_ms.saturating_add(extend_wait_ms(now_ms, held.expires_at_ms));
        }
    }

    /// The lease ran out.
    pub(super) fn lost(&mut self, held: Held, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        if held.configured {
            out.push(Action::Deconfigure);
        }
        self.preferred = Some(held.lease.address);
        if self.carrier { self.discover(now_ms, out) } else { Phase::Init { resume_at_ms: None } }
    }

    pub(super) fn packet(&mut self, phase: Phase, now_ms: u64, bytes: &[u8], out: &mut Vec<Action>) -> Phase {
        let xid = match &phase {
            Phase::Init { .. } | Phase::InitReboot { .. } | Phase::Bound(_) => return phase,
            Phase::Selecting(exchange)
            | Phase::Requesting { exchange, .. }
            | Phase::Rebooting { exchange, .. }
            | Phase::Renewing { exchange, .. }
            | Phase::Rebinding { exchange, .. } => exchange.xid,
        };
        match Reply::parse(bytes, xid, self.identity.mac) {
            Ok(Reply::Offer(offer)) => self.offered(phase, offer, now_ms, out),
            Ok(Reply::Ack(lease)) => self.acknowledged(phase, lease, now_ms, out),
            Ok(Reply::Nak { server }) => self.refused(phase, server, now_ms, out),
            Err(ReplyError::NotOurs | ReplyError::Length { .. }) => phase,
            Err(error) => {
                self.rejected = Some(error);
                phase
            }
        }
    }

    fn offered(&mut self, phase: Phase, offer: Lease, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        match phase {
            Phase::Selecting(exchange) if exchange.attempt == 1 && self.distrusted == Some(offer.server) => {
                Phase::Selecting(exchange)
            }
            // The request keeps the transaction of the offer (RFC 2131 section 4.4.1).
            Phase::Selecting(discovery) => {
                let mut exchange = Exchange { started_ms: now_ms, attempt: 0, ..discovery };
                self.send(&mut exchange, select(&offer), now_ms, out);
                Phase::Requesting { exchange, offer }
            }
            Phase::Init { .. }
            | Phase::Requesting { .. }
            | Phase::InitReboot { .. }
            | Phase::Rebooting { .. }
            | Phase::Bound(_)
            | Phase::Renewing { .. }
            | Phase::Rebinding { .. } => phase,
        }
    }

    fn acknowledged(&mut self, phase: Phase, lease: Lease, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        let requested_at_ms = match &phase {
            Phase::Requesting { exchange, offer } if same_grant(offer, &lease) => exchange.started_ms,
            Phase::Renewing { exchange, held } if same_grant(&held.lease, &lease) => exchange.started_ms,
            Phase::Rebooting { exchange, held } | Phase::Rebinding { exchange, held }
                if held.lease.address == lease.address =>
            {
                exchange.started_ms
            }
            Phase::Init { .. }
            | Phase::Selecting(_)
            | Phase::Requesting { .. }
            | Phase::InitReboot { .. }
            | Phase::Rebooting { .. }
            | Phase::Bound(_)
            | Phase::Renewing { .. }
            | Phase::Rebinding { .. } => return phase,
        };
        let held = Held::granted(lease, requested_at_ms, &mut self.generator);
        if held.expired(now_ms) {
            return phase;
        }
        self.refusals = 0;
        self.distrusted = None;
        self.rejected = None;
        self.preferred = Some(held.lease.address);
        out.push(Action::Configure(held.lease.clone()));
        out.push(Action::Persist(held.lease.clone()));
        Phase::Bound(held)
    }

    fn refused(&mut self, phase: Phase, server: Ipv4Addr, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        match phase {
            Phase::Requesting { offer, .. } if offer.server == server => {
                self.distrusted = Some(server);
                self.restart(now_ms, out)
            }
            Phase::Renewing { held, .. } if held.lease.server == server => self.give_up(&held, now_ms, out),
            Phase::Rebooting { held, .. } | Phase::Rebinding { held, .. } => self.give_up(&held, now_ms, out),
            Phase::Init { .. }
            | Phase::Selecting(_)
            | Phase::Requesting { .. }
            | Phase::InitReboot { .. }
            | Phase::Bound(_)
            | Phase::Renewing { .. } => phase,
        }
    }

    /// A server said that the lease is not ours.
    fn give_up(&mut self, held: &Held, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        if held.configured {
            out.push(Action::Deconfigure);
        }
        out.push(Action::Forget);
        self.preferred = None;
        self.restart(now_ms, out)
    }

    /// Begins again: at once after the first refusal, then ever later, so that a refusing server is not flooded.
    fn restart(&mut self, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        let earlier = self.refusals;
        self.refusals = earlier.saturating_add(1);
        if earlier == 0 {
            return self.discover(now_ms, out);
        }
        Phase::Init { resume_at_ms: Some(now_ms.saturating_add(self.generator.backoff_ms(earlier))) }
    }

    /// A new transaction.
    pub(super) fn exchange_from(&mut self, now_ms: u64, attempt: u32) -> Exchange {
        let [a, b, c, d, ..] = self.generator.next().to_be_bytes();
        Exchange { xid: u32::from_be_bytes([a, b, c, d]), started_ms: now_ms, attempt, retry_at_ms: now_ms }
    }

    /// Broadcasts, and sets when to do it again.
    pub(super) fn send(&mut self, exchange: &mut Exchange, ask: Ask, now_ms: u64, out: &mut Vec<Action>) {
        if let Some(message) = self.message(exchange, ask, now_ms) {
            out.push(Action::SendBroadcast(message));
        }
        exchange.retry_at_ms = now_ms.saturating_add(self.generator.backoff_ms(exchange.attempt));
    }

    fn message(&self, exchange: &mut Exchange, ask: Ask, now_ms: u64) -> Option<Vec<u8>> {
        exchange.attempt = exchange.attempt.saturating_add(1);
        let elapsed_s = now_ms.saturating_sub(exchange.started_ms) / 1000;
        let elapsed_s = u16::try_from(elapsed_s).unwrap_or(u16::MAX);
        // Encoding into memory fails for no message of ours; if it did, the retransmission timer goes on.
        request::encode(&self.identity, ask, exchange.xid, elapsed_s).ok()
    }
}

/// The request that accepts an offer.
pub(super) fn select(offer: &Lease) -> Ask {
    Ask::Select { address: offer.address, server: offer.server }
}

/// Tells the caller to use the lease, once.
pub(super) fn configure(held: &mut Held, out: &mut Vec<Action>) {
    if !held.configured {
        held.configured = true;
        out.push(Action::Configure(held.lease.clone()));
    }
}

fn same_grant(known: &Lease, lease: &Lease) -> bool {
    known.address == lease.address && known.server == lease.server
}
