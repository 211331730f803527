//! A block: records of one boot and one origin, compressed, behind a header that says enough to pass over it.
//!
//! Integers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic `CLGB` |
//! | 4 | 1 | 0 the records as they are, 1 one zstd frame |
//! | 5 | 3 | zero |
//! | 8 | 4 | bytes behind this header |
//! | 12 | 4 | bytes of the records |
//! | 16 | 4 | number of records |
//! | 20 | 4 | CRC-32C of the bytes behind this header |
//! | 24 | 8 | number of the first record |
//! | 32 | 8 | number of the last record |
//! | 40 | 16 | boot id |
//! | 56 | 8 | origin |
//! | 64 | 8 | position of the last record |
//! | 72 | 8 | earliest wall time, microseconds since 1970, signed |
//! | 80 | 8 | latest wall time |
//! | 88 | 4 | zero |
//! | 92 | 4 | CRC-32C of the 92 bytes before |

use crc::{CRC_32_ISCSI, Crc};

use crate::{
    boot::BootId,
    record::{MESSAGE_MAX_BYTES, OVERHEAD_MAX_BYTES, Record, decode, encode},
};

/// Size of a block's header.
pub const HEADER_BYTES: usize = 96;
/// Most bytes of records in a block: what a reader holds in memory at once. Two of the longest records fit.
pub const BLOCK_RAW_MAX_BYTES: usize = 2 * (MESSAGE_MAX_BYTES + OVERHEAD_MAX_BYTES);
/// Where a block begins.
pub const MAGIC: [u8; 4] = *b"CLGB";

pub(crate) const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// Logs are written once and mostly never read: fast, and with the smallest tables.
const LEVEL: i32 = 1;
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// What a block says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    compressed: bool,
    /// Bytes behind the header.
    pub stored_bytes: u32,
    raw_bytes: u32,
    /// Number of records.
    pub records: u32,
    payload_crc: u32,
    /// Number of the first record.
    pub first_sequence: u64,
    /// Number of the last record.
    pub last_sequence: u64,
    /// Which boot they are of.
    pub boot: BootId,
    /// What they were read from.
    pub origin: u64,
    /// Where in that the last ends.
    pub last_position: u64,
    /// Earliest wall time of a record, microseconds since 1970.
    pub earliest_us: i64,
    /// Latest wall time.
    pub latest_us: i64,
}

/// Makes a block of records of one origin. They are at least one, and at most [`BLOCK_RAW_MAX_BYTES`] with their
/// overhead.
pub(crate) fn seal(records: &[Record], boot: BootId) -> Option<(BlockHeader, Vec<u8>)> {
    let (first, last) = (records.first()?, records.last()?);
    let raw = encode(records, first.sequence);
    let packed = zstd::bulk::compress(&raw, LEVEL).ok().filter(|packed| packed.len() < raw.len());
    let (compressed, payload) = packed.map_or((false, None), |packed| (true, Some(packed)));
    let raw_bytes = u32::try_from(raw.len()).ok()?;
    let payload = payload.unwrap_or(raw);
    let times = || records.iter().map(|record| record.entry.wall_us);
    let header = BlockHeader {
        compressed,
        stored_bytes: u32::try_from(payload.len()).ok()?,
        raw_bytes,
        records: u32::try_from(records.len()).ok()?,
        payload_crc: CRC32C.checksum(&payload),
        first_sequence: first.sequence,
        last_sequence: last.sequence,
        boot,
        origin: last.entry.origin,
        last_position: last.entry.position,
        earliest_us: times().min()?,
        latest_us: times().max()?,
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&payload);
    Some((header, bytes))
}

impl BlockHeader {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |offset: usize, field: &[u8]| {
            if let Some(place) = bytes.get_mut(offset..offset + field.len()) {
                place.copy_from_slice(field);
            }
        };
        put(0, &MAGIC);
        put(4, &[if self.compressed { ZSTD } else { STORED }]);
        put(8, &self.stored_bytes.to_le_bytes());
        put(12, &self.raw_bytes.to_le_bytes());
        put(16, &self.records.to_le_bytes());
        put(20, &self.payload_crc.to_le_bytes());
        put(24, &self.first_sequence.to_le_bytes());
        put(32, &self.last_sequence.to_le_bytes());
        put(40, &self.boot.0);
        put(56, &self.origin.to_le_bytes());
        put(64, &self.last_position.to_le_bytes());
        put(72, &self.earliest_us.to_le_bytes());
        put(80, &self.latest_us.to_le_bytes());
        let (before, checksum) = bytes.split_at_mut(HEADER_BYTES - 4);
        checksum.copy_from_slice(&CRC32C.checksum(before).to_le_bytes());
        bytes
    }

    /// Reads a header; `None` unless it is whole and means something.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let (before, checksum) = bytes.split_at(HEADER_BYTES - 4);
        if !bytes.starts_with(&MAGIC) || checksum != CRC32C.checksum(before).to_le_bytes() {
            return None;
        }
        let u32_at = |offset| Some(u32::from_le_bytes(field(bytes, offset)?));
        let u64_at = |offset| Some(u64::from_le_bytes(field(bytes, offset)?));
        let i64_at = |offset| Some(i64::from_le_bytes(field(bytes, offset)?));
        let header = Self {
            compressed: match *bytes.get(4)? {
                STORED => false,
                ZSTD => true,
                _ => return None,
            },
            stored_bytes: u32_at(8)?,
            raw_bytes: u32_at(12)?,
            records: u32_at(16)?,
            payload_crc: u32_at(20)?,
            first_sequence: u64_at(24)?,
            last_sequence: u64_at(32)?,
            boot: BootId(field(bytes, 40)?),
            origin: u64_at(56)?,
            last_position: u64_at(64)?,
            earliest_us: i64_at(72)?,
            latest_us: i64_at(80)?,
        };
        let is_sane = header.stored_bytes <= header.raw_bytes
            && usize::try_from(header.raw_bytes).is_ok_and(|bytes| bytes <= BLOCK_RAW_MAX_BYTES)
            && (1..=header.raw_bytes).contains(&header.records)
            && header.first_sequence <= header.last_sequence
            // Another record must be able to follow.
            && header.last_sequence < u64::MAX
            && header.earliest_us <= header.latest_us;
        is_sane.then_some(header)
    }

    /// The records, from the bytes behind the header; `None` when they are damaged.
    #[must_use]
    pub fn open(&self, payload: &[u8]) -> Option<Vec<Record>> {
        let raw_bytes = usize::try_from(self.raw_bytes).ok()?;
        if payload.len() as u64 != u64::from(self.stored_bytes)
            || CRC32C.checksum(payload) != self.payload_crc
        {
            return None;
        }
        let unpacked;
        let raw = if self.compressed {
            unpacked = zstd::bulk::decompress(payload, raw_bytes).ok()?;
            &unpacked
        } else {
            payload
        };
        if raw.len() != raw_bytes {
            return None;
        }
        let records = decode(raw, self.records, self.first_sequence, self.origin)?;
        (records.last()?.sequence == self.last_sequence).then_some(records)
    }

    /// Bytes of header and records in the file.
    #[must_use]
    pub fn length(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.stored_bytes)
    }
}

pub(crate) fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Entry;

    fn records() -> Vec<Record> {
        (0..50)
            .map(|number| Record {
                sequence: 100 + 3 * number,
                entry: Entry {
                    origin: 5,
                    position: 40 * number,
                    wall_us: 1_000 - number.cast_signed(),
                    mono_us: number,
                    priority: Some(6),
                    message: format!("line {number} of a service").into_bytes(),
                },
            })
            .collect()
    }

    #[test]
    fn a_block_comes_back_and_says_what_it_holds() {
        let (header, bytes) = seal(&records(), BootId([9; 16])).unwrap();
        assert!(header.compressed && bytes.len() < 700, "{}", bytes.len());
        let read = BlockHeader::decode(&bytes).unwrap();
        assert_eq!(read, header);
        assert_eq!((read.first_sequence, read.last_sequence, read.records), (100, 247, 50));
        assert_eq!((read.earliest_us, read.latest_us, read.last_position), (951, 1000, 1960));
        assert_eq!(read.open(&bytes[HEADER_BYTES..]), Some(records()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (_, good) = seal(&records(), BootId([9; 16])).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let opened = BlockHeader::decode(&bytes).and_then(|header| header.open(&bytes[HEADER_BYTES..]));
            assert_eq!(opened, None, "bit {bit}");
        }
    }
}
