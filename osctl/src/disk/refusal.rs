//! Whether a disk may be overwritten.

use layout::SECTOR_BYTES;

use super::Disk;
use super::usage::Use;

/// Why a disk is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This computer runs from it.
    #[error("{disk} is the system disk of this computer: it holds {uses}")]
    System {
        /// Its name.
        disk: String,
        /// What it holds.
        uses: String,
    },
    /// Something of it is mounted.
    #[error("{disk} is in use: {uses}")]
    InUse {
        /// Its name.
        disk: String,
        /// Mount points.
        uses: String,
    },
    /// It is write-protected.
    #[error("{disk} is write-protected")]
    ReadOnly {
        /// Its name.
        disk: String,
    },
    /// Its sectors are not those of the image.
    #[error("{disk} has sectors of {has} bytes; only disks with 512 can be used")]
    Sectors {
        /// Its name.
        disk: String,
        /// Sector size.
        has: u64,
    },
    /// There is no medium in the drive.
    #[error("{disk} holds no medium")]
    NoMedium {
        /// Its name.
        disk: String,
    },
    /// It is too small.
    #[error("{disk} has {has} bytes, fewer than the {needed} of the image")]
    TooSmall {
        /// Its name.
        disk: String,
        /// Capacity.
        has: u64,
        /// Size of the image.
        needed: u64,
    },
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::System { .. } => Some(
                "choose another disk; --overwrite-system-disk destroys the system that runs from this one",
            ),
            Self::InUse { .. } => Some("unmount it first, if it is the right one"),
            Self::ReadOnly { .. } => Some("cards and adapters have a small lock switch"),
            Self::Sectors { .. } => Some(
                "many NVMe disks offer 512 as well: `nvme id-ns -H` lists the formats, `nvme format --lbaf` chooses one",
            ),
            Self::NoMedium { .. } | Self::TooSmall { .. } => None,
        }
    }
}

/// What the user has agreed to beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Any disk that nothing uses.
    UnusedDisk,
    /// Also the system disk, and one that is in use.
    SystemDisk,
}

/// Refuses a disk that must not, or need not, be overwritten. The size of the image may be unknown.
pub fn judge(disk: &Disk, image_bytes: Option<u64>, consent: Consent) -> Result<(), Refusal> {
    let name = disk.name.clone();
    if consent == Consent::UnusedDisk && !disk.uses.is_empty() {
        let uses = describe(&disk.uses);
        let is_system = disk.uses.iter().any(Use::is_system);
        return Err(if is_system {
            Refusal::System { disk: name, uses }
        } else {
            Refusal::InUse { disk: name, uses }
        });
    }
    if disk.size_bytes == 0 {
        return Err(Refusal::NoMedium { disk: name });
    }
    if disk.read_only {
        return Err(Refusal::ReadOnly { disk: name });
    }
    if disk.sector_bytes != SECTOR_BYTES {
        return Err(Refusal::Sectors { disk: name, has: disk.sector_bytes });
    }
    match image_bytes {
        Some(needed) if needed > disk.size_bytes => {
            Err(Refusal::TooSmall { disk: name, has: disk.size_bytes, needed })
        }
        Some(_) | None => Ok(()),
    }
}

fn describe(uses: &[Use]) -> String {
    let words: Vec<&str> = uses
        .iter()
        .map(|one| match one {
            Use::Mount(point) => point.as_str(),
            Use::Swap => "swap",
        })
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stick() -> Disk {
        Disk {
            name: "sdb".into(),
            size_bytes: 8 << 30,
            sector_bytes: 512,
            model: "Stick".into(),
            serial: String::new(),
            bus: "usb",
            removable: true,
            read_only: false,
            partitions: Vec::new(),
            uses: Vec::new(),
        }
    }

    fn mounted(points: &[&str]) -> Disk {
        Disk { uses: points.iter().map(|point| Use::Mount((*point).into())).collect(), ..stick() }
    }

    #[test]
    fn what_must_not_be_overwritten_is_refused() {
        let system = |uses: &str| Refusal::System { disk: "sdb".into(), uses: uses.into() };
        let cases = [
            (mounted(&["/"]), system("/")),
            (mounted(&["/media/x", "/boot/efi"]), system("/media/x, /boot/efi")),
            (Disk { uses: vec![Use::Swap], ..stick() }, system("swap")),
            (mounted(&["/media/x"]), Refusal::InUse { disk: "sdb".into(), uses: "/media/x".into() }),
            (Disk { size_bytes: 0, ..stick() }, Refusal::NoMedium { disk: "sdb".into() }),
            (Disk { read_only: true, ..stick() }, Refusal::ReadOnly { disk: "sdb".into() }),
            (Disk { sector_bytes: 4096, ..stick() }, Refusal::Sectors { disk: "sdb".into(), has: 4096 }),
            (
                Disk { size_bytes: 1 << 30, ..stick() },
                Refusal::TooSmall { disk: "sdb".into(), has: 1 << 30, needed: 2 << 30 },
            ),
        ];
        for (disk, refusal) in cases {
            assert_eq!(judge(&disk, Some(2 << 30), Consent::UnusedDisk), Err(refusal));
        }
        for size in [None, Some(8 << 30)] {
            assert_eq!(judge(&stick(), size, Consent::UnusedDisk), Ok(()));
        }
    }

    #[test]
    fn consent_covers_use_and_nothing_else() {
        assert_eq!(judge(&mounted(&["/"]), None, Consent::SystemDisk), Ok(()));
        let small = Disk { size_bytes: 512, ..mounted(&["/"]) };
        assert!(matches!(judge(&small, Some(1024), Consent::SystemDisk), Err(Refusal::TooSmall { .. })));
    }
}
