//! `cargo xtask bench`: the figures of one run, on this machine, against each other.
//!
//! Times are told as ratios of boots that took turns, because absolute ones say more about the host than about
//! Cairn. Only what docs/SPECIFICATION.md limits can fail a run. Start reading at [`run`].

mod boots;
pub mod delta;
mod figures;
mod idle;
mod serial;
mod sizes;

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use self::figures::{Figure, Report};
use crate::{
    build::Built,
    cache,
    report::{Step, say},
    test,
};

/// What can be chosen.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    output: String,
    /// Boots of each kind; their median is given
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Length of the window in which an idle node's writes are counted
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    idle_minutes: u32,
    /// Measure only this
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// Parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Times of boots.
    Boots,
    /// Memory and writes.
    Idle,
    /// Sizes of what is shipped.
    Sizes,
}

/// Measures and prints.
pub fn run(repository: &Path, built: &Built, options: &Options) -> Result<()> {
    let tools = built.tools()?;
    let bed = test::bed(repository, built, "bench", false)?;
    let wanted = |part| options.only.is_none_or(|only| only == part);
    let mut figures: Vec<Figure> = Vec::new();
    if wanted(Part::Sizes) {
        let step = Step::start("sizes", "of what is shipped");
        figures.extend(sizes::measure(built)?);
        step.done();
    }
    if wanted(Part::Boots) {
        let serial_disk = serial::disk(repository, built)?;
        let kept = format!("consoles are in {}", bed.work.display());
        figures.extend(boots::measure(&bed, &tools, &serial_disk, options.rounds).context(kept)?.figures());
    }
    if wanted(Part::Idle) {
        let kept = format!("consoles are in {}", bed.work.display());
        figures.extend(idle::measure(&bed, &tools, options.idle_minutes).context(kept)?);
    }
    cache::remove(&bed.work)?;
    let accelerator = format!("{:?}", bed.accelerator).to_lowercase();
    let report = Report { commit: commit(repository)?, accelerator, rounds: options.rounds, figures };
    match options.output.as_str() {
        "json" => println!("{}", report.json()?),
        _ => print!("{}", report.table()),
    }
    judge(&report.figures)
}

fn judge(figures: &[Figure]) -> Result<()> {
    let broken: Vec<&str> =
        figures.iter().filter(|figure| figure.breaks_limit()).map(|figure| figure.key).collect();
    if !broken.is_empty() {
        bail!("limits of docs/SPECIFICATION.md are broken: {}", broken.join(", "));
    }
    say("every limit of docs/SPECIFICATION.md holds");
    Ok(())
}

fn commit(repository: &Path) -> Result<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .current_dir(repository)
        .output()
        .context("cannot run git")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
