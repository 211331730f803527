//! A segment: a file with a header, then blocks of one source.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `CAIRNLOG` |
//! | 8 | 2 | format, 1 |
//! | 10 | 1 | length of the source's name |
//! | 11 | 1 | zero |
//! | 12 | 32 | the source's name, padded with NUL |
//! | 44 | 8 | number of the segment |
//! | 52 | 8 | zero |
//! | 60 | 4 | CRC-32C of the 60 bytes before |

use crate::{
    block::{CRC32C, field},
    source::{NAME_MAX_BYTES, Source},
};

/// Size of a segment's header.
pub const HEADER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"CAIRNLOG";
const FORMAT: u16 = 1;
const SUFFIX: &str = ".log";
/// Hexadecimal digits of the number in a file's name.
const DIGITS: usize = 16;

/// Name of a segment's file: `<source>.<number>.log`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// Whose lines it holds.
    pub source: Source,
    /// Rises with each segment of the store.
    pub number: u64,
}

impl SegmentName {
    /// Reads a file's name; `None` for one that is no segment's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (source, number) = name.strip_suffix(SUFFIX)?.split_once('.')?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if number.len() != DIGITS || !number.bytes().all(is_digit) {
            return None;
        }
        let number = u64::from_str_radix(number, 16).ok().filter(|number| *number < u64::MAX)?;
        Some(Self { source: Source::parse(source)?, number })
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.{:0DIGITS$x}{SUFFIX}", self.source, self.number)
    }

    /// The header of the file.
    pub(crate) fn header(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let name = self.source.as_str().as_bytes();
        let mut put = |offset: usize, field: &[u8]| {
            if let Some(place) = bytes.get_mut(offset..offset + field.len()) {
                place.copy_from_slice(field);
            }
        };
        put(0, &MAGIC);
        put(8, &FORMAT.to_le_bytes());
        put(10, &[name.len() as u8]);
        put(12, name);
        put(44, &self.number.to_le_bytes());
        let (before, checksum) = bytes.split_at_mut(HEADER_BYTES - 4);
        checksum.copy_from_slice(&CRC32C.checksum(before).to_le_bytes());
        bytes
    }
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The one that this file should have.
    Good,
    /// Whole, and of a format that this release does not know: what follows is not looked at.
    Foreign,
    /// Neither. Blocks that follow are whole or not by themselves.
    Damaged,
}

/// Judges the header of a file of this name.
pub(crate) fn judge(name: &SegmentName, bytes: &[u8]) -> Header {
    let expected = name.header();
    let Some(found) = bytes.get(..HEADER_BYTES) else { return Header::Damaged };
    if found == expected {
        return Header::Good;
    }
    let (before, checksum) = found.split_at(HEADER_BYTES - 4);
    let is_whole = found.starts_with(&MAGIC) && checksum == CRC32C.checksum(before).to_le_bytes();
    let is_other = field(found, 8).map(u16::from_le_bytes) != Some(FORMAT);
    if is_whole && is_other { Header::Foreign } else { Header::Damaged }
}

const _: () = assert!(NAME_MAX_BYTES == 32 && 12 + NAME_MAX_BYTES == 44);

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> SegmentName {
        SegmentName { source: Source::parse("kubelet").unwrap(), number: 0x2a }
    }

    #[test]
    fn names_of_files_come_back() {
        assert_eq!(name().file(), "kubelet.000000000000002a.log");
        assert_eq!(SegmentName::parse(&name().file()), Some(name()));
        for other in [
            "kubelet.log",
            "kubelet.2a.log",
            "kubelet.000000000000002A.log",
            "a.b.000000000000002a.log",
            ".log",
        ] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_is_good_foreign_or_damaged() {
        let good = name().header();
        assert_eq!(judge(&name(), &good), Header::Good);
        assert_eq!(judge(&name(), &good[..63]), Header::Damaged);
        assert_eq!(judge(&SegmentName { number: 1, ..name() }, &good), Header::Damaged);
        let mut foreign = good;
        foreign[8] = 2;
        assert_eq!(judge(&name(), &foreign), Header::Damaged);
        let checksum = CRC32C.checksum(&foreign[..60]).to_le_bytes();
        foreign[60..].copy_from_slice(&checksum);
        assert_eq!(judge(&name(), &foreign), Header::Foreign);
    }
}
