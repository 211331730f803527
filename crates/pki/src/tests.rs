//! Issuing and judging against each other.

mod clients;
mod nodes;
mod requests;
mod revocations;

use crate::{Ca, NodeId, Revocations, SubjectName, Validity};

const YEAR_S: u64 = 365 * 24 * 3600;
/// 2026-11-24.
const NOW_S: u64 = 1_795_478_400;

fn ca() -> Ca {
    Ca::create(&subject("test CA"), Validity::starting(NOW_S, 10 * YEAR_S)).unwrap()
}

fn subject(text: &str) -> SubjectName {
    SubjectName::parse(text).unwrap()
}

fn node_id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

fn none() -> Revocations {
    Revocations::default()
}
