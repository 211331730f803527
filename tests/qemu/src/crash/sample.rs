//! Which of the states are looked at more closely: the same number of each kind, however many of it there are.

use std::collections::BTreeMap;

use crashcheck::{
    random::Random,
    recipe::{Choice, Recipe},
    region::Region,
};

/// What states of one kind have in common: recording, region of the last write, how they came about.
type Kind = (usize, Region, u8);

/// Draws from a stream of states.
#[derive(Debug)]
pub struct Sampler<T> {
    random: Random,
    /// Most that are kept of each kind.
    kept_max: usize,
    kinds: BTreeMap<Kind, Reservoir<T>>,
}

#[derive(Debug)]
struct Reservoir<T> {
    seen: usize,
    kept: Vec<T>,
}

impl<T> Sampler<T> {
    /// Keeps at most so many of each kind.
    pub fn new(seed: u64, kept_max: usize) -> Self {
        Self { random: Random::new(seed), kept_max, kinds: BTreeMap::new() }
    }

    /// Takes a state, or not: of its kind each has the same chance (Vitter's algorithm R).
    pub fn offer(&mut self, phase: usize, region: Region, recipe: &Recipe, item: impl FnOnce() -> T) {
        let kind = (phase, region, how(recipe));
        let reservoir = self.kinds.entry(kind).or_insert_with(|| Reservoir { seen: 0, kept: Vec::new() });
        reservoir.seen += 1;
        if reservoir.kept.len() < self.kept_max {
            reservoir.kept.push(item());
            return;
        }
        let place = self.random.below(reservoir.seen);
        if let Some(place) = reservoir.kept.get_mut(place) {
            *place = item();
        }
    }

    /// So many, or all: one of each kind in turn, the kinds in an order that is drawn.
    pub fn draw(mut self, wanted: usize) -> Vec<T> {
        let mut kinds: Vec<Reservoir<T>> = self.kinds.into_values().collect();
        for end in (1..kinds.len()).rev() {
            kinds.swap(end, self.random.below(end + 1));
        }
        let mut drawn = Vec::new();
        while drawn.len() < wanted && !kinds.is_empty() {
            kinds.retain_mut(|kind| {
                let next = kind.kept.pop();
                let more = next.is_some();
                drawn.extend(next);
                more
            });
        }
        drawn.truncate(wanted);
        drawn
    }
}

fn how(recipe: &Recipe) -> u8 {
    match recipe {
        Recipe::Prefix { .. } => 0,
        Recipe::Torn { .. } | Recipe::Epoch { choice: Choice::TornRecords, .. } => 1,
        Recipe::Epoch { choice: Choice::Without(_), .. } => 2,
        Recipe::Epoch { choice: Choice::Only(_), .. } => 3,
        Recipe::Epoch { choice: Choice::Mask(_) | Choice::Drawn(_), .. } => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, wanted: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(seed, 10);
        for entry in 0..1000 {
            let region = if entry < 990 { Region::RootB } else { Region::BootState };
            sampler.offer(0, region, &Recipe::Prefix { entry, sectors: 0 }, || entry);
        }
        sampler.draw(wanted)
    }

    #[test]
    fn rare_kinds_are_drawn_as_often_as_common_ones() {
        let drawn_10 = drawn(5, 10);
        assert_eq!(drawn_10.iter().filter(|entry| **entry >= 990).count(), 5);
        assert_eq!(drawn_10, drawn(5, 10));
        assert_ne!(drawn_10, drawn(6, 10));
        assert_eq!(drawn(5, 100).len(), 20);
        // Not only the first of a kind.
        assert!(drawn_10.iter().any(|entry| (10..990).contains(entry)));
    }
}
