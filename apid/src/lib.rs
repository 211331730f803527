//! The daemon that faces the network: mutual TLS 1.3, identities, roles, limits, audit.
//!
//! It lets in clients whose certificate a configured CA signed, decides by the table in [`roles`] what they may
//! call, and forwards calls to machined with the metadata `cairn-subject` and `cairn-role`. On a node without
//! configuration there is nothing to call but the maintenance service ([`mode`]).
//!
//! It must never hold a capability, touch a device, decode a forwarded message, believe the wall clock, or
//! serve unconfined. It has one thread and holds no state that outlives it.
//!
//! Start reading at [`Server`], then [`connection`] (who is let in) and [`gateway`] (what becomes of a call).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod audit;
pub mod body;
pub mod chain;
pub mod clock;
pub mod confine;
pub mod connection;
pub mod gateway;
pub mod limits;
pub mod listen;
pub mod local;
pub mod material;
pub mod mode;
pub mod notify;
pub mod roles;
mod server;
pub mod upstream;
pub mod verifier;
pub mod watch;

pub use server::{Confinement, Options, Server, StartError};
