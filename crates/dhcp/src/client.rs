//! The state machine: phases, deadlines and which event leads where. `transitions.rs` holds the steps.

mod transitions;

use std::mem;
use std::net::Ipv4Addr;

use crate::held::Held;
use crate::lease::{Lease, StoredLease};
use crate::reply::ReplyError;
use crate::request::{Ask, Identity};
use crate::timing::Generator;
use transitions::{configure, select};

/// DHCPREQUESTs for one offer (28 s in all) before another is looked for.
const REQUEST_ATTEMPTS: u32 = 3;
/// Questions whether a known lease still holds (12 s in all) before it is used unconfirmed.
const CONFIRM_ATTEMPTS: u32 = 2;
/// How long a known lease waits for carrier before it is configured on the dead link, so that a node without a cable
/// still runs its pods.
const OFFLINE_WAIT_MS: u64 = 10_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The link has carrier.
    CarrierUp,
    /// The link lost carrier.
    CarrierDown,
    /// A UDP payload for port 68 arrived.
    Packet(&'a [u8]),
    /// The time of [`Action::SetTimer`] has come. Too early a call does no harm.
    Timer,
}

/// What the caller has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send from 0.0.0.0:68 to 255.255.255.255:67.
    SendBroadcast(Vec<u8>),
    /// Send from the leased address, port 68, to the server, port 67.
    SendUnicast {
        /// UDP payload.
        message: Vec<u8>,
        /// Destination.
        server: Ipv4Addr,
    },
    /// Use this lease from now on; replaces an earlier one.
    Configure(Lease),
    /// Stop using the lease.
    Deconfigure,
    /// Store this lease, just granted, with the wall clock's time.
    Persist(Lease),
    /// Drop the stored lease: a server refused it.
    Forget,
    /// Send [`Event::Timer`] at this time in milliseconds since boot; replaces an earlier timer.
    SetTimer(u64),
    /// No timer any more.
    StopTimer,
}

/// States of RFC 2131 figure 5. INIT and INIT-REBOOT wait for carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// No lease; waits for carrier, or pauses after refusals.
    Init,
    /// Looks for a server.
    Selecting,
    /// Asked for an offered address.
    Requesting,
    /// A known lease waits for carrier.
    InitReboot,
    /// Asked whether a known lease still holds.
    Rebooting,
    /// Has a lease.
    Bound,
    /// Asks its server to extend the lease.
    Renewing,
    /// Asks every server to extend the lease.
    Rebinding,
}

/// A question and its retransmissions.
#[derive(Clone, Debug)]
struct Exchange {
    xid: u32,
    started_ms: u64,
    attempt: u32,
    retry_at_ms: u64,
}

/// A state with what belongs to it.
#[derive(Clone, Debug)]
enum Phase {
    Init { resume_at_ms: Option<u64> },
    Selecting(Exchange),
    Requesting { exchange: Exchange, offer: Lease },
    InitReboot { held: Held, configure_at_ms: u64 },
    Rebooting { exchange: Exchange, held: Held },
    Bound(Held),
    Renewing { exchange: Exchange, held: Held },
    Rebinding { exchange: Exchange, held: Held },
}

/// A DHCPv4 client on one link. It starts without carrier.
#[derive(Clone, Debug)]
pub struct Client {
    identity: Identity,
    generator: Generator,
    phase: Phase,
    carrier: bool,
    /// Address of a lease that ran out, to ask for again.
    preferred: Option<Ipv4Addr>,
    /// Server whose offer came to nothing; others come first.
    distrusted: Option<Ipv4Addr>,
    /// Refusals since the last grant.
    refusals: u32,
    rejected: Option<ReplyError>,
}

impl Client {
    /// A client, with the lease of an earlier boot and the wall clock's seconds since 1970. `seed` should differ
    /// between nodes and boots. A stored lease has a deadline from the start: see [`Client::deadline_ms`].
    pub fn new(identity: Identity, seed: u64, now_ms: u64, stored: Option<(&StoredLease, u64)>) -> Self {
        let held = stored.and_then(|(lease, now_unix_s)| Held::stored(lease, now_ms, now_unix_s));
        Self {
            identity,
            generator: Generator::new(seed),
            phase: match held {
                Some(held) => {
                    Phase::InitReboot { held, configure_at_ms: now_ms.saturating_add(OFFLINE_WAIT_MS) }
                }
                None => Phase::Init { resume_at_ms: None },
            },
            carrier: false,
            preferred: stored.map(|(stored, _)| stored.lease.address),
            distrusted: None,
            refusals: 0,
            rejected: None,
        }
    }

    /// Takes an event at `now_ms`, milliseconds since boot.
    pub fn step(&mut self, now_ms: u64, event: Event<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        let deadline_before = self.deadline_ms();
        let phase = mem::replace(&mut self.phase, Phase::Init { resume_at_ms: None });
        self.phase = match event {
            Event::CarrierUp => self.carrier_up(phase, now_ms, &mut out),
            Event::CarrierDown => self.carrier_down(phase, now_ms),
            Event::Packet(bytes) => self.packet(phase, now_ms, bytes, &mut out),
            Event::Timer if deadline_before.is_some_and(|at| now_ms >= at) => {
                self.timer(phase, now_ms, &mut out)
            }
            Event::Timer => phase,
        };
        match self.deadline_ms() {
            deadline if deadline == deadline_before => {}
            Some(at_ms) => out.push(Action::SetTimer(at_ms)),
            None => out.push(Action::StopTimer),
        }
        out
    }

    /// Present state.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Init { .. } => State::Init,
            Phase::Selecting(_) => State::Selecting,
            Phase::Requesting { .. } => State::Requesting,
            Phase::InitReboot { .. } => State::InitReboot,
            Phase::Rebooting { .. } => State::Rebooting,
            Phase::Bound(_) => State::Bound,
            Phase::Renewing { .. } => State::Renewing,
            Phase::Rebinding { .. } => State::Rebinding,
        }
    }

    /// When the next [`Event::Timer`] is due, in milliseconds since boot.
    pub fn deadline_ms(&self) -> Option<u64> {
        let earlier = |a: u64, b: Option<u64>| Some(b.map_or(a, |b| a.min(b)));
        match &self.phase {
            Phase::Init { resume_at_ms } => *resume_at_ms,
            Phase::Selecting(exchange) | Phase::Requesting { exchange, .. } => Some(exchange.retry_at_ms),
            Phase::InitReboot { held, .. } if held.configured => held.expires_at_ms,
            Phase::InitReboot { held, configure_at_ms } => earlier(*configure_at_ms, held.expires_at_ms),
            Phase::Bound(held) => held.renew_at_ms,
            Phase::Renewing { exchange, held } => earlier(exchange.retry_at_ms, held.rebind_at_ms),
            Phase::Rebooting { exchange, held } | Phase::Rebinding { exchange, held } => {
                earlier(exchange.retry_at_ms, held.expires_at_ms)
            }
        }
    }

    /// The lease in use.
    pub fn lease(&self) -> Option<&Lease> {
        self.held().filter(|held| held.configured).map(|held| &held.lease)
    }

    /// Since when a question stands unanswered, in milliseconds since boot.
    pub fn asking_since_ms(&self) -> Option<u64> {
        self.exchange().map(|exchange| exchange.started_ms)
    }

    /// Why the last reply to this client was rejected; cleared by a grant.
    pub fn rejected(&self) -> Option<ReplyError> {
        self.rejected
    }

    fn held(&self) -> Option<&Held> {
        match &self.phase {
            Phase::Init { .. } | Phase::Selecting(_) | Phase::Requesting { .. } => None,
            Phase::Bound(held)
            | Phase::InitReboot { held, .. }
            | Phase::Rebooting { held, .. }
            | Phase::Renewing { held, .. }
            | Phase::Rebinding { held, .. } => Some(held),
        }
    }

    fn exchange(&self) -> Option<&Exchange> {
        match &self.phase {
            Phase::Init { .. } | Phase::InitReboot { .. } | Phase::Bound(_) => None,
            Phase::Selecting(exchange)
            | Phase::Requesting { exchange, .. }
            | Phase::Rebooting { exchange, .. }
            | Phase::Renewing { exchange, .. }
            | Phase::Rebinding { exchange, .. } => Some(exchange),
        }
    }

    fn carrier_up(&mut self, phase: Phase, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        if mem::replace(&mut self.carrier, true) {
            return phase;
        }
        match phase {
            Phase::InitReboot { held, .. } if held.expired(now_ms) => self.lost(held, now_ms, out),
            Phase::InitReboot { held, .. } => self.confirm(held, now_ms, out),
            Phase::Init { .. } => self.discover(now_ms, out),
            // Without carrier the client is in one of the two states above.
            Phase::Selecting(_)
            | Phase::Requesting { .. }
            | Phase::Rebooting { .. }
            | Phase::Bound(_)
            | Phase::Renewing { .. }
            | Phase::Rebinding { .. } => phase,
        }
    }

    /// The lease stays, but must be confirmed when carrier is back: it may be another network's.
    fn carrier_down(&mut self, phase: Phase, now_ms: u64) -> Phase {
        self.carrier = false;
        match phase {
            Phase::Init { .. } | Phase::Selecting(_) | Phase::Requesting { .. } => {
                Phase::Init { resume_at_ms: None }
            }
            Phase::InitReboot { .. } => phase,
            Phase::Rebooting { held, .. }
            | Phase::Bound(held)
            | Phase::Renewing { held, .. }
            | Phase::Rebinding { held, .. } => {
                Phase::InitReboot { held, configure_at_ms: now_ms.saturating_add(OFFLINE_WAIT_MS) }
            }
        }
    }

    fn timer(&mut self, phase: Phase, now_ms: u64, out: &mut Vec<Action>) -> Phase {
        match phase {
            Phase::Init { .. } => self.discover(now_ms, out),
            Phase::Selecting(mut exchange) => {
                let preferred = self.preferred;
                self.send(&mut exchange, Ask::Discover { preferred }, now_ms, out);
                Phase::Selecting(exchange)
            }
            Phase::Requesting { exchange, offer } if exchange.attempt >= REQUEST_ATTEMPTS => {
                self.distrusted = Some(offer.server);
                self.discover(now_ms, out)
            }
            Phase::Requesting { mut exchange, offer } => {
                self.send(&mut exchange, select(&offer), now_ms, out);
                Phase::Requesting { exchange, offer }
            }
            Phase::InitReboot { held, .. }
            | Phase::Rebooting { held, .. }
            | Phase::Bound(held)
            | Phase::Renewing { held, .. }
            | Phase::Rebinding { held, .. }
                if held.expired(now_ms) =>
            {
                self.lost(held, now_ms, out)
            }
            Phase::InitReboot { mut held, configure_at_ms } => {
                configure(&mut held, out);
                Phase::InitReboot { held, configure_at_ms }
            }
            Phase::Rebooting { exchange, mut held } if exchange.attempt >= CONFIRM_ATTEMPTS => {
                configure(&mut held, out);
                self.rebind(exchange.attempt, held, now_ms, out)
            }
            Phase::Rebooting { mut exchange, held } => {
                self.send(&mut exchange, Ask::Confirm { address: held.lease.address }, now_ms, out);
                Phase::Rebooting { exchange, held }
            }
            Phase::Bound(held) | Phase::Renewing { held, .. }
                if held.rebind_at_ms.is_some_and(|at| now_ms >= at) =>
            {
                self.rebind(0, held, now_ms, out)
            }
            Phase::Bound(held) => {
                let exchange = self.exchange_from(now_ms, 0);
                self.renew(exchange, held, now_ms, out)
            }
            Phase::Renewing { exchange, held } => self.renew(exchange, held, now_ms, out),
            Phase::Rebinding { mut exchange, held } => {
                self.send_rebind(&mut exchange, &held, now_ms, out);
                Phase::Rebinding { exchange, held }
            }
        }
    }
}
