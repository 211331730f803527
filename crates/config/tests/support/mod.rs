//! What fuzz tests share: a random source, and how long they run.

use std::{env, time::Duration};

/// SplitMix64: the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// How long a target runs: `CAIRN_FUZZ_SECONDS`, 2 by default.
pub fn duration() -> Duration {
    Duration::from_secs(number("CAIRN_FUZZ_SECONDS", 2))
}

/// The first seed: `CAIRN_FUZZ_SEED` repeats a run.
pub fn seed() -> u64 {
    number("CAIRN_FUZZ_SEED", 1)
}

fn number(name: &str, default: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
