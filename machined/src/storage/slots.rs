//! The partitions of a slot.

use std::fs;
use std::path::{Path, PathBuf};

use bootstate::Slot;

use super::system::ROOT_SLAVES;
use super::{StorageError, SystemDisk};

/// Where a slot lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotPartitions {
    /// Which slot.
    pub slot: Slot,
    /// The UKI's partition.
    pub boot: PathBuf,
    /// The root's partition.
    pub root: PathBuf,
}

impl SlotPartitions {
    /// The slot's partitions on the system disk.
    pub fn of(disk: &SystemDisk, slot: Slot) -> Result<Self, StorageError> {
        let (boot, root) = match slot {
            Slot::A => (layout::BOOT_A, layout::ROOT_A),
            Slot::B => (layout::BOOT_B, layout::ROOT_B),
        };
        Ok(Self { slot, boot: disk.image_partition(&boot)?, root: disk.image_partition(&root)? })
    }

    /// Whether the node's root lies in it, as the kernel says. What cannot be told counts as yes.
    pub fn runs(&self) -> bool {
        self.runs_on(Path::new(ROOT_SLAVES))
    }

    fn runs_on(&self, slaves: &Path) -> bool {
        let Ok(slaves) = fs::read_dir(slaves) else { return true };
        let mut slaves = slaves.map(|slave| slave.map(|slave| slave.file_name())).peekable();
        slaves.peek().is_none()
            || slaves.any(|slave| slave.map_or(true, |slave| self.root.file_name() == Some(&slave)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn the_running_slot_is_told_by_what_the_root_lies_on() {
        let scratch = Scratch::new("slots");
        let slot =
            |slot, boot: &str, root: &str| SlotPartitions { slot, boot: boot.into(), root: root.into() };
        let a = slot(Slot::A, "/dev/vda3", "/dev/vda4");
        let b = slot(Slot::B, "/dev/vda5", "/dev/vda6");
        let slaves = scratch.path().join("slaves");
        assert!(a.runs_on(&slaves) && b.runs_on(&slaves), "there is nothing to tell it by");
        fs::create_dir_all(&slaves).unwrap();
        assert!(a.runs_on(&slaves) && b.runs_on(&slaves), "there is nothing in it");
        fs::write(slaves.join("vda6"), "").unwrap();
        assert!(!a.runs_on(&slaves) && b.runs_on(&slaves));
    }
}
