//! How much anybody may take: connections, calls, log lines.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pki::SubjectName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::roles::Shape;

/// Connections in all, handshakes included: what the memory limit bears.
pub const CONNECTIONS_MAX: usize = 256;
/// Calls at once in all. machined's HTTP/2 server takes 200; the rest of them queue unseen.
pub const CALLS_MAX: usize = 192;
/// Streams among them: they have no deadline and must leave room for calls that have.
pub const STREAMS_MAX: usize = 128;
/// Subjects remembered before those at rest are forgotten.
const SUBJECTS_KEPT: usize = 1024;
/// Lines on refused peers that may come at once; they must not flush the audit log.
const REFUSAL_LINES_BURST: u32 = 20;
/// Lines on refused peers per second in the long run.
const REFUSAL_LINES_PER_S: u32 = 1;

/// What depends on who may come: known clients, or everybody on the network.
#[derive(Debug)]
pub struct Bounds {
    /// Connections in all, handshakes included.
    pub connections: usize,
    /// Connections of one address (IPv6: of one /64, which one host can fill at will).
    pub address_connections: usize,
    /// Calls at once of one subject.
    pub subject_calls: usize,
    /// Calls of one subject that may come at once.
    pub calls_burst: u32,
    /// Calls per second of one subject in the long run.
    pub calls_per_s: u32,
}

/// For clients whose certificates say who they are.
pub const RUNNING: Bounds = Bounds {
    connections: CONNECTIONS_MAX,
    address_connections: 16,
    subject_calls: 32,
    calls_burst: 200,
    calls_per_s: 100,
};
/// For everybody: an admin makes a handful of calls over one connection, and somebody else should not be able to keep
/// him out from one address.
pub const MAINTENANCE: Bounds =
    Bounds { connections: 32, address_connections: 4, subject_calls: 4, calls_burst: 20, calls_per_s: 2 };

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(burst: u32, now: Instant) -> Self {
        Self { tokens: f64::from(burst), filled: now }
    }

    fn refill(&mut self, burst: u32, per_s: u32, now: Instant) {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * f64::from(per_s);
        self.tokens = (self.tokens + gained).min(f64::from(burst));
        self.filled = now;
    }

    fn take(&mut self, burst: u32, per_s: u32, now: Instant) -> bool {
        self.refill(burst, per_s, now);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// Bounds the lines that peers can cause who were not let in.
#[derive(Debug)]
pub struct RefusalLog {
    state: Mutex<(Bucket, u64)>,
}

impl RefusalLog {
    /// Full burst.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { state: Mutex::new((Bucket::full(REFUSAL_LINES_BURST, now), 0)) }
    }

    /// Whether a line may be written now; if so, how many were left out before it.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        if state.0.take(REFUSAL_LINES_BURST, REFUSAL_LINES_PER_S, now) {
            Some(std::mem::take(&mut state.1))
        } else {
            state.1 += 1;
            None
        }
    }
}

/// Counts connections.
#[derive(Debug)]
pub struct Connections {
    slots: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Room for one connection among all.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A connection that counts until dropped.
#[derive(Debug)]
pub struct Admission {
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    key: IpAddr,
    _slot: Slot,
}

impl Default for Connections {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)), addresses: Arc::default() }
    }
}

impl Connections {
    /// Waits for room. Until then further connections wait in the kernel's queue.
    pub async fn slot(&self) -> Slot {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.slots).acquire_owned().await {
                return Slot { _permit: permit };
            }
        }
    }

    /// Counts a connection of `address`; `None` when that or all have too many.
    #[must_use]
    pub fn admit(&self, slot: Slot, address: IpAddr, bounds: &Bounds) -> Option<Admission> {
        let key = network(address);
        let mut addresses = lock(&self.addresses);
        let count = addresses.get(&key).copied().unwrap_or(0);
        if count >= bounds.address_connections || addresses.values().sum::<usize>() >= bounds.connections {
            return None;
        }
        addresses.insert(key, count + 1);
        Some(Admission { addresses: Arc::clone(&self.addresses), key, _slot: slot })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut addresses = lock(&self.addresses);
        let count = addresses.get(&self.key).copied().unwrap_or(0);
        if count > 1 {
            addresses.insert(self.key, count - 1);
        } else {
            addresses.remove(&self.key);
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Which limit a call met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// Too many per second.
    #[error("more than {per_s} calls per second; slow down")]
    Rate {
        /// How many may come.
        per_s: u32,
    },
    /// Too many at once of this subject.
    #[error("more than {most} calls at once under this name; end some")]
    SubjectCalls {
        /// How many there may be.
        most: usize,
    },
    /// Too many streams in all.
    #[error("more than {STREAMS_MAX} streams at once on this node; end some")]
    Streams,
    /// Too many calls in all.
    #[error("more than {CALLS_MAX} calls at once on this node; try again")]
    Calls,
}

#[derive(Debug)]
struct Subject {
    bucket: Bucket,
    calls: usize,
}

#[derive(Debug, Default)]
struct Counts {
    subjects: HashMap<SubjectName, Subject>,
    calls: usize,
    streams: usize,
}

/// Counts calls.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    counts: Arc<Mutex<Counts>>,
}

/// A call that counts until dropped.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Mutex<Counts>>,
    subject: SubjectName,
    shape: Shape,
}

impl Calls {
    /// Counts a call of `subject`.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn admit(
        &self,
        subject: &SubjectName,
        shape: Shape,
        bounds: &Bounds,
        now: Instant,
    ) -> Result<Permit, Exhausted> {
        let mut counts = lock(&self.counts);
        counts.forget_idle(bounds, now);
        let (calls, streams) = (counts.calls, counts.streams);
        let entry = counts
            .subjects
            .entry(subject.clone())
            .or_insert_with(|| Subject { bucket: Bucket::full(bounds.calls_burst, now), calls: 0 });
        if !entry.bucket.take(bounds.calls_burst, bounds.calls_per_s, now) {
            return Err(Exhausted::Rate { per_s: bounds.calls_per_s });
        }
        if entry.calls >= bounds.subject_calls {
            return Err(Exhausted::SubjectCalls { most: bounds.subject_calls });
        }
        if shape == Shape::Stream && streams >= STREAMS_MAX {
            return Err(Exhausted::Streams);
        }
        if calls >= CALLS_MAX {
            return Err(Exhausted::Calls);
        }
        entry.calls += 1;
        counts.calls += 1;
        counts.streams += usize::from(shape == Shape::Stream);
        Ok(Permit { counts: Arc::clone(&self.counts), subject: subject.clone(), shape })
    }
}

impl Counts {
    /// A subject without calls and with a full bucket is as good as unknown.
    fn forget_idle(&mut self, bounds: &Bounds, now: Instant) {
        if self.subjects.len() < SUBJECTS_KEPT {
            return;
        }
        let refill = Duration::from_secs(u64::from(bounds.calls_burst.div_ceil(bounds.calls_per_s)));
        self.subjects.retain(|_, subject| {
            subject.calls > 0 || now.saturating_duration_since(subject.bucket.filled) < refill
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.calls = counts.calls.saturating_sub(1);
        counts.streams = counts.streams.saturating_sub(usize::from(self.shape == Shape::Stream));
        if let Some(subject) = counts.subjects.get_mut(&self.subject) {
            subject.calls = subject.calls.saturating_sub(1);
        }
    }
}

/// Counters stay usable whatever happened to another holder.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> SubjectName {
        SubjectName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn an_address_is_bounded_and_freed() {
        let connections = Connections::default();
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let mut held = Vec::new();
        for _ in 0..RUNNING.address_connections {
            held.push(connections.admit(connections.slot().await, v4, &RUNNING).unwrap());
        }
        assert!(connections.admit(connections.slot().await, v4, &RUNNING).is_none());
        assert!(connections.admit(connections.slot().await, mapped, &RUNNING).is_none());
        assert!(
            connections.admit(connections.slot().await, "192.0.2.2".parse().unwrap(), &RUNNING).is_some()
        );
        held.pop();
        assert!(connections.admit(connections.slot().await, mapped, &RUNNING).is_some());
        held.clear();
        assert!(lock(&connections.addresses).is_empty());
        assert_eq!(connections.slots.available_permits(), CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn strangers_have_fewer_connections_from_an_address_and_in_all() {
        let connections = Connections::default();
        let mut held = Vec::new();
        for host in 0..=u8::MAX {
            let address = IpAddr::from([192, 0, 2, host]);
            while let Some(admission) = connections.admit(connections.slot().await, address, &MAINTENANCE) {
                held.push(admission);
            }
            assert_eq!(
                held.len(),
                (MAINTENANCE.address_connections * (usize::from(host) + 1)).min(MAINTENANCE.connections)
            );
        }
        held.pop();
        assert!(
            connections.admit(connections.slot().await, [198, 51, 100, 1].into(), &MAINTENANCE).is_some()
        );
    }

    #[test]
    fn ipv6_counts_by_64() {
        let same = ["2001:db8::1", "2001:db8::ffff:1"].map(|text| network(text.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], network("2001:db8:0:1::1".parse().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_of_a_subject_is_bounded() {
        let calls = Calls::default();
        let (alice, bob) = (subject("alice"), subject("bob"));
        let admit = |who: &SubjectName| calls.admit(who, Shape::Unary, &RUNNING, Instant::now()).map(drop);
        for _ in 0..RUNNING.calls_burst {
            assert_eq!(admit(&alice), Ok(()));
        }
        assert_eq!(admit(&alice), Err(Exhausted::Rate { per_s: RUNNING.calls_per_s }));
        assert_eq!(admit(&bob), Ok(()));
        tokio::time::advance(Duration::from_millis(100)).await;
        let admitted = (0..RUNNING.calls_burst).filter(|_| admit(&alice).is_ok()).count();
        assert_eq!(admitted, 10);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let admitted = (0..2 * RUNNING.calls_burst).filter(|_| admit(&alice).is_ok()).count();
        assert_eq!(admitted, RUNNING.calls_burst as usize);
    }

    #[test]
    fn calls_at_once_are_bounded() {
        let (calls, now) = (Calls::default(), Instant::now());
        let admit = |who: usize, shape| calls.admit(&subject(&format!("s{who}")), shape, &RUNNING, now);
        let mut held = Vec::new();
        for who in 0..STREAMS_MAX {
            held.push(admit(who % 8, Shape::Stream).unwrap());
        }
        assert_eq!(admit(8, Shape::Stream).unwrap_err(), Exhausted::Streams);
        for who in STREAMS_MAX..CALLS_MAX {
            held.push(admit(8 + who % 8, Shape::Unary).unwrap());
        }
        assert_eq!(admit(9, Shape::Unary).unwrap_err(), Exhausted::Calls);
        held.clear();
        for _ in 0..RUNNING.subject_calls {
            held.push(admit(0, Shape::Stream).unwrap());
        }
        assert_eq!(
            admit(0, Shape::Unary).unwrap_err(),
            Exhausted::SubjectCalls { most: RUNNING.subject_calls }
        );
        assert!(admit(1, Shape::Unary).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn subjects_at_rest_are_forgotten() {
        let calls = Calls::default();
        let held = calls.admit(&subject("busy"), Shape::Stream, &RUNNING, Instant::now()).unwrap();
        for number in 1..SUBJECTS_KEPT {
            drop(calls.admit(&subject(&format!("s{number}")), Shape::Unary, &RUNNING, Instant::now()));
        }
        assert_eq!(lock(&calls.counts).subjects.len(), SUBJECTS_KEPT);
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(calls.admit(&subject("last"), Shape::Unary, &RUNNING, Instant::now()));
        assert_eq!(lock(&calls.counts).subjects.len(), 2);
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_summed_up() {
        let log = RefusalLog::new(Instant::now());
        for _ in 0..REFUSAL_LINES_BURST {
            assert_eq!(log.admit(Instant::now()), Some(0));
        }
        assert_eq!(log.admit(Instant::now()), None);
        assert_eq!(log.admit(Instant::now()), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(log.admit(Instant::now()), Some(2));
    }
}
