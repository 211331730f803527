//! Power cut at every write of a change: the recorded writes are replayed up to each sector, and STATE must hold the old
//! generation or the new one, whole.

#![allow(missing_docs)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use aws_lc_rs::digest::{SHA256, digest};
use crashcheck::{disk::Disk, log::Log, recipe::Recipe};
use generation::{Generation, Index};
use serde_json::json;
use support::{BOOT, Random, bed, blueprint, partition_start, tools, up};
use testbed::{
    bed::Bed,
    machine::{self, Files},
    node::{Blueprint, Node},
    replay::{Replay, cuts, extract},
};

/// Cuts of which STATE is looked into, and cuts that are booted.
const CI: (usize, usize) = (60, 2);
const LONG: (usize, usize) = (1000, 30);
const NAMES: [&str; 3] = ["replayed", "second", "third"];

#[test]
fn every_prefix_of_a_change_holds_a_whole_generation() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, NAMES[0]);
    blueprint.probe_image = None;
    let (node, recorded) = record(&bed, &blueprint);
    let state = partition_start(layout::STATE.number)..partition_start(layout::DATA.number);
    let log = Log::open(&recorded.log).unwrap();
    let cuts = cuts(&log, state.clone());
    let (looks, boots) = if bed.long { LONG } else { CI };
    assert!(cuts.len() >= looks, "only {} sectors of STATE were written", cuts.len());
    println!("{} sectors of STATE were written", cuts.len());

    let mut random = Random::seeded(&bed, "replay");
    let looked = chosen(&mut random, &cuts, looks);
    let booted: BTreeSet<Recipe> = chosen(&mut random, &looked.iter().copied().collect::<Vec<_>>(), boots);
    let disk = recorded.folder.join("replayed.raw");
    fs::rename(&recorded.before, &disk).unwrap();
    let map = Disk::new(&disk, fs::metadata(&disk).unwrap().len()).unwrap().map().clone();
    let mut replay = Replay::new(&log, map, &disk).unwrap();
    let (started, mut last, mut seen) = (Instant::now(), Generation(0), BTreeSet::new());
    for cut in &looked {
        replay.make(cut).unwrap();
        let name = look(&bed, &recorded.folder, &disk, state.clone(), &mut last)
            .unwrap_or_else(|error| panic!("at {cut}: {error}"));
        if booted.contains(cut) {
            boots_as(&bed, &blueprint, &node, &disk, &name);
        }
        seen.insert(name);
    }
    println!(
        "{} prefixes in {:.0} s, {} booted",
        looked.len(),
        started.elapsed().as_secs_f64(),
        booted.len()
    );
    assert!(seen.contains(NAMES[0]) && seen.contains(NAMES[2]), "only {seen:?} were seen");
}

/// What a recording left.
struct Recorded {
    folder: PathBuf,
    /// The disk before the first recorded write, raw.
    before: PathBuf,
    log: PathBuf,
}

/// Records a boot with two changes of the configuration.
fn record(bed: &Bed, blueprint: &Blueprint) -> (Node, Recorded) {
    let mut node = up(bed, blueprint);
    node.osctl(&["shutdown"]).unwrap();
    node.machine.wait_for_end(BOOT).unwrap();
    let folder = node.files().folder().to_owned();
    let recorded = Recorded { before: folder.join("before.raw"), log: folder.join("writes.log"), folder };
    let (disk, before) = (node.files().disk(), recorded.before.to_string_lossy().into_owned());
    bed.programs().run("qemu-img", &["convert", "-O", "raw", &disk.to_string_lossy(), &before]).unwrap();
    fs::write(&recorded.log, []).unwrap();
    node.hardware().write_log = Some(recorded.log.clone());
    node.restart().unwrap();
    node.wait_for_fingerprint().unwrap();
    for name in &NAMES[1..] {
        let patch = recorded.folder.join("patch.yaml");
        fs::write(&patch, format!("apiVersion: {}\nkind: Machine\nhostname: {name}\n", config::API_VERSION))
            .unwrap();
        node.osctl(&["patch", "config", "-f", &patch.to_string_lossy()]).unwrap();
    }
    node.machine.qmp().unwrap().execute("quit", json!({})).unwrap();
    node.machine.wait_for_end(BOOT).unwrap();
    (node, recorded)
}

fn chosen(random: &mut Random, cuts: &[Recipe], wanted: usize) -> BTreeSet<Recipe> {
    // The last one too: it holds the newest generation.
    let mut chosen: BTreeSet<Recipe> = cuts.first().into_iter().chain(cuts.last()).copied().collect();
    while chosen.len() < wanted.min(cuts.len()) {
        chosen.insert(cuts[usize::try_from(random.below(cuts.len() as u64)).unwrap()]);
    }
    chosen
}

/// Looks into STATE as the next boot would: repairs it, then reads the index and the generation that boots run.
/// Returns the host name of that generation.
fn look(
    bed: &Bed,
    folder: &Path,
    disk: &Path,
    state: std::ops::Range<u64>,
    last: &mut Generation,
) -> Result<String, String> {
    let (image, files) = (folder.join("state.img"), folder.join("state"));
    extract(disk, state, &image).map_err(|error| error.to_string())?;
    let (image, target) = (image.to_string_lossy().into_owned(), files.to_string_lossy().into_owned());
    let repaired = bed.programs().command("e2fsck").args(["-fy", &image]).output().unwrap();
    // 1: errors were corrected.
    if !matches!(repaired.status.code(), Some(0 | 1)) {
        return Err(format!("STATE is beyond repair: {}", String::from_utf8_lossy(&repaired.stdout)));
    }
    fs::remove_dir_all(&files).ok();
    fs::create_dir(&files).unwrap();
    bed.programs()
        .run("debugfs", &["-R", &format!("rdump /config {target}"), &image])
        .map_err(|error| error.to_string())?;
    let index = index(&files.join("config"))?;
    let confirmed = index.confirmed();
    if confirmed < *last {
        return Err(format!("generation {confirmed} is confirmed after {last} was"));
    }
    *last = confirmed;
    let text = text(&files.join("config/generations").join(confirmed.file_name()))?;
    let parsed = config::parse(&text).map_err(|errors| errors.to_string())?;
    let name = parsed.hostname.ok_or("it has no host name")?;
    if NAMES.contains(&name.as_str()) { Ok(name) } else { Err(format!("nobody gave the name {name:?}")) }
}

fn index(folder: &Path) -> Result<Index, String> {
    let read = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
        Index::decode(&text).map_err(|error| format!("{name}: {error}"))
    };
    read("index.json").or_else(|first| read("index-2.json").map_err(|second| format!("{first}; {second}")))
}

fn text(path: &Path) -> Result<String, String> {
    let content = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (text, sealed) = content.rsplit_once("\n# sha256 ").ok_or("a generation is cut off")?;
    let found: String =
        digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if sealed.trim_end() == found {
        Ok(text.to_owned())
    } else {
        Err("a generation is not what was written".into())
    }
}

/// Boots the disk as it is and asks the node for its name. The disk itself stays as it is.
fn boots_as(bed: &Bed, blueprint: &Blueprint, recorded: &Node, disk: &Path, name: &str) {
    let tools = tools(bed);
    let folder = support::folder(bed, "replayed-boot");
    for file in ["osctl.yaml", "secrets.yaml"] {
        fs::copy(recorded.files().folder().join(file), folder.join(file)).unwrap();
    }
    let files = Files::new(&folder);
    machine::create_disk(&tools.programs, disk, &files, &blueprint.disk_size).unwrap();
    let mut node = Node::start(&tools, blueprint, &files).unwrap();
    node.wait_for_fingerprint().unwrap();
    let endpoint = node.endpoint();
    let version = node.osctl(&["-n", &endpoint, "version", "-o", "json"]).unwrap();
    assert!(version.contains(&format!("\"{name}\"")), "not {name}: {version}");
    node.wait_for_pod().unwrap();
}
