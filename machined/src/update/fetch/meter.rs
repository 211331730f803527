//! How far the filling of a slot is.

use tokio::sync::watch;
use verity::BLOCK_BYTES;

use crate::update::Progress;

/// Counts, and tells who watches.
#[derive(Clone, Debug, Default)]
pub struct Meter(watch::Sender<Progress>);

impl Meter {
    /// What has been counted.
    pub fn read(&self) -> Progress {
        *self.0.borrow()
    }

    /// Told of every step.
    pub fn subscribe(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }

    /// Begins anew, with nothing known.
    pub fn clear(&self) {
        self.0.send_replace(Progress::default());
    }

    /// Begins to fill so many blocks. What came before an interruption has come all the same.
    pub fn begin_filling(&self, blocks_total: u64) {
        let bytes_fetched = self.read().bytes_fetched;
        self.0.send_replace(Progress { blocks_total, bytes_fetched, ..Progress::default() });
    }

    /// Begins to read so many blocks back.
    pub fn begin_reading(&self, blocks_total: u64) {
        self.0.send_modify(|progress| (progress.blocks_done, progress.blocks_total) = (0, blocks_total));
    }

    /// Counts blocks that were read back.
    pub fn read_back(&self, blocks: u64) {
        self.0.send_modify(|progress| progress.blocks_done += blocks);
    }

    /// Counts blocks that need not come.
    pub fn saved(&self, blocks: u64) {
        self.0.send_modify(|progress| {
            progress.blocks_done += blocks;
            progress.bytes_saved += blocks * BLOCK_BYTES as u64;
        });
    }

    /// Counts blocks that came and were written.
    pub fn fetched(&self, blocks: u64) {
        self.0.send_modify(|progress| progress.blocks_done += blocks);
        self.received(blocks * BLOCK_BYTES as u64);
    }

    /// Counts bytes that came.
    pub fn received(&self, bytes: u64) {
        self.0.send_modify(|progress| progress.bytes_fetched += bytes);
    }
}
