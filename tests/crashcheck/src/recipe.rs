//! Which of the recorded writes a disk state holds, in a form that can be printed and made again.

use std::{fmt, ops::Range, str::FromStr};

use anyhow::{Context as _, Error, Result};

use crate::{
    SECTOR_BYTES, Sector,
    log::Log,
    random::mix,
    region::{self, Map, Region},
};

/// What a torn sector holds: neither what it held nor what was being written.
pub const TORN: Sector = [0xdb; SECTOR_BYTES as usize];

/// A disk state, as what was written of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipe {
    /// All entries before this one, and of it so many sectors: `p12.3`.
    Prefix {
        /// The entry that was cut.
        entry: usize,
        /// How far it had come.
        sectors: u64,
    },
    /// As a prefix, and the next sector is torn: `t12.3`.
    Torn {
        /// The entry that was cut.
        entry: usize,
        /// How far it had come.
        sectors: u64,
    },
    /// All before an epoch, and a choice of its entries: `e10-20` with the choice behind it.
    Epoch {
        /// First entry of the epoch.
        first: usize,
        /// First entry behind it.
        end: usize,
        /// Which of its entries.
        choice: Choice,
    },
}

/// Some of the entries between two flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Choice {
    /// All but one: `-12`.
    Without(usize),
    /// One alone: `+12`.
    Only(usize),
    /// Those of the modelled entries whose bits are set, and all others: `m5`, hexadecimal.
    Mask(u64),
    /// Each with even odds, drawn from a seed: `r1f`, hexadecimal.
    Drawn(u64),
    /// All, and every boot record among them is torn: `t`.
    TornRecords,
}

/// A piece of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The entry.
    pub entry: usize,
    /// Its sectors, counted from its first.
    pub sectors: Range<u64>,
    /// Whether they hold [`TORN`] instead.
    pub is_torn: bool,
}

impl Recipe {
    /// Entries before this one are there as a whole.
    pub const fn base(&self) -> usize {
        match self {
            Self::Prefix { entry, .. } | Self::Torn { entry, .. } => *entry,
            Self::Epoch { first, .. } => *first,
        }
    }

    /// Whether a log has what it names.
    pub fn is_of(&self, log: &Log) -> bool {
        let cut = |entry: usize, sectors: u64| {
            log.entries().get(entry).is_some_and(|entry| sectors <= entry.sectors)
        };
        match *self {
            Self::Prefix { entry, sectors } => cut(entry, sectors),
            Self::Torn { entry, sectors } => cut(entry, sectors + 1),
            Self::Epoch { first, end, .. } => first < end && end <= log.entries().len(),
        }
    }

    /// What is written on top of that, in order.
    pub fn pieces(&self, log: &Log, map: &Map) -> Vec<Piece> {
        let whole = |entry: usize| Piece { entry, sectors: 0..log.entries()[entry].sectors, is_torn: false };
        match *self {
            Self::Prefix { entry, sectors } => vec![Piece { entry, sectors: 0..sectors, is_torn: false }],
            Self::Torn { entry, sectors } => vec![
                Piece { entry, sectors: 0..sectors, is_torn: false },
                Piece { entry, sectors: sectors..sectors + 1, is_torn: true },
            ],
            Self::Epoch { first, end, choice } => {
                let modelled = modelled(log, map, first..end);
                let mut pieces: Vec<Piece> =
                    (first..end).filter(|entry| choice.takes(*entry, log, &modelled)).map(whole).collect();
                if choice == Choice::TornRecords {
                    pieces.extend(
                        record_sectors(log, map, first..end).into_iter().map(|(entry, sector)| Piece {
                            entry,
                            sectors: sector..sector + 1,
                            is_torn: true,
                        }),
                    );
                }
                pieces
            }
        }
    }
}

impl Choice {
    /// Whether the entry is there; `modelled` are those of its epoch.
    pub fn takes(self, entry: usize, log: &Log, modelled: &[usize]) -> bool {
        log.entries()[entry].durable
            || match self {
                Self::Without(left_out) => entry != left_out,
                Self::Only(kept) => entry == kept,
                Self::Mask(mask) => {
                    let position = modelled.iter().position(|one| *one == entry);
                    position.is_none_or(|position| mask >> position & 1 == 1)
                }
                Self::Drawn(seed) => mix(seed ^ mix(entry as u64)) & 1 == 1,
                Self::TornRecords => true,
            }
    }
}

/// The entries of a range that write to modelled regions.
pub fn modelled(log: &Log, map: &Map, range: Range<usize>) -> Vec<usize> {
    range.filter(|entry| region(log, map, *entry).is_some()).collect()
}

/// The modelled region that an entry writes to. Regions are so large that it reaches into two at most: the cache of the whole
/// disk is written in pages, and the backup table is no whole number of them.
pub fn region(log: &Log, map: &Map, entry: usize) -> Option<Region> {
    let Range { start, end } = log.entries()[entry].range();
    let ends = (start < end).then(|| [start, end - 1].map(|sector| map.region(sector)));
    ends?.into_iter().find(|region| region.is_modelled())
}

/// The sectors of boot records that are written, by entry and index in it.
pub fn record_sectors(log: &Log, map: &Map, range: Range<usize>) -> Vec<(usize, u64)> {
    let within = |entry: usize| {
        let written = log.entries()[entry].range();
        let records = record_places(map).into_iter().filter(move |record| written.contains(record));
        records.map(move |record| (entry, record - log.entries()[entry].sector))
    };
    range.flat_map(within).collect()
}

/// Where the two records lie.
pub fn record_places(map: &Map) -> [u64; 2] {
    let start = region::range(&layout::BOOTSTATE, map.sectors).start;
    layout::BOOTSTATE_RECORD_OFFSETS_BYTES.map(|offset| start + offset / SECTOR_BYTES)
}

impl fmt::Display for Recipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix { entry, sectors } => write!(formatter, "p{entry}.{sectors}"),
            Self::Torn { entry, sectors } => write!(formatter, "t{entry}.{sectors}"),
            Self::Epoch { first, end, choice } => {
                write!(formatter, "e{first}-{end}")?;
                match choice {
                    Choice::Without(entry) => write!(formatter, "-{entry}"),
                    Choice::Only(entry) => write!(formatter, "+{entry}"),
                    Choice::Mask(mask) => write!(formatter, "m{mask:x}"),
                    Choice::Drawn(seed) => write!(formatter, "r{seed:x}"),
                    Choice::TornRecords => formatter.write_str("t"),
                }
            }
        }
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).with_context(|| format!("{text:?} names no state"))
    }
}

fn parse(text: &str) -> Option<Recipe> {
    let cut = |rest: &str| -> Option<(usize, u64)> {
        let (entry, sectors) = rest.split_once('.')?;
        Some((entry.parse().ok()?, sectors.parse().ok()?))
    };
    if let Some(rest) = text.strip_prefix('p') {
        return cut(rest).map(|(entry, sectors)| Recipe::Prefix { entry, sectors });
    }
    if let Some(rest) = text.strip_prefix('t') {
        return cut(rest).map(|(entry, sectors)| Recipe::Torn { entry, sectors });
    }
    let (first, rest) = text.strip_prefix('e')?.split_once('-')?;
    let digits = rest.find(|character: char| !character.is_ascii_digit())?;
    let (end, choice) = rest.split_at(digits);
    let (kind, value) = choice.split_at_checked(1)?;
    let choice = match kind {
        "-" => Choice::Without(value.parse().ok()?),
        "+" => Choice::Only(value.parse().ok()?),
        "m" => Choice::Mask(u64::from_str_radix(value, 16).ok()?),
        "r" => Choice::Drawn(u64::from_str_radix(value, 16).ok()?),
        "t" if value.is_empty() => Choice::TornRecords,
        _ => return None,
    };
    Some(Recipe::Epoch { first: first.parse().ok()?, end: end.parse().ok()?, choice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let epoch = |choice| Recipe::Epoch { first: 10, end: 20, choice };
        for (recipe, text) in [
            (Recipe::Prefix { entry: 12, sectors: 3 }, "p12.3"),
            (Recipe::Torn { entry: 12, sectors: 0 }, "t12.0"),
            (epoch(Choice::Without(12)), "e10-20-12"),
            (epoch(Choice::Only(12)), "e10-20+12"),
            (epoch(Choice::Mask(0xa5)), "e10-20ma5"),
            (epoch(Choice::Drawn(u64::MAX)), "e10-20rffffffffffffffff"),
            (epoch(Choice::TornRecords), "e10-20t"),
        ] {
            assert_eq!(recipe.to_string(), text);
            assert_eq!(text.parse::<Recipe>().unwrap(), recipe);
        }
        for text in ["", "p12", "x1.1", "e10-20", "e10-20x1", "e10-20t1", "e-20-1", "p1.é"] {
            assert!(text.parse::<Recipe>().is_err(), "{text}");
        }
    }
}
