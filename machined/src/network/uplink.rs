//! A link that is asked for a lease: its DHCP client, sockets and timer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dhcp::{Action, Client, Event, Identity, Lease, State, StoredLease, client_id_from_mac};
use netplan::Link;
use nix::time::{ClockId, clock_gettime};

use super::dhcp_socket::DhcpSocket;
use super::lease_store::LeaseStore;

/// Milliseconds since boot.
pub fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A link with its DHCP client.
pub struct Uplink {
    /// Interface index.
    pub link: u32,
    /// Name.
    pub name: String,
    /// Whether it had carrier when last seen.
    pub carrier: bool,
    /// Hardware address, by which servers know it.
    pub mac: [u8; 6],
    client: Client,
    socket: Option<DhcpSocket>,
    timer_ms: Option<u64>,
}

/// Whether there is a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// This one.
    Lease(&'a Lease),
    /// A lease of an earlier run waits to be confirmed.
    Undecided,
    /// None.
    Nothing,
}

impl Uplink {
    /// A client for a link, with the lease that is kept for it. `None` when the link is not an Ethernet one.
    pub fn new(link: &Link, hostname: Option<String>, leases: &LeaseStore) -> Option<Self> {
        let mac = link.mac()?;
        // The hardware address, as servers' reservations and every other system on the box have it.
        let identity = Identity { mac, client_id: client_id_from_mac(mac), hostname };
        let stored = leases.load(mac);
        let stored = stored.as_ref().map(|lease| (lease, unix_s()));
        let client = Client::new(identity, seed(), boottime_ms(), stored);
        let timer_ms = client.deadline_ms();
        let (link, name) = (link.index, link.name.clone());
        Some(Self { link, name, carrier: false, mac, client, socket: None, timer_ms })
    }

    /// Tells the client what the link's carrier is; true when the lease in use changed.
    pub fn observe(&mut self, link: &Link, leases: &LeaseStore) -> bool {
        self.carrier = link.carrier;
        self.step(if link.carrier { Event::CarrierUp } else { Event::CarrierDown }, leases)
    }

    /// Hands an event to the client and does what it says; true when the lease in use changed.
    pub fn step(&mut self, event: Event<'_>, leases: &LeaseStore) -> bool {
        let mut changed = false;
        for action in self.client.step(boottime_ms(), event) {
            match action {
                Action::SendBroadcast(message) => self.send(|socket| socket.send_broadcast(&message)),
                Action::SendUnicast { message, server } => {
                    self.send(|socket| socket.send_unicast(&message, server));
                }
                Action::Configure(lease) => {
                    tracing::info!(link = self.name, address = %lease.address, server = %lease.server, "lease");
                    changed = true;
                }
                Action::Deconfigure => {
                    tracing::warn!(link = self.name, "lease lost");
                    changed = true;
                }
                Action::Persist(lease) => {
                    leases.save(self.mac, StoredLease { lease, granted_unix_s: unix_s() })
                }
                Action::Forget => leases.forget(self.mac),
                Action::SetTimer(at_ms) => self.timer_ms = Some(at_ms),
                Action::StopTimer => self.timer_ms = None,
            }
        }
        if self.client.asking_since_ms().is_none() {
            self.socket = None;
        }
        changed
    }

    /// Waits for a reply; for ever while none is expected.
    pub async fn receive(&self) -> std::io::Result<Vec<u8>> {
        match &self.socket {
            Some(socket) => socket.receive().await,
            None => std::future::pending().await,
        }
    }

    /// Drops the sockets, after they failed; the next message opens them again.
    pub fn close(&mut self) {
        self.socket = None;
    }

    /// When the client wants [`Event::Timer`], in milliseconds since boot.
    pub fn timer_ms(&self) -> Option<u64> {
        self.timer_ms
    }

    /// The lease in use.
    pub fn lease(&self) -> Option<&Lease> {
        self.client.lease()
    }

    /// Whether there is a lease to configure the link with.
    pub fn standing(&self) -> Standing<'_> {
        match (self.client.lease(), self.client.state()) {
            (Some(lease), _) => Standing::Lease(lease),
            (None, State::InitReboot | State::Rebooting) => Standing::Undecided,
            (None, _) => Standing::Nothing,
        }
    }

    /// For the judgement.
    pub fn view(&self) -> super::condition::Uplink {
        let asking_ms = self.client.asking_since_ms().map(|since| boottime_ms().saturating_sub(since));
        super::condition::Uplink {
            name: self.name.clone(),
            carrier: self.carrier,
            state: self.client.state(),
            leased: self.client.lease().is_some(),
            asking_s: asking_ms.map(|ms| ms / 1000),
            rejected: self.client.rejected(),
        }
    }

    /// What cannot be sent is sent again by the client's timer.
    fn send(&mut self, send: impl FnOnce(&DhcpSocket) -> std::io::Result<()>) {
        let opened = match self.socket.take() {
            Some(socket) => Ok(socket),
            None => DhcpSocket::open(self.link, &self.name),
        };
        let sent = opened.and_then(|socket| {
            send(&socket)?;
            Ok(socket)
        });
        match sent {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => tracing::warn!(link = self.name, %error, "a DHCP message is not sent"),
        }
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Without randomness the time of boot must do: transaction ids need to differ, not to be secret.
fn seed() -> u64 {
    let mut seed = [0; 8];
    match aws_lc_rs::rand::fill(&mut seed) {
        Ok(()) => u64::from_ne_bytes(seed),
        Err(_) => boottime_ms(),
    }
}
