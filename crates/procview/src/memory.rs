//! The machine's memory.

use crate::text::named_kib;

/// /proc/meminfo, see proc_meminfo(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// All that the kernel has.
    pub total_bytes: Option<u64>,
    /// Unused.
    pub free_bytes: Option<u64>,
    /// What can be had without swapping.
    pub available_bytes: Option<u64>,
    /// Buffers of block devices.
    pub buffers_bytes: Option<u64>,
    /// Files.
    pub cached_bytes: Option<u64>,
    /// Waits to be written.
    pub dirty_bytes: Option<u64>,
    /// The kernel's own objects.
    pub slab_bytes: Option<u64>,
    /// Swap.
    pub swap_total_bytes: Option<u64>,
    /// Unused swap.
    pub swap_free_bytes: Option<u64>,
}

impl MemoryUse {
    /// Parses the file.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let field = |name| named_kib(bytes, name);
        Self {
            total_bytes: field("MemTotal"),
            free_bytes: field("MemFree"),
            available_bytes: field("MemAvailable"),
            buffers_bytes: field("Buffers"),
            cached_bytes: field("Cached"),
            dirty_bytes: field("Dirty"),
            slab_bytes: field("Slab"),
            swap_total_bytes: field("SwapTotal"),
            swap_free_bytes: field("SwapFree"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_is_not_swap_cached() {
        let text = b"MemTotal:  2000 kB\nMemFree: 10 kB\nSwapCached: 7 kB\nCached: 9 kB\nSwapTotal: 0 kB\n";
        let memory = MemoryUse::parse(text);
        assert_eq!(memory.total_bytes, Some(2_048_000));
        assert_eq!(memory.cached_bytes, Some(9 * 1024));
        assert_eq!((memory.swap_total_bytes, memory.swap_free_bytes), (Some(0), None));
        assert_eq!(MemoryUse::parse(b""), MemoryUse::default());
    }
}
