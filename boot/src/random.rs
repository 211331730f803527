//! An id for a disk that has none.
//!
//! It tells disks apart, no secret hangs on it. Firmware without a random number generator must do: the time,
//! and how much of it passes between calls, then decide.

// Reading the processor's counter.
#![allow(unsafe_code)]

use crate::protocol::open_shared;
use bootstate::DiskId;
use core::time::Duration;
use sha2::{Digest, Sha256};
use uefi::proto::rng::Rng;
use uefi::{boot, runtime};

const RNG_BYTES: usize = 32;
const JITTER_SAMPLES: usize = 64;
const JITTER_PAUSE: Duration = Duration::from_micros(10);

/// Makes an id from everything at hand.
pub fn disk_id() -> DiskId {
    let mut pool = Sha256::new();
    pool.update(firmware_random().unwrap_or_default());
    if let Ok(time) = runtime::get_time() {
        let date = [time.month(), time.day(), time.hour(), time.minute(), time.second()];
        pool.update(time.year().to_le_bytes());
        pool.update(date);
        pool.update(time.nanosecond().to_le_bytes());
    }
    for _ in 0..JITTER_SAMPLES {
        pool.update(ticks().to_le_bytes());
        boot::stall(JITTER_PAUSE);
    }
    let digest: [u8; 32] = pool.finalize().into();
    digest.first_chunk().copied().map_or(DiskId::UNSET, DiskId)
}

fn firmware_random() -> Option<[u8; RNG_BYTES]> {
    let handle = boot::get_handle_for_protocol::<Rng>().ok()?;
    let mut bytes = [0; RNG_BYTES];
    open_shared::<Rng>(handle).ok()?.get_rng(None, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: every x86_64 processor has the instruction, and firmware runs where it is allowed.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(target_arch = "aarch64")]
fn ticks() -> u64 {
    let count: u64;
    // SAFETY: reads the virtual counter, which UEFI requires to run; nothing else is touched.
    unsafe {
        core::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags))
    };
    count
}
