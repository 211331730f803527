use super::*;
use crate::storage::scratch::Scratch;
use gptman::GPT;
use layout::{MIB, MIN_DISK_BYTES, SECTOR_BYTES};
use nix::mount::umount;
use std::path::Path;
use std::process::Command;

/// A loop device over a sparse disk; detached when dropped.
struct Loop {
    device: PathBuf,
    disk: SystemDisk,
}

impl Loop {
    /// `None`, with the reason printed, where the test has no right to loop devices.
    fn new(scratch: &Scratch) -> Option<Self> {
        let path = scratch.path().join("disk");
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(MIN_DISK_BYTES - 512 * MIB).unwrap();
        GPT::new_from(&mut file, SECTOR_BYTES, [7; 16]).unwrap().write_into(&mut file).unwrap();
        file.set_len(MIN_DISK_BYTES).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&path).output();
        let Some(output) = output.ok().filter(|output| output.status.success()) else {
            eprintln!("skipped: losetup needs root and loop devices");
            return None;
        };
        let device = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let sysfs = Path::new("/sys/class/block").join(device.file_name().unwrap());
        let disk = SystemDisk::open(&fs::canonicalize(sysfs).unwrap()).unwrap();
        Some(Self { device, disk })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        for number in ["7", "8"] {
            let _ = Command::new("delpart").arg(&self.device).arg(number).status();
        }
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

#[test]
fn first_boot_on_a_real_block_device() {
    let scratch = Scratch::new("loop");
    let Some(device) = Loop::new(&scratch) else { return };
    let missing = STATE.provide_partition(&device.disk, true).unwrap_err();
    assert!(missing.to_string().starts_with("STATE is damaged"), "{missing}");

    for volume in [&STATE, &DATA] {
        let partition = match volume.provide_partition(&device.disk, false) {
            Err(StorageError::TellKernel { source, .. }) => {
                eprintln!("skipped: this kernel takes no partitions of loop devices: {source}");
                return;
            }
            partition => partition.unwrap(),
        };
        assert_eq!(volume.provide_partition(&device.disk, true).unwrap(), partition);
        if !partition.exists() {
            eprintln!("skipped: no devtmpfs on /dev");
            return;
        }
        volume.provide_file_system(&partition, false).unwrap();
        let target = scratch.path().join(volume.partition.name);
        volume.mount(&partition, &target, false).unwrap();
        assert_eq!(mounted_source(&target), Some(partition.display().to_string()));
        fs::write(target.join("kept"), "content").unwrap();
        umount(&target).unwrap();

        volume.provide_file_system(&partition, false).unwrap();
        volume.mount(&partition, &target, true).unwrap();
        assert_eq!(fs::read_to_string(target.join("kept")).unwrap(), "content");
        umount(&target).unwrap();
    }
}

/// An image of STATE whose superblock still says ext4 and whose group descriptors are gone.
fn damaged(scratch: &Scratch) -> PathBuf {
    let image = scratch.path().join("image");
    let file = File::create_new(&image).unwrap();
    file.set_len(layout::STATE.size_bytes.unwrap()).unwrap();
    STATE.provide_file_system(&image, false).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 4096], 4096).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 64], 1024 + 64).unwrap();
    image
}

#[test]
fn a_provisioned_node_never_formats() {
    let scratch = Scratch::new("never");
    let image = damaged(&scratch);
    let before = fs::read(&image).unwrap();
    let error = STATE.provide_file_system(&image, true).unwrap_err().to_string();
    assert!(error.starts_with("STATE is damaged") && error.contains("nothing was formatted"), "{error}");
    assert!(fs::read(&image).unwrap() == before);

    File::create(&image).unwrap().set_len(layout::STATE.size_bytes.unwrap()).unwrap();
    let error = STATE.provide_file_system(&image, true).unwrap_err();
    assert!(matches!(error, StorageError::StateDamaged { .. }));
    assert!(!has_ext4(&image).unwrap());
}

#[test]
fn an_unfinished_file_system_is_made_anew() {
    let scratch = Scratch::new("unfinished");
    let image = damaged(&scratch);
    STATE.provide_file_system(&image, false).unwrap();
    assert_eq!(check(&image, Repair::Safe).unwrap(), Checked::Sound);
}

#[test]
fn directories_are_made_again_and_again() {
    let scratch = Scratch::new("var");
    for _ in 0..2 {
        make_directories(scratch.path()).unwrap();
    }
    assert_eq!(fs::read_link(scratch.path().join("run")).unwrap(), Path::new("/run"));
    let mode = fs::metadata(scratch.path().join("tmp")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, TEMPORARY_MODE);
    assert!(scratch.path().join("opt/cni/bin").is_dir());
    fs::remove_file(scratch.path().join("run")).unwrap();
    fs::create_dir(scratch.path().join("run")).unwrap();
    assert!(matches!(make_directories(scratch.path()), Err(StorageError::Link { .. })));
}
