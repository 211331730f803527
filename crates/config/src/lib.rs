//! The machine configuration: YAML documents, each of one kind with one concern.
//!
//! Strict: unknown fields and kinds are errors, and the errors of all documents are reported at once, each with its
//! document and line. A kind exists here only once the controller that obeys it does. This crate must never do I/O or
//! read a clock. Start reading at [`parse`].

mod document;
mod pod;

pub use document::{API_VERSION, ConfigError, ConfigErrors, DOCUMENTS_MAX, TEXT_MAX_BYTES, parse};
pub use pod::{PodError, StaticPod};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeConfig {
    /// Host name; absent means one made from the node id.
    pub hostname: Option<String>,
    /// CAs whose client certificates are let in, each in PEM.
    pub client_cas: Vec<String>,
    /// Pods that the kubelet runs without an API server.
    pub static_pods: Vec<StaticPod>,
}
