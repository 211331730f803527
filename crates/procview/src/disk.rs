//! Block devices.

use crate::text::text;

/// Unit of /proc/diskstats, whatever the disk's own sector is.
const SECTOR_BYTES: u64 = 512;

/// Counters of a block device: /proc/diskstats, see the kernel's Documentation/admin-guide/iostats.rst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCounters {
    /// Device name, such as "vda".
    pub name: String,
    /// Completed reads.
    pub reads: u64,
    /// Read.
    pub read_bytes: u64,
    /// Completed writes.
    pub writes: u64,
    /// Written.
    pub written_bytes: u64,
    /// Time with something to do.
    pub busy_ms: u64,
}

impl DiskCounters {
    /// All devices of the file.
    #[must_use]
    pub fn parse_all(bytes: &[u8]) -> Vec<Self> {
        text(bytes).lines().filter_map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            name: (*fields.get(2)?).to_owned(),
            reads: number(3)?,
            read_bytes: number(5)?.checked_mul(SECTOR_BYTES)?,
            writes: number(7)?,
            written_bytes: number(9)?.checked_mul(SECTOR_BYTES)?,
            busy_ms: number(12)?,
        })
    }
}

/// What a zram device holds: the first fields of mm_stat, see the kernel's Documentation/admin-guide/blockdev/zram.rst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZramUse {
    /// Before compression.
    pub stored_bytes: u64,
    /// After it.
    pub compressed_bytes: u64,
    /// With what managing it takes.
    pub memory_bytes: u64,
}

impl ZramUse {
    /// Parses the file.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let line = text(bytes);
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { stored_bytes: next()?, compressed_bytes: next()?, memory_bytes: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_taken() {
        let text = b" 254       0 vda 10 1 2000 30 40 5 600 70 0 80 90 0 0 0 0 0 0\n 254 1 vda1 x\n 7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n";
        let disks = DiskCounters::parse_all(text);
        assert_eq!(disks.len(), 2);
        let expected = DiskCounters {
            name: "vda".into(),
            reads: 10,
            read_bytes: 2000 * 512,
            writes: 40,
            written_bytes: 600 * 512,
            busy_ms: 80,
        };
        assert_eq!(disks[0], expected);
    }

    #[test]
    fn zram_in_its_order() {
        let expected = ZramUse { stored_bytes: 4096, compressed_bytes: 74, memory_bytes: 12_288 };
        assert_eq!(ZramUse::parse(b"    4096       74    12288        0    12288\n"), Some(expected));
        assert_eq!(ZramUse::parse(b"4096 74"), None);
    }
}
