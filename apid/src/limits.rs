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
/// Connections of one address (IPv6: of one /64, which one host can fill at will).
pub const ADDRESS_CONNECTIONS_MAX: usize = 16;
/// Calls at once in all. machined's HTTP/2 server takes 200; the rest of them queue unseen.
pub const CALLS_MAX: usize = 192;
/// Streams among them: they have no deadline and must leave room for calls that have.
pub const STREAMS_MAX: usize = 128;
/// Calls at once of one subject.
pub const SUBJECT_CALLS_MAX: usize = 32;
/// Calls of one subject that may come at once.
pub const CALLS_BURST: u32 = 200;
/// Calls per second of one subject in the long run.
const CALLS_PER_S: u32 = 100;
/// Subjects remembered before those at rest are forgotten.
const SUBJECTS_KEPT: usize = 1024;
/// Lines on refused peers that may come at once; they must not flush the audit log.
const REFUSAL_LINES_BURST: u32 = 20;
/// Lines on refused peers per second in the long run.
const REFUSAL_LINES_PER_S: u32 = 1;

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

    /// Counts a connection of `address`; `None` when that has too many.
    #[must_use]
    pub fn admit(&self, slot: Slot, address: IpAddr) -> Option<Admission> {
        let key = network(address);
        let mut addresses = lock(&self.addresses);
        let count = addresses.entry(key).or_insert(0);
        if *count >= ADDRESS_CONNECTIONS_MAX {
            return None;
        }
        *count += 1;
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
    #[error("more than {CALLS_PER_S} calls per second; slow down")]
    Rate,
    /// Too many at once of this subject.
    #[error("more than {SUBJECT_CALLS_MAX} calls at once under this name; end some")]
    SubjectCalls,
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
    pub fn admit(&self, subject: &SubjectName, shape: Shape, now: Instant) -> Result<Permit, Exhausted> {
        let mut counts = lock(&self.counts);
        counts.forget_idle(now);
        let (calls, streams) = (counts.calls, counts.streams);
        let entry = counts
            .subjects
            .entry(subject.clone())
            .or_insert_with(|| Subject { bucket: Bucket::full(CALLS_BURST, now), calls: 0 });
        if !entry.bucket.take(CALLS_BURST, CALLS_PER_S, now) {
            return Err(Exhausted::Rate);
        }
        if entry.calls >= SUBJECT_CALLS_MAX {
            return Err(Exhausted::SubjectCalls);
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
    fn forget_idle(&mut self, now: Instant) {
        if self.subjects.len() < SUBJECTS_KEPT {
            return;
        }
        let refill = Duration::from_secs(u64::from(CALLS_BURST.div_ceil(CALLS_PER_S)));
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
        for _ in 0..ADDRESS_CONNECTIONS_MAX {
            held.push(connections.admit(connections.slot().await, v4).unwrap());
        }
        assert!(connections.admit(connections.slot().await, v4).is_none());
        assert!(connections.admit(connections.slot().await, mapped).is_none());
        assert!(connections.admit(connections.slot().await, "192.0.2.2".parse().unwrap()).is_some());
        held.pop();
        assert!(connections.admit(connections.slot().await, mapped).is_some());
        held.clear();
        assert!(lock(&connections.addresses).is_empty());
        assert_eq!(connections.slots.available_permits(), CONNECTIONS_MAX);
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
        let admit = |who: &SubjectName| calls.admit(who, Shape::Unary, Instant::now()).map(drop);
        for _ in 0..CALLS_BURST {
            assert_eq!(admit(&alice), Ok(()));
        }
        assert_eq!(admit(&alice), Err(Exhausted::Rate));
        assert_eq!(admit(&bob), Ok(()));
        tokio::time::advance(Duration::from_millis(100)).await;
        let admitted = (0..CALLS_BURST).filter(|_| admit(&alice).is_ok()).count();
        assert_eq!(admitted, 10);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let admitted = (0..2 * CALLS_BURST).filter(|_| admit(&alice).is_ok()).count();
        assert_eq!(admitted, CALLS_BURST as usize);
    }

    #[test]
    fn calls_at_once_are_bounded() {
        let (calls, now) = (Calls::default(), Instant::now());
        let admit = |who: usize, shape| calls.admit(&subject(&format!("s{who}")), shape, now);
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
        for _ in 0..SUBJECT_CALLS_MAX {
            held.push(admit(0, Shape::Stream).unwrap());
        }
        assert_eq!(admit(0, Shape::Unary).unwrap_err(), Exhausted::SubjectCalls);
        assert!(admit(1, Shape::Unary).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn subjects_at_rest_are_forgotten() {
        let calls = Calls::default();
        let held = calls.admit(&subject("busy"), Shape::Stream, Instant::now()).unwrap();
        for number in 1..SUBJECTS_KEPT {
            drop(calls.admit(&subject(&format!("s{number}")), Shape::Unary, Instant::now()));
        }
        assert_eq!(lock(&calls.counts).subjects.len(), SUBJECTS_KEPT);
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(calls.admit(&subject("last"), Shape::Unary, Instant::now()));
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
