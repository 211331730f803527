//! Disks with their partitions, from sysfs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;

use super::usage::{Use, Uses};

/// sysfs counts in these, whatever the disk's sectors are.
const SYSFS_SECTOR_BYTES: u64 = 512;
/// Device-mapper and RAID stacks are not deeper than this.
const HOLDERS_DEPTH_MAX: usize = 8;

/// A whole disk.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// The kernel's name, such as "sdb".
    pub name: String,
    /// Capacity; 0 without a medium.
    pub size_bytes: u64,
    /// Logical sector size.
    pub sector_bytes: u64,
    /// As the disk names itself; may be empty.
    pub model: String,
    /// May be empty.
    pub serial: String,
    /// usb, mmc, nvme, ata, virtio or other.
    pub bus: &'static str,
    /// Whether its medium can be taken out.
    pub removable: bool,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// What would be overwritten: each partition's name or label.
    pub partitions: Vec<String>,
    /// What this computer uses of it.
    #[serde(skip)]
    pub uses: Vec<Use>,
}

impl Disk {
    /// Whether it is of the kind that people flash.
    pub fn is_portable(&self) -> bool {
        self.size_bytes > 0 && (self.removable || matches!(self.bus, "usb" | "mmc"))
    }

    /// Its device node.
    pub fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

/// Where disks are looked up.
#[derive(Debug)]
pub struct Inventory {
    root: PathBuf,
    uses: Uses,
    labels: BTreeMap<String, String>,
}

impl Inventory {
    /// Of the file tree at `root`, which is `/` except in tests.
    pub fn read(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.to_owned(), uses: Uses::read(root)?, labels: labels(root) })
    }

    /// All disks, by name.
    pub fn disks(&self) -> io::Result<Vec<Disk>> {
        let mut disks = Vec::new();
        for entry in fs::read_dir(self.root.join("sys/block"))? {
            disks.extend(entry?.file_name().to_str().and_then(|name| self.disk(name)));
        }
        disks.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(disks)
    }

    /// The disk with this name, if there is one.
    pub fn disk(&self, name: &str) -> Option<Disk> {
        let sysfs = fs::canonicalize(self.root.join("sys/block").join(name)).ok()?;
        let text = |file: &str| Some(fs::read_to_string(sysfs.join(file)).ok()?.trim().to_owned());
        let number = |file: &str| text(file).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let partitions = partitions(&sysfs);
        Some(Disk {
            size_bytes: number("size") * SYSFS_SECTOR_BYTES,
            sector_bytes: number("queue/logical_block_size"),
            model: text("device/model").or_else(|| text("device/name")).unwrap_or_default(),
            serial: text("device/serial").or_else(|| text("serial")).unwrap_or_default(),
            bus: bus(name, &sysfs.to_string_lossy()),
            removable: number("removable") == 1,
            read_only: number("ro") == 1,
            uses: self.uses_of(name, &partitions),
            partitions: partitions.iter().map(|partition| self.describe(&sysfs, partition)).collect(),
            name: name.to_owned(),
        })
    }

    /// The disk that a partition lies on; `None` for what is no partition.
    pub fn disk_of_partition(&self, name: &str) -> Option<String> {
        let sysfs = fs::canonicalize(self.root.join("sys/class/block").join(name)).ok()?;
        let disk = sysfs.join("partition").exists().then(|| sysfs.parent())??;
        Some(disk.file_name()?.to_str()?.to_owned())
    }

    fn describe(&self, sysfs: &Path, partition: &str) -> String {
        let uevent = fs::read_to_string(sysfs.join(partition).join("uevent")).unwrap_or_default();
        let named = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME=")).map(str::to_owned);
        self.labels.get(partition).cloned().or(named).unwrap_or_else(|| partition.to_owned())
    }

    /// Uses of the disk, its partitions, and of whatever is built on them.
    fn uses_of(&self, disk: &str, partitions: &[String]) -> Vec<Use> {
        let mut names: BTreeSet<String> = partitions.iter().cloned().collect();
        names.insert(disk.to_owned());
        for _ in 0..HOLDERS_DEPTH_MAX {
            let above: Vec<String> = names.iter().flat_map(|name| self.holders(name)).collect();
            names.extend(above);
        }
        names.iter().flat_map(|name| self.uses.of(name).to_vec()).collect()
    }

    fn holders(&self, name: &str) -> Vec<String> {
        let holders = fs::read_dir(self.root.join("sys/class/block").join(name).join("holders"));
        holders
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

fn partitions(sysfs: &Path) -> Vec<String> {
    let entries = fs::read_dir(sysfs).into_iter().flatten().flatten();
    let mut partitions: Vec<(u64, String)> = entries
        .filter_map(|entry| {
            let number = fs::read_to_string(entry.path().join("partition")).ok()?.trim().parse().ok()?;
            Some((number, entry.file_name().into_string().ok()?))
        })
        .collect();
    partitions.sort();
    partitions.into_iter().map(|(_, name)| name).collect()
}

fn bus(name: &str, sysfs: &str) -> &'static str {
    match name {
        _ if sysfs.contains("/usb") => "usb",
        _ if name.starts_with("mmcblk") => "mmc",
        _ if name.starts_with("nvme") => "nvme",
        _ if name.starts_with("vd") => "virtio",
        _ if name.starts_with("sd") || name.starts_with("sr") => "ata",
        _ => "other",
    }
}

/// File system labels by device name, as udev links them.
fn labels(root: &Path) -> BTreeMap<String, String> {
    let links = fs::read_dir(root.join("dev/disk/by-label")).into_iter().flatten().flatten();
    links
        .filter_map(|link| {
            let target = fs::read_link(link.path()).ok()?;
            let label = link.file_name().into_string().ok()?.replace("\\x20", " ");
            Some((target.file_name()?.to_str()?.to_owned(), label))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A computer with an encrypted NVMe system disk and a stick on USB.
    struct Computer(tempfile::TempDir);

    impl Computer {
        fn new() -> Self {
            let computer = Self(tempfile::tempdir().unwrap());
            let nvme = "sys/devices/pci0/nvme/nvme0/nvme0n1";
            computer.disk(nvme, "259:0", "2000000000", "0");
            computer.partition(nvme, "nvme0n1p1", "259:1", "PARTNAME=EFI\n");
            computer.partition(nvme, "nvme0n1p2", "259:2", "PARTNAME=luks\n");
            computer.disk("sys/devices/virtual/block/dm-0", "252:0", "1000", "0");
            computer.write("sys/devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p2/holders/dm-0/dev", "252:0");
            let stick = "sys/devices/pci0/usb1/1-2/host6/block/sdb";
            computer.disk(stick, "8:16", "30000000", "1");
            computer.partition(stick, "sdb10", "8:26", "");
            computer.partition(stick, "sdb2", "8:18", "PARTNAME=photos\n");
            computer.write(&format!("{stick}/device/model"), "Ultra Fit  \n");
            computer.write(&format!("{stick}/serial"), "4C53\n");
            computer.write("dev/disk/by-label/none", "");
            symlink("../../sdb10", computer.path("dev/disk/by-label/My\\x20Stick")).unwrap();
            computer.write("proc/self/mountinfo", "22 1 252:0 / / rw - ext4 /dev/mapper/root rw\n");
            computer
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn device(&self, sysfs: &str, class: &str, number: &str) {
            self.write(&format!("{sysfs}/dev"), number);
            let link = self.path(class).join(Path::new(sysfs).file_name().unwrap());
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(self.path(sysfs), link).unwrap();
        }

        fn disk(&self, sysfs: &str, number: &str, sectors: &str, removable: &str) {
            self.device(sysfs, "sys/block", number);
            self.device(sysfs, "sys/class/block", number);
            self.write(&format!("{sysfs}/size"), sectors);
            self.write(&format!("{sysfs}/removable"), removable);
            self.write(&format!("{sysfs}/queue/logical_block_size"), "512\n");
        }

        fn partition(&self, disk: &str, name: &str, number: &str, uevent: &str) {
            let sysfs = format!("{disk}/{name}");
            self.device(&sysfs, "sys/class/block", number);
            self.write(
                &format!("{sysfs}/partition"),
                name.trim_start_matches("nvme0n1p").trim_start_matches("sdb"),
            );
            self.write(&format!("{sysfs}/uevent"), uevent);
        }
    }

    #[test]
    fn the_system_disk_is_known_through_what_is_built_on_it() {
        let computer = Computer::new();
        let inventory = Inventory::read(computer.0.path()).unwrap();
        let disk = inventory.disk("nvme0n1").unwrap();
        assert_eq!(disk.uses, [Use::Mount("/".into())]);
        assert_eq!((disk.bus, disk.is_portable()), ("nvme", false));
        assert_eq!(inventory.disk_of_partition("nvme0n1p2").as_deref(), Some("nvme0n1"));
        assert_eq!(inventory.disk_of_partition("nvme0n1"), None);
        assert!(inventory.disk("nvme0n9").is_none());
    }

    #[test]
    fn a_stick_shows_what_would_be_lost() {
        let computer = Computer::new();
        let inventory = Inventory::read(computer.0.path()).unwrap();
        let names: Vec<_> = inventory.disks().unwrap().into_iter().map(|disk| disk.name).collect();
        assert_eq!(names, ["dm-0", "nvme0n1", "sdb"]);
        let disk = inventory.disk("sdb").unwrap();
        assert_eq!((disk.model.as_str(), disk.serial.as_str(), disk.bus), ("Ultra Fit", "4C53", "usb"));
        assert_eq!(disk.partitions, ["photos", "My Stick"]);
        assert_eq!((disk.size_bytes, disk.uses.len(), disk.is_portable()), (15_360_000_000, 0, true));
    }
}
