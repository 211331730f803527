//! The machine configuration: YAML documents, each of one kind with one concern.
//!
//! Strict: unknown fields and kinds are errors, and the errors of all documents are reported at once, each with its
//! document and line. A kind exists here only once the controller that obeys it does. This crate must never do I/O or
//! read a clock. Start reading at [`parse`].

mod document;
mod kinds;
mod pod;

pub use document::{API_VERSION, ConfigError, ConfigErrors, DOCUMENTS_MAX, TEXT_MAX_BYTES, parse};
pub use kinds::{
    Bus, Credentials, DiskSelector, Interface, NodeConfig, Registry, Resolver, Subnet, Swap, Volume,
};
pub use pod::{PodError, StaticPod};
