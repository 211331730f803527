//! All disk states that a power cut could have left, each made from the one before and judged once.
//!
//! 1. Every prefix of the log, cut between any two sectors that are modelled. A sector is written whole or not at all; a
//!    boot record, of which there are two for that reason, may also be torn.
//! 2. Reorderings within an epoch, which is what lies between two flushes: every combination of its entries where they are
//!    few; else each entry lost alone, each kept alone, and drawn combinations. Entries that are lost or kept are whole.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use anyhow::{Context as _, Result};

use crate::{
    Sector,
    chain::{Chain, Verdict},
    disk::{Disk, Print},
    log::Log,
    random::mix,
    recipe::{self, Choice, Recipe, TORN},
    region::Region,
};

/// How far reorderings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Up to so many entries of an epoch are combined in every way.
    pub combined_max: u32,
    /// Drawn combinations of an epoch with more.
    pub drawn: u64,
}

impl Bounds {
    /// Of every run: 64 combinations, or 8 that are drawn.
    pub const DEFAULT: Self = Self { combined_max: 6, drawn: 8 };
}

/// A state that was not seen before.
#[derive(Debug)]
pub struct State<'a> {
    /// How it is made.
    pub recipe: Recipe,
    /// The region of the entry that it is about.
    pub region: Region,
    /// Fingerprint of STATE.
    pub state_print: Print,
    /// What becomes of it.
    pub verdict: &'a Verdict,
}

/// The search through one log.
#[derive(Debug)]
pub struct Search<'a> {
    log: &'a Log,
    disk: Disk,
    chain: Chain,
    bounds: Bounds,
    seed: u64,
    seen: HashSet<Print>,
}

impl<'a> Search<'a> {
    /// Begins with the disk as it was before the first entry.
    pub fn new(log: &'a Log, disk: Disk, bounds: Bounds, seed: u64) -> Self {
        Self { log, disk, chain: Chain::default(), bounds, seed, seen: HashSet::new() }
    }

    /// Goes on through these entries, the next in the log, and shows every new state.
    pub fn run(
        &mut self,
        entries: Range<usize>,
        visit: &mut dyn FnMut(&State<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut first = entries.start;
        while first < entries.end {
            let rest = first + 1..entries.end;
            let end = rest.clone().find(|entry| self.log.entries()[*entry].flushes).unwrap_or(entries.end);
            self.epoch(first..end, visit)
                .with_context(|| format!("at the entries {first} to {end} of the log"))?;
            first = end;
        }
        Ok(())
    }

    /// Judges one state, whatever was seen before.
    pub fn judge(log: &Log, mut disk: Disk, recipe: &Recipe) -> Result<Verdict> {
        let pieces = recipe.pieces(log, disk.map());
        let whole = (0..recipe.base()).map(|entry| recipe::Piece {
            entry,
            sectors: 0..log.entries()[entry].sectors,
            is_torn: false,
        });
        for piece in whole.chain(pieces) {
            let entry = &log.entries()[piece.entry];
            for index in piece.sectors {
                let content = if piece.is_torn { TORN } else { log.sector(entry, index)? };
                disk.write(entry.sector + index, &content)?;
            }
        }
        Chain::default().judge(&disk)
    }

    fn epoch(&mut self, range: Range<usize>, visit: &mut dyn FnMut(&State<'_>) -> Result<()>) -> Result<()> {
        let modelled = recipe::modelled(self.log, self.disk.map(), range.clone());
        if modelled.is_empty() {
            return Ok(());
        }
        let epoch = Epoch::new(self.log, &self.disk, range, modelled)?;
        self.prefixes(&epoch, visit)?;
        self.torn_records(&epoch, visit)?;
        self.reorderings(&epoch, visit)
    }

    fn prefixes(&mut self, epoch: &Epoch, visit: &mut dyn FnMut(&State<'_>) -> Result<()>) -> Result<()> {
        let records = recipe::record_places(self.disk.map());
        for entry in epoch.modelled.iter().copied() {
            let what = self.log.entries()[entry];
            for (sectors, sector) in (0..).zip(what.range()) {
                if records.contains(&sector) {
                    self.disk.write(sector, &TORN)?;
                    self.visit(Recipe::Torn { entry, sectors }, entry, visit)?;
                }
                self.disk.write(sector, &self.log.sector(&what, sectors)?)?;
                self.visit(Recipe::Prefix { entry, sectors: sectors + 1 }, entry, visit)?;
            }
        }
        Ok(())
    }

    /// All of the epoch is there, and whatever it wrote of the boot records is torn.
    fn torn_records(&mut self, epoch: &Epoch, visit: &mut dyn FnMut(&State<'_>) -> Result<()>) -> Result<()> {
        let torn = recipe::record_sectors(self.log, self.disk.map(), epoch.range.clone());
        let Some((entry, _)) = torn.first().copied() else { return Ok(()) };
        let sectors: Vec<u64> =
            torn.iter().map(|(entry, index)| self.log.entries()[*entry].sector + index).collect();
        for sector in &sectors {
            self.disk.write(*sector, &TORN)?;
        }
        self.visit(epoch.recipe(Choice::TornRecords), entry, visit)?;
        let all = vec![true; epoch.modelled.len()];
        for sector in sectors {
            self.disk.write(sector, &epoch.content(self.log, sector, &all)?)?;
        }
        Ok(())
    }

    fn reorderings(&mut self, epoch: &Epoch, visit: &mut dyn FnMut(&State<'_>) -> Result<()>) -> Result<()> {
        let mut taken = vec![true; epoch.modelled.len()];
        for (choice, entry) in epoch.choices(self.bounds, self.seed) {
            let wanted: Vec<bool> =
                epoch.modelled.iter().map(|entry| choice.takes(*entry, self.log, &epoch.modelled)).collect();
            self.change(epoch, &taken, &wanted)?;
            taken = wanted;
            self.visit(epoch.recipe(choice), entry, visit)?;
        }
        self.change(epoch, &taken, &vec![true; taken.len()])
    }

    /// Goes from one choice of the epoch's entries to another.
    fn change(&mut self, epoch: &Epoch, from: &[bool], to: &[bool]) -> Result<()> {
        for (position, entry) in epoch.modelled.iter().enumerate() {
            if from[position] != to[position] {
                for sector in self.log.entries()[*entry].range() {
                    self.disk.write(sector, &epoch.content(self.log, sector, to)?)?;
                }
            }
        }
        Ok(())
    }

    fn visit(
        &mut self,
        recipe: Recipe,
        entry: usize,
        visit: &mut dyn FnMut(&State<'_>) -> Result<()>,
    ) -> Result<()> {
        if !self.seen.insert(self.disk.whole_print()) {
            return Ok(());
        }
        let verdict = self.chain.judge(&self.disk)?;
        let region =
            recipe::region(self.log, self.disk.map(), entry).context("an entry that is not modelled")?;
        visit(&State { recipe, region, state_print: self.disk.print(Region::State), verdict: &verdict })
    }
}

/// What was written between two flushes.
struct Epoch {
    range: Range<usize>,
    /// Its entries that write to modelled regions.
    modelled: Vec<usize>,
    /// Of each sector: what it held before, and the positions of those that write it, in order.
    sectors: HashMap<u64, (Box<Sector>, Vec<usize>)>,
}

impl Epoch {
    fn new(log: &Log, disk: &Disk, range: Range<usize>, modelled: Vec<usize>) -> Result<Self> {
        let mut sectors: HashMap<u64, (Box<Sector>, Vec<usize>)> = HashMap::new();
        for (position, entry) in modelled.iter().enumerate() {
            for sector in log.entries()[*entry].range() {
                match sectors.get_mut(&sector) {
                    Some((_, writers)) => writers.push(position),
                    None => {
                        sectors.insert(sector, (Box::new(disk.sector(sector)?), vec![position]));
                    }
                }
            }
        }
        Ok(Self { range, modelled, sectors })
    }

    fn recipe(&self, choice: Choice) -> Recipe {
        Recipe::Epoch { first: self.range.start, end: self.range.end, choice }
    }

    /// Choices in an order in which neighbours differ little, each with the entry that it is about.
    fn choices(&self, bounds: Bounds, seed: u64) -> Vec<(Choice, usize)> {
        let first = self.modelled[0];
        let count = u32::try_from(self.modelled.len()).unwrap_or(u32::MAX);
        if count == 1 {
            return Vec::new();
        }
        if count <= bounds.combined_max {
            // Gray code: one entry more or less each time.
            return (1..1_u64 << count).map(|n| (Choice::Mask(n ^ n >> 1), first)).collect();
        }
        let without = self.modelled.iter().map(|entry| (Choice::Without(*entry), *entry));
        let seed = mix(seed ^ mix(self.range.start as u64));
        let drawn = (0..bounds.drawn).map(|n| (Choice::Drawn(mix(seed ^ mix(n))), first));
        let only = self.modelled.iter().map(|entry| (Choice::Only(*entry), *entry));
        without.chain(drawn).chain(only).collect()
    }

    /// What a sector holds when these of the entries are there.
    fn content(&self, log: &Log, sector: u64, taken: &[bool]) -> Result<Sector> {
        let (before, writers) =
            self.sectors.get(&sector).context("a sector that the epoch does not write")?;
        match writers.iter().rev().find(|position| taken[**position]) {
            None => Ok(**before),
            Some(position) => {
                let entry = &log.entries()[self.modelled[*position]];
                Ok(log.sector(entry, sector - entry.sector)?)
            }
        }
    }
}
