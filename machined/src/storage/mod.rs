//! The node's disks: the system disk, the boot record, STATE and DATA, configuration volumes.
//!
//! Everything here blocks: callers on the async runtime use `spawn_blocking`. Nothing here touches a disk other than
//! the one that the root lies on, except for reading configuration volumes, unless a caller names its device. Start reading at [`bring_up_state`].

mod boot_state;
mod bring_up;
mod config_volume;
mod durable;
mod efi;
mod error;
mod filesystem;
mod installation;
mod inventory;
mod kernel;
mod mirror;
#[cfg(test)]
pub mod scratch;
mod seed;
mod slots;
mod superblock;
mod system;
mod table;
mod volume_label;

pub use boot_state::BootState;
pub use bring_up::{bring_up_data, bring_up_state, erase_data, erase_state, is_state_shrouded, shroud_state};
pub use config_volume::{LabelledVolume, find_release_volume};
pub use durable::replace_file;
pub use efi::{boot_report, efi_disk_id};
pub use error::StorageError;
pub use filesystem::{Checked, Repair, check, format, mount_ext4};
pub use installation::{holds_node, open_release};
pub use inventory::{Room, clones, data_room, describe_mounted, disks, spare_disks, volumes};
pub use mirror::Mirror;
pub use seed::{Origin, Seed};
pub use slots::SlotPartitions;
pub use system::{SystemDisk, find_system_disk};
pub use table::guid_bytes;
