//! A node goes from release to release under load, brought by whatever way, and back.

#![allow(missing_docs)]

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use support::{
    BOOT, bed, blueprint, folder,
    load::Load,
    mirror::{Manner, Mirror},
    up,
    upgrade::{Slot, running, settle, slots},
};
use testbed::{
    bed::{Bed, Releases},
    network::Network,
    node::{Node, POD_PORT},
};

const UPGRADES: u16 = 2;
const UPGRADES_LONG: u16 = 10;
/// Label of the volume with the releases.
const VOLUME: &str = "CAIRNRELEASE";
/// Until the node has read its channel, installed what is due to it and confirmed it.
const BY_ITSELF: Duration = Duration::from_secs(600);
/// What the configuration says on the last release alone.
const SYSCTL: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Sysctl\nvalues: {net.core.somaxconn: 4095}\n";

/// How a release comes to the node.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// From a volume in the node.
    Volume,
    /// From the computer of the admin.
    Push,
    /// The node takes it by itself, as its channel says, past a mirror that lies.
    Channel,
}

#[test]
fn releases_follow_one_another_under_load_and_the_way_leads_back() {
    let bed = bed();
    let releases = bed.releases(if bed.long { UPGRADES_LONG } else { UPGRADES }).unwrap();
    let mut blueprint = blueprint(&bed, "upgrade");
    blueprint.hardware.network = Network::Open;
    blueprint.hardware.extra = volume(&bed, &releases);
    let mut node = up(&bed, &blueprint);
    node.osctl(&["health", "--wait"]).unwrap();
    let load = Load::on(node.forwarded(POD_PORT).unwrap());
    load.wait_for_answer(BOOT);
    let mut before = running(&node);
    let mut away = Vec::new();
    for (index, version) in releases.versions.iter().enumerate() {
        let began = Instant::now();
        let way = match index {
            // The channel leads to the last one.
            _ if index + 1 == releases.versions.len() => Way::Channel,
            _ if index % 2 == 0 => Way::Volume,
            _ => Way::Push,
        };
        let told = upgrade(&mut node, &releases, version, way);
        let took = began.elapsed();
        load.wait_for_answer(BOOT);
        assert_eq!(slots(&node), [confirmed(version, true), confirmed(&before, false)]);
        let gap = load.longest_gap(began);
        println!("to {version}, {way:?}: {} s, the pod away for {} s; {told}", took.as_secs(), gap.as_secs());
        away.push(gap);
        before.clone_from(version);
    }
    an_older_release_needs_leave(&node, &releases);
    back(&node, &load, &releases);
    let (answered, failed) = load.count();
    let longest = away.iter().max().map_or(0, Duration::as_secs);
    println!(
        "{} upgrades: {answered} requests answered, {failed} not; the pod away for {longest} s at most",
        away.len()
    );
}

fn confirmed(version: &str, active: bool) -> Slot {
    Slot { version: version.to_owned(), state: "confirmed".to_owned(), active }
}

/// A volume with the releases, as QEMU's arguments.
fn volume(bed: &Bed, releases: &Releases) -> Vec<String> {
    let image = folder(bed, "upgrade-volume").join("releases.img");
    let (path, content) = (image.to_string_lossy(), releases.repository.to_string_lossy());
    let bytes: u64 = size(&releases.repository) + (64 << 20);
    let blocks = format!("{}k", bytes / 1024);
    bed.programs().run("mkfs.ext4", &["-q", "-L", VOLUME, "-d", &content, &path, &blocks]).unwrap();
    vec!["-drive".into(), format!("if=virtio,format=raw,readonly=on,file={path}")]
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => size(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    sizes.sum()
}

/// Returns what osctl says of the blocks, if it is asked at all.
fn upgrade(node: &mut Node, releases: &Releases, version: &str, way: Way) -> String {
    let repository = releases.repository.to_string_lossy();
    let source = match way {
        Way::Volume => ["--volume", VOLUME],
        Way::Push => ["--release", &repository],
        Way::Channel => return by_itself(node, releases, version),
    };
    let arguments = [&["upgrade"], &source[..], &["--version", version, "--wait"]].concat();
    let output = node.osctl_output(&arguments).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    errors.lines().find(|line| line.contains("reading back")).unwrap_or_default().to_owned()
}

/// The node's first mirror lies about all that the metadata vouches for, its second one does not.
fn by_itself(node: &mut Node, releases: &Releases, version: &str) -> String {
    let mirrors = [Manner::Lying, Manner::Honest].map(|manner| Mirror::of(&releases.repository, manner));
    let update = format!(
        "apiVersion: {}\nkind: Update\nchannel: {}\nsources: {:?}\nautomatic: true\n",
        config::API_VERSION,
        releases.fast_channel,
        mirrors.each_ref().map(Mirror::url),
    );
    let patch = node.files().folder().join("update.yaml");
    fs::write(&patch, update).unwrap();
    node.machine.console().skip().unwrap();
    node.osctl(&["patch", "config", "-f", &patch.to_string_lossy()]).unwrap();
    node.machine.wait_for("cairn: starting slot", BY_ITSELF).unwrap();
    node.wait_for_pod().unwrap();
    settle(node);
    assert_eq!(running(node), version);
    let answers = mirrors.each_ref().map(Mirror::answers);
    assert!(answers.iter().all(|(manifests, content)| *manifests > 0 && *content > 0), "{answers:?}");
    format!("{answers:?} manifests and answers with content of a mirror that lies and of an honest one")
}

fn an_older_release_needs_leave(node: &Node, releases: &Releases) {
    let [.., before, _] = releases.versions.as_slice() else { panic!("{releases:?}") };
    refused(node, releases, before, "--allow-downgrade");
}

fn refused(node: &Node, releases: &Releases, version: &str, hint: &str) {
    let repository = releases.repository.to_string_lossy();
    let refused = node.osctl_output(&["upgrade", "--release", &repository, "--version", version]).unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains(hint), "{errors}");
}

/// Returns to the release before the last and to the configuration that was confirmed with it. The one that is left
/// is not installed unasked again.
fn back(node: &Node, load: &Load, releases: &Releases) {
    let [.., before, last] = releases.versions.as_slice() else { panic!("{releases:?}") };
    let patch = node.files().folder().join("patch.yaml");
    fs::write(&patch, SYSCTL).unwrap();
    node.osctl(&["patch", "config", "-f", &patch.to_string_lossy()]).unwrap();
    let has_patch = || node.osctl(&["get", "config"]).unwrap().contains("4095");
    assert!(has_patch());
    let began = Instant::now();
    let told = node.osctl(&["rollback", "--wait"]).unwrap();
    assert!(told.contains(&format!("runs {before}")), "{told}");
    load.wait_for_answer(BOOT);
    println!("back to {before}: {} s", began.elapsed().as_secs());
    assert_eq!(running(node), *before);
    assert!(!has_patch(), "the configuration did not follow the release back");
    refused(node, releases, last, "--retry-failed");
}
