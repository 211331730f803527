//! Partitions and files of whole blocks, past the page cache, from the asynchronous side. Each access is a short task
//! beside the runtime, so that whoever drops a transfer stops it within a piece.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
    time::Instant,
};

use flash::{Buffer, Device, Medium};
use nix::fcntl::OFlag;
use tokio::sync::Mutex;
use verity::{BLOCK_BYTES, Hash};

/// Blocks that are read or written at once: 256 KiB, which flash likes and memory hardly notices.
pub const PIECE_BLOCKS: u64 = 64;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What is read only: the partition of a slot that runs.
#[derive(Clone, Debug)]
pub struct Origin(Arc<File>);

impl Origin {
    /// Opens a block device or a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let open = |flags: OFlag| OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
        // Some file systems have no direct I/O.
        open(OFlag::O_DIRECT).or_else(|_| open(OFlag::empty())).map(Arc::new).map(Self)
    }

    /// Reads blocks, and does something with them beside the runtime.
    pub async fn read<T: Send + 'static>(
        &self,
        first_block: u64,
        blocks: u64,
        work: impl FnOnce(Buffer) -> T + Send + 'static,
    ) -> io::Result<T> {
        let file = Arc::clone(&self.0);
        beside(move || {
            let mut buffer = buffer(blocks);
            file.read_exact_at(&mut buffer, first_block.saturating_mul(BLOCK))?;
            Ok(work(buffer))
        })
        .await
    }
}

/// What is written. Whoever waits for it holds no thread.
#[derive(Clone)]
pub struct Target(Arc<Mutex<dyn Medium + Send>>);

impl Target {
    /// Opens a partition for this process alone: the kernel refuses what carries the running root.
    pub fn open(path: &Path) -> io::Result<Self> {
        Device::open(path).map(Self::new)
    }

    /// Takes an open medium.
    pub fn new(medium: impl Medium + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(medium)))
    }

    /// Reads blocks, and does something with them beside the runtime.
    pub async fn read<T: Send + 'static>(
        &self,
        first_block: u64,
        blocks: u64,
        work: impl FnOnce(Buffer) -> T + Send + 'static,
    ) -> io::Result<T> {
        self.with(move |medium| {
            let mut buffer = buffer(blocks);
            medium.read(first_block.saturating_mul(BLOCK), &mut buffer)?;
            Ok(work(buffer))
        })
        .await
    }

    /// Writes the first blocks of a buffer, as many as `good` says, and gives their number.
    pub async fn write(
        &self,
        first_block: u64,
        data: Buffer,
        good: impl FnOnce(&[u8]) -> u64 + Send + 'static,
    ) -> io::Result<u64> {
        self.with(move |medium| {
            let blocks = good(&data);
            let data = data.get(..bytes(blocks)).ok_or(io::ErrorKind::InvalidInput)?;
            if blocks > 0 {
                medium.write(first_block.saturating_mul(BLOCK), data)?;
            }
            Ok(blocks)
        })
        .await
    }

    /// Makes blocks read as zeros.
    pub async fn zero(&self, first_block: u64, blocks: u64) -> io::Result<()> {
        let length = bytes(blocks);
        self.with(move |medium| medium.zero(first_block.saturating_mul(BLOCK), length)).await
    }

    /// Returns when all lies on the medium; reads come from there then.
    pub async fn flush(&self) -> io::Result<()> {
        self.with(|medium| medium.flush()).await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut (dyn Medium + Send)) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut medium = Arc::clone(&self.0).lock_owned().await;
        beside(move || work(&mut *medium)).await
    }
}

/// Works beside the runtime, then rests for half as long: the disk and the processor have others to serve.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let begun = Instant::now();
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    tokio::time::sleep(begun.elapsed() / 2).await;
    done
}

/// Zeros for so many blocks, where direct I/O wants them.
pub fn buffer(blocks: u64) -> Buffer {
    Buffer::new(bytes(blocks))
}

/// Size of so many blocks.
pub fn bytes(blocks: u64) -> usize {
    usize::try_from(blocks.saturating_mul(BLOCK)).unwrap_or(usize::MAX)
}

/// The leaves of the blocks in these bytes.
pub fn leaves<'a>(salt: &'a [u8], data: &'a [u8]) -> impl Iterator<Item = Hash> + 'a {
    data.as_chunks().0.iter().map(|block| verity::leaf(salt, block))
}

/// A range of blocks in pieces: where each begins, and how many blocks it has.
pub fn pieces(first_block: u64, blocks: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = first_block.saturating_add(blocks);
    let begins = (first_block..end).step_by(usize::try_from(PIECE_BLOCKS).unwrap_or(1));
    begins.map(move |begin| (begin, PIECE_BLOCKS.min(end - begin)))
}
