//! Judges what a power cut left on a disk, as the boot chain would: the firmware's look at the partition table, the
//! selector's own decision, the chosen UKI's own command line, every block of the root that it names.
//!
//! It is handed a log of writes ([`log`]) and the image that was there before, makes the disk states that a power cut
//! could have left ([`search`]), and judges each ([`chain`]). Hashes follow the writes, so that a state costs little more
//! than what it differs by from the one before. docs/crash-replay.md says what is modelled.
//!
//! It must never start a machine or change the image. Start reading at [`search::Search`].

pub mod chain;
pub mod disk;
pub mod log;
pub mod random;
pub mod recipe;
pub mod region;
mod root;
pub mod search;
mod table;
mod uki;

/// Size of a sector.
pub const SECTOR_BYTES: u64 = layout::SECTOR_BYTES;

/// Content of a sector.
pub type Sector = [u8; SECTOR_BYTES as usize];
