//! The machine configuration: YAML documents, each of one kind with one concern.
//!
//! Strict: unknown fields and kinds are errors, and all errors are reported at once, each with its document, path and
//! place. A kind exists here only once the controller that obeys it does. This crate must never do I/O or read a clock.
//!
//! Start reading at [`parse()`]; the kinds and their fields are one table, `kind_tables.rs`.
//! A change is merged ([`merge`]), shown ([`diff`]) and planned ([`plan`]) here, and carried out elsewhere.

mod address;
mod api_object;
mod certificate;
mod check;
mod cluster;
mod cluster_table;
mod cluster_text;
mod convert;
mod convert_cluster;
mod convert_firewall;
mod convert_link;
mod cross;
mod cross_cluster;
mod cross_firewall;
mod cross_layers;
mod cross_link;
mod denied;
pub mod diff;
mod documents;
mod duration;
mod effective;
mod error;
mod firewall_table;
mod format;
mod kind_tables;
mod kinds;
mod kubelet;
mod link;
mod link_tables;
mod log_url;
pub mod merge;
mod parse;
mod patch;
pub mod plan;
mod pod;
mod port;
mod reference;
mod report;
mod scalar;
mod schema;
mod selector;
mod source;
mod table;
mod time_url;
mod tree;
mod update;
mod update_table;

pub use cluster::{ApiEndpoint, BootstrapToken, Cluster, ControlPlane, Manifests, PodNetwork};
pub use cross_link::POD_SUBNET;
pub use documents::{Document, DocumentKey, Documents, YamlError};
pub use duration::Seconds;
pub use effective::{REDACTED, effective, redact};
pub use error::{ConfigError, ConfigErrors};
pub use kinds::{Bus, Credentials, DiskSelector, Logging, NodeConfig, Registry, Resolver, Swap, Volume};
pub use link::{Interface, StaticRoute, Subnet};
pub use log_url::{LogDestination, Transport};
pub use parse::{API_VERSION, DOCUMENTS_MAX, TEXT_MAX_BYTES, parse, read_unchecked};
pub use pod::{PodError, StaticPod};
pub use reference::reference;
pub use schema::json_schema;
pub use selector::DiskFacts;
pub use time_url::{TimeProtocol, TimeServer};
pub use update::{Expiry, Gate, Probe, Update, Weekday, Window};
