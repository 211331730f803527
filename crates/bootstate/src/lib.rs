//! BOOTSTATE: which slot boots next, and what a node must not forget across reboots.
//!
//! Two copies of one 512-byte [`Record`] lie in their own partition, 4 MiB apart. Whoever changes the record
//! overwrites the older or damaged copy, flushes and reads it back, so that one intact copy exists at every
//! moment. The selector decides with [`choose`] before it starts a kernel; PID 1 and machined use the
//! transitions of [`Record`] on the running node.
//!
//! This crate must never do I/O (it is handed a [`Medium`]), read a clock, make randomness, allocate or panic.
//! The selector that contains it is frozen on disks in the field: the record's layout and the meaning of its
//! fields do not change; new fields go into reserved bytes, which every writer keeps.
//! Start reading at [`Record`], then [`Copies`], then [`choose`].

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod choose;
mod codec;
mod copies;
mod flags;
mod medium;
#[cfg(test)]
mod model;
mod pe;
mod record;
mod transition;
mod version;

pub use choose::{BootPlan, Recording, Ukis, choose};
pub use codec::{DecodeError, RECORD_BYTES};
pub use copies::{Copies, CopyIndex, Write};
pub use flags::{BootFlags, BootReport};
pub use medium::{CommitError, Medium, commit, load};
pub use pe::{PE_HEADERS_MAX_BYTES, pe_length_bytes};
pub use record::{DiskId, PerSlot, Provisioning, Record, Release, Sha256, Slot, SlotRecord, SlotState, Uki};
pub use transition::TransitionError;
pub use version::{ReleaseVersion, VERSION_MAX_BYTES, VersionError};

/// Starts that a trial slot gets before the selector goes back to the confirmed one.
pub const TRIAL_TRIES: u8 = 3;
/// Starts of a slot in a row without a served API after which the selector turns to the other slot.
pub const BOOTS_MAX: u8 = 6;
