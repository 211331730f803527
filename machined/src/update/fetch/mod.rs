//! Filling a slot with a release, from as few bytes as possible.
//!
//! Blocks that are right are left alone, which is also how an interrupted filling goes on; blocks that the running slot
//! has are copied; the others are fetched from any mirror. No block is written before it has the signed hash. Start
//! reading at [`fill`].

mod error;
mod image;
mod leaves;
mod meter;
mod origin;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bootstate::Slot;
use update::{Failure, Manifest};
use verity::HashTree;

use super::{device::Target, mirrors::Mirrors, source::ReleasePath};
use image::Image;

pub use error::FetchError;
pub use meter::Meter;
pub use origin::{Present, Tree};

pub const ROOT: &str = "the root partition";
pub const BOOT: &str = "the boot partition";

/// Everything that filling a slot works with.
pub struct Fill {
    /// The release.
    pub manifest: Box<Manifest>,
    /// The slot, for its UKI.
    pub slot: Slot,
    /// Where the release lies.
    pub mirrors: Arc<Mirrors>,
    /// The slot's partitions.
    pub partitions: Partitions<Target>,
    /// What the running slot holds.
    pub present: Partitions<Present>,
    /// Counts.
    pub meter: Meter,
}

/// Of a slot.
#[derive(Clone, Debug)]
pub struct Partitions<T> {
    /// The UKI's.
    pub boot: T,
    /// The root's.
    pub root: T,
}

/// Fills the slot; returns when everything lies on the medium. A slot that is being filled does not start: the first
/// block of its UKI is zeros from before the first write to after the last.
pub async fn fill(job: Fill) -> Result<(), (FetchError, Failure)> {
    let progressed = AtomicBool::new(false);
    let filled = fill_all(&job, &progressed).await;
    filled.map_err(|error| {
        let failure = error.failure(progressed.load(Ordering::Relaxed));
        (error, failure)
    })
}

async fn fill_all(job: &Fill, progressed: &AtomicBool) -> Result<(), FetchError> {
    let Fill { manifest, mirrors, meter, .. } = job;
    let uki = &manifest.uki(job.slot).image;
    meter.begin_filling(manifest.root.data_blocks.saturating_add(uki.data_blocks));
    let folder = format!("targets/releases/{}", manifest.version);
    let root_tree = leaves::fetch(mirrors, &folder, &manifest.root, meter).await?;
    let uki_tree = leaves::fetch(mirrors, &folder, uki, meter).await?;
    let image = |partition, image: &update::Image, tree: Arc<HashTree>, target: &Target| {
        let path = ReleasePath::new(&format!("{folder}/{}", image.path)).map_err(FetchError::Path)?;
        let target = target.clone();
        Ok(Image { partition, path, salt: image.salt, tree, target, mirrors, meter, progressed })
    };
    let root = image(ROOT, &manifest.root, root_tree, &job.partitions.root)?;
    let boot = image(BOOT, uki, uki_tree, &job.partitions.boot)?;

    let (mut root_right, mut boot_right) = (root.scan().await, boot.scan().await);
    let is_whole = root_right.iter().chain(&boot_right).all(|right| *right) && root.has_tree().await;
    if !is_whole {
        set_first(&mut boot_right, false);
    }
    let count = |right: &[bool]| right.iter().filter(|right| **right).count() as u64;
    meter.saved(count(&root_right) + count(&boot_right));
    if is_whole {
        return Ok(());
    }
    boot.shut().await?;

    let present = job.present.root.leaves(&root.salt).await;
    root.fill(&mut root_right, &present, &job.present.root).await?;
    drop(present);
    root.write_tree().await?;
    root.flush().await?;

    let present = job.present.boot.leaves(&boot.salt).await;
    set_first(&mut boot_right, true);
    boot.fill(&mut boot_right, &present, &job.present.boot).await?;
    boot.flush().await?;
    set_first(&mut boot_right, false);
    boot.fill(&mut boot_right, &present, &job.present.boot).await?;
    boot.flush().await
}

fn set_first(right: &mut [bool], value: bool) {
    if let Some(first) = right.first_mut() {
        *first = value;
    }
}
