//! Disks and volumes as resources.

use std::fs;
use std::path::Path;

use layout::MIB;
use nix::sys::statvfs::statvfs;
use resource::spec::{Disk, Volume};

use super::bring_up::{DATA, STATE, Volume as Managed};
use super::config_volume::is_virtual;
use super::filesystem::mounted_source;
use super::system::{find_system_disk, has_image, number};

const BLOCK: &str = "/sys/block";
const SYSFS_SECTOR_BYTES: u64 = 512;
/// Kernel names of optical drives.
const OPTICAL: &str = "sr";

/// The disks that the kernel sees, by name; drives without a medium and devices that it makes up are left out.
pub fn disks() -> Vec<(String, Disk)> {
    let system = find_system_disk().ok().map(|disk| disk.name);
    let mut disks: Vec<_> = fs::read_dir(BLOCK)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !is_virtual(name))
        .map(|name| (name.clone(), disk(&name, system.as_deref() == Some(&name))))
        .filter(|(_, disk)| disk.size_bytes > 0)
        .collect();
    disks.sort_by(|(left, _), (right, _)| left.cmp(right));
    disks
}

/// The disks that something may be stored on: neither the system's, nor one that a Cairn image was written to, nor one
/// that takes no writes. None while the system disk is not known.
pub fn spare_disks() -> Vec<Disk> {
    let disks = disks();
    if !disks.iter().any(|(_, disk)| disk.system) {
        return Vec::new();
    }
    let clones = clones();
    let is_spare = |name: &str, disk: &Disk| {
        !disk.system && !disk.read_only && !name.starts_with(OPTICAL) && !clones.contains(&disk.path)
    };
    disks.into_iter().filter(|(name, disk)| is_spare(name, disk)).map(|(_, disk)| disk).collect()
}

/// Devices of the other disks that a Cairn image was written to.
pub fn clones() -> Vec<String> {
    let Ok(system) = find_system_disk() else { return Vec::new() };
    let disks = fs::read_dir(BLOCK).into_iter().flatten().flatten();
    let mut clones: Vec<_> = disks
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, sysfs)| *name != system.name && has_image(sysfs))
        .map(|(name, _)| format!("/dev/{name}"))
        .collect();
    clones.sort();
    clones
}

/// What is left on DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For anyone but root.
    pub free_bytes: u64,
    /// Of the bytes or of the files, whichever is scarcer.
    pub free_percent: u64,
}

/// The room on DATA; `None` while it is not mounted.
pub fn data_room() -> Option<Room> {
    mounted_source(Path::new(DATA.mount_point))?;
    let usage = statvfs(DATA.mount_point).ok()?;
    let percent = |free: u64, all: u64| free.saturating_mul(100).checked_div(all).unwrap_or(100);
    Some(Room {
        free_bytes: usage.blocks_available().saturating_mul(usage.fragment_size()),
        free_percent: percent(usage.blocks_available(), usage.blocks())
            .min(percent(usage.files_available(), usage.files())),
    })
}

/// STATE and DATA as they are mounted. What is being done about one that is not, the caller knows.
pub fn volumes() -> Vec<(String, Volume)> {
    [&STATE, &DATA].map(|managed| (managed.partition.name.to_owned(), volume(managed))).into()
}

fn disk(name: &str, system: bool) -> Disk {
    let sysfs = Path::new(BLOCK).join(name);
    let text = |file: &str| {
        fs::read_to_string(sysfs.join(file))
            .map(|text| text.trim().to_owned())
            .ok()
            .filter(|text| !text.is_empty())
    };
    let count = |file: &str| number(&sysfs.join(file)).unwrap_or_default();
    let physical = fs::canonicalize(&sysfs).unwrap_or_default();
    Disk {
        path: format!("/dev/{name}"),
        size_bytes: count("size").saturating_mul(SYSFS_SECTOR_BYTES),
        sector_bytes: count("queue/logical_block_size").try_into().unwrap_or_default(),
        model: text("device/model").or_else(|| text("device/name")).unwrap_or_default(),
        serial: text("serial")
            .or_else(|| text("device/serial"))
            .or_else(|| scsi_serial(&fs::read(sysfs.join("device/vpd_pg80")).ok()?))
            .unwrap_or_default(),
        transport: transport(name, &physical.to_string_lossy()).to_owned(),
        rotational: count("queue/rotational") == 1,
        removable: count("removable") == 1,
        read_only: count("ro") == 1,
        system,
    }
}

/// The unit serial number page of a SCSI or ATA disk (SPC-4, 7.8.17): four bytes, the last two the length, then text.
fn scsi_serial(page: &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes(*page.get(2..)?.first_chunk()?));
    let text = std::str::from_utf8(page.get(4..)?.get(..length)?).ok()?;
    let text = text.trim_matches([' ', '\0']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// By the kernel's name and by the bus that the device hangs on.
fn transport(name: &str, physical: &str) -> &'static str {
    match name {
        _ if physical.contains("/usb") => "usb",
        _ if name.starts_with("nvme") => "nvme",
        _ if name.starts_with("vd") || physical.contains("/virtio") => "virtio",
        _ if name.starts_with("mmcblk") => "mmc",
        _ if name.starts_with("sd") || name.starts_with("sr") => "scsi",
        _ => "other",
    }
}

fn volume(managed: &Managed) -> Volume {
    let mut volume = Volume {
        phase: "waiting".to_owned(),
        mount_point: managed.mount_point.to_owned(),
        ..Volume::default()
    };
    let Some(device) = mounted_source(Path::new(managed.mount_point)) else { return volume };
    volume.phase = "mounted".to_owned();
    describe_mounted(&mut volume, &device);
    volume
}

/// What a file system that is mounted says of itself.
pub fn describe_mounted(volume: &mut Volume, device: &str) {
    volume.device = device.to_owned();
    volume.file_system = "ext4".to_owned();
    if let Ok(usage) = statvfs(volume.mount_point.as_str()) {
        let bytes = |blocks: u64| blocks.saturating_mul(usage.fragment_size());
        volume.size_bytes = Some(bytes(usage.blocks()));
        let used_bytes = bytes(usage.blocks().saturating_sub(usage.blocks_free()));
        volume.used_mib = Some(used_bytes.div_ceil(MIB));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_told_apart() {
        let usb = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sda";
        assert_eq!(transport("sda", usb), "usb");
        assert_eq!(transport("sda", "/sys/devices/pci0000:00/ata1/block/sda"), "scsi");
        assert_eq!(transport("nvme0n1", ""), "nvme");
        assert_eq!(transport("vda", ""), "virtio");
        assert_eq!(
            transport("sda", "/sys/devices/pci0000:00/0000:00:04.0/virtio1/host0/block/sda"),
            "virtio"
        );
        assert_eq!(transport("mmcblk0", ""), "mmc");
        assert_eq!(transport("nbd0", ""), "other");
    }

    #[test]
    fn serial_numbers_of_scsi_disks_are_read() {
        assert_eq!(scsi_serial(b"\0\x80\0\x08  S3Z1\0\0").as_deref(), Some("S3Z1"));
        for page in [b"".as_slice(), b"\0\x80\0", b"\0\x80\0\x02  ", b"\0\x80\0\x09S3Z1"] {
            assert_eq!(scsi_serial(page), None);
        }
    }

    #[test]
    fn both_volumes_are_always_listed() {
        let names: Vec<_> = volumes().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["STATE", "DATA"]);
    }
}
