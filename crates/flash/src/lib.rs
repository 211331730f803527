//! Puts a disk image onto a medium, proves by reading back that it is there, and hands it a seed: the configuration
//! or the admin CA with which the node starts its life.
//!
//! osctl flashes with it from a laptop, machined installs with it from a stick. It never chooses the medium and never
//! asks: both are the caller's. Start reading at [`write()`]; [`seed`] says what a seed is and where it lies.

mod buffer;
pub mod device;
mod fat;
mod medium;
pub mod seed;
mod source;
mod write;

pub use buffer::Buffer;
pub use device::Device;
pub use medium::{CHUNK_BYTES, Medium};
pub use source::{Image, SourceError};
pub use write::{FlashError, Written, commit, verify, write};
