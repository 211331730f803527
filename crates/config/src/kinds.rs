//! What the documents say, once they have been checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use firewall::Firewall;
use serde_json::{Map, Value};

use crate::{Cluster, ControlPlane, Interface, LogDestination, Manifests, StaticPod, TimeServer, Update};

/// A whole configuration, defaults filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeConfig {
    /// Machine: host name; absent means one made from the node id.
    pub hostname: Option<String>,
    /// Machine: labels of the node, as Kubernetes labels.
    pub labels: BTreeMap<String, String>,
    /// Machine: the disk that an installer writes; absent means that no installer may write any.
    pub install_disk: Option<DiskSelector>,
    /// Api: CAs whose client certificates are let in, each in PEM.
    pub client_cas: Vec<String>,
    /// Api: SHA-256 of client certificates (DER) that are let in no more, in lower-case hex.
    pub revoked: Vec<String>,
    /// Api: where it is served; none means at all addresses of the node.
    pub api_addresses: BTreeSet<IpAddr>,
    /// Interface, Vlan, Bond, Bridge and Dummy documents; no two have one name.
    pub interfaces: Vec<Interface>,
    /// Firewall; absent means that everybody reaches all that listens on the node.
    pub firewall: Option<Firewall>,
    /// Resolver; absent means what DHCP says.
    pub resolver: Option<Resolver>,
    /// Kubelet: fields of KubeletConfiguration laid over Cairn's own.
    pub kubelet: Map<String, Value>,
    /// Cluster; absent means that the kubelet has no API server.
    pub cluster: Option<Cluster>,
    /// ControlPlane; absent means that the node serves no cluster.
    pub control_plane: Option<ControlPlane>,
    /// Manifests documents, by name.
    pub manifests: Vec<Manifests>,
    /// Pods that the kubelet runs without an API server.
    pub static_pods: Vec<StaticPod>,
    /// Registry documents, by host.
    pub registries: Vec<Registry>,
    /// TrustedCertificates: CAs, in PEM, that pulls and other outgoing TLS trust besides the image's own.
    pub trusted_certificates: Vec<String>,
    /// Sysctl: values by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// Volume documents, by name.
    pub volumes: Vec<Volume>,
    /// Swap; absent means none.
    pub swap: Option<Swap>,
    /// Logging; absent means that no lines leave the node but by the API.
    pub logging: Option<Logging>,
    /// Time: who is asked for the time; absent means whom DHCP names.
    pub time: Option<Vec<TimeServer>>,
    /// Update; without one nothing is installed unasked.
    pub update: Update,
}

/// Who resolves names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// In order of preference, one to three (resolv.conf(5)).
    pub servers: Vec<IpAddr>,
    /// Search domains, at most six.
    pub search: Vec<String>,
}

/// How images of a registry are pulled.
#[derive(Clone, PartialEq, Eq)]
pub struct Registry {
    /// `host[:port]` as it stands in image names, such as "docker.io"; "_default" for all others.
    pub host: String,
    /// URLs tried in order before the registry itself.
    pub mirrors: Vec<String>,
    /// Basic credentials.
    pub credentials: Option<Credentials>,
}

/// A user's name and password; `Debug` shows neither the password nor its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("host", &self.host)
            .field("mirrors", &self.mirrors)
            .field("credentials", &self.credentials)
            .finish()
    }
}

/// A disk, by what it says of itself; all that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskSelector {
    /// Bus.
    pub bus: Option<Bus>,
    /// Model, whole or with a trailing `*`.
    pub model: Option<String>,
    /// Serial number, whole or with a trailing `*`.
    pub serial: Option<String>,
    /// Smallest size.
    pub min_bytes: Option<u64>,
    /// Largest size.
    pub max_bytes: Option<u64>,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// SATA and SAS.
    Ata,
    /// SD cards and eMMC.
    Mmc,
    /// NVM Express.
    Nvme,
    /// USB mass storage.
    Usb,
    /// virtio-blk and virtio-scsi.
    Virtio,
}

/// A disk besides the system's, mounted at `/var/mnt/<name>`. Formatted once, when it is blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// RFC 1123 label.
    pub name: String,
    /// Which disk; exactly one must match.
    pub disk: DiskSelector,
}

/// Compressed swap in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Share of the memory that zram may hold uncompressed, 1 to 200 percent.
    pub zram_percent: u32,
}

/// Where lines of the node's logs are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Log servers; each gets every line.
    pub destinations: Vec<LogDestination>,
    /// Added to every line.
    pub fields: BTreeMap<String, String>,
}
