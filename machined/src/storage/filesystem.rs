//! ext4 on one partition: recognise, check, make, mount.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use tracing::warn;

use super::{StorageError, superblock};

const MKFS: &str = "mkfs.ext4";
const E2FSCK: &str = "e2fsck";
/// PID 1 leaves none.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Where ext4 keeps its magic number: in the superblock, 1024 bytes into the partition.
const MAGIC_OFFSET_BYTES: u64 = 1024 + 56;
const MAGIC: [u8; 2] = 0xEF53_u16.to_le_bytes();
/// From here on e2fsck's exit status means that errors remain; below, that there are none (any more).
const E2FSCK_ERRORS_LEFT: i32 = 4;
/// How much of a program's output goes into a message.
const OUTPUT_LINES_MAX: usize = 4;

/// How far e2fsck may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// What can be repaired without loss.
    Safe,
    /// Everything, at the price of what cannot be made sense of.
    Full,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It can be mounted.
    Sound,
    /// It cannot; this is why.
    Damaged(String),
}

/// Whether the device holds something that calls itself ext4.
pub(super) fn has_ext4(device: &Path) -> Result<bool, StorageError> {
    let file = File::open(device).map_err(|source| StorageError::Open { path: device.to_owned(), source })?;
    let mut magic = [0; MAGIC.len()];
    match file.read_exact_at(&mut magic, MAGIC_OFFSET_BYTES) {
        Ok(()) => Ok(magic == MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(StorageError::Read { path: device.to_owned(), source }),
    }
}

/// Checks, replays the journal and repairs.
pub fn check(device: &Path, repair: Repair) -> Result<Checked, StorageError> {
    let how = match repair {
        Repair::Safe => "-p",
        Repair::Full => "-y",
    };
    let write = |source| StorageError::Write { path: device.to_owned(), source };
    if superblock::restore(device).map_err(write)? {
        warn!(device = %device.display(), "a torn superblock was replaced by its copy");
    }
    let output = run(E2FSCK, Command::new(E2FSCK).arg(how).arg(device))?;
    match output.status.code() {
        Some(code) if code < E2FSCK_ERRORS_LEFT => Ok(Checked::Sound),
        Some(_) | None => Ok(Checked::Damaged(format!("e2fsck says: {}", said(&output)))),
    }
}

/// Makes a file system, of this size or as large as the device, and returns when it lies on the medium.
pub fn format(
    device: &Path,
    label: &str,
    options: &[&str],
    size_bytes: Option<u64>,
) -> Result<(), StorageError> {
    let mut mkfs = Command::new(MKFS);
    mkfs.args(["-q", "-F", "-L", label]).args(options).arg(device);
    if let Some(bytes) = size_bytes {
        mkfs.arg(format!("{}k", bytes / 1024));
    }
    let output = run(MKFS, &mut mkfs)?;
    if !output.status.success() {
        return Err(StorageError::Format { device: device.to_owned(), output: said(&output) });
    }
    let write = |source| StorageError::Write { path: device.to_owned(), source };
    File::options().write(true).open(device).and_then(|file| file.sync_all()).map_err(write)
}

/// Mounts it, making the directory if need be.
pub fn mount_ext4(device: &Path, target: &Path, flags: MsFlags, data: &str) -> Result<(), Errno> {
    // On the read-only root the directory exists; the mount tells if it does not.
    let _ = fs::create_dir_all(target);
    mount(Some(device), target, Some("ext4"), flags, Some(data))
}

/// What is mounted there, topmost; `None` when nothing is.
pub(super) fn mounted_source(target: &Path) -> Option<String> {
    source_in(&fs::read_to_string("/proc/self/mounts").ok()?, target)
}

fn source_in(mounts: &str, target: &Path) -> Option<String> {
    mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let source = fields.next()?;
        (Path::new(fields.next()?) == target).then(|| source.to_owned())
    })
}

fn run(program: &'static str, command: &mut Command) -> Result<Output, StorageError> {
    // Without a locale the messages are in English, whatever the environment.
    let command = command.env_clear().env("PATH", SEARCH_PATH).stdin(std::process::Stdio::null());
    command.output().map_err(|source| StorageError::Run { program, source })
}

/// The last lines of what it said: the first ones are banners.
fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(OUTPUT_LINES_MAX);
    let last: Vec<_> = lines.into_iter().skip(skipped).collect();
    if last.is_empty() { output.status.to_string() } else { last.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn the_topmost_mount_counts() {
        let mounts = "proc /proc proc rw 0 0\n/dev/vda7 /var ext4 rw 0 0\n/dev/vda8 /var ext4 rw 0 0\n";
        assert_eq!(source_in(mounts, Path::new("/var")).as_deref(), Some("/dev/vda8"));
        assert_eq!(source_in(mounts, Path::new("/var/lib")), None);
    }

    #[test]
    fn makes_checks_and_finds_damage() {
        let scratch = Scratch::new("ext4");
        let image = scratch.path().join("image");
        let file = File::create_new(&image).unwrap();
        file.set_len(64 << 20).unwrap();
        assert!(!has_ext4(&image).unwrap());
        assert!(matches!(check(&image, Repair::Safe).unwrap(), Checked::Damaged(_)));
        format(&image, "TEST", &["-b", "4096"], Some(32 << 20)).unwrap();
        assert!(has_ext4(&image).unwrap());
        assert_eq!(check(&image, Repair::Safe).unwrap(), Checked::Sound);
        let mut blocks = [0; 4];
        file.read_exact_at(&mut blocks, 1024 + 4).unwrap();
        assert_eq!(u32::from_le_bytes(blocks), (32 << 20) / 4096);

        // The superblock's checksum no longer fits, and the group descriptors are gone.
        file.write_all_at(&[0xa5; 64], 1024 + 64).unwrap();
        file.write_all_at(&[0xa5; 4096], 4096).unwrap();
        assert!(has_ext4(&image).unwrap());
        assert!(matches!(check(&image, Repair::Safe).unwrap(), Checked::Damaged(_)));
    }

    #[test]
    fn a_device_that_is_too_small_is_an_error() {
        let scratch = Scratch::new("tiny");
        let image = scratch.path().join("image");
        fs::write(&image, [0; 4096]).unwrap();
        assert!(matches!(format(&image, "TEST", &["-b", "4096"], None), Err(StorageError::Format { .. })));
    }
}
