//! Compressed swap in memory (kernel Documentation/admin-guide/blockdev/zram.rst).

use std::{fs, io, path::Path};

use config::Swap;

use super::swap_device;
use crate::{context::Context, error_chain::error_chain, health::Status};

const DEVICE: &str = "/dev/zram0";
const CONTROL: &str = "/sys/block/zram0";
const PAGE_BYTES: u64 = 4096;

/// Why the swap is not as it should be.
#[derive(Debug, thiserror::Error)]
enum SwapError {
    #[error("cannot read the size of the memory")]
    Memory(#[source] io::Error),
    #[error("cannot set up {}", CONTROL)]
    Control(#[source] io::Error),
    #[error("cannot write a swap area to {}", DEVICE)]
    Area(#[source] io::Error),
    #[error("cannot use {} as swap", DEVICE)]
    On(#[source] io::Error),
    #[error("cannot give {} up: the memory does not hold what is swapped out", DEVICE)]
    Off(#[source] io::Error),
}

/// Follows the configuration for ever.
pub async fn run(context: &Context) {
    let mut follower = context.follower("swap");
    loop {
        let config = follower.current();
        let swap = config.swap;
        let done = tokio::task::spawn_blocking(move || obey(swap)).await;
        let (status, reason, message) = match done {
            Ok(Ok(reason)) => (Status::Healthy, reason, String::new()),
            Ok(Err(error)) => (Status::Unhealthy, "NotObeyed", error_chain(&error)),
            Err(error) => (Status::Unhealthy, "NotObeyed", error_chain(&error)),
        };
        context.health.set("swap", status, reason, message);
        follower.settle(&config);
        follower.changed().await;
    }
}

/// Makes the swap as it should be and says which it is.
fn obey(swap: Option<Swap>) -> Result<&'static str, SwapError> {
    let wanted = match swap {
        Some(swap) => area_bytes(memory_bytes().map_err(SwapError::Memory)?, swap.zram_percent),
        None => 0,
    };
    let has = if is_on() { size_bytes() } else { 0 };
    if has != wanted {
        give_up(has)?;
        if wanted > 0 {
            set_up(wanted)?;
        }
    }
    Ok(if wanted > 0 { "InUse" } else { "NotConfigured" })
}

fn give_up(has: u64) -> Result<(), SwapError> {
    if has > 0 {
        swap_device::off(Path::new(DEVICE)).map_err(SwapError::Off)?;
    }
    control("reset", "1")
}

fn set_up(bytes: u64) -> Result<(), SwapError> {
    control("disksize", &bytes.to_string())?;
    swap_device::format(Path::new(DEVICE), bytes).map_err(SwapError::Area)?;
    swap_device::on(Path::new(DEVICE)).map_err(SwapError::On)
}

fn control(name: &str, value: &str) -> Result<(), SwapError> {
    fs::write(Path::new(CONTROL).join(name), value).map_err(SwapError::Control)
}

fn size_bytes() -> u64 {
    let text = fs::read_to_string(Path::new(CONTROL).join("disksize")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn is_on() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().any(|line| line.starts_with(DEVICE)))
}

fn memory_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    total_bytes(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no MemTotal"))
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// A share of the memory in whole pages.
fn area_bytes(memory_bytes: u64, percent: u32) -> u64 {
    memory_bytes / 100 * u64::from(percent) / PAGE_BYTES * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_a_share_of_the_memory_in_pages() {
        let memory = total_bytes("MemTotal:        2031616 kB\nMemFree: 1 kB\n").unwrap();
        assert_eq!(memory, 2_031_616 << 10);
        let area = area_bytes(memory, 50);
        assert!(area.is_multiple_of(PAGE_BYTES) && area.abs_diff(memory / 2) < 2 * PAGE_BYTES, "{area}");
        assert_eq!(total_bytes("MemFree: 1 kB\n"), None);
    }
}
