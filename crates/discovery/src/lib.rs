//! Nodes on the local link, found by DNS-SD (RFC 6763) over multicast DNS (RFC 6762), IPv4.
//!
//! What is found is a hint where to look, never a reason to trust: anybody on the link may answer. Names of nodes are
//! random, so they are not probed for conflicts (RFC 6762 section 8.1).
//!
//! This crate must never do I/O or read a clock, and reads whatever the network sends without panic and within
//! bounds. Start reading at [`Node`], then [`answer`] (what a node does) and [`query`] and [`read`] (what osctl does).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod node;
mod wire;

use std::net::Ipv4Addr;

pub use node::{Answer, Node, Reach, answer, query, read};
pub use wire::{MESSAGE_MAX_BYTES, WireError};

/// Where multicast DNS is spoken.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// UDP port of multicast DNS.
pub const PORT: u16 = 5353;
