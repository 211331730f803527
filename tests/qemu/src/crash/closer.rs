//! Which states are looked at more closely, and how.

use std::collections::{BTreeMap, HashSet};

use bootstate::Slot;
use crashcheck::{chain::Verdict, disk::Print, recipe::Recipe, search::State};

use super::{Effort, sample::Sampler};

/// What is done with a state beyond judging it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Closer {
    /// Booted; this slot must start.
    pub boot: Option<Slot>,
    /// STATE is looked into.
    pub state: bool,
    /// DATA is looked into.
    pub data: bool,
}

impl Closer {
    /// Everything that makes sense.
    pub fn all(verdict: &Verdict) -> Self {
        let (state, data) = (verdict.is_provisioned, verdict.is_provisioned);
        Self { boot: verdict.starts.first().map(|start| start.slot), state, data }
    }
}

/// By how much of the log is there for good, so that a replay only moves forward.
pub type Chosen = BTreeMap<(usize, Recipe), Closer>;

/// Draws states while all go by.
#[derive(Debug)]
pub struct Samples {
    boots: Sampler<(Recipe, Slot)>,
    states: Sampler<Recipe>,
    data: Sampler<Recipe>,
    /// Contents of STATE that were offered.
    seen: HashSet<Print>,
}

impl Samples {
    /// As many as that.
    pub fn new(seed: u64, effort: Effort) -> Self {
        Self {
            boots: Sampler::new(seed, effort.boots),
            states: Sampler::new(seed, effort.state_looks),
            data: Sampler::new(seed, effort.data_looks),
            seen: HashSet::new(),
        }
    }

    /// A state of a phase. File systems of a node that was never provisioned may be made anew and need not be whole.
    pub fn offer(&mut self, phase: usize, state: &State<'_>) {
        let State { recipe, region, verdict, state_print } = state;
        if let Some(start) = verdict.starts.first() {
            self.boots.offer(phase, *region, recipe, || (*recipe, start.slot));
        }
        if verdict.is_provisioned {
            self.data.offer(phase, *region, recipe, || *recipe);
            if self.seen.insert(*state_print) {
                self.states.offer(phase, *region, recipe, || *recipe);
            }
        }
    }

    /// What was drawn.
    pub fn draw(self, effort: Effort) -> Chosen {
        let mut chosen = Chosen::new();
        for (recipe, slot) in self.boots.draw(effort.boots) {
            entry(&mut chosen, recipe).boot = Some(slot);
        }
        for recipe in self.states.draw(effort.state_looks) {
            entry(&mut chosen, recipe).state = true;
        }
        for recipe in self.data.draw(effort.data_looks) {
            entry(&mut chosen, recipe).data = true;
        }
        chosen
    }
}

/// The state's own entry.
pub fn entry(chosen: &mut Chosen, recipe: Recipe) -> &mut Closer {
    chosen.entry((recipe.base(), recipe)).or_default()
}
