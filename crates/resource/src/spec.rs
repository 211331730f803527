//! The specs of all kinds.

mod network;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Kind, Spec};
pub use network::{Address, Firewall, Link, Neighbour, Route};

/// A service of PID 1; the id is its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// State in PID 1's terms, lower case, such as "running" or "backoff".
    pub state: String,
    /// Main process, while there is one.
    pub pid: Option<u32>,
    /// Starts after the first in this boot.
    pub restarts: u32,
    /// Whether a spent restart budget reboots the machine.
    pub essential: bool,
    /// How the last run ended; empty when it never ended.
    pub last_exit: String,
    /// Seconds since kernel start at the last change of state.
    pub since_s: u64,
    /// Memory charged to its cgroup, rounded up to whole mebibytes.
    pub memory_mib: Option<u64>,
    /// Cgroup below the root.
    pub cgroup: String,
}

impl Spec for Service {
    const KIND: Kind = Kind {
        name: "service",
        plural: "services",
        aliases: &["svc"],
        description: "Services supervised by PID 1",
        columns: &["state", "pid", "restarts", "memoryMib", "lastExit"],
    };
}

/// A disk; the id is its kernel name, such as "vda".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Device node.
    pub path: String,
    /// Capacity.
    pub size_bytes: u64,
    /// Logical sector size.
    pub sector_bytes: u32,
    /// As the device reports it; empty when it does not.
    pub model: String,
    /// As the device reports it; empty when it does not.
    pub serial: String,
    /// "nvme", "virtio", "mmc", "usb", "scsi" or "other".
    pub transport: String,
    /// Whether the medium rotates.
    pub rotational: bool,
    /// Whether the medium can be taken out.
    pub removable: bool,
    /// Whether the kernel refuses writes.
    pub read_only: bool,
    /// Whether the node runs from this disk.
    pub system: bool,
}

impl Spec for Disk {
    const KIND: Kind = Kind {
        name: "disk",
        plural: "disks",
        aliases: &[],
        description: "Disks that the kernel sees",
        columns: &["path", "sizeBytes", "transport", "model", "system"],
    };
}

/// A volume that Cairn manages; the id is its name, such as "STATE".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// "waiting", "preparing", "mounted" or "failed".
    pub phase: String,
    /// Device node; empty while unknown.
    pub device: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// File system type; empty while unknown.
    pub file_system: String,
    /// Size of the file system; absent until mounted.
    pub size_bytes: Option<u64>,
    /// Space in use, rounded up to whole mebibytes; absent until mounted.
    pub used_mib: Option<u64>,
    /// What is wrong and what to do; empty when nothing is.
    pub message: String,
}

impl Spec for Volume {
    const KIND: Kind = Kind {
        name: "volume",
        plural: "volumes",
        aliases: &["vol"],
        description: "File systems that the node keeps",
        columns: &["phase", "device", "mountPoint", "sizeBytes", "usedMib"],
    };
}

/// A pod; the id is `<namespace>/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// Kubernetes uid.
    pub uid: String,
    /// Kubernetes phase, such as "Running".
    pub phase: String,
    /// Whether all containers are ready.
    pub ready: bool,
    /// Address on the pod network; empty until there is one.
    pub address: String,
    /// Restarts of all containers.
    pub restarts: u32,
    /// Reason of the first container that is not as it should be; empty when all are.
    pub reason: String,
    /// Its containers.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Name in the pod.
    pub name: String,
    /// Id in containerd, and of its cgroup; empty until it was started.
    pub id: String,
    /// Image reference.
    pub image: String,
    /// "waiting", "running" or "terminated".
    pub state: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Restarts.
    pub restarts: u32,
    /// Why it is in that state, as the kubelet puts it.
    pub reason: String,
    /// Details to the reason.
    pub message: String,
}

impl Spec for Pod {
    const KIND: Kind = Kind {
        name: "pod",
        plural: "pods",
        aliases: &["po"],
        description: "Pods that the kubelet runs",
        columns: &["phase", "ready", "restarts", "address", "reason"],
    };
}

/// A container image that the node was given (not pulled); the id is its reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Archive that it came from.
    pub archive: String,
    /// "pending", "imported" or "failed".
    pub phase: String,
    /// Digest of its manifest; empty until imported.
    pub digest: String,
    /// What is wrong and what to do; empty when nothing is.
    pub message: String,
}

impl Spec for Image {
    const KIND: Kind = Kind {
        name: "image",
        plural: "images",
        aliases: &["img"],
        description: "Container images from the OS image or a configuration volume",
        columns: &["phase", "archive", "digest"],
    };
}

/// A generation of the machine configuration; the id is its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// "confirmed", "trial", "staged", "reverted" or "superseded".
    pub state: String,
    /// Whether the node runs it.
    pub running: bool,
    /// When it was made by the node's clock, in seconds since 1970.
    pub created_s: i64,
    /// Subject of the client who signed it; empty when it came from a volume.
    pub author: String,
    /// Why it was taken back; empty when it was not.
    pub reason: String,
}

impl Spec for Generation {
    const KIND: Kind = Kind {
        name: "generation",
        plural: "generations",
        aliases: &["gen"],
        description: "Generations of the machine configuration",
        columns: &["state", "running", "author", "reason"],
    };
}

/// A place that could not be read, or did not hold what was written; the id is `<source>-<device>-<place>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Corruption {
    /// Block device as the kernel names it.
    pub device: String,
    /// "verity" (the content is not what was signed) or "io" (the device could not read or write).
    pub source: String,
    /// Events at this place in this boot.
    pub events: u64,
    /// Block or sector of the last one, as the kernel counts it for this source.
    pub last_block: Option<u64>,
    /// The kernel's words for the last one.
    pub message: String,
}

impl Spec for Corruption {
    const KIND: Kind = Kind {
        name: "corruption",
        plural: "corruptions",
        aliases: &[],
        description: "Blocks that were damaged or unreadable",
        columns: &["device", "source", "events", "lastBlock"],
    };
}

/// One of the two places for a release of the OS; the id is "A" or "B".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Release version; empty in an empty slot.
    pub version: String,
    /// "empty", "trial", "confirmed" or "failed".
    pub state: String,
    /// Starts that are left to a trial.
    pub tries_left: Option<u8>,
    /// Starts, other than trials, since the API was last served from this slot.
    pub boots_since_alive: u8,
    /// Whether it boots when no trial is due.
    pub active: bool,
    /// Whether it runs now.
    pub running: bool,
}

impl Spec for Slot {
    const KIND: Kind = Kind {
        name: "slot",
        plural: "slots",
        aliases: &[],
        description: "Places of releases of the OS",
        columns: &["version", "state", "triesLeft", "bootsSinceAlive", "active", "running"],
    };
}

/// What becomes of releases; there is one, "upgrade".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// "idle", "resolving", "fetching", "verifying", "recording", "staged", "rebooting", "trial", "fallingBack",
    /// "waiting" or "backingOff".
    pub phase: String,
    /// Release that is worked on; empty when none is, or it is not known yet.
    pub version: String,
    /// Where it comes from.
    pub source: String,
    /// Who asked for it; empty for the node itself.
    pub author: String,
    /// Blocks of 4096 bytes that are done.
    pub blocks_done: u64,
    /// All of them.
    pub blocks_total: u64,
    /// Content that came from the source.
    pub bytes_fetched: u64,
    /// Content that need not come.
    pub bytes_saved: u64,
    /// What it waits for or why it failed for now.
    pub message: String,
    /// Release of the work before; empty when there was none.
    pub last_version: String,
    /// "confirmed", "written", "failed", "noVerdict", "stopped" or "cancelled"; empty when there was none.
    pub last_outcome: String,
    /// Why it ended so; empty when all went well.
    pub last_reason: String,
    /// Mirrors that something is held against.
    pub mirrors: Vec<Mirror>,
}

/// What is held against a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Host and port.
    pub name: String,
    /// How often it failed.
    pub failures: u32,
    /// How often it sent something else than what is signed.
    pub wrong: u32,
    /// What went wrong at last.
    pub last: String,
}

impl Spec for Upgrade {
    const KIND: Kind = Kind {
        name: "upgrade",
        plural: "upgrades",
        aliases: &[],
        description: "What becomes of releases of the OS",
        columns: &[
            "phase",
            "version",
            "blocksDone",
            "blocksTotal",
            "bytesFetched",
            "lastVersion",
            "lastOutcome",
        ],
    };
}

/// A time server that the node asks; the id is its URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeServer {
    /// Who named it: "configuration" or "dhcp".
    pub origin: String,
    /// Whether it proves who it is (NTS, RFC 8915).
    pub authenticated: bool,
    /// Whether it answers.
    pub reachable: bool,
    /// Whether the node's clock is corrected, by whichever servers.
    pub synchronized: bool,
    /// Address and port that it was found at; empty while it was not.
    pub address: String,
    /// By how much its clock is ahead of the node's, in milliseconds.
    pub offset_ms: Option<i64>,
    /// Time for a question and its answer, in milliseconds.
    pub delay_ms: Option<i64>,
}

impl Spec for TimeServer {
    const KIND: Kind = Kind {
        name: "timeserver",
        plural: "timeservers",
        aliases: &["time"],
        description: "Servers that the node asks for the time",
        columns: &["origin", "authenticated", "reachable", "synchronized", "offsetMs", "delayMs"],
    };
}
