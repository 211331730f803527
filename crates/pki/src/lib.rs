//! Certificates, signing requests, identities and roles.
//!
//! Everything about trust that osctl, machined and apid must agree on: how a CA signs, what a node's
//! certificate may hold, who a client is and whether it is let in. Times are arguments, in seconds since 1970.
//!
//! This crate must never do I/O, read a clock, or copy anything but the public key from a signing request.
//! The one outside influence is AWS-LC's random generator, for keys, ECDSA nonces and serial numbers.
//! All keys made here are ECDSA P-256, which TPM 2.0, Go and kubectl take.
//!
//! Start reading at [`judge`] (who is let in), [`signed`] (whose changes are obeyed), then [`Ca`] (who signs) and [`node`] (what a node does).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod ca;
mod certificate;
mod identity;
mod key;
mod name;
pub mod node;
mod pem;
mod revocation;
mod role;
pub mod signed;
mod validity;

pub use ca::{Ca, CaError, Credentials, IssueError, Template, Usage};
pub use certificate::{Bundle, BundleError, CAS_MAX, Certificate, CertificateError};
pub use identity::{Identity, Refusal, judge};
pub use key::{Key, KeyError, fingerprint_of};
pub use name::{NODE_DOMAIN, NameError, NodeId, SUBJECT_MAX_BYTES, SubjectName};
pub use node::{SigningRequest, check_issued, check_server};
pub use revocation::{CertificateHash, REVOCATIONS_MAX, RevocationError, Revocations};
pub use role::{Role, RoleError};
pub use validity::Validity;

#[cfg(test)]
mod tests;
