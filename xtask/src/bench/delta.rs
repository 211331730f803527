//! `cargo xtask bench-delta`: what an update costs to fetch, against the whole release and against other methods.
//!
//! Each case is a next release with one thing changed besides its version. A node that runs the release of this source
//! tree in slot A fetches what slot B needs of it.

mod blocks;
mod rivals;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;

use crate::{
    build::{
        self,
        image::{Inputs, SlotFiles, plan, slot_files, slot_files_of},
        kernel,
        rust::{self, DAEMONS, Edit, RustPrograms, STATIC},
    },
    cache,
    report::Step,
    sdk::{self, Rivals},
};

/// One value in machined.
const CONSTANT: Edit = Edit {
    name: "edited-constant",
    file: "machined/src/controllers/services.rs",
    from: "const REFRESH: Duration = Duration::from_secs(30);",
    to: "const REFRESH: Duration = Duration::from_secs(31);",
};
/// A line in machined, which moves what is linked behind it.
const MACHINED: Edit = Edit {
    name: "edited-machined",
    file: "machined/src/main.rs",
    from: "    let run =\n",
    to: "    tracing::info!(release = \"next\", \"machined has a runtime\");\n    let run =\n",
};
/// A line in apid.
const APID: Edit = Edit {
    name: "edited-apid",
    file: "apid/src/main.rs",
    from: "    match run() {\n",
    to: "    tracing::info!(release = \"next\", \"apid begins\");\n    match run() {\n",
};
/// A line in PID 1.
const INIT: Edit = Edit {
    name: "edited-init",
    file: "init/src/main.rs",
    from: "    emergency::install();\n",
    to: "    emergency::install();\n    kmsg::notice!(\"the next release\");\n",
};

/// Options of `cargo xtask bench-delta`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    output: String,
}

/// What a slot gets, uncompressed and as files of their own.
struct Slot {
    root: PathBuf,
    uki: PathBuf,
    data_blocks: u64,
}

/// A next release.
struct Case<'a> {
    key: &'static str,
    what: String,
    /// Goal of bytes fetched to the whole release, in percent.
    goal_percent: Option<f64>,
    make: Make<'a>,
}

/// Assembles the release in a folder.
type Make<'a> = Box<dyn Fn(&Path) -> Result<SlotFiles> + 'a>;

/// Figures of one case, in bytes.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    what: String,
    goal_percent: Option<f64>,
    /// All that is fetched.
    fetched_bytes: u64,
    fetched_percent: f64,
    /// Of which blocks of the root.
    root_blocks_bytes: u64,
    /// Of which blocks of the UKI.
    uki_blocks_bytes: u64,
    /// Of which leaves of both.
    leaves_bytes: u64,
    /// Ranges in which the blocks are fetched.
    ranges: u64,
    /// RAUC's adaptive method: an index of all blocks and the missing ones, the hash tree being blocks like others.
    rauc_bytes: u64,
    zstd_patch_bytes: u64,
    casync_bytes: u64,
    zchunk_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    commit: String,
    /// The release packed by zstd -19: what a method without a delta fetches.
    full_bytes: u64,
    root_image_bytes: u64,
    cases: Vec<Row>,
}

/// Measures and prints.
pub fn run(repository: &Path, options: &Options) -> Result<()> {
    let sdk = sdk::provide(repository)?;
    let kernel = kernel::provide(repository, &sdk)?;
    let inputs = build::inputs(repository, &sdk, &kernel)?;
    let rivals = sdk::rivals()?;
    // The running slot's UKI names its root's partition, the next one's the other: so it is in the field.
    let files = slot_files(&inputs)?;
    let base = Slot { root: files.root, uki: files.a, data_blocks: files.facts.data_blocks };
    let next = Inputs { version: build::next_version(1)?, ..inputs };
    let full_bytes = super::sizes::compressed(&sdk, &[&base.root, &base.uki])?;
    let scratch = cache::scratch("bench-delta")?.join(std::process::id().to_string());
    let mut rows = Vec::new();
    for case in cases(&next, &rivals)? {
        let step = Step::start(case.key, "assembling and measuring, about 4 min");
        cache::remove(&scratch)?;
        fs::create_dir_all(&scratch)?;
        rows.push(measure(
            &Tools { sdk: &sdk.root, rivals: &rivals.root, scratch: &scratch },
            &base,
            case,
            full_bytes,
        )?);
        step.done();
    }
    cache::remove(&scratch)?;
    let root_image_bytes = fs::metadata(&base.root)?.len();
    let report = Report { commit: super::commit(repository)?, full_bytes, root_image_bytes, cases: rows };
    match options.output.as_str() {
        "json" => println!("{}", serde_json::to_string_pretty(&report)?),
        _ => print!("{}", table(&report)),
    }
    Ok(())
}

fn cases<'a>(next: &'a Inputs, rivals: &'a Rivals) -> Result<Vec<Case<'a>>> {
    let Inputs { repository, sdk, .. } = next;
    let assemble = |inputs: &Inputs, into: &Path| slot_files_of(inputs, &plan(inputs)?, into);
    let with = move |rust, into: &Path| assemble(&Inputs { rust, ..next.clone() }, into);
    let daemons = move |edit, into: &Path| {
        let daemons = rust::edited(repository, sdk, &DAEMONS, edit)?;
        with(RustPrograms { daemons, ..next.rust.clone() }, into)
    };
    let init = move |into: &Path| {
        let statics = rust::edited(repository, sdk, &STATIC, &INIT)?;
        with(RustPrograms { statics, ..next.rust.clone() }, into)
    };
    let crun = move |into: &Path| {
        let mut root = plan(next)?;
        root.replace(layout::path::CRUN, &rivals.crun)?;
        slot_files_of(next, &root, into)
    };
    let kernel = move |into: &Path| {
        let kernel = kernel::renamed(repository, sdk, &next.kernel)?;
        assemble(&Inputs { kernel, ..next.clone() }, into)
    };
    let (before, after) = (crun_version(next)?, &rivals.crun_version);
    let crun_change = format!("crun {after} instead of {before}, from Debian");
    let case = |key, what: &str, goal_percent, make: Make<'a>| Case {
        key,
        what: what.to_owned(),
        goal_percent,
        make,
    };
    Ok(vec![
        case("version", "nothing but the version", None, Box::new(move |into| assemble(next, into))),
        case(
            "constant",
            "machined with another constant",
            Some(5.0),
            Box::new(move |into| daemons(&CONSTANT, into)),
        ),
        case("init", "PID 1 with a line more", Some(5.0), Box::new(init)),
        case("apid", "apid with a line more", Some(5.0), Box::new(move |into| daemons(&APID, into))),
        case(
            "machined",
            "machined, the largest, with a line more",
            Some(5.0),
            Box::new(move |into| daemons(&MACHINED, into)),
        ),
        case("crun", &crun_change, Some(8.0), Box::new(crun)),
        case("kernel", "the kernel built under another name", None, Box::new(kernel)),
    ])
}

fn crun_version(inputs: &Inputs) -> Result<String> {
    let output = inputs.sdk.command("dpkg-query").args(["-W", "-f", "${Version}", "crun"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Where programs and temporary files are.
struct Tools<'a> {
    sdk: &'a Path,
    rivals: &'a Path,
    scratch: &'a Path,
}

fn measure(tools: &Tools<'_>, base: &Slot, case: Case<'_>, full_bytes: u64) -> Result<Row> {
    let files = (case.make)(tools.scratch)?;
    let next = Slot { root: files.root, uki: files.b, data_blocks: files.facts.data_blocks };
    let root = blocks::fetched(&base.root, base.data_blocks, &next.root, next.data_blocks)?;
    let uki = blocks::fetched(&base.uki, blocks::count(&base.uki)?, &next.uki, blocks::count(&next.uki)?)?;
    let leaves_bytes = root.leaves_bytes + uki.leaves_bytes;
    let fetched_bytes = root.blocks_bytes + uki.blocks_bytes + leaves_bytes;
    let pairs = [(base.root.as_path(), next.root.as_path()), (&base.uki, &next.uki)];
    let both = |method: &dyn Fn(&Path, &Path) -> Result<u64>| -> Result<u64> {
        pairs.iter().map(|(old, new)| method(old, new)).sum()
    };
    Ok(Row {
        case: case.key,
        what: case.what,
        goal_percent: case.goal_percent,
        fetched_bytes,
        fetched_percent: percent(fetched_bytes, full_bytes),
        root_blocks_bytes: root.blocks_bytes,
        uki_blocks_bytes: uki.blocks_bytes,
        leaves_bytes,
        ranges: root.ranges + uki.ranges,
        rauc_bytes: both(&|old, new| {
            let whole = blocks::fetched(old, blocks::count(old)?, new, blocks::count(new)?)?;
            Ok(whole.blocks_bytes + whole.leaves_bytes)
        })?,
        zstd_patch_bytes: both(&|old, new| rivals::zstd_patch(tools.sdk, old, new))?,
        casync_bytes: both(&|old, new| rivals::casync(tools.rivals, old, new, tools.scratch))?,
        zchunk_bytes: both(&|old, new| rivals::zchunk(tools.rivals, old, new, tools.scratch))?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "no size here is 2^53")]
fn percent(part: u64, whole: u64) -> f64 {
    (10_000.0 * part as f64 / whole as f64).round() / 100.0
}

fn table(report: &Report) -> String {
    let Report { commit, full_bytes, root_image_bytes, cases } = report;
    let mut text = format!(
        "commit {commit}: root image {root_image_bytes} bytes, release by zstd -19 {full_bytes} bytes = 100 %\n"
    );
    let width = cases.iter().map(|row| row.what.len()).max().unwrap_or_default();
    writeln!(
        text,
        "{:width$}  {:>8} {:>6}  {:>10}  {:>8} {:>8} {:>8} {:>8}",
        "", "fetched", "goal", "bytes", "RAUC", "zstd", "casync", "zchunk"
    )
    .ok();
    for row in cases {
        let goal = row.goal_percent.map_or(String::new(), |goal| format!("≤ {goal:.0} %"));
        let share = |bytes| format!("{:.2} %", percent(bytes, *full_bytes));
        writeln!(
            text,
            "{:width$}  {:>8} {goal:>6}  {:>10}  {:>8} {:>8} {:>8} {:>8}",
            row.what,
            share(row.fetched_bytes),
            row.fetched_bytes,
            share(row.rauc_bytes),
            share(row.zstd_patch_bytes),
            share(row.casync_bytes),
            share(row.zchunk_bytes)
        )
        .ok();
    }
    text
}
