//! Kubernetes clusters: the secrets of a new one, and kubeconfig files for its admins.

mod coredns;
mod documents;
mod entry;
mod generate;
mod kubeconfig;
mod kubeconfig_file;
mod token;

pub use generate::generate;
pub use kubeconfig::kubeconfig;
