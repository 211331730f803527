//! When STATE is lost. A node that was ever provisioned takes nothing from anyone then: it formats nothing and obeys no
//! volume. What it cannot do without lies in BOOTSTATE too, and with that it lets in its known admins, shows what is
//! wrong, and waits to be reset or flashed. It runs no pods.
//!
//! Start reading at [`enter`] and [`Essence`]; `mirror.rs` keeps the essence up to date while all is well.

mod essence;
mod mirror;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use layout::path;

use crate::storage::{self, Mirror, StorageError, SystemDisk};

pub use essence::{Essence, EssenceError};
pub use mirror::run as keep_mirror;

/// On the STATE in memory: why it is there. Written last.
const WHY: &str = "lost";

/// Why the node cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The disk.
    #[error("storage")]
    Storage(#[source] StorageError),
    /// Never written, or rotten too.
    #[error("there is no whole mirror of STATE")]
    NoMirror,
    /// The mirror does not lead to a node.
    #[error("the mirror of STATE")]
    Essence(#[source] EssenceError),
    /// The reason cannot be kept.
    #[error("cannot note why")]
    Note(#[source] io::Error),
}

/// Why this boot's STATE is one in memory; `None` when it is not, or not yet whole.
pub fn entered() -> Option<String> {
    if !storage::is_state_shrouded() {
        return None;
    }
    fs::read_to_string(Path::new(path::STATE).join(WHY)).ok()
}

/// Puts a STATE in memory, made of its mirror, in the place of the lost one. `time_s` is the node's clock.
pub fn enter(disk: &SystemDisk, time_s: u64, why: &str) -> Result<(), RecoveryError> {
    let mirrored = Mirror::of(disk).and_then(|mirror| mirror.read()).map_err(RecoveryError::Storage)?;
    let essence =
        Essence::decode(&mirrored.ok_or(RecoveryError::NoMirror)?).map_err(RecoveryError::Essence)?;
    storage::shroud_state().map_err(RecoveryError::Storage)?;
    let state = Path::new(path::STATE);
    essence.restore(state, i64::try_from(time_s).unwrap_or(i64::MAX)).map_err(RecoveryError::Essence)?;
    File::create_new(state.join(WHY))
        .and_then(|mut file| file.write_all(why.as_bytes()))
        .map_err(RecoveryError::Note)
}

/// Makes the node one that was never provisioned; each step may be done again. The mirror goes before the mark, because
/// it holds the key and is of use only while the node counts as provisioned.
pub fn give_up(
    disk: &SystemDisk,
    wipe_data: bool,
    forget: impl FnOnce() -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    if wipe_data {
        storage::erase_data(disk)?;
    }
    storage::erase_state(disk)?;
    Mirror::of(disk)?.erase()?;
    forget()
}
