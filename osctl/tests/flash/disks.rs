//! Which disks are written. Loop devices take root and a kernel that has them; without, only those tests say so and end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::{MIB, Rig};

/// A loop device over a file, gone with this value.
struct Loop {
    device: PathBuf,
}

impl Loop {
    /// `None` where loop devices are not to be had.
    fn over(file: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show", "--partscan"]).arg(file).output();
        match output {
            Ok(output) if output.status.success() => {
                Some(Self { device: String::from_utf8(output.stdout).unwrap().trim().into() })
            }
            failed => {
                println!("skipped: no loop device is to be had: {failed:?}");
                None
            }
        }
    }

    fn path(&self) -> &str {
        self.device.to_str().unwrap()
    }

    fn name(&self) -> &str {
        self.device.file_name().unwrap().to_str().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

#[test]
fn a_dirty_disk_holds_exactly_the_image_afterwards() {
    let rig = Rig::new();
    let backing = rig.dirty("backing", 12 * MIB);
    let Some(disk) = Loop::over(&backing) else { return };
    for image in ["cairn.img.zst", "cairn.img"] {
        rig.flash(&[image, disk.path(), "--yes"]).ok();
        rig.assert_flashed(&disk.device);
    }
}

#[test]
fn nothing_is_written_unless_the_name_is_typed() {
    let rig = Rig::new();
    let backing = rig.dirty("backing", 8 * MIB);
    let Some(disk) = Loop::over(&backing) else { return };
    for answer in ["", "yes\n", "sda\n"] {
        rig.flash_answering(answer, &["cairn.img", disk.path()])
            .fails(1, &["left as it is", "All data on /dev/loop", disk.name()]);
    }
    assert!(fs::read(&disk.device).unwrap().iter().all(|byte| *byte == 0xa5));
    rig.flash_answering(&format!("{}\n", disk.name()), &["cairn.img", disk.path()]).ok();
    rig.assert_flashed(&disk.device);
}

#[test]
fn disks_in_use_partitions_and_small_disks_are_refused() {
    let rig = Rig::new();
    let backing = rig.dirty("small", 5 * MIB);
    let Some(small) = Loop::over(&backing) else { return };
    rig.flash(&["cairn.img", small.path(), "--yes"]).fails(1, &["fewer than the"]);
    assert!(fs::read(&small.device).unwrap().iter().all(|byte| *byte == 0xa5));

    let backing = rig.dirty("mounted", 64 * MIB);
    let disk = Loop::over(&backing).unwrap();
    run("mkfs.ext4", &["-q", "-F", disk.path()]);
    let point = rig.path("point");
    fs::create_dir(&point).unwrap();
    run("mount", &[disk.path(), point.to_str().unwrap()]);
    fs::write(point.join("letter"), "dear").unwrap();
    rig.flash(&["cairn.img", disk.path(), "--yes"])
        .fails(1, &["is in use", point.to_str().unwrap(), "unmount"]);
    assert_eq!(fs::read(point.join("letter")).unwrap(), b"dear");
    run("umount", &[point.to_str().unwrap()]);
    rig.flash(&["cairn.img", disk.path(), "--yes"]).ok();
}

#[test]
fn what_is_no_disk_is_told() {
    let rig = Rig::new();
    rig.flash(&["cairn.img", "/dev/no-such-disk"]).fails(6, &["/dev/no-such-disk", "--file"]);
    rig.flash(&["cairn.img", "/dev/null"]).fails(2, &["is no disk"]);
    rig.flash(&["cairn.img", "cairn.img.zst"]).fails(2, &["is no disk", "--file"]);
    rig.flash(&["cairn.img", ".", "--file"]).fails(2, &["no regular file"]);
    rig.flash(&["cairn.img", "cairn.img.zst", "--image", "a.tar"]).fails(2, &["--config"]);
    let listed = rig.flash(&["cairn.img", "-o", "json"]).ok();
    assert!(serde_json::from_str::<Vec<serde_json::Value>>(&listed).is_ok(), "{listed}");
    assert!(rig.flash(&[]).ok().starts_with("DEVICE"));
}
