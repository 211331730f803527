//! Who reaches what listens on the node: from rules to the one nftables table that is Cairn's, and back to its counters.
//!
//! It filters what is meant for the node itself (the input hook), in both families, and nothing that passes through. It
//! must never do I/O, name another table than its own, or shut out what keeps a node alive (`essential.rs`).
//!
//! Start reading at [`ruleset()`]: it makes [`Ruleset`], which is data and shows itself as one transaction for `nft -f`.
//! The text is written here rather than as JSON by a library: it is what `nft list` shows, and few kinds of match are
//! needed. What is read back ([`Table`]) is JSON.

mod essential;
mod model;
mod normal;
mod ruleset;
mod statement;
mod table;

pub use model::{Firewall, Policy, Ports, Protocol, Rule, Source};
pub use ruleset::{BUILT_IN, Ruleset, Surroundings, counter_of_built_in, counter_of_rule, removal, ruleset};
pub use statement::{Match, Statement, Verdict};
pub use table::{Count, Table, TableError};

/// Port of the node's API (TCP).
pub const API_PORT: u16 = layout::API_PORT;
