//! Everything that a device runs, from source to disk image.

pub mod go;
pub mod kernel;
pub mod rust;
