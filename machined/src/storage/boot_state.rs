//! The boot record in BOOTSTATE, which machined shares with PID 1's helper and the selector.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bootstate::{
    Copies, DiskId, Medium, RECORD_BYTES, Record, Recording, Release, ReleaseVersion, Sha256, Slot,
    SlotState, TransitionError, commit, load,
};

use super::{StorageError, SystemDisk};

/// BOOTSTATE of the system disk.
#[derive(Debug)]
pub struct BootState {
    device: PathBuf,
    copies: Copies,
}

impl BootState {
    /// Reads both copies. Damaged ones are no error: see [`BootState::record`].
    pub fn open(disk: &SystemDisk) -> Result<Self, StorageError> {
        Self::at(disk.image_partition(&layout::BOOTSTATE)?)
    }

    fn at(device: PathBuf) -> Result<Self, StorageError> {
        let copies = load(&mut Locked::open(&device)?);
        Ok(Self { device, copies })
    }

    /// The record in force as last read or written here; `None` when both copies are damaged.
    pub fn record(&self) -> Option<&Record> {
        self.copies.current()
    }

    /// Whether the node must be treated as provisioned; so it must when nothing is known.
    pub fn is_provisioned(&self) -> bool {
        self.record().is_none_or(Record::is_provisioned)
    }

    /// Records for good that the node has a configuration of its owner's, with the hash of these trust anchors.
    pub fn set_provisioned(&mut self, trust_anchors_sha256: Sha256) -> Result<(), StorageError> {
        self.change(|record| record.set_provisioned(trust_anchors_sha256))
    }

    /// Records that the node was reset.
    pub fn forget_provisioning(&mut self) -> Result<(), StorageError> {
        self.change(Record::forget_provisioning)
    }

    /// Puts the release, which lies complete in the slot that does not run, on trial.
    pub fn begin_trial(&mut self, running: Slot, release: Release) -> Result<(), StorageError> {
        self.transition(|record| record.begin_trial(running, release))
    }

    /// Records that the running slot passed its health gate.
    pub fn confirm(&mut self, running: Slot) -> Result<(), StorageError> {
        self.transition(|record| record.confirm(running))
    }

    /// Records that the slot's trial is over. Of a slot that is on none nothing changes.
    pub fn end_trial(&mut self, slot: Slot) -> Result<(), StorageError> {
        self.transition(|record| match record.slot(slot).state() {
            SlotState::Trial { .. } => record.fail(slot),
            SlotState::Empty | SlotState::Confirmed | SlotState::Failed => Ok(()),
        })
    }

    /// Raises the rollback floor.
    pub fn raise_rollback_floor(&mut self, floor: ReleaseVersion) -> Result<(), StorageError> {
        self.transition(|record| record.raise_rollback_floor(floor))
    }

    /// Reads both copies anew: PID 1's helper may have written since.
    pub fn refresh(&mut self) -> Result<(), StorageError> {
        self.copies = load(&mut Locked::open(&self.device)?);
        Ok(())
    }

    /// Whether this is the disk that the selector started from. It gives a disk an id before it starts from it, unless
    /// it cannot record anything; so a disk without one is another disk, such as a fresh clone.
    pub fn verify_disk_id(&self, efi: [u8; 16], recording: Recording) -> Result<(), StorageError> {
        let id = self.record().ok_or(StorageError::BootRecordDamaged)?.disk_id();
        let is_unrecorded = id.is_unset() && recording == Recording::Impossible;
        if is_unrecorded || id == DiskId(efi) { Ok(()) } else { Err(StorageError::OtherDisk) }
    }

    fn change(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), StorageError> {
        self.transition(|record| {
            change(record);
            Ok(())
        })
    }

    /// Reads anew before it writes, all under the lock: PID 1's helper may have written since.
    fn transition(
        &mut self,
        transition: impl FnOnce(&mut Record) -> Result<(), TransitionError>,
    ) -> Result<(), StorageError> {
        let mut medium = Locked::open(&self.device)?;
        self.copies = load(&mut medium);
        let mut next = self.record().ok_or(StorageError::BootRecordDamaged)?.clone();
        transition(&mut next).map_err(StorageError::BootRecordTransition)?;
        let result = commit(&mut medium, &mut self.copies, next);
        if result.is_err() {
            self.copies = load(&mut medium);
        }
        result.map_err(StorageError::BootRecordCommit)
    }
}

/// The partition, past the page cache; locked for as long as this lives.
struct Locked(File);

/// Direct I/O wants memory aligned to the logical block size.
#[repr(align(4096))]
struct Block([u8; RECORD_BYTES]);

impl Locked {
    fn open(device: &Path) -> Result<Self, StorageError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT | libc::O_SYNC)
            .open(device)
            .map_err(|source| StorageError::Open { path: device.to_owned(), source })?;
        file.lock().map_err(StorageError::Lock)?;
        Ok(Self(file))
    }
}

impl Medium for Locked {
    type Error = io::Error;

    fn read(&mut self, offset_bytes: u64) -> io::Result<[u8; RECORD_BYTES]> {
        let mut block = Block([0; RECORD_BYTES]);
        self.0.read_exact_at(&mut block.0, offset_bytes)?;
        Ok(block.0)
    }

    fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> io::Result<()> {
        self.0.write_all_at(&Block(*block).0, offset_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;
    use bootstate::{CopyIndex, Release, ReleaseVersion, Uki};

    fn fresh() -> Record {
        let uki = Uki { length_bytes: 4096, sha256: [1; 32] };
        Record::new(Release { version: ReleaseVersion::UNKNOWN, uki })
    }

    fn partition(scratch: &Scratch) -> (PathBuf, File) {
        let path = scratch.path().join("bootstate");
        let file = File::create_new(&path).unwrap();
        file.set_len(layout::BOOTSTATE.size_bytes.unwrap()).unwrap();
        let mut record = fresh();
        record.set_disk_id(DiskId([9; 16]));
        for copy in CopyIndex::ALL {
            file.write_all_at(&record.encode(), copy.offset_bytes()).unwrap();
        }
        (path, file)
    }

    #[test]
    fn provisioning_lasts_when_either_copy_is_lost() {
        let scratch = Scratch::new("provisioning");
        let (path, file) = partition(&scratch);
        let mut state = BootState::at(path.clone()).unwrap();
        assert!(!state.is_provisioned());
        state.set_provisioned([5; 32]).unwrap();
        assert!(state.is_provisioned());
        for copy in CopyIndex::ALL {
            let mut block = [0; RECORD_BYTES];
            file.read_exact_at(&mut block, copy.offset_bytes()).unwrap();
            file.write_all_at(&[0; RECORD_BYTES], copy.offset_bytes()).unwrap();
            let again = BootState::at(path.clone()).unwrap();
            assert!(again.record().is_some() && again.is_provisioned());
            file.write_all_at(&block, copy.offset_bytes()).unwrap();
        }
    }

    #[test]
    fn a_reset_node_is_a_new_one_whichever_copy_is_lost() {
        let scratch = Scratch::new("reset");
        let (path, file) = partition(&scratch);
        let mut state = BootState::at(path.clone()).unwrap();
        state.set_provisioned([5; 32]).unwrap();
        state.forget_provisioning().unwrap();
        for copy in CopyIndex::ALL {
            let mut block = [0; RECORD_BYTES];
            file.read_exact_at(&mut block, copy.offset_bytes()).unwrap();
            file.write_all_at(&[0; RECORD_BYTES], copy.offset_bytes()).unwrap();
            assert!(!BootState::at(path.clone()).unwrap().is_provisioned());
            file.write_all_at(&block, copy.offset_bytes()).unwrap();
        }
    }

    #[test]
    fn a_lost_record_counts_as_provisioned_and_stays() {
        let scratch = Scratch::new("lost");
        let (path, file) = partition(&scratch);
        for copy in CopyIndex::ALL {
            file.write_all_at(&[0xff; RECORD_BYTES], copy.offset_bytes()).unwrap();
        }
        let mut state = BootState::at(path).unwrap();
        assert!(state.record().is_none() && state.is_provisioned());
        assert!(matches!(state.set_provisioned([5; 32]), Err(StorageError::BootRecordDamaged)));
        let verified = state.verify_disk_id([9; 16], Recording::Possible);
        assert!(matches!(verified, Err(StorageError::BootRecordDamaged)));
    }

    #[test]
    fn an_upgrade_goes_through_the_partition() {
        let scratch = Scratch::new("upgrade");
        let (path, _file) = partition(&scratch);
        let release = |version: &str| Release {
            version: ReleaseVersion::new(version).unwrap(),
            uki: Uki { length_bytes: 8192, sha256: [2; 32] },
        };
        let mut state = BootState::at(path.clone()).unwrap();
        let mut helper = BootState::at(path.clone()).unwrap();
        state.begin_trial(Slot::A, release("1.1.0")).unwrap();
        helper.set_provisioned([5; 32]).unwrap();
        state.end_trial(Slot::B).unwrap();
        state.refresh().unwrap();
        let record = state.record().unwrap().clone();
        assert_eq!((record.slot(Slot::B).state(), record.is_provisioned()), (SlotState::Failed, true));
        state.end_trial(Slot::B).unwrap();
        assert_eq!(state.record().unwrap().slot(Slot::B).state(), SlotState::Failed);
        state.begin_trial(Slot::A, release("1.2.0")).unwrap();
        assert!(matches!(
            state.raise_rollback_floor(ReleaseVersion::new("1.3.0").unwrap()),
            Err(StorageError::BootRecordTransition(TransitionError::FloorAboveSlot { .. }))
        ));
        state.confirm(Slot::B).unwrap();
        let again = BootState::at(path).unwrap();
        assert_eq!(again.record().unwrap().slot(Slot::B).release(), Some(&release("1.2.0")));
        assert_eq!(again.record().unwrap().active(), Slot::B);
    }

    #[test]
    fn another_disk_is_told_by_its_id() {
        let scratch = Scratch::new("disk-id");
        let (path, file) = partition(&scratch);
        let state = BootState::at(path.clone()).unwrap();
        for recording in [Recording::Possible, Recording::Impossible] {
            state.verify_disk_id([9; 16], recording).unwrap();
            assert!(matches!(state.verify_disk_id([8; 16], recording), Err(StorageError::OtherDisk)));
        }
        for copy in CopyIndex::ALL {
            file.write_all_at(&fresh().encode(), copy.offset_bytes()).unwrap();
        }
        let state = BootState::at(path).unwrap();
        state.verify_disk_id([8; 16], Recording::Impossible).unwrap();
        assert!(matches!(state.verify_disk_id([8; 16], Recording::Possible), Err(StorageError::OtherDisk)));
    }
}
