//! Reading and writing both copies in the right order, on whatever the caller has.

use crate::codec::RECORD_BYTES;
use crate::copies::{Copies, CopyIndex};
use crate::record::Record;

/// The BOOTSTATE partition.
pub trait Medium {
    /// What can go wrong.
    type Error;

    /// Reads the block at this offset in the partition, past every cache that survives the flush.
    fn read(&mut self, offset_bytes: u64) -> Result<[u8; RECORD_BYTES], Self::Error>;
    /// Writes the block at this offset in the partition.
    fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> Result<(), Self::Error>;
    /// Returns when everything written lies on stable storage.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// Why a record is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError<E> {
    /// The block could not be written.
    #[error("cannot write the boot record")]
    Write(#[source] E),
    /// The block may not have reached stable storage.
    #[error("cannot flush the boot record")]
    Flush(#[source] E),
    /// The block could not be read back.
    #[error("cannot read the boot record back")]
    ReadBack(#[source] E),
    /// The medium took the block and holds another.
    #[error("the boot record reads back differently")]
    Differs,
}

/// Reads both copies. One that cannot be read counts as damaged.
pub fn load<M: Medium>(medium: &mut M) -> Copies {
    let [first, second] = CopyIndex::ALL.map(|copy| medium.read(copy.offset_bytes()).ok());
    Copies::load(
        first.as_ref().map(<[u8; RECORD_BYTES]>::as_slice),
        second.as_ref().map(<[u8; RECORD_BYTES]>::as_slice),
    )
}

/// Puts `next` in force. After an error the copies must be loaded anew.
pub fn commit<M: Medium>(
    medium: &mut M,
    copies: &mut Copies,
    next: Record,
) -> Result<(), CommitError<M::Error>> {
    for write in copies.plan(next) {
        let block = write.block();
        let offset_bytes = write.copy.offset_bytes();
        medium.write(offset_bytes, &block).map_err(CommitError::Write)?;
        medium.flush().map_err(CommitError::Flush)?;
        if medium.read(offset_bytes).map_err(CommitError::ReadBack)? != block {
            return Err(CommitError::Differs);
        }
        copies.written(write);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{DiskId, SlotRecord};
    use std::collections::BTreeMap;

    /// A disk that fails from its nth operation on.
    struct Disk {
        blocks: BTreeMap<u64, [u8; RECORD_BYTES]>,
        operations_left: usize,
        lies: bool,
    }

    impl Disk {
        fn new(operations_left: usize) -> Self {
            let block = Record::new(SlotRecord::EMPTY.release).encode();
            let blocks = CopyIndex::ALL.map(|copy| (copy.offset_bytes(), block)).into();
            Self { blocks, operations_left, lies: false }
        }

        fn operate(&mut self) -> Result<(), ()> {
            self.operations_left = self.operations_left.checked_sub(1).ok_or(())?;
            Ok(())
        }
    }

    impl Medium for Disk {
        type Error = ();

        fn read(&mut self, offset_bytes: u64) -> Result<[u8; RECORD_BYTES], ()> {
            self.operate()?;
            self.blocks.get(&offset_bytes).copied().ok_or(())
        }

        fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> Result<(), ()> {
            self.operate()?;
            if !self.lies {
                self.blocks.insert(offset_bytes, *block);
            }
            Ok(())
        }

        fn flush(&mut self) -> Result<(), ()> {
            self.operate()
        }
    }

    /// Sets the disk's id, which takes two writes, with so many operations before the disk fails.
    fn set_disk_id(operations: usize) -> (Result<(), CommitError<()>>, Copies) {
        let mut disk = Disk::new(operations);
        let mut copies = load(&mut disk);
        let mut next = copies.current().cloned().unwrap_or(Record::new(SlotRecord::EMPTY.release));
        next.set_disk_id(DiskId([7; 16]));
        let result = commit(&mut disk, &mut copies, next);
        disk.operations_left = 2;
        (result, load(&mut disk))
    }

    #[test]
    fn every_operation_may_fail() {
        let errors = [CommitError::Write(()), CommitError::Flush(()), CommitError::ReadBack(())];
        for (done, error) in errors.into_iter().cycle().take(6).enumerate() {
            let (result, copies) = set_disk_id(2 + done);
            assert_eq!(result, Err(error), "after {done} operations");
            assert!(!copies.is_damaged());
        }
        let (result, copies) = set_disk_id(8);
        assert_eq!(result, Ok(()));
        for copy in [copies.first, copies.second] {
            assert_eq!(copy.map(|record| record.disk_id()), Some(DiskId([7; 16])));
        }
    }

    #[test]
    fn a_disk_that_lies_is_found_out() {
        let mut disk = Disk::new(usize::MAX);
        disk.lies = true;
        let mut copies = load(&mut disk);
        let mut next = copies.current().cloned().unwrap();
        next.set_disk_id(DiskId([7; 16]));
        assert_eq!(commit(&mut disk, &mut copies, next), Err(CommitError::Differs));
    }

    #[test]
    fn unreadable_copies_count_as_damaged() {
        assert_eq!(load(&mut Disk::new(0)).current(), None);
        assert!(load(&mut Disk::new(1)).current().is_some());
        assert!(load(&mut Disk::new(1)).is_damaged());
    }
}
