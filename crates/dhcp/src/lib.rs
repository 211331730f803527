//! DHCPv4 client as a state machine (RFC 2131 section 4.4, RFC 2132, RFC 3442).
//!
//! [`Client::step`] takes the time and an [`Event`] and returns [`Action`]s; the caller owns sockets, timers and
//! storage. A lease outlives reboots: the caller stores what [`Action::Persist`] hands it and gives it back as a
//! [`StoredLease`], which is then confirmed with the server (INIT-REBOOT), or kept for the rest of its time when
//! no server answers.
//!
//! This crate must never do I/O or read a clock or random numbers: time and a seed are arguments. What arrives from the network is
//! untrusted: no packet makes it panic, and every list and name taken from one has a named limit.
//!
//! Start reading at [`Client::step`] in `client.rs`; `reply.rs` decides which replies count.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod client;
mod held;
mod lease;
mod reply;
mod request;
mod timing;

pub use client::{Action, Client, Event, State};
pub use lease::{Lease, Route, StoredLease};
pub use reply::ReplyError;
pub use request::{Identity, client_id_from_mac, client_id_from_uuid};
