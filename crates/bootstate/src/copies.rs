//! The two copies of the record, and which one the next write overwrites.

use crate::codec::RECORD_BYTES;
use crate::record::{DiskId, Provisioning, Record};
use crate::version::ReleaseVersion;

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyIndex {
    /// The copy at the start of the partition.
    First,
    /// The copy 4 MiB behind it.
    Second,
}

impl CopyIndex {
    /// Both copies.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// Where the copy lies in the BOOTSTATE partition.
    pub const fn offset_bytes(self) -> u64 {
        let [first, second] = layout::BOOTSTATE_RECORD_OFFSETS_BYTES;
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What the partition holds: each copy, or `None` where it is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Copies {
    pub(crate) first: Option<Record>,
    pub(crate) second: Option<Record>,
}

/// One block to be written, flushed and read back before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which copy it overwrites.
    pub copy: CopyIndex,
    /// What it puts there.
    pub record: Record,
}

impl Write {
    /// The bytes to write at the copy's offset.
    pub fn block(&self) -> [u8; RECORD_BYTES] {
        self.record.encode()
    }
}

impl Copies {
    /// Takes both blocks as read; `None` for one that could not be read.
    pub fn load(first: Option<&[u8]>, second: Option<&[u8]>) -> Self {
        let decode = |block: Option<&[u8]>| block.and_then(|block| Record::decode(block).ok());
        Self { first: decode(first), second: decode(second) }
    }

    /// The record in force: the newer of the intact copies.
    pub fn current(&self) -> Option<&Record> {
        self.copy(self.current_index())
    }

    /// Whether a copy is damaged.
    pub fn is_damaged(&self) -> bool {
        self.first.is_none() || self.second.is_none()
    }

    /// The writes that put `next` in force: none, one, or two.
    ///
    /// Nothing is written when nothing changes and both copies are intact. A second write follows where the copy
    /// that the first one spares is damaged, or would, alone, make the node forget what it must not forget: its
    /// provisioning, its disk's id, the rollback floor.
    pub fn plan(&self, next: Record) -> impl Iterator<Item = Write> + use<> {
        let spared = self.current_index();
        let newest = self.copy(spared);
        let sequence = newest.map_or(0, Record::sequence);
        let write = |copy, step| {
            let record = Record { sequence: sequence.wrapping_add(step), ..next.clone() };
            Write { copy, record }
        };
        let unchanged = newest.is_some_and(|newest| *newest == Record { sequence, ..next.clone() });
        let lasting_differs = |record: &Record| lasting(record) != lasting(&next);
        let older_lags = self.copy(spared.other()).is_none_or(lasting_differs);
        let first = (!unchanged || older_lags).then(|| write(spared.other(), 1));
        let second = newest.is_none_or(lasting_differs).then(|| write(spared, 2));
        first.into_iter().chain(second)
    }

    /// Takes note of a write that was flushed and read back.
    pub fn written(&mut self, write: Write) {
        match write.copy {
            CopyIndex::First => self.first = Some(write.record),
            CopyIndex::Second => self.second = Some(write.record),
        }
    }

    fn copy(&self, index: CopyIndex) -> Option<&Record> {
        match index {
            CopyIndex::First => self.first.as_ref(),
            CopyIndex::Second => self.second.as_ref(),
        }
    }

    /// The copy that the next write spares.
    fn current_index(&self) -> CopyIndex {
        match (&self.first, &self.second) {
            (Some(first), Some(second)) if is_newer(second, first) => CopyIndex::Second,
            (None, Some(_)) => CopyIndex::Second,
            (Some(_), _) | (None, None) => CopyIndex::First,
        }
    }
}

/// Serial number order (RFC 1982), so that no sequence is the last.
fn is_newer(left: &Record, right: &Record) -> bool {
    left.sequence.wrapping_sub(right.sequence).cast_signed() > 0
}

/// What must survive the loss of either copy.
fn lasting(record: &Record) -> (Provisioning, DiskId, ReleaseVersion) {
    (record.provisioning, record.disk_id, record.rollback_floor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::tests::records;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn copies() -> impl Strategy<Value = Copies> {
        (prop::option::of(records()), prop::option::of(records()), any::<bool>()).prop_map(
            |(first, mut second, same)| {
                if same {
                    second.clone_from(&first);
                }
                Copies { first, second }
            },
        )
    }

    proptest! {
        #[test]
        fn the_plan_puts_the_record_in_force(before in copies(), next in records()) {
            let mut after = before.clone();
            let writes: Vec<Write> = before.plan(next.clone()).collect();
            prop_assert!(!writes.is_empty());
            if let Some(newest) = before.current() {
                prop_assert_ne!(before.copy(writes[0].copy), Some(newest).filter(|_| before.first != before.second));
            }
            for write in writes {
                prop_assert_eq!(Record::decode(&write.block()), Ok(write.record.clone()));
                after.written(write);
                let current = after.current().cloned();
                prop_assert_eq!(current.clone(), current.map(|current| Record { sequence: current.sequence, ..next.clone() }));
            }
            prop_assert!(!after.is_damaged());
            for copy in [&after.first, &after.second].into_iter().flatten() {
                prop_assert_eq!(lasting(copy), lasting(&next));
            }
            prop_assert_eq!(after.plan(next).count(), 0);
        }
    }

    #[test]
    fn takes_either_copy_and_notes_damage() {
        let old = Record::decode(&Record::new(crate::record::SlotRecord::EMPTY.release).encode()).unwrap();
        let new = Record { sequence: 2, ..old.clone() };
        let (old_block, new_block) = (old.encode(), new.encode());
        let current = |first: Option<&[u8]>, second: Option<&[u8]>| {
            let copies = Copies::load(first, second);
            (copies.current().map(Record::sequence), copies.is_damaged())
        };
        assert_eq!(current(Some(&old_block), Some(&new_block)), (Some(2), false));
        assert_eq!(current(Some(&new_block), Some(&old_block)), (Some(2), false));
        assert_eq!(current(None, Some(&old_block)), (Some(1), true));
        assert_eq!(current(Some(&old_block), Some(&[0; 512])), (Some(1), true));
        assert_eq!(current(Some(&[0; 512]), None), (None, true));
    }
}
