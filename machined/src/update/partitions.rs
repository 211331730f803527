//! The partitions of both slots: the one that is written, and the one that runs.

use std::{io, time::Duration};

use bootstate::Slot;

use super::{
    device::{Origin, Target},
    fetch::{BOOT, Partitions, Present, ROOT},
    running::RunningRoot,
};
use crate::storage::{SlotPartitions, StorageError, SystemDisk};

/// A transfer that was stopped may still hold a partition for the length of a write.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(250);

/// Why a slot is not reached.
#[derive(Debug, thiserror::Error)]
pub enum PartitionsError {
    /// It is not on the system disk.
    #[error("the slot's partitions")]
    Missing(#[source] StorageError),
    /// It carries the running root.
    #[error("slot {} runs; it is not written", slot.letter())]
    Runs {
        /// Which.
        slot: Slot,
    },
    /// A partition cannot be opened, or not by this process alone.
    #[error("cannot open {partition} of slot {}", slot.letter())]
    Open {
        /// Which slot.
        slot: Slot,
        /// Which partition.
        partition: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The kernel does not say what it runs.
    #[error("the running root is not known")]
    Running(#[source] io::Error),
}

/// Opens a slot to be written, which must not be the one that runs.
pub async fn open(disk: &SystemDisk, slot: Slot) -> Result<Partitions<Target>, PartitionsError> {
    let places = SlotPartitions::of(disk, slot).map_err(PartitionsError::Missing)?;
    if places.runs() {
        return Err(PartitionsError::Runs { slot });
    }
    let mut tries = 0;
    loop {
        let failed = |partition| move |source| PartitionsError::Open { slot, partition, source };
        let boot = Target::open(&places.boot).map_err(failed(BOOT));
        let root = Target::open(&places.root).map_err(failed(ROOT));
        match (boot, root) {
            (Ok(boot), Ok(root)) => return Ok(Partitions { boot, root }),
            (Err(PartitionsError::Open { source, .. }), _)
            | (_, Err(PartitionsError::Open { source, .. }))
                if source.kind() == io::ErrorKind::ResourceBusy && tries < TRIES =>
            {
                tries += 1;
                tokio::time::sleep(AGAIN).await;
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        }
    }
}

/// Opens the slot that runs, to be read.
pub fn present(
    disk: &SystemDisk,
    slot: Slot,
    uki_blocks: u64,
) -> Result<Partitions<Present>, PartitionsError> {
    let places = SlotPartitions::of(disk, slot).map_err(PartitionsError::Missing)?;
    let RunningRoot { data_blocks, tree } = RunningRoot::read().map_err(PartitionsError::Running)?;
    let failed = |partition| move |source| PartitionsError::Open { slot, partition, source };
    Ok(Partitions {
        boot: Present {
            origin: Origin::open(&places.boot).map_err(failed(BOOT))?,
            data_blocks: uki_blocks,
            tree: None,
        },
        root: Present {
            origin: Origin::open(&places.root).map_err(failed(ROOT))?,
            data_blocks,
            tree: Some(tree),
        },
    })
}
