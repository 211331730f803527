//! Typed resources: everything that a node observes or decides, in one versioned store that can be watched.
//!
//! Holds data and its history. It must never do I/O, read a clock, spawn or block: the time is an argument
//! and waiting is the caller's job.
//! Start reading at [`Spec`], then [`Store`]; the kinds themselves are in [`spec`].

mod kind;
pub mod spec;
mod store;

pub use kind::{KINDS, Kind, Spec, find_kind};
pub use store::{Change, ChangeType, Changes, HISTORY_MAX, Resource, Store, StoreError};
