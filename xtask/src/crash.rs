//! `cargo xtask crash`: every disk state that a power cut could have left, judged; some of them booted.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use crashcheck::recipe::Recipe;
use testbed::{
    bed::Bed,
    crash::{self, Effort, Recording},
};

use crate::{
    build::Built,
    cache,
    report::{Step, say},
    test,
};

/// What can be chosen.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The form that is in the test command: few boots
    #[arg(long)]
    ci: bool,
    /// Seed of all choices [default: from the commit]
    #[arg(long)]
    seed: Option<u64>,
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    output: String,
    /// States that are booted [default: 200, 3 with --ci]
    #[arg(long)]
    boots: Option<usize>,
    /// Folder of the recording: made there and kept, or used if it is there
    #[arg(long)]
    recording: Option<PathBuf>,
    /// Make, judge and boot this one state of the recording
    #[arg(long, requires = "recording")]
    state: Option<Recipe>,
}

/// Records, judges, boots and prints.
pub fn run(repository: &Path, built: &Built, options: &Options) -> Result<()> {
    let mut bed = test::bed(repository, built, "crash", !options.ci)?;
    bed.seed = options.seed.unwrap_or(bed.seed);
    let mut effort = if options.ci { Effort::CI } else { Effort::LONG };
    effort.boots = options.boots.unwrap_or(effort.boots);
    let recording = record(&bed, options.recording.as_deref(), effort.upgrades)?;
    let report = match &options.state {
        Some(recipe) => crash::reproduce(&bed, &recording, recipe)?,
        None => crash::run(&bed, &recording, bed.seed, effort, &mut |line| say(&format!("  {line}")))?,
    };
    match options.output.as_str() {
        "json" => println!("{}", report.json()?),
        _ => print!("{}", report.table()),
    }
    if !report.is_clean() {
        let folder = recording.folder.display();
        bail!("again: cargo xtask crash --recording {folder} --seed {} [--state ID]", bed.seed);
    }
    cache::remove(&bed.work)
}

fn record(bed: &Bed, folder: Option<&Path>, upgrades: u16) -> Result<Recording> {
    let folder = folder.map_or_else(|| Ok(bed.work.join("recording")), std::path::absolute)?;
    if folder.exists() {
        return Recording::open(&folder);
    }
    let step = Step::start("recording", "a node's life from its first power-on");
    let recording = Recording::make(bed, &folder, upgrades)?;
    step.done();
    Ok(recording)
}
