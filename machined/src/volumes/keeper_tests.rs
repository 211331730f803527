use std::{fs, os::unix::fs::FileExt as _, process::Command};

use config::DiskSelector;
use tempfile::TempDir;

use super::*;

const SIZE_BYTES: u64 = 64 << 20;

/// A loop device; detached when dropped.
struct Loop {
    image: PathBuf,
    device: String,
}

impl Loop {
    /// `None`, with the reason printed, where the test has no right to loop devices.
    fn new(folder: &Path, name: &str) -> Option<Self> {
        let image = folder.join(name);
        File::create_new(&image).unwrap().set_len(SIZE_BYTES).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
        let Some(output) = output.ok().filter(|output| output.status.success()) else {
            eprintln!("skipped: losetup needs root and loop devices");
            return None;
        };
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(Self { image, device })
    }

    fn disk(&self, serial: &str) -> Disk {
        Disk { path: self.device.clone(), serial: serial.into(), size_bytes: SIZE_BYTES, ..Disk::default() }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// STATE and the place of volumes; unmounted when dropped.
struct Node {
    folder: TempDir,
    places: Places,
    store: Store,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::at(&folder.path().join("mnt"));
        Self { folder, places, store: Store::default() }
    }

    fn keeper(&self) -> Keeper {
        Keeper::new(self.folder.path(), self.places.clone(), self.store.clone())
    }

    fn reasons(&self, keeper: &mut Keeper, volumes: &[Volume], disks: &[Disk]) -> Vec<&'static str> {
        let report = keeper.pass(volumes, disks.to_vec());
        report.problems.iter().inspect(|problem| println!("{}", problem.message)).map(|p| p.reason).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for name in self.places.mounted().into_keys() {
            self.places.detach(&name).ok();
        }
        nix::mount::umount(&self.folder.path().join("mnt")).ok();
    }
}

fn volume(name: &str, serial: &str) -> Volume {
    let disk = DiskSelector { serial: Some(serial.into()), ..DiskSelector::default() };
    Volume { name: name.into(), disk }
}

#[test]
fn volumes_on_real_block_devices() {
    let node = Node::new();
    let Some(first) = Loop::new(node.folder.path(), "first") else { return };
    if node.places.reserve().is_err() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let wanted = [volume("data", "A")];
    let mut keeper = node.keeper();
    let place = node.places.of("data");
    assert_eq!(node.reasons(&mut keeper, &wanted, &[]), ["DiskMissing"]);
    assert!(fs::create_dir(&place).is_err(), "something was stored in the place of a volume");

    assert_eq!(
        node.reasons(&mut keeper, &wanted, &[first.disk("A")]),
        [""; 0],
        "a disk that appears is taken"
    );
    fs::write(place.join("kept"), "content").unwrap();
    let report = node.keeper().pass(&wanted, vec![first.disk("A")]);
    assert!(report.problems.is_empty(), "after a restart: {:?}", report.problems);
    let (name, row) = &report.rows[0];
    assert_eq!((name.as_str(), row.phase.as_str(), &row.device), ("data", "mounted", &first.device));
    assert!(row.size_bytes.unwrap() > SIZE_BYTES / 2);

    a_removed_volume_goes_once_it_is_unused(&node, &first);
    assert_eq!(node.reasons(&mut node.keeper(), &wanted, &[first.disk("moved")]), [""; 0]);
    assert_eq!(fs::read_to_string(place.join("kept")).unwrap(), "content");
    foreign_disks_are_left_alone(&node, &first);
}

fn a_removed_volume_goes_once_it_is_unused(node: &Node, disk: &Loop) {
    let mut keeper = node.keeper();
    let file = File::open(node.places.of("data").join("kept")).unwrap();
    let report = keeper.pass(&[], vec![disk.disk("A")]);
    assert_eq!(report.problems[0].reason, "InUse");
    assert_eq!(report.rows[0].1.phase, "mounted");
    drop(file);
    assert_eq!(node.reasons(&mut keeper, &[], &[disk.disk("A")]), [""; 0]);
    assert!(!node.places.of("data").exists());
}

fn foreign_disks_are_left_alone(node: &Node, first: &Loop) {
    let Some(second) = Loop::new(node.folder.path(), "second") else { return };
    let file = File::options().write(true).open(&second.device).unwrap();
    file.write_all_at(b"precious", SIZE_BYTES - 8).unwrap();
    file.sync_all().unwrap();
    let before = fs::read(&second.image).unwrap();
    let disks = [first.disk("A"), second.disk("B")];
    let mut keeper = node.keeper();
    let wanted = [volume("data", "A"), volume("more", "B")];
    assert_eq!(node.reasons(&mut keeper, &wanted, &disks), ["NotBlank"]);
    let moved = [volume("data", "B")];
    assert_eq!(node.reasons(&mut keeper, &moved, &disks), ["Foreign"]);
    assert_eq!(node.places.mounted().len(), 1, "what is mounted stays");
    assert!(fs::read(&second.image).unwrap() == before, "a foreign disk was written");
}
