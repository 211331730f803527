//! Waves: which node has its turn when. Each release shuffles the nodes anew, and every node can work it out by itself.

use aws_lc_rs::digest;
use bootstate::ReleaseVersion;

use crate::ChannelRelease;

/// A node's place in an order of all nodes, as a fraction of 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

/// What an order of the nodes is for. Each has its own, else those who are early are early in everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The wave of a release.
    Wave,
    /// The random delay inside of a maintenance window.
    Delay,
}

impl Position {
    /// SHA-256 over what the order is for, machine id and version, each followed by NUL; its first eight bytes.
    #[must_use]
    pub fn of(order: Order, machine_id: &str, version: &ReleaseVersion) -> Self {
        let order = match order {
            Order::Wave => "cairn wave",
            Order::Delay => "cairn delay",
        };
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [order, machine_id, version.as_str()] {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        let hash = context.finish();
        Self(hash.as_ref().first_chunk().copied().map_or(0, u64::from_be_bytes))
    }

    /// The position's share of a span of time, below the whole.
    #[must_use]
    pub fn share_s(self, span_s: u64) -> u64 {
        let product = u128::from(self.0) * u128::from(span_s);
        u64::try_from(product >> 64).unwrap_or(span_s)
    }
}

/// When the node may have the release, in seconds since 1970.
#[must_use]
pub fn due_s(release: &ChannelRelease, machine_id: &str) -> u64 {
    let position = Position::of(Order::Wave, machine_id, &release.version);
    release.begin_s.saturating_add(position.share_s(release.spread_s))
}
