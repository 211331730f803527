//! Where things lie: the partitions of a Cairn disk and the paths of a running node.
//!
//! Constants only, `no_std`: no I/O and no decisions. The selector, PID 1, machined and the image builder
//! agree here. What stands here is on disks in the field: it does not change.
//! Start reading at [`PARTITIONS`].

#![no_std]

pub mod path;

/// Logical sector size; disks with 4096-byte logical sectors are refused.
pub const SECTOR_BYTES: u64 = 512;
/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// First byte of the first partition: room for the boot loaders of ARM boards.
pub const FIRST_PARTITION_BYTES: u64 = 16 * MIB;
/// Smallest disk that first boot accepts: the image, STATE, and 2 GiB of DATA.
pub const MIN_DISK_BYTES: u64 =
    16 * MIB + 64 * MIB + 8 * MIB + 2 * 64 * MIB + 2 * 1024 * MIB + 256 * MIB + 2048 * MIB + MIB;
/// STATE's file system ends this much before its partition does, so that a LUKS2 header fits in place later.
pub const STATE_RESERVED_BYTES: u64 = 32 * MIB;

/// A GUID in its textual form, lower case.
pub type Guid = &'static str;

/// One partition of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Number in the GPT, from 1.
    pub number: u32,
    /// GPT partition name.
    pub name: &'static str,
    /// Partition type.
    pub type_guid: Guid,
    /// Fixed partition GUID; `None` for the partitions that first boot adds with random ones.
    pub guid: Option<Guid>,
    /// Size; `None` for the rest of the disk.
    pub size_bytes: Option<u64>,
}

/// EFI system partition: the selector only.
pub const ESP: Partition = Partition {
    number: 1,
    name: "ESP",
    type_guid: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    guid: Some("ca120001-0001-4c0d-9a1e-ca1200000001"),
    size_bytes: Some(64 * MIB),
};
/// The two BOOTSTATE records.
pub const BOOTSTATE: Partition = Partition {
    number: 2,
    name: "BOOTSTATE",
    type_guid: "ca120002-7470-4c0d-9a1e-b0075747e000",
    guid: Some("ca120002-0001-4c0d-9a1e-ca1200000002"),
    size_bytes: Some(8 * MIB),
};
/// Slot A's UKI, raw.
pub const BOOT_A: Partition = Partition {
    number: 3,
    name: "BOOT-A",
    type_guid: "ca120003-7470-4c0d-9a1e-b00700000000",
    guid: Some("ca120003-0001-4c0d-9a1e-ca1200000003"),
    size_bytes: Some(64 * MIB),
};
/// Slot A's root file system and hash tree.
pub const ROOT_A: Partition = Partition {
    number: 4,
    name: "ROOT-A",
    type_guid: "ca120004-7470-4c0d-9a1e-400700000000",
    guid: Some("ca120004-0001-4c0d-9a1e-ca1200000004"),
    size_bytes: Some(1024 * MIB),
};
/// Slot B's UKI, raw.
pub const BOOT_B: Partition = Partition {
    number: 5,
    name: "BOOT-B",
    type_guid: "ca120003-7470-4c0d-9a1e-b00700000000",
    guid: Some("ca120005-0001-4c0d-9a1e-ca1200000005"),
    size_bytes: Some(64 * MIB),
};
/// Slot B's root file system and hash tree.
pub const ROOT_B: Partition = Partition {
    number: 6,
    name: "ROOT-B",
    type_guid: "ca120004-7470-4c0d-9a1e-400700000000",
    guid: Some("ca120006-0001-4c0d-9a1e-ca1200000006"),
    size_bytes: Some(1024 * MIB),
};
/// Configuration, identity, update state.
pub const STATE: Partition = Partition {
    number: 7,
    name: "STATE",
    type_guid: "ca120007-7470-4c0d-9a1e-57a7e0000000",
    guid: None,
    size_bytes: Some(256 * MIB),
};
/// /var: containers, kubelet, logs.
pub const DATA: Partition = Partition {
    number: 8,
    name: "DATA",
    type_guid: "ca120008-7470-4c0d-9a1e-da7a00000000",
    guid: None,
    size_bytes: None,
};
/// All partitions in order of their number.
pub const PARTITIONS: [Partition; 8] = [ESP, BOOTSTATE, BOOT_A, ROOT_A, BOOT_B, ROOT_B, STATE, DATA];

/// The installer medium's root. Installer media have partition GUIDs of their own: beside an installed disk, or one that
/// is being installed, the kernel finds its root on the medium that it was started from.
pub const INSTALLER_ROOT: Partition =
    Partition { guid: Some("ca120014-0001-4c0d-9a1e-ca1200000014"), ..ROOT_A };
/// The packed disk image that an installer medium writes.
pub const INSTALLER_RELEASE: Partition = Partition {
    number: 5,
    name: "RELEASE",
    type_guid: "ca120015-7470-4c0d-9a1e-4e1ea5e00000",
    guid: Some("ca120015-0001-4c0d-9a1e-ca1200000015"),
    size_bytes: Some(512 * MIB),
};
/// All partitions of an installer medium. Those that the selector looks for have their usual types and names.
pub const INSTALLER_PARTITIONS: [Partition; 5] = [
    Partition { guid: Some("ca120011-0001-4c0d-9a1e-ca1200000011"), ..ESP },
    Partition { guid: Some("ca120012-0001-4c0d-9a1e-ca1200000012"), ..BOOTSTATE },
    Partition { guid: Some("ca120013-0001-4c0d-9a1e-ca1200000013"), ..BOOT_A },
    INSTALLER_ROOT,
    INSTALLER_RELEASE,
];
/// Word of the kernel command line that makes machined install instead of running a node.
pub const INSTALLER_WORD: &str = "cairn.installer";

/// Byte offsets of the two BOOTSTATE records inside their partition, one flash erase block and more apart.
pub const BOOTSTATE_RECORD_OFFSETS_BYTES: [u64; 2] = [0, 4 * MIB];
/// Byte offsets inside the BOOTSTATE partition of the two copies of what the node cannot do without, should STATE be lost.
pub const BOOTSTATE_MIRROR_OFFSETS_BYTES: [u64; 2] = [MIB, 5 * MIB];
/// Room of each copy: the most revocations, an identity and a configuration of network and API are below it.
pub const BOOTSTATE_MIRROR_BYTES: u64 = MIB;

/// Vendor GUID of the volatile EFI variables with which the selector tells the kernel side what it chose.
pub const EFI_VENDOR_GUID: Guid = "ca120f1e-b007-4c0d-9a1e-5e1ec7040000";
/// Variable (volatile, runtime-readable): the 16-byte random disk id of the disk booted from.
pub const EFI_VARIABLE_DISK_ID: &str = "CairnDiskId";
/// Variable (volatile, runtime-readable): one byte, `A` or `B`, then one byte of flags (see bootstate::BootFlags).
pub const EFI_VARIABLE_BOOT: &str = "CairnBoot";

/// Label of the volume that carries the first configuration.
pub const CONFIG_VOLUME_LABEL: &str = "CAIRNCONFIG";
/// Configuration file at the top of that volume.
pub const CONFIG_VOLUME_FILE: &str = "machine.yaml";
/// Directory of that volume with images (OCI layouts as tar archives) to import.
pub const CONFIG_VOLUME_IMAGES: &str = "images";

/// Folder of the ESP that holds the seed: what a flashed disk brings along for the node's first start.
pub const SEED_FOLDER: &str = "CAIRN";
/// The seed in that folder, a tar archive with what a configuration volume would hold; made of zeros, in one piece.
pub const SEED_FILE: &str = "SEED.TAR";
/// Size of that file: what the selector and the tables of the ESP leave.
pub const SEED_BYTES: u64 = 56 * MIB;
/// In the archive: CA in PEM whose clients alone may configure the node.
pub const SEED_ADMIN_CA: &str = "admin-ca.pem";

/// TCP port of the API.
pub const API_PORT: u16 = 50000;
/// TCP port at which a control plane serves the Kubernetes API.
pub const CLUSTER_API_PORT: u16 = 6443;
/// TCP port on loopback at which a node reaches whichever API server of its cluster answers.
pub const CLUSTER_BALANCER_PORT: u16 = 7445;
/// Name by which a node calls the API servers of its cluster. Their certificates hold it, whoever made the cluster.
pub const CLUSTER_API_NAME: &str = "kubernetes";
/// User and group id of apid.
pub const APID_UID: u32 = 100;
/// User and group id of the time daemon.
pub const NTP_UID: u32 = 101;
