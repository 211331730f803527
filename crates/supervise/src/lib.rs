//! Supervision state machine of PID 1.
//!
//! A [`Supervisor`] holds the state of every service in a table. [`Supervisor::step`] takes one [`Event`] and
//! returns the [`Action`]s that the caller carries out at once and in order; [`Supervisor::deadline_ms`] says
//! when [`Event::Timer`] is due. The same table, seed and events give the same actions.
//!
//! This crate must never do I/O, read a clock or make randomness: time and the seed are arguments. It never
//! panics, and it never has two live processes of one service.
//!
//! Start reading at [`Supervisor`], then `service.rs`, which holds the life of one service.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod backoff;
mod exit;
mod service;
mod spec;
mod supervisor;

pub use exit::{ExitStatus, Fault, LastExit};
pub use service::View;
pub use spec::{KillScope, Readiness, RestartPolicy, Spec, StopPolicy, TableError};
pub use supervisor::{Action, Event, Pid, ServiceId, Signal, Supervisor, Token};

pub use control::ServiceState;
