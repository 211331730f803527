//! All links that are asked for a lease.

use std::io;
use std::pin::pin;

use dhcp::{Event, Lease};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use netplan::{Addressing, Desired, Observed};

use super::desired;
use super::intent::{Current, Intent, Source, Wanted};
use super::lease_store::LeaseStore;
use super::uplink::{Standing, Uplink};

/// DHCP clients, one for each link that is to have one.
pub struct Uplinks {
    clients: Vec<Uplink>,
    leases: LeaseStore,
}

impl Uplinks {
    /// No client.
    pub fn new(leases: LeaseStore) -> Self {
        Self { clients: Vec::new(), leases }
    }

    /// Ends all clients; their leases are kept, to be asked for again.
    pub fn clear(&mut self) {
        self.clients.clear();
    }

    /// Whether a link had a lease before.
    pub fn had_lease(&self, mac: [u8; 6]) -> bool {
        self.leases.contains(mac)
    }

    /// The uplink so far; after a start of this process the one that it had before.
    pub fn current(&self, observed: &Observed, first_look: bool) -> Option<Current> {
        let adopted = || observed.configured_link().map(|link| Current { link, holds_lease: true });
        let client = self.clients.first();
        let current =
            client.map(|uplink| Current { link: uplink.link, holds_lease: uplink.lease().is_some() });
        current.or_else(|| adopted().filter(|_| first_look))
    }

    /// Starts and ends clients so that those links have one that are to, and tells them about carrier.
    pub fn follow(&mut self, intent: &Intent<'_>, hostname: &str) {
        let mut former = std::mem::take(&mut self.clients);
        let wanted = intent.wanted.iter().filter(|wanted| wanted.source == Source::Dhcp);
        for link in wanted.filter_map(|wanted| wanted.link) {
            // With another hardware address it is another client.
            let is_it = |uplink: &Uplink| uplink.link == link.index && Some(uplink.mac) == link.mac();
            let known = former.iter().position(is_it);
            let uplink = match known {
                Some(at) => Some(former.swap_remove(at)),
                None => Uplink::new(link, Some(hostname.to_owned()), &self.leases),
            };
            if let Some(mut uplink) = uplink {
                uplink.observe(link, &self.leases);
                self.clients.push(uplink);
            }
        }
    }

    /// Waits for a reply; says which client it is for. Cancelling loses nothing.
    pub async fn receive(&self) -> (u32, io::Result<Vec<u8>>) {
        let receive = async |uplink: &Uplink| (uplink.link, uplink.receive().await);
        let mut replies = pin!(self.clients.iter().map(receive).collect::<FuturesUnordered<_>>());
        match replies.next().await {
            Some(reply) => reply,
            None => std::future::pending().await,
        }
    }

    /// Hands a reply to its client; true when a lease in use changed.
    pub fn reply(&mut self, link: u32, reply: io::Result<Vec<u8>>) -> bool {
        let Some(uplink) = self.clients.iter_mut().find(|uplink| uplink.link == link) else { return false };
        match reply {
            Ok(message) => uplink.step(Event::Packet(&message), &self.leases),
            Err(error) => {
                // ENETDOWN when the link goes down: the monitor tells the rest.
                tracing::debug!(link = uplink.name, %error, "DHCP socket failed");
                uplink.close();
                false
            }
        }
    }

    /// When the first client wants [`Uplinks::timer`], in milliseconds since boot.
    pub fn timer_ms(&self) -> Option<u64> {
        self.clients.iter().filter_map(Uplink::timer_ms).min()
    }

    /// Lets clients do what is due; true when a lease in use changed.
    pub fn timer(&mut self) -> bool {
        let mut changed = false;
        for uplink in &mut self.clients {
            changed |= uplink.step(Event::Timer, &self.leases);
        }
        changed
    }

    /// Leases in use.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.clients.iter().filter_map(Uplink::lease)
    }

    /// Whether a lease of an earlier run waits to be confirmed.
    pub fn undecided(&self) -> bool {
        self.clients.iter().any(|uplink| uplink.standing() == Standing::Undecided)
    }

    /// What the links should be.
    pub fn desired(&self, intent: &Intent<'_>) -> Vec<Desired> {
        let desired = intent.wanted.iter().map(|wanted| {
            let client = wanted.link.and_then(|link| self.of(link.index));
            let lease = client.and_then(Uplink::lease);
            let standing = client.map_or(Standing::Nothing, Uplink::standing);
            let (addressing, undecided) = match (wanted.source, standing) {
                (Source::Static(interface), _) => (desired::configured(interface), false),
                (Source::Dhcp, Standing::Undecided) => (Addressing::Undecided, true),
                (Source::Dhcp, Standing::Nothing) => (Addressing::nothing(), false),
                (Source::Dhcp, Standing::Lease(lease)) => (desired::leased(lease, wanted.interface), false),
            };
            let Wanted { name, device, mtu_bytes, .. } = wanted.clone();
            let mtu = desired::mtu(mtu_bytes, undecided, lease);
            Desired { name, device, mtu, addressing }
        });
        desired.collect()
    }

    /// For the judgement.
    pub fn views(&self) -> impl Iterator<Item = super::condition::Uplink> {
        self.clients.iter().map(Uplink::view)
    }

    fn of(&self, link: u32) -> Option<&Uplink> {
        self.clients.iter().find(|uplink| uplink.link == link)
    }
}
