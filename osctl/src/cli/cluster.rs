//! Arguments of `gen cluster` and `kubeconfig`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use netplan::Prefix;
use pki::SubjectName;

use super::{Output, output_file, subject};
use crate::endpoint::Endpoint;
use crate::{duration, subnet};

/// Longest life of an admin's certificate: nothing revokes one before its time.
const LIFETIME_MAX: Duration = Duration::from_hours(365 * 24);
/// Longest DNS name, and longest part of one (RFC 1035).
const DOMAIN_MAX_BYTES: usize = 253;
const LABEL_MAX_BYTES: usize = 63;

const GEN_CLUSTER_EXAMPLES: &str = "\
Examples:
  osctl gen cluster shop --endpoint 10.0.0.5 -o shop
  osctl patch config -c edge-1 -f shop/control-plane.yaml      the node serves the cluster
  osctl patch config -c edge-2,edge-3 -f shop/worker.yaml      nodes join it
  osctl gen config --secrets secrets.yaml --base shop/worker.yaml -o edge-4.yaml";

const KUBECONFIG_EXAMPLES: &str = "\
Examples:
  osctl kubeconfig -c edge-1 --merge     into $KUBECONFIG, else ~/.kube/config
  osctl kubeconfig -o shop.kubeconfig
  osctl kubeconfig -o - --lifetime 1h    for a program; the output holds a key";

/// Arguments of `gen cluster`.
#[derive(Clone, Debug, Args)]
#[command(after_help = GEN_CLUSTER_EXAMPLES)]
pub struct GenCluster {
    /// Name of the cluster: the name in the certificate of its CA
    #[arg(value_parser = subject)]
    pub name: SubjectName,
    /// Where nodes and people reach the cluster's API: addresses or names of its control plane; may be repeated. The
    /// port is 6443 unless said
    #[arg(id = "endpoints", long = "endpoint", value_name = "HOST[:PORT]", value_parser = api_endpoint)]
    pub endpoints: Vec<Endpoint>,
    /// DNS domain of Services
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = domain)]
    pub domain: String,
    /// Addresses of pods, of which each node gets a part
    #[arg(long, value_name = "SUBNET", default_value = "10.244.0.0/16", value_parser = subnet::parse)]
    pub pod_subnet: Prefix,
    /// Addresses of Services; the tenth is that of the cluster's DNS
    #[arg(long, value_name = "SUBNET", default_value = "10.96.0.0/12", value_parser = subnet::parse)]
    pub service_subnet: Prefix,
    /// Who connects the pods
    #[arg(long, value_enum, default_value = "cairn")]
    pub pod_network: PodNetwork,
    /// Folder to write into
    #[arg(id = "output", short, long, value_name = "FOLDER", value_parser = output_file)]
    pub output: Option<Output>,
    /// Overwrite what is there: the secrets of a cluster that runs cannot be had back
    #[arg(long)]
    pub force: bool,
}

/// Who connects the pods of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PodNetwork {
    /// The nodes themselves
    Cairn,
    /// A network plugin that you install
    External,
}

/// Arguments of `kubeconfig`.
#[derive(Clone, Debug, Args)]
#[command(after_help = KUBECONFIG_EXAMPLES)]
pub struct Kubeconfig {
    /// File to write, with --merge to change (default: kubeconfig); "-" is standard output
    #[arg(id = "output", short, long, value_name = "FILE", value_parser = output_file)]
    pub output: Option<Output>,
    /// Keep what is in the file, which is $KUBECONFIG, else ~/.kube/config, unless -o names one
    #[arg(long)]
    pub merge: bool,
    /// Replace an existing file; with --merge entries of another cluster that have the same name
    #[arg(long)]
    pub force: bool,
    /// Name of cluster, user and context in the file (default: that of osctl's context)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where kubectl reaches the API server (default: where the node answered, port 6443)
    #[arg(long, value_name = "HOST[:PORT]", value_parser = api_endpoint)]
    pub server: Option<Endpoint>,
    /// How long the certificate is valid, at most 365d
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = lifetime)]
    pub lifetime: Duration,
}

fn api_endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text, layout::CLUSTER_API_PORT)
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        lifetime if lifetime <= LIFETIME_MAX => Ok(lifetime),
        _ => Err("a cluster admin's certificate lives at most 365d".into()),
    }
}

fn domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=LABEL_MAX_BYTES).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= DOMAIN_MAX_BYTES && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no DNS domain in lower case; write it like cluster.local"))
    }
}
