//! Crash replay: every disk state that a power cut could have left while a node worked, judged by `crashcheck`; of them a
//! sample whose file systems are looked into, and a sample that is really booted.
//!
//! A [`Recording`] is made once and kept when something was found, so that `cargo xtask crash --recording FOLDER --state
//! ID` makes any of its states again. Start reading at [`run`]; docs/crash-replay.md says what is modelled.

mod boot;
mod closer;
mod recording;
mod report;
mod sample;
mod volumes;

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use crashcheck::{
    chain::Fault,
    log::Log,
    recipe::Recipe,
    search::{Bounds, Search},
};

use self::{
    boot::Foretold,
    closer::{Chosen, Closer, Samples},
    volumes::Volumes,
};
pub use self::{
    recording::Recording,
    report::{Finding, RecordingCounts, Report},
};
use crate::{bed::Bed, replay::Replay};

/// More bad states than anybody reads: the search ends.
const FINDINGS_MAX: usize = 1000;
/// The state that is looked at, a raw image.
const DISK: &str = "disk.raw";

/// How much is done beyond judging every state.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// States that are booted.
    pub boots: usize,
    /// States whose STATE is looked into.
    pub state_looks: usize,
    /// States whose DATA is looked into.
    pub data_looks: usize,
    /// Upgrades that are recorded after the first boot.
    pub upgrades: u16,
}

impl Effort {
    /// Of the test command.
    pub const CI: Self = Self { boots: 3, state_looks: 20, data_looks: 2, upgrades: 1 };
    /// Of the long form.
    pub const LONG: Self = Self { boots: 200, state_looks: 500, data_looks: 50, upgrades: 2 };
}

/// Judges all states of a recording, and looks closer at some that the seed chooses.
pub fn run(
    bed: &Bed,
    recording: &Recording,
    seed: u64,
    effort: Effort,
    progress: &mut dyn FnMut(String),
) -> Result<Report> {
    let started = Instant::now();
    let mut report = Report { seed, ..Report::default() };
    let log = recording.log()?;
    let chosen = search(recording, &log, effort, &mut report)?;
    report.search_s = started.elapsed().as_secs_f64();
    progress(format!("{} states in {:.0} s", report.states, report.search_s));
    look_closer(bed, recording, &log, &chosen, &mut report, progress)?;
    report.duration_s = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Makes one state, judges it, looks into its file systems and boots it.
pub fn reproduce(bed: &Bed, recording: &Recording, recipe: &Recipe) -> Result<Report> {
    let started = Instant::now();
    let log = recording.log()?;
    ensure!(recipe.is_of(&log), "the recording has no state {recipe}");
    let verdict = Search::judge(&log, recording.disk()?, recipe)?;
    let mut report = Report { states: 1, ..Report::default() };
    if let Some(fault) = verdict.fault {
        file(recipe, fault, format!("{fault}: {:?}", verdict.starts), &mut report)?;
    }
    let mut chosen = Chosen::new();
    *closer::entry(&mut chosen, *recipe) = Closer::all(&verdict);
    look_closer(bed, recording, &log, &chosen, &mut report, &mut |_| {})?;
    report.duration_s = started.elapsed().as_secs_f64();
    Ok(report)
}

fn search(recording: &Recording, log: &Log, effort: Effort, report: &mut Report) -> Result<Chosen> {
    let disk = recording.disk()?;
    let map = disk.map().clone();
    let mut search = Search::new(log, disk, Bounds::DEFAULT, report.seed);
    let mut samples = Samples::new(report.seed, effort);
    let mut first = 0;
    for (index, phase) in recording.phases.iter().enumerate() {
        let end = log.entries_within(phase.log_bytes);
        let before = report.states;
        search.run(first..end, &mut |state| {
            report.states += 1;
            samples.offer(index, state);
            let Some(fault) = state.verdict.fault else { return Ok(()) };
            let what = format!("{fault}, after a write to {}", state.region.name());
            file(&state.recipe, fault, what, report)
        })?;
        let states = report.states - before;
        report.recordings.push(RecordingCounts::new(&phase.name, log, &map, first..end, states));
        first = end;
    }
    Ok(samples.draw(effort))
}

fn file(recipe: &Recipe, fault: Fault, what: String, report: &mut Report) -> Result<()> {
    let list = if fault.is_unbootable() { &mut report.without_bootable_slot } else { &mut report.unsound };
    list.push(Finding { state: recipe.to_string(), what });
    if list.len() >= FINDINGS_MAX {
        bail!("{FINDINGS_MAX} states are bad, the first: {:?}", list[0]);
    }
    Ok(())
}

fn look_closer(
    bed: &Bed,
    recording: &Recording,
    log: &Log,
    chosen: &Chosen,
    report: &mut Report,
    progress: &mut dyn FnMut(String),
) -> Result<()> {
    let work = bed.work.join("crash-states");
    std::fs::create_dir_all(&work)?;
    let disk = work.join(DISK);
    recording.copy_base(&disk)?;
    let mut replay = Replay::new(log, recording.disk()?.map().clone(), &disk)?;
    let programs = bed.programs();
    let volumes = Volumes::new(&programs, &work);
    for ((_, recipe), closer) in chosen {
        replay.make(recipe).with_context(|| format!("cannot make state {recipe}"))?;
        if closer.state {
            report.volumes.state += 1;
            note(recipe, "STATE", volumes.check_state(&disk), &mut report.volumes.damaged);
        }
        if closer.data {
            report.volumes.data += 1;
            note(recipe, "DATA", volumes.check_data(&disk), &mut report.volumes.damaged);
        }
        if let Some(slot) = closer.boot {
            let foretold = Foretold { slot, is_adopted: recording.is_adopted(log, recipe) };
            boot_one(bed, recording, &work, (recipe, foretold), report, progress)?;
        }
    }
    Ok(std::fs::remove_dir_all(work)?)
}

fn boot_one(
    bed: &Bed,
    recording: &Recording,
    work: &Path,
    (recipe, foretold): (&Recipe, Foretold),
    report: &mut Report,
    progress: &mut dyn FnMut(String),
) -> Result<()> {
    let started = Instant::now();
    let folder = work.join("boot");
    let booted = boot::boot(bed, recording, &work.join(DISK), &folder, foretold);
    report.booted += 1;
    let verdict = if booted.is_ok() { "answers" } else { "is LOST" };
    progress(format!("state {recipe} {verdict} after {:.0} s", started.elapsed().as_secs_f64()));
    if let Err(error) = booted {
        report.lost += 1;
        report.boots.push(Finding { state: recipe.to_string(), what: format!("{error:#}") });
        // Its console tells why.
        std::fs::rename(&folder, recording.folder.join(format!("lost-{recipe}")))?;
    }
    Ok(())
}

fn note(recipe: &Recipe, volume: &str, checked: Result<()>, damaged: &mut Vec<Finding>) {
    if let Err(error) = checked {
        damaged.push(Finding { state: recipe.to_string(), what: format!("{volume}: {error:#}") });
    }
}
