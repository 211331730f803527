//! From what the kernel has and what a node should have to the changes between, in the order to make them.
//!
//! Layered links (VLANs, bonds, bridges, dummies) with their MTUs, addresses and routes. What others made stays as it
//! is; what is Cairn's carries a mark ([`OUR_PROTOCOL`], [`OUR_GROUP`]). This crate must never do I/O or read a clock.
//!
//! Start reading at [`plan()`]: it makes each change on a draft of the kernel's state (`draft.rs`), which answers with
//! the kernel's own consequences, so that one plan deals with those as well.

mod desired;
mod draft;
mod kind;
mod layer2;
mod layer3;
mod mtu;
mod observed;
mod operation;
mod plan;
mod prefix;
#[cfg(feature = "random")]
pub mod random;
mod select;

pub use desired::{Addressing, Desired, Device, Mtu, NewRoute};
pub use kind::{Bond, BondMode, Bridge, HashPolicy, Kind, LacpRate};
pub use observed::{Address, Link, OUR_GROUP, OUR_PROTOCOL, Observed, Origin, Route, sort_links};
pub use operation::{Operation, PlannedRoute};
pub use plan::{Plan, Problem, plan};
pub use prefix::{Prefix, TABLE_MAIN, default_metric};
pub use select::{Selection, Selector};
