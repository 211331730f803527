//! The raw disk image: GPT, selector, BOOTSTATE, slot A.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest;
use bootstate::{Record, Release, ReleaseVersion, Uki};
use gptman::{GPT, GPTPartitionEntry};
use layout::{
    BOOTSTATE_RECORD_OFFSETS_BYTES, FIRST_PARTITION_BYTES, INSTALLER_PARTITIONS, MIB, PARTITIONS, Partition,
    SECTOR_BYTES, SEED_BYTES, SEED_FILE, SEED_FOLDER,
};

use crate::{arguments, tools, tools::Tools};

const DISK_GUID: &str = "ca120000-0001-4c0d-9a1e-ca1200000000";
const INSTALLER_DISK_GUID: &str = "ca120010-0001-4c0d-9a1e-ca1200000010";
/// Room for the backup GPT.
const END_BYTES: u64 = MIB;
const SELECTOR_PATH: &str = "::/EFI/BOOT/BOOTX64.EFI";
/// FAT volume id of the ESP, fixed for reproducible images.
const ESP_SERIAL: &str = "CA120001";

/// Parts of a disk.
pub struct Disk<'a> {
    /// Release version (SemVer).
    pub version: &'a str,
    /// The selector, an EFI program.
    pub selector: &'a Path,
    /// Slot A's UKI.
    pub uki: &'a Path,
    /// Slot A's root image.
    pub root: &'a Path,
    /// For an installer medium: the packed disk image that it writes.
    pub release: Option<&'a Path>,
}

/// Writes the image, sparse: slot A confirmed, slot B empty; an installer medium has no slot B.
pub fn assemble(tools: &dyn Tools, disk: &Disk<'_>, output: &Path) -> Result<()> {
    let (partitions, disk_guid) = match disk.release {
        Some(_) => (&INSTALLER_PARTITIONS[..], INSTALLER_DISK_GUID),
        None => (&PARTITIONS[..], DISK_GUID),
    };
    let placed = place(partitions);
    let end = placed.iter().map(|(start, partition)| start + size(partition)).max().unwrap_or_default();
    let mut file = File::options().read(true).write(true).create_new(true).open(output)?;
    file.set_len(end + END_BYTES)?;
    write_gpt(&mut file, disk_guid, &placed)?;
    let uki = fs::read(disk.uki).with_context(|| format!("cannot read {}", disk.uki.display()))?;
    write_bootstate(&file, start(&placed, &layout::BOOTSTATE)?, disk.version, &uki)?;
    if uki.len() as u64 > size(&layout::BOOT_A) {
        bail!("the UKI has {} bytes, its partition {}", uki.len(), size(&layout::BOOT_A));
    }
    file.write_all_at(&uki, start(&placed, &layout::BOOT_A)?)?;
    copy_into(&mut file, start(&placed, &layout::ROOT_A)?, disk.root, size(&layout::ROOT_A))?;
    if let Some(release) = disk.release {
        let room = &layout::INSTALLER_RELEASE;
        copy_into(&mut file, start(&placed, room)?, release, size(room))?;
    }
    write_esp(tools, disk.selector, &mut file, start(&placed, &layout::ESP)?, output)
}

type Placed = Vec<(u64, Partition)>;

/// Those of the partitions that an image has, with their first byte.
fn place(partitions: &[Partition]) -> Placed {
    let mut at = FIRST_PARTITION_BYTES;
    let mut placed = Vec::new();
    for partition in partitions.iter().filter(|partition| partition.guid.is_some()) {
        placed.push((at, *partition));
        at += size(partition);
    }
    placed
}

fn size(partition: &Partition) -> u64 {
    partition.size_bytes.unwrap_or_default()
}

fn start(placed: &Placed, wanted: &Partition) -> Result<u64> {
    placed
        .iter()
        .find(|(_, partition)| partition.number == wanted.number)
        .map(|(start, _)| *start)
        .context("partition is not placed")
}

fn write_gpt(file: &mut File, disk_guid: &str, placed: &Placed) -> Result<()> {
    let mut gpt = GPT::new_from(file, SECTOR_BYTES, guid(disk_guid)?)?;
    gpt.align = 1;
    for (start, partition) in placed {
        gpt[partition.number] = GPTPartitionEntry {
            partition_type_guid: guid(partition.type_guid)?,
            unique_partition_guid: guid(partition.guid.context("no fixed GUID")?)?,
            starting_lba: start / SECTOR_BYTES,
            ending_lba: (start + size(partition)) / SECTOR_BYTES - 1,
            attribute_bits: 0,
            partition_name: partition.name.into(),
        };
    }
    gpt.write_into(file)?;
    GPT::write_protective_mbr_into(file, SECTOR_BYTES)?;
    Ok(())
}

/// A GUID as GPT stores it: the first three fields little-endian (UEFI appendix A).
fn guid(text: &str) -> Result<[u8; 16]> {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    let mut bytes: [u8; 16] =
        hex::decode(plain)?.try_into().ok().with_context(|| format!("{text} is no GUID"))?;
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Ok(bytes)
}

fn write_bootstate(file: &File, start: u64, version: &str, uki: &[u8]) -> Result<()> {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, uki).as_ref());
    let version = ReleaseVersion::new(version).with_context(|| format!("{version} is no release version"))?;
    let uki = Uki { length_bytes: uki.len() as u64, sha256 };
    let block = Record::new(Release { version, uki }).encode();
    for offset in BOOTSTATE_RECORD_OFFSETS_BYTES {
        file.write_all_at(&block, start + offset)?;
    }
    Ok(())
}

fn copy_into(file: &mut File, at: u64, source: &Path, limit: u64) -> Result<()> {
    let mut source_file = File::open(source).with_context(|| format!("cannot read {}", source.display()))?;
    let length = source_file.metadata()?.len();
    if length > limit {
        bail!("{} has {length} bytes, its partition {limit}", source.display());
    }
    file.seek(SeekFrom::Start(at))?;
    std::io::copy(&mut source_file, file)?;
    Ok(())
}

fn write_esp(tools: &dyn Tools, selector: &Path, file: &mut File, at: u64, output: &Path) -> Result<()> {
    let esp = output.with_extension("esp");
    let inside = tools.inside(&esp)?;
    let sectors = (size(&layout::ESP) / SECTOR_BYTES).to_string();
    let made =
        arguments!["-C", "-F", "-i", &inside, "-T", sectors, "-N", ESP_SERIAL, "-v", "CAIRN-ESP", "::"];
    tools::run(tools, "mformat", &made)?;
    let folder = format!("::/{SEED_FOLDER}");
    tools::run(tools, "mmd", &arguments!["-i", &inside, "::/EFI", "::/EFI/BOOT", &folder])?;
    let dated = output.with_extension("file");
    fs::copy(selector, &dated)?;
    copy_in(tools, &inside, &dated, SELECTOR_PATH)?;
    // Zeros: an empty archive, and nothing in the packed image.
    File::create(&dated)?.set_len(SEED_BYTES)?;
    copy_in(tools, &inside, &dated, &format!("{folder}/{SEED_FILE}"))?;
    let made = File::open(&esp)?;
    flash::seed::locate(|offset, data| made.read_exact_at(data, offset))?;
    copy_into(file, at, &esp, size(&layout::ESP))?;
    file.flush()?;
    fs::remove_file(dated)?;
    Ok(fs::remove_file(esp)?)
}

/// Copies a file in with a fixed time, which mcopy -m takes over.
fn copy_in(tools: &dyn Tools, volume: &Path, file: &Path, target: &str) -> Result<()> {
    File::options().write(true).open(file)?.set_modified(std::time::UNIX_EPOCH + FAT_EPOCH)?;
    let arguments = arguments!["-m", "-i", volume, tools.inside(file)?, target];
    tools::run(tools, "mcopy", &arguments).map(drop)
}

/// 1980-01-01, the first time that FAT can say.
const FAT_EPOCH: std::time::Duration = std::time::Duration::from_secs(315_532_800);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_lie_one_after_the_other_on_whole_mebibytes() {
        let placed = place(&PARTITIONS);
        assert_eq!(placed.len(), 6);
        assert_eq!(place(&INSTALLER_PARTITIONS).len(), 5);
        assert_eq!(placed[0], (16 * MIB, layout::ESP));
        for pair in placed.windows(2) {
            assert_eq!(pair[0].0 + size(&pair[0].1), pair[1].0);
            assert_eq!(pair[1].0 % MIB, 0);
        }
    }

    #[test]
    fn an_installer_medium_shares_no_partition_guid_with_a_disk() {
        let guids =
            |partitions: &[Partition]| partitions.iter().filter_map(|one| one.guid).collect::<Vec<_>>();
        let (disk, installer) = (guids(&PARTITIONS), guids(&INSTALLER_PARTITIONS));
        assert_eq!(installer.len(), 5);
        assert!(installer.iter().all(|guid| !disk.contains(guid)));
        for partition in [layout::BOOTSTATE, layout::BOOT_A] {
            let alike = |one: &&Partition| one.number == partition.number;
            let found = INSTALLER_PARTITIONS.iter().find(alike).unwrap();
            assert_eq!((found.name, found.type_guid), (partition.name, partition.type_guid));
        }
    }

    #[test]
    fn the_table_reads_back_as_it_was_written() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(3 << 30).unwrap();
        write_gpt(&mut file, DISK_GUID, &place(&PARTITIONS)).unwrap();
        let read = GPT::find_from(&mut file).unwrap();
        for partition in PARTITIONS.iter().filter(|partition| partition.guid.is_some()) {
            assert_eq!(read[partition.number].partition_name.as_str(), partition.name);
            assert_eq!(read[partition.number].unique_partition_guid, guid(partition.guid.unwrap()).unwrap());
        }
    }

    /// Programs of the host instead of the SDK's.
    struct Host;

    impl Tools for Host {
        fn run(&self, program: &str, arguments: &[std::ffi::OsString]) -> Result<std::process::Output> {
            Ok(std::process::Command::new(program).envs(tools::ENVIRONMENT).args(arguments).output()?)
        }

        fn inside(&self, host_path: &Path) -> Result<std::path::PathBuf> {
            Ok(host_path.to_owned())
        }
    }

    #[test]
    fn a_seed_placed_in_the_esp_is_a_file_for_everyone() {
        let folder = tempfile::tempdir().unwrap();
        let (selector, path) = (folder.path().join("boot.efi"), folder.path().join("disk.img"));
        fs::write(&selector, vec![0xc3; 300_000]).unwrap();
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(FIRST_PARTITION_BYTES + size(&layout::ESP)).unwrap();
        write_esp(&Host, &selector, &mut file, FIRST_PARTITION_BYTES, &path).unwrap();
        let entry = flash::seed::Entry::Image("large.tar".into());
        let archive = flash::seed::pack(&[(entry, (0..50u8).cycle().take(50_000_000).collect())]).unwrap();
        let mut device = flash::Device::open_file(&path, 0).unwrap();
        flash::seed::place(&mut device, &mut archive.as_slice(), archive.len() as u64).unwrap();
        let volume = format!("{}@@{FIRST_PARTITION_BYTES}", path.display());
        for (name, content) in [(SELECTOR_PATH, &vec![0xc3; 300_000]), ("::/CAIRN/SEED.TAR", &archive)] {
            let output = tools::run(&Host, "mtype", &arguments!["-i", &volume, name]).unwrap();
            assert!(output.stdout.starts_with(content), "{name} is not what was placed");
        }
    }
}
