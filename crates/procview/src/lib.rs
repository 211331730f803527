//! What the kernel tells in /proc, /sys and the cgroup tree, as typed values.
//!
//! Bytes in, values out. The crate opens no file and reads no clock. It must never panic, whatever it is given: parts of this
//! text are written by processes of pods (their names, their mount points), and machined aborts when it panics. What cannot
//! be made sense of is absent, never 0, and one bad line costs no other; this is why the parsers are Cairn's own: those of the
//! `procfs` crate refuse a whole table for one unknown state and slice without looking.
//! Start reading at [`ProcessStat`]; to whom a cgroup belongs is in [`Owner`].

#![forbid(unsafe_code)]

mod cgroup;
mod disk;
mod link;
mod memory;
mod mount;
mod owner;
mod pressure;
mod process;
mod processor;
mod rate;
mod sensor;
mod socket;
mod text;

pub use cgroup::{CgroupIo, ceiling, counter};
pub use disk::{DiskCounters, ZramUse};
pub use link::LinkCounters;
pub use memory::MemoryUse;
pub use mount::MountEntry;
pub use owner::{Owner, PodCgroup};
pub use pressure::{Pressure, PressureShare};
pub use process::{Arguments, ProcessStat, ProcessStatus, arguments, cgroup_of, proportional_bytes};
pub use processor::{LoadAverage, ProcessorTimes, processors, uptime_s};
pub use rate::{per_second, percent};
pub use sensor::celsius;
pub use socket::{Protocol, SocketEntry, socket_inode};
pub use text::first_number;
