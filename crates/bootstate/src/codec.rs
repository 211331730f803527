//! The record's 512-byte form.
//!
//! All integers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `CAIRNBST` |
//! | 8 | 2 | format, 1 |
//! | 10 | 1 | active slot, `A` or `B` |
//! | 11 | 1 | provisioning: 0 never, 1 done, 2 presumed |
//! | 12 | 8 | sequence |
//! | 20 | 16 | disk id |
//! | 36 | 32 | SHA-256 of the trust anchors, zero unless provisioning is 1 |
//! | 68 | 64 | rollback floor: a release version, padded with NUL |
//! | 132 | 128 | slot A |
//! | 260 | 128 | slot B |
//! | 388 | 120 | reserved, kept |
//! | 508 | 4 | CRC-32C of everything before |
//!
//! A slot: release version (64), UKI's SHA-256 (32) and length (8), state (1: 0 empty, 1 trial, 2 confirmed,
//! 3 failed), tries left (1), boots since alive (1), reserved and kept (21).

use crate::record::{DiskId, PerSlot, Provisioning, Record, Release, Slot, SlotRecord, SlotState, Uki};
use crate::version::{ReleaseVersion, VERSION_MAX_BYTES};
use crc::{CRC_32_ISCSI, Crc};

/// Size of an encoded record: one sector, the unit that disks write whole.
pub const RECORD_BYTES: usize = 512;

const MAGIC: [u8; 8] = *b"CAIRNBST";
const FORMAT: u16 = 1;
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CRC_BYTES: usize = 4;

/// A block that is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not [`RECORD_BYTES`] long.
    #[error("boot record is not {RECORD_BYTES} bytes long")]
    Length,
    /// No record was ever written here, or its beginning is damaged.
    #[error("boot record has no magic")]
    Magic,
    /// Damaged.
    #[error("boot record fails its checksum")]
    Checksum,
    /// Written by something that this release does not know.
    #[error("boot record has format {found}, not {FORMAT}")]
    Format {
        /// As stored.
        found: u16,
    },
    /// Intact, but a field has a value without meaning.
    #[error("boot record has a meaningless {field}")]
    Field {
        /// Which one.
        field: &'static str,
    },
}

impl Record {
    /// Reads an encoded record.
    pub fn decode(block: &[u8]) -> Result<Self, DecodeError> {
        let block: &[u8; RECORD_BYTES] = block.try_into().map_err(|_| DecodeError::Length)?;
        let (body, checksum) = block.split_last_chunk::<CRC_BYTES>().ok_or(DecodeError::Length)?;
        let mut reader = Reader(body);
        if reader.take::<8>()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        if CRC32C.checksum(body) != u32::from_le_bytes(*checksum) {
            return Err(DecodeError::Checksum);
        }
        let format = u16::from_le_bytes(reader.take()?);
        if format != FORMAT {
            return Err(DecodeError::Format { found: format });
        }
        Self::read(&mut reader)
    }

    /// The 512 bytes to store.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut block = [0; RECORD_BYTES];
        if let Some((body, checksum)) = block.split_last_chunk_mut::<CRC_BYTES>() {
            self.write(&mut Writer(&mut body[..]));
            *checksum = CRC32C.checksum(body).to_le_bytes();
        }
        block
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let active = Slot::from_byte(reader.byte()?).ok_or(DecodeError::Field { field: "active slot" })?;
        let provisioning_kind = reader.byte()?;
        let sequence = u64::from_le_bytes(reader.take()?);
        let disk_id = DiskId(reader.take()?);
        let trust_anchors_sha256 = reader.take()?;
        let provisioning = match provisioning_kind {
            0 => Provisioning::Never,
            1 => Provisioning::Done { trust_anchors_sha256 },
            2 => Provisioning::Presumed,
            _ => return Err(DecodeError::Field { field: "provisioning" }),
        };
        let rollback_floor = reader.version("rollback floor")?;
        let slots = PerSlot { a: SlotRecord::read(reader)?, b: SlotRecord::read(reader)? };
        let reserved = reader.take()?;
        Ok(Self { sequence, disk_id, provisioning, active, slots, rollback_floor, reserved })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let (provisioning_kind, trust_anchors_sha256) = match self.provisioning {
            Provisioning::Never => (0, [0; 32]),
            Provisioning::Done { trust_anchors_sha256 } => (1, trust_anchors_sha256),
            Provisioning::Presumed => (2, [0; 32]),
        };
        writer.put(&MAGIC);
        writer.put(&FORMAT.to_le_bytes());
        writer.put(&[self.active.byte(), provisioning_kind]);
        writer.put(&self.sequence.to_le_bytes());
        writer.put(&self.disk_id.0);
        writer.put(&trust_anchors_sha256);
        writer.put(self.rollback_floor.as_bytes());
        self.slots.a.write(writer);
        self.slots.b.write(writer);
        writer.put(&self.reserved);
    }
}

impl SlotRecord {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.version("release version")?;
        let sha256 = reader.take()?;
        let length_bytes = u64::from_le_bytes(reader.take()?);
        let [state, tries_left, boots_since_alive] = reader.take()?;
        let state = match state {
            0 => SlotState::Empty,
            1 => SlotState::Trial { tries_left },
            2 => SlotState::Confirmed,
            3 => SlotState::Failed,
            _ => return Err(DecodeError::Field { field: "slot state" }),
        };
        let release = Release { version, uki: Uki { length_bytes, sha256 } };
        Ok(Self { release, state, boots_since_alive, reserved: reader.take()? })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let (state, tries_left) = match self.state {
            SlotState::Empty => (0, 0),
            SlotState::Trial { tries_left } => (1, tries_left),
            SlotState::Confirmed => (2, 0),
            SlotState::Failed => (3, 0),
        };
        writer.put(self.release.version.as_bytes());
        writer.put(&self.release.uki.sha256);
        writer.put(&self.release.uki.length_bytes.to_le_bytes());
        writer.put(&[state, tries_left, self.boots_since_alive]);
        writer.put(&self.reserved);
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(DecodeError::Length)?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    fn version(&mut self, field: &'static str) -> Result<ReleaseVersion, DecodeError> {
        let bytes = self.take::<VERSION_MAX_BYTES>()?;
        ReleaseVersion::from_bytes(bytes).ok_or(DecodeError::Field { field })
    }
}

/// What is left to fill. The fields add up to its length, which `fills_the_block` below checks.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some((head, tail)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            head.copy_from_slice(bytes);
            self.0 = tail;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn versions()(core in prop::array::uniform3(0u8..3), unknown in any::<bool>()) -> ReleaseVersion {
            let [major, minor, patch] = core;
            match unknown {
                true => ReleaseVersion::UNKNOWN,
                false => ReleaseVersion::new(&std::format!("{major}.{minor}.{patch}")).unwrap(),
            }
        }
    }

    fn states() -> impl Strategy<Value = SlotState> {
        prop_oneof![
            Just(SlotState::Empty),
            any::<u8>().prop_map(|tries_left| SlotState::Trial { tries_left }),
            Just(SlotState::Confirmed),
            Just(SlotState::Failed),
        ]
    }

    prop_compose! {
        fn slot_records()(
            version in versions(), sha256: [u8; 32], length_bytes: u64, state in states(),
            boots_since_alive: u8, reserved in prop::array::uniform(any::<u8>()),
        ) -> SlotRecord {
            let release = Release { version, uki: Uki { length_bytes, sha256 } };
            SlotRecord { release, state, boots_since_alive, reserved }
        }
    }

    prop_compose! {
        /// Any record that decodes, reachable or not.
        pub(crate) fn records()(
            sequence: u64, disk_id: [u8; 16], kind in 0..3, trust_anchors_sha256: [u8; 32],
            active in prop::sample::select(&Slot::ALL), a in slot_records(), b in slot_records(),
            rollback_floor in versions(), reserved in prop::collection::vec(any::<u8>(), 120),
        ) -> Record {
            let provisioning = match kind {
                0 => Provisioning::Never,
                1 => Provisioning::Presumed,
                _ => Provisioning::Done { trust_anchors_sha256 },
            };
            let reserved = reserved.try_into().unwrap();
            let slots = PerSlot { a, b };
            Record { sequence, disk_id: DiskId(disk_id), provisioning, active, slots, rollback_floor, reserved }
        }
    }

    proptest! {
        #[test]
        fn round_trips(record in records()) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn any_changed_byte_is_found(record in records(), at in 0..RECORD_BYTES, flip in 1u8..) {
            let mut block = record.encode();
            block[at] ^= flip;
            prop_assert!(Record::decode(&block).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..2 * RECORD_BYTES)) {
            prop_assert!(Record::decode(&bytes).is_err());
        }

        /// What decodes at all encodes to the same bytes: nothing reserved is lost.
        #[test]
        fn arbitrary_fields_are_kept(
            mut block in prop::collection::vec(any::<u8>(), RECORD_BYTES),
            versions_unknown in any::<bool>(),
        ) {
            block[..10].copy_from_slice(b"CAIRNBST\x01\x00");
            block[10] = b'A' + (block[10] & 1);
            block[11] = 1;
            for (state, tries) in [(236, 237), (364, 365)] {
                block[state] &= 3;
                block[tries] = if block[state] == 1 { block[tries] } else { 0 };
            }
            if versions_unknown {
                for start in [68, 132, 260] {
                    block[start..start + VERSION_MAX_BYTES].fill(0);
                }
            }
            let checksum = CRC32C.checksum(&block[..508]).to_le_bytes();
            block[508..].copy_from_slice(&checksum);
            if let Ok(record) = Record::decode(&block) {
                prop_assert_eq!(record.encode().to_vec(), block);
            } else {
                prop_assert!(!versions_unknown);
            }
        }
    }

    /// The stored form is fixed: disks in the field hold it.
    #[test]
    fn fills_the_block() {
        let release = Release {
            version: ReleaseVersion::new("1.2.3").unwrap(),
            uki: Uki { length_bytes: 0x0102_0304, sha256: [0xaa; 32] },
        };
        let mut record = Record::new(release);
        record.reserved = [0xee; 120];
        let block = record.encode();
        assert_eq!(&block[..12], b"CAIRNBST\x01\x00A\x00");
        assert_eq!(&block[12..20], &[1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&block[132..138], b"1.2.3\0");
        assert_eq!(&block[196..228], &[0xaa; 32]);
        assert_eq!(&block[228..239], &[4, 3, 2, 1, 0, 0, 0, 0, 2, 0, 0]);
        assert_eq!(&block[260..388], &[0; 128]);
        assert_eq!(&block[388..508], &[0xee; 120]);
        assert_eq!(u32::from_le_bytes(block[508..].try_into().unwrap()), CRC32C.checksum(&block[..508]));
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn says_what_is_wrong() {
        let good = Record::new(SlotRecord::EMPTY.release).encode();
        let with = |at: usize, value: u8| {
            let mut block = good;
            block[at] = value;
            let checksum = CRC32C.checksum(&block[..508]).to_le_bytes();
            block[508..].copy_from_slice(&checksum);
            Record::decode(&block)
        };
        assert_eq!(Record::decode(&good[..511]), Err(DecodeError::Length));
        assert_eq!(Record::decode(&[0; RECORD_BYTES]), Err(DecodeError::Magic));
        assert_eq!(with(8, 2), Err(DecodeError::Format { found: 2 }));
        assert_eq!(with(10, b'C'), Err(DecodeError::Field { field: "active slot" }));
        assert_eq!(with(11, 3), Err(DecodeError::Field { field: "provisioning" }));
        assert_eq!(with(68, b'x'), Err(DecodeError::Field { field: "rollback floor" }));
        assert_eq!(with(132, b'x'), Err(DecodeError::Field { field: "release version" }));
        assert_eq!(with(236, 4), Err(DecodeError::Field { field: "slot state" }));
    }
}
