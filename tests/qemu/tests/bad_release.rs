//! Releases that do not work: the node returns from each by itself, remembers it, and is as it was before.

#![allow(missing_docs)]

mod support;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    BOOT, Random, bed, blueprint,
    flip::{self, Flip},
    partition_start, up,
    upgrade::{running, settle, slots, status},
};
use testbed::{
    bed::{BadRelease, Bed, Releases},
    node::Node,
};
use verity::BLOCK_BYTES;

/// How many kinds a run tries, chosen by its seed among the quick ones; the long form tries all.
const KINDS_IN_CI: usize = 2;
/// A start that hangs is ended by the watchdog after two minutes or by PID 1 after ten, and a release has three.
const VERDICT: &str = "45m";
/// Time for the gate: enough for a good release under emulation on a busy host, and no more.
const GATE: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Update\ngate: {deadline: 150s}\n";
/// What the selector says once it has taken the try away.
const TRIED: &str = "cairn: starting slot B";
const TRIES: usize = 3;

/// What is wrong with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The release itself.
    Release(BadRelease),
    /// A bit of the UKI flips after it was read back.
    UkiCorrupt,
    /// A sector of the UKI cannot be read any more.
    UkiUnreadable,
    /// A bit of so many blocks of the root flips after it was read back.
    RootCorrupt(u64),
}

/// How the node comes to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The gate failed: the release is refused.
    Refused,
    /// The slot did not come so far as to be judged: it is put off.
    Unknown,
    /// It depends on which blocks were hit.
    Either,
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::UkiCorrupt,
        Self::UkiUnreadable,
        Self::Release(BadRelease::InitEnds),
        Self::Release(BadRelease::InitPanics),
        Self::RootCorrupt(1),
        Self::RootCorrupt(2000),
        Self::Release(BadRelease::ApidMute),
        Self::Release(BadRelease::KubeletBroken),
        Self::Release(BadRelease::InitHangs),
        Self::Release(BadRelease::KernelHangs),
        Self::Release(BadRelease::MachinedMute),
    ];

    /// Whether no start of it hangs until something else ends it.
    fn is_quick(self) -> bool {
        let hangs = [BadRelease::InitHangs, BadRelease::KernelHangs, BadRelease::MachinedMute];
        !hangs.into_iter().any(|hanging| self == Self::Release(hanging))
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::UkiCorrupt | Self::UkiUnreadable => Verdict::Unknown,
            Self::RootCorrupt(1) => Verdict::Refused,
            Self::RootCorrupt(_) => Verdict::Either,
            Self::Release(bad) => match bad {
                BadRelease::ApidMute | BadRelease::KubeletBroken => Verdict::Refused,
                BadRelease::InitEnds
                | BadRelease::InitPanics
                | BadRelease::InitHangs
                | BadRelease::KernelHangs
                | BadRelease::MachinedMute => Verdict::Unknown,
            },
        }
    }
}

/// A node, and what it is given.
struct Trial<'a> {
    bed: &'a Bed,
    releases: Releases,
    node: Node,
    before: String,
}

#[test]
fn a_release_that_does_not_work_is_taken_back_by_the_node_itself() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "bad releases");
    let mut trial = Trial::begin(&bed, "bad-release");
    trial.hurry();
    for fault in chosen(&bed, &mut random) {
        let began = Instant::now();
        trial.give(fault, &mut random);
        trial.node.wait_for_pod().unwrap();
        println!("{fault:?}: back after {} s", began.elapsed().as_secs());
        trial.check(fault);
        if fault == Fault::UkiUnreadable {
            trial.node.machine.cut_power().unwrap();
            trial.node.restart().unwrap();
            trial.node.wait_for_pod().unwrap();
        }
    }
    trial.a_good_one_is_kept();
}

fn chosen(bed: &Bed, random: &mut Random) -> Vec<Fault> {
    let mut faults = Fault::ALL.to_vec();
    if !bed.long {
        faults.retain(|fault| fault.is_quick());
        while faults.len() > KINDS_IN_CI {
            faults.remove(usize::try_from(random.below(faults.len() as u64)).unwrap());
        }
    }
    faults
}

#[test]
fn power_cuts_in_every_trial_boot_end_with_the_release_of_before() {
    let bed = bed();
    let mut random = Random::seeded(&bed, "trial cuts");
    let mut trial = Trial::begin(&bed, "trial-cuts");
    trial.stage();
    trial.node.machine.cut_power().unwrap();
    for _ in 0..TRIES {
        trial.node.restart().unwrap();
        trial.node.machine.wait_for(TRIED, BOOT).unwrap();
        let moment = Duration::from_millis(random.below(12_000));
        trial.node.machine.run_for(moment).unwrap();
        trial.node.machine.cut_power().unwrap();
        println!("power cut {} ms after the start of the slot", moment.as_millis());
    }
    trial.node.restart().unwrap();
    trial.node.wait_for_pod().unwrap();
    settle(&trial.node);
    trial.is_as_before();
    let status = status(&trial.node);
    assert_eq!(status["operation"]["phase"], "backing-off", "{status}");
    assert!(status["refused"][0]["until"].is_string(), "{status}");
    if bed.long {
        trial.a_good_one_is_kept();
    }
}

impl<'a> Trial<'a> {
    fn begin(bed: &'a Bed, name: &str) -> Self {
        let releases = bed.releases(2).unwrap();
        let mut blueprint = blueprint(bed, name);
        blueprint.probe_image = None;
        let node = up(bed, &blueprint);
        node.osctl(&["health", "--wait"]).unwrap();
        let before = running(&node);
        Self { bed, releases, node, before }
    }

    /// Has the node judge sooner than it would by default.
    fn hurry(&self) {
        let patch = self.node.files().folder().join("gate.yaml");
        std::fs::write(&patch, GATE).unwrap();
        self.node.osctl(&["patch", "config", "-f", &patch.to_string_lossy()]).unwrap();
        self.node.osctl(&["health", "--wait"]).unwrap();
    }

    fn version(&self) -> &str {
        &self.releases.versions[0]
    }

    /// Has the node try a slot with this fault.
    fn give(&mut self, fault: Fault, random: &mut Random) {
        match fault {
            Fault::Release(bad) => self.push(&self.releases.bad(bad)),
            Fault::UkiCorrupt => {
                self.stage();
                self.node.machine.cut_power().unwrap();
                self.flip(&layout::BOOT_B, &self.file("b.efi"), random, 1);
                self.node.restart().unwrap();
            }
            Fault::UkiUnreadable => {
                self.stage();
                self.node.machine.cut_power().unwrap();
                let blocks = std::fs::metadata(self.file("b.efi")).unwrap().len() / BLOCK_BYTES as u64;
                let at = partition_start(layout::BOOT_B.number) + random.below(blocks) * BLOCK_BYTES as u64;
                self.node.hardware().unreadable_byte = Some(at);
                self.node.restart().unwrap();
                self.node.hardware().unreadable_byte = None;
            }
            Fault::RootCorrupt(blocks) => {
                self.stage();
                self.node.machine.cut_power().unwrap();
                self.flip(&layout::ROOT_B, &self.file("root.img"), random, blocks);
                self.node.restart().unwrap();
            }
        }
    }

    /// A bad release, to its verdict.
    fn push(&self, repository: &Path) {
        let repository = repository.to_string_lossy();
        let arguments =
            ["upgrade", "--release", &repository, "--retry-failed", "--wait", "--timeout", VERDICT];
        let output = self.node.osctl_output(&arguments).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{errors}");
    }

    /// The good release, recorded and not started yet.
    fn stage(&self) {
        let repository = self.releases.repository.to_string_lossy();
        let arguments = ["upgrade", "--release", &repository, "--version", self.version(), "--stage"];
        self.node.osctl(&[&arguments[..], &["--retry-failed"]].concat()).unwrap();
        let [_, other] = slots(&self.node);
        assert_eq!((other.version.as_str(), other.state.as_str()), (self.version(), "trial"));
    }

    /// A file of the good release.
    fn file(&self, name: &str) -> PathBuf {
        self.releases.repository.join("targets/releases").join(self.version()).join(name)
    }

    /// Flips a bit in each of so many blocks of a partition that holds `image`.
    fn flip(&self, partition: &layout::Partition, image: &Path, random: &mut Random, blocks: u64) {
        let all = std::fs::metadata(image).unwrap().len() / BLOCK_BYTES as u64;
        let flips: Vec<_> = (0..blocks)
            .map(|_| {
                let block = random.below(all);
                Flip::random(random, image, block)
            })
            .collect();
        flip::write(self.bed, &self.node.files().disk(), partition, &flips);
    }

    /// The node is as before, and knows why.
    fn check(&self, fault: Fault) {
        settle(&self.node);
        self.is_as_before();
        let status = status(&self.node);
        let refused = status["refused"].as_array().unwrap();
        let of = |one: &&Value| one["version"] == self.version();
        let known = refused.iter().find(of).unwrap_or_else(|| panic!("{fault:?} is forgotten: {status}"));
        println!("  {}", known["message"].as_str().unwrap());
        match fault.verdict() {
            Verdict::Refused => assert!(known["until"].is_null(), "{status}"),
            Verdict::Unknown => assert!(known["until"].is_string(), "{status}"),
            Verdict::Either => {}
        }
        if known["until"].is_null() {
            let repository = self.releases.repository.to_string_lossy();
            let arguments = ["upgrade", "--release", &repository, "--version", self.version()];
            let output = self.node.osctl_output(&arguments).unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && errors.contains("--retry-failed"), "{errors}");
        }
    }

    fn is_as_before(&self) {
        let [running, _] = slots(&self.node);
        assert_eq!((running.version.as_str(), running.state.as_str()), (self.before.as_str(), "confirmed"));
        assert!(running.active);
    }

    /// What a node went through does not keep it from a release that works.
    fn a_good_one_is_kept(&self) {
        let repository = self.releases.repository.to_string_lossy();
        let arguments = ["upgrade", "--release", &repository, "--version", self.version()];
        self.node.osctl(&[&arguments[..], &["--retry-failed", "--wait"]].concat()).unwrap();
        assert_eq!(running(&self.node), self.version());
    }
}
