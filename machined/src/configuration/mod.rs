//! The machine configuration on the node: its generations, how a change takes effect, and how it is taken back.
//!
//! `boot.rs` chooses what a start runs. `manager.rs` is the one task that decides from then on, by the state machine of
//! the crate `generation`; `work.rs` does what that says, with `store.rs` for the files of STATE and `executor.rs` for
//! the running node. `gate.rs` judges whether a change did well, `report.rs` says so. `anchors.rs` and `reset.rs` hold
//! what must survive a power cut across STATE and BOOTSTATE.

mod anchors;
mod boot;
mod change;
mod clock;
mod executor;
mod gate;
mod keeper;
mod manager;
mod report;
mod reset;
mod running;
mod secrets;
mod services;
mod steps;
mod store;
mod work;

pub use anchors::{AnchorsError, check as check_anchors, sha256 as anchors_sha256};
pub use boot::{BootError, Chosen, choose, found, kept};
pub use change::{ContentError, Whole, kept as kept_text, resolve};
pub use clock::{BootClock, ClockError};
pub use executor::{APID, Executor};
pub use keeper::NodeKeeper;
pub use manager::{Accepted, Change, Handle, Manager, Parts, Refused, View};
pub use report::{Outcome, Report};
pub use reset::{Reset, ResetError};
pub use services::Services;
pub use store::{GenerationStore, StoreError};
