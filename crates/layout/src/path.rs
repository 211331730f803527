//! Paths of a running node.

/// STATE (ext4, root only).
pub const STATE: &str = "/system/state";
/// DATA (ext4).
pub const DATA: &str = "/var";
/// Rendered configuration; targets of the links in the read-only /etc.
pub const RUN: &str = "/run/cairn";
/// Rendered files behind links in /etc: hosts, hostname, resolv.conf, machine-id.
pub const RUN_ETC: &str = "/run/cairn/etc";
/// PID 1's control socket (SOCK_SEQPACKET, root only).
pub const INIT_CONTROL: &str = "/run/init/control.sock";
/// Directory of service logs: `<service>.log` and, after rotation, `<service>.log.1`.
pub const SERVICE_LOGS: &str = "/run/log";
/// Logs of all boots: segments of `crates/logstore`.
pub const LOGS: &str = "/var/log/cairn";
/// What each log server has got of them.
pub const SHIPPING: &str = "/var/lib/cairn/shipping.json";
/// machined's internal API (gRPC on a stream socket; peers: root and apid).
pub const MACHINED_API: &str = "/run/machined/api.sock";
/// What machined renders for apid (directory 0750 root:apid).
pub const APID: &str = "/run/apid";
/// Serving key, PKCS #8 PEM (0640 root:apid).
pub const APID_KEY: &str = "/run/apid/server.key";
/// Serving certificate, PEM.
pub const APID_CERT: &str = "/run/apid/server.crt";
/// Trusted client CAs, PEM bundle.
pub const APID_CA: &str = "/run/apid/ca.crt";
/// SHA-256 of revoked client certificates, one per line in hex.
pub const APID_REVOKED: &str = "/run/apid/revoked";
/// Addresses at which the API is served, one per line; none for all. apid reads it when it starts.
pub const APID_ADDRESSES: &str = "/run/apid/addresses";
/// JSON: {"node_id": string, "time_floor_s": seconds since 1970, "mode": "running" (default), "maintenance" or
/// "recovery"}.
pub const APID_IDENTITY: &str = "/run/apid/identity.json";
/// The time daemon's rendered configuration.
pub const NTP_CONFIG: &str = "/run/cairn/ntp.toml";
/// CAs, in PEM, that time servers may be signed by, besides the image's own.
pub const NTP_CA: &str = "/run/cairn/ntp-ca.pem";
/// Folder of the time daemon (0755 ntp).
pub const NTP: &str = "/run/ntp";
/// Socket on which the time daemon says how it stands.
pub const NTP_OBSERVE: &str = "/run/ntp/observe";
/// containerd's socket.
pub const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// containerd's rendered configuration.
pub const CONTAINERD_CONFIG: &str = "/run/cairn/containerd/config.toml";
/// The kubelet's rendered configuration.
pub const KUBELET_CONFIG: &str = "/run/cairn/kubernetes/kubelet.yaml";
/// What machined renders for a node that serves a cluster.
pub const CONTROL_PLANE: &str = "/run/cairn/control-plane";
/// The cluster's data store speaks etcd's API here.
pub const DATASTORE_SOCKET: &str = "/run/cairn/control-plane/datastore.sock";
/// The cluster's data store.
pub const DATASTORE: &str = "/var/lib/cairn/cluster/state.db";
/// CAs of the cluster that the node belongs to.
pub const CLUSTER_CAS: &str = "/run/cairn/cluster/ca.crt";
/// kubeconfig by which the kubelet asks for its first certificate.
pub const BOOTSTRAP_KUBECONFIG: &str = "/run/cairn/cluster/bootstrap.kubeconfig";
/// The kubelet's own kubeconfig, written by it, and its certificates.
pub const KUBELET_KUBECONFIG: &str = "/var/lib/kubelet/kubeconfig";
/// Certificates that the cluster gave to the kubelet.
pub const KUBELET_CERTIFICATES: &str = "/var/lib/kubelet/pki";
/// Static pods for the kubelet.
pub const MANIFESTS: &str = "/run/cairn/kubernetes/manifests";
/// Images shipped with the OS: OCI layouts as tar archives.
pub const PRELOADED_IMAGES: &str = "/usr/share/cairn/images";
/// Archives of images that only a node that serves a cluster imports.
pub const CLUSTER_IMAGES: &str = "/usr/share/cairn/cluster-images";
/// Images taken over from a configuration volume.
pub const IMPORTED_IMAGES: &str = "/var/lib/cairn/images";
/// OCI runtime.
pub const CRUN: &str = "/usr/bin/crun";
/// CNI plugins of the image.
pub const CNI_BIN: &str = "/usr/libexec/cni";
/// CNI configuration (a link into /run/cairn on the node).
pub const CNI_CONFIG: &str = "/etc/cni/net.d";
/// Release facts of the image: os-release(5) with CAIRN_* fields.
pub const OS_RELEASE: &str = "/etc/os-release";
/// Root metadata of the release repositories that this image's node updates from (The Update Framework).
pub const UPDATE_ROOT: &str = "/usr/share/cairn/update/root.json";
