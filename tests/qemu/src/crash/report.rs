//! What came of a run.

use std::{fmt::Write as _, ops::Range};

use anyhow::Result;
use crashcheck::{log::Log, recipe, region::Map};
use serde::Serialize;

/// What came of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Makes the same choices from the same recording.
    pub seed: u64,
    /// Different disk states that were judged.
    pub states: u64,
    /// States that were really booted.
    pub booted: u64,
    /// Of those, the ones whose node did not answer.
    pub lost: u64,
    /// States from which no slot comes up.
    pub without_bootable_slot: Vec<Finding>,
    /// States in which a slot comes up, but not all is as it must be.
    pub unsound: Vec<Finding>,
    /// Booted nodes that did not answer, or ran another slot than was foretold.
    pub boots: Vec<Finding>,
    /// File systems that were checked, and what was wrong with them.
    pub volumes: Volumes,
    /// What was recorded.
    pub recordings: Vec<RecordingCounts>,
    /// How long the search took, without recording and boots.
    pub search_s: f64,
    /// How long everything took.
    pub duration_s: f64,
}

/// A state with something wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Makes the state again: `--state`.
    pub state: String,
    /// What is wrong.
    pub what: String,
}

/// File systems that were looked into.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Volumes {
    /// STATE.
    pub state: u64,
    /// DATA.
    pub data: u64,
    /// Those that the node could not have used.
    pub damaged: Vec<Finding>,
}

/// Writes of one kind of work.
#[derive(Clone, Debug, Serialize)]
pub struct RecordingCounts {
    /// What the node did.
    pub name: String,
    /// Writes and flushes.
    pub entries: u64,
    /// Sectors written to what is modelled.
    pub sectors: u64,
    /// Flushes.
    pub flushes: u64,
    /// Different disk states that this work added.
    pub states: u64,
}

impl RecordingCounts {
    /// Of a part of a log.
    pub fn new(name: &str, log: &Log, map: &Map, part: Range<usize>, states: u64) -> Self {
        let entries = &log.entries()[part.clone()];
        let modelled = recipe::modelled(log, map, part).into_iter();
        Self {
            name: name.to_owned(),
            entries: entries.len() as u64,
            sectors: modelled.map(|entry| log.entries()[entry].sectors).sum(),
            flushes: entries.iter().filter(|entry| entry.flushes).count() as u64,
            states,
        }
    }
}

/// More of a kind are counted, not listed.
const LISTED_MAX: usize = 20;

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        let findings = [&self.without_bootable_slot, &self.unsound, &self.boots, &self.volumes.damaged];
        self.lost == 0 && findings.iter().all(|findings| findings.is_empty())
    }

    /// As JSON.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            writeln!(text, "{name:<44}{value:>12}").ok();
        };
        for recording in &self.recordings {
            let RecordingCounts { name, entries, sectors, flushes, states } = recording;
            line(&format!("{name}: writes and flushes (flushes)"), format!("{entries} ({flushes})"));
            line(&format!("{name}: sectors of what is modelled"), sectors.to_string());
            line(&format!("{name}: states"), states.to_string());
        }
        line("states", self.states.to_string());
        line("  without a bootable slot", self.without_bootable_slot.len().to_string());
        line("  with something else wrong", self.unsound.len().to_string());
        line("STATE and DATA checked", format!("{} + {}", self.volumes.state, self.volumes.data));
        line("  beyond use", self.volumes.damaged.len().to_string());
        line("states booted", self.booted.to_string());
        line("  lost", self.lost.to_string());
        line("seed", self.seed.to_string());
        line("seconds (of the search)", format!("{:.0} ({:.0})", self.duration_s, self.search_s));
        for (kind, findings) in [
            ("without a bootable slot", &self.without_bootable_slot),
            ("not sound", &self.unsound),
            ("volume", &self.volumes.damaged),
            ("boot", &self.boots),
        ] {
            for Finding { state, what } in findings.iter().take(LISTED_MAX) {
                writeln!(text, "{kind}: state {state}: {what}").ok();
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_finding_is_shown_and_counts() {
        let mut report = Report { seed: 7, states: 3, ..Report::default() };
        assert!(report.is_clean());
        report.unsound.push(Finding { state: "p1.2".into(), what: "both boot records are lost".into() });
        assert!(!report.is_clean());
        assert!(report.table().contains("not sound: state p1.2: both boot records are lost"));
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((&json["states"], &json["lost"], &json["seed"]), (&3.into(), &0.into(), &7.into()));
        assert_eq!(json["unsound"][0]["state"], "p1.2");
        let lost = Report { lost: 1, ..Report::default() };
        assert!(!lost.is_clean());
    }
}
