//! A volume's id, and the mark that a disk bears from before it is formatted until that is done.
//!
//! The mark is the only licence to format what is not blank. Writing it may be cut off between sectors, never within
//! one, so each sector of it says the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Written at once: no disk has larger sectors.
pub const MARK_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
const MAGIC: &[u8; 32] = b"cairn: volume is being made\0\0\0\0\0";
const ID_BYTES: usize = 16;

/// UUID of a volume's file system (RFC 9562).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct VolumeId([u8; ID_BYTES]);

/// Text that is no UUID.
#[derive(Debug, thiserror::Error)]
#[error("not a UUID")]
pub struct NotAnId;

impl VolumeId {
    /// Of version 4, from random bytes.
    pub const fn from_random(mut bytes: [u8; ID_BYTES]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// As ext4 keeps it.
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&index) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl From<VolumeId> for String {
    fn from(id: VolumeId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for VolumeId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        let bytes = hex::decode(text.replace('-', "")).map_err(|_| NotAnId)?;
        let id = Self(bytes.try_into().map_err(|_| NotAnId)?);
        if id.to_string() == text { Ok(id) } else { Err(NotAnId) }
    }
}

/// The mark of this volume.
pub fn mark(id: VolumeId) -> Vec<u8> {
    let mut sector = [MAGIC.as_slice(), &id.0].concat();
    sector.resize(SECTOR_BYTES, 0);
    sector.repeat(MARK_BYTES / SECTOR_BYTES)
}

/// Whose mark stands there, whole or cut off.
pub fn read_mark(block: &[u8]) -> Option<VolumeId> {
    let sector = block.chunks(SECTOR_BYTES).find(|sector| !is_zero(sector))?;
    let id = VolumeId(sector.strip_prefix(MAGIC)?.first_chunk().copied()?);
    let whole = mark(id);
    let is_of_it = |(is, marked): (&[u8], &[u8])| is == marked || is_zero(is);
    let cut_off = block.chunks(SECTOR_BYTES).zip(whole.chunks(SECTOR_BYTES)).all(is_of_it);
    (block.len() == MARK_BYTES && cut_off).then_some(id)
}

/// Whether nothing stands there.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_random_uuids_and_read_back() {
        let id = VolumeId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(VolumeId::try_from(id.to_string()).unwrap(), id);
        for text in ["", "ffffffff", "FFFFFFFF-ffff-4fff-bfff-ffffffffffff", "é"] {
            assert!(VolumeId::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_mark_that_was_cut_off_is_still_a_mark(id: [u8; 16], written in prop::collection::vec(any::<bool>(), 8)) {
            let id = VolumeId(id);
            let mut block = mark(id);
            for (sector, written) in block.chunks_mut(SECTOR_BYTES).zip(&written) {
                if !written {
                    sector.fill(0);
                }
            }
            prop_assert_eq!(read_mark(&block), written.contains(&true).then_some(id));
        }

        #[test]
        fn what_is_no_mark_is_none(id: [u8; 16], at in 0..MARK_BYTES, flip in 1_u8..) {
            let mut block = mark(VolumeId(id));
            block[at] ^= flip;
            prop_assert_eq!(read_mark(&block), None);
        }
    }
}
