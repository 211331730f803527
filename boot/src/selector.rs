//! From power-on to the chosen slot.

use crate::console::{self, line};
use crate::disk::{Disk, DiskError};
use crate::handover;
use crate::random;
use crate::slots::Slots;
use crate::watchdog::Watchdog;
use bootstate::{BootFlags, BootPlan, BootReport, Copies, Medium, Recording, ReleaseVersion, SlotState};
use core::convert::Infallible;
use core::panic::PanicInfo;
use core::time::Duration;
use uefi::runtime::{self, ResetType};
use uefi::{Status, boot};

/// How long a last message stays on the screen, and a broken machine rests between attempts.
const RESET_DELAY: Duration = Duration::from_secs(5);

/// Why no slot runs.
#[derive(Debug, thiserror::Error)]
enum SelectError {
    #[error("cannot use the disk")]
    Disk(#[source] DiskError),
    #[error("neither slot holds anything that may be started; flash the disk again")]
    NothingToStart,
}

/// Starts a slot, or resets the machine.
pub fn run() -> ! {
    line!("selector {}", env!("CARGO_PKG_VERSION"));
    match select() {
        Err(error) => console::error(&error),
    }
    reset()
}

fn select() -> Result<Infallible, SelectError> {
    let watchdog = Watchdog::arm();
    let disk = Disk::own().map_err(SelectError::Disk)?;
    let mut medium = disk.partition(&layout::BOOTSTATE).map_err(SelectError::Disk)?;
    let mut slots = Slots::new(&disk);
    let mut copies = bootstate::load(&mut medium);
    let mut recording = Recording::Possible;
    let mut damage = BootFlags::NONE;
    // Ends: each round gives a slot up, or recording.
    loop {
        let mut plan =
            bootstate::choose(&copies, &mut slots, recording).ok_or(SelectError::NothingToStart)?;
        damage = damage.with(plan.flags.damage());
        plan.flags = plan.flags.with(damage).with(BootFlags::WATCHDOG_ARMED.when(watchdog.is_armed()));
        if plan.record.disk_id().is_unset() {
            plan.record.set_disk_id(random::disk_id());
        }
        tell(&plan);
        if recording == Recording::Possible && !record(&plan, &mut medium, &mut copies) {
            recording = Recording::Impossible;
            continue;
        }
        let report = BootReport { slot: plan.slot, flags: plan.flags };
        if let Err(error) = handover::announce(plan.record.disk_id(), report) {
            console::error(&error);
        }
        watchdog.reload();
        console::error(&slots.start(plan.slot));
    }
}

/// Puts the plan's record in force.
fn record<M: Medium<Error = DiskError>>(plan: &BootPlan, medium: &mut M, copies: &mut Copies) -> bool {
    let committed = bootstate::commit(medium, copies, plan.record.clone());
    if let Err(error) = &committed {
        console::error(error);
        *copies = bootstate::load(medium);
    }
    committed.is_ok()
}

/// Says on the console what was chosen, and why.
fn tell(plan: &BootPlan) {
    let reasons = [
        (BootFlags::STATE_REBUILT, "both boot records are damaged and were rebuilt"),
        (BootFlags::STATE_DAMAGED, "one boot record is damaged and is written anew"),
        (BootFlags::FELL_BACK, "another slot was preferred and cannot be used"),
        (BootFlags::ALTERNATED, "the other slot did not come alive"),
        (BootFlags::UNRECORDED, "the boot record cannot be written"),
    ];
    for (_, reason) in reasons.into_iter().filter(|(flag, _)| plan.flags.contains(*flag)) {
        line!("{reason}");
    }
    let slot = plan.record.slot(plan.slot);
    let version = slot.release().map_or(ReleaseVersion::UNKNOWN, |release| release.version);
    let watchdog = if plan.flags.contains(BootFlags::WATCHDOG_ARMED) { "armed" } else { "none" };
    let letter = plan.slot.letter();
    match slot.state() {
        SlotState::Trial { tries_left } if plan.flags.contains(BootFlags::TRIAL) => {
            line!(
                "slot {letter}, release {version}, on trial, {tries_left} tries left after this; watchdog {watchdog}"
            );
        }
        SlotState::Trial { .. } | SlotState::Empty | SlotState::Confirmed | SlotState::Failed => {
            let boots = slot.boots_since_alive();
            line!("slot {letter}, release {version}, start {boots} since it was alive; watchdog {watchdog}");
        }
    }
}

fn reset() -> ! {
    line!("resetting in {} s", RESET_DELAY.as_secs());
    boot::stall(RESET_DELAY);
    runtime::reset(ResetType::COLD, Status::ABORTED, None)
}

/// A bug must not leave the machine standing.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    line!("{info}");
    reset()
}
