//! The machine configuration: YAML documents, each of one kind with one concern.
//!
//! Strict: unknown fields and kinds are errors, and all errors are reported at once, each with its document, path and
//! place. A kind exists here only once the controller that obeys it does. This crate must never do I/O or read a clock.
//!
//! Start reading at [`parse()`]; the kinds and their fields are one table, `kind_tables.rs`.
//! A change is merged ([`merge`]), shown ([`diff`]) and planned ([`plan`]) here, and carried out elsewhere.

mod address;
mod certificate;
mod check;
mod convert;
mod cross;
mod denied;
pub mod diff;
mod documents;
mod effective;
mod error;
mod format;
mod kind_tables;
mod kinds;
mod kubelet;
mod log_url;
pub mod merge;
mod parse;
mod patch;
pub mod plan;
mod pod;
mod reference;
mod report;
mod scalar;
mod schema;
mod selector;
mod source;
mod table;
mod tree;

pub use cross::POD_SUBNET;
pub use documents::{Document, DocumentKey, Documents, YamlError};
pub use effective::{REDACTED, effective, redact};
pub use error::{ConfigError, ConfigErrors};
pub use kinds::{
    Bus, Credentials, DiskSelector, Interface, Logging, NodeConfig, Registry, Resolver, Subnet, Swap, Volume,
};
pub use log_url::{LogDestination, Transport};
pub use parse::{API_VERSION, DOCUMENTS_MAX, TEXT_MAX_BYTES, parse, read_unchecked};
pub use pod::{PodError, StaticPod};
pub use reference::reference;
pub use schema::json_schema;
pub use selector::DiskFacts;
