//! The disk that the selector was loaded from, and its partitions.

use crate::protocol::open_shared;
use alloc::vec::Vec;
use bootstate::{Medium, RECORD_BYTES};
use core::cell::RefCell;
use gpt::{BLOCK_BYTES, Extent, Table};
use uefi::boot::{self, ScopedProtocol};
use uefi::proto::device_path::{DevicePath, DeviceSubType, DeviceType};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::block::BlockIO;
use uefi::{Guid, Handle};

/// Alignment that satisfies every block device, and is what DMA likes best.
const BUFFER_ALIGN_BYTES: usize = 4096;

/// What can go wrong on the way to the disk, or with it.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The firmware does not say where it loaded the selector from.
    #[error("cannot tell which device this program was loaded from")]
    OwnDevice(#[source] uefi::Error),
    /// It was loaded from something that is no partition of a disk.
    #[error("this program was not loaded from a partition of a disk")]
    NoDisk,
    /// The disk cannot be opened.
    #[error("cannot open the disk")]
    Open(#[source] uefi::Error),
    /// Neither 512 bytes nor anything that this release can use.
    #[error("the disk has logical blocks of {bytes} bytes; only 512 is supported")]
    BlockSize {
        /// As the disk reports.
        bytes: u32,
    },
    /// Primary and backup are damaged.
    #[error("the disk has no intact partition table")]
    NoTable,
    /// The partition table lacks it.
    #[error("the disk has no partition {name}")]
    NoPartition {
        /// Its name.
        name: &'static str,
    },
    /// Past the end of the partition.
    #[error("access past the end of a partition")]
    OutOfBounds,
    /// Not enough memory.
    #[error("not enough memory for {bytes} bytes")]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// Reading failed.
    #[error("cannot read block {lba}")]
    Read {
        /// First block of the range.
        lba: u64,
        /// Why.
        #[source]
        source: uefi::Error,
    },
    /// Writing failed.
    #[error("cannot write block {lba}")]
    Write {
        /// First block of the range.
        lba: u64,
        /// Why.
        #[source]
        source: uefi::Error,
    },
    /// Flushing failed.
    #[error("cannot flush the disk")]
    Flush(#[source] uefi::Error),
}

/// The whole disk.
pub struct Disk {
    device: RefCell<ScopedProtocol<BlockIO>>,
    media_id: u32,
    table: Table,
}

/// A partition of it.
pub struct Partition<'a> {
    disk: &'a Disk,
    extent: Extent,
}

impl Disk {
    /// Opens the disk that the selector was loaded from.
    pub fn own() -> Result<Self, DiskError> {
        let mut device = open_shared::<BlockIO>(own_handle()?).map_err(DiskError::Open)?;
        let (media_id, block_bytes, last_lba) = {
            let media = device.media();
            (media.media_id(), media.block_size(), media.last_block())
        };
        if usize::try_from(block_bytes) != Ok(BLOCK_BYTES) {
            return Err(DiskError::BlockSize { bytes: block_bytes });
        }
        let read = |lba, blocks: &mut [u8]| {
            let Ok(mut buffer) = Buffer::new(blocks.len()) else { return false };
            let done = device.read_blocks(media_id, lba, buffer.as_mut_slice()).is_ok();
            blocks.copy_from_slice(buffer.as_slice());
            done
        };
        let table = Table::read(last_lba, read).ok_or(DiskError::NoTable)?;
        Ok(Self { device: RefCell::new(device), media_id, table })
    }

    /// Finds a partition by type and name.
    pub fn partition(&self, wanted: &layout::Partition) -> Result<Partition<'_>, DiskError> {
        let missing = DiskError::NoPartition { name: wanted.name };
        let Ok(type_guid) = Guid::try_parse(wanted.type_guid) else { return Err(missing) };
        let extent = self.table.find(&type_guid.to_bytes(), wanted.name).ok_or(missing)?;
        Ok(Partition { disk: self, extent })
    }
}

impl Partition<'_> {
    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.extent.blocks.saturating_mul(layout::SECTOR_BYTES)
    }

    /// Fills the buffer, whose length is a multiple of 512, from this offset, which is one too.
    pub fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let lba = self.lba(offset_bytes, buffer.len())?;
        let read = self.disk.device.borrow_mut().read_blocks(self.disk.media_id, lba, buffer);
        read.map_err(|source| DiskError::Read { lba, source })
    }

    fn write(&self, offset_bytes: u64, buffer: &[u8]) -> Result<(), DiskError> {
        let lba = self.lba(offset_bytes, buffer.len())?;
        let written = self.disk.device.borrow_mut().write_blocks(self.disk.media_id, lba, buffer);
        written.map_err(|source| DiskError::Write { lba, source })
    }

    /// The block at this offset, if as many bytes from there on lie in the partition.
    fn lba(&self, offset_bytes: u64, length_bytes: usize) -> Result<u64, DiskError> {
        let length_bytes = u64::try_from(length_bytes).map_err(|_| DiskError::OutOfBounds)?;
        let end_bytes = offset_bytes.checked_add(length_bytes).ok_or(DiskError::OutOfBounds)?;
        if end_bytes > self.size_bytes() {
            return Err(DiskError::OutOfBounds);
        }
        self.extent.first_lba.checked_add(offset_bytes / layout::SECTOR_BYTES).ok_or(DiskError::OutOfBounds)
    }
}

impl Medium for Partition<'_> {
    type Error = DiskError;

    fn read(&mut self, offset_bytes: u64) -> Result<[u8; RECORD_BYTES], DiskError> {
        let mut buffer = Buffer::new(RECORD_BYTES)?;
        Partition::read(self, offset_bytes, buffer.as_mut_slice())?;
        let mut block = [0; RECORD_BYTES];
        block.copy_from_slice(buffer.as_slice());
        Ok(block)
    }

    fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> Result<(), DiskError> {
        let mut buffer = Buffer::new(RECORD_BYTES)?;
        buffer.as_mut_slice().copy_from_slice(block);
        Partition::write(self, offset_bytes, buffer.as_slice())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.disk.device.borrow_mut().flush_blocks().map_err(DiskError::Flush)
    }
}

/// Memory that block devices can fill directly.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Zeroed memory of this length. Running out of it is an error, not the end.
    pub fn new(length: usize) -> Result<Self, DiskError> {
        let error = || DiskError::Memory { bytes: length };
        let capacity = length.checked_add(BUFFER_ALIGN_BYTES).ok_or_else(error)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| error())?;
        bytes.resize(capacity, 0);
        let start = bytes.as_ptr().align_offset(BUFFER_ALIGN_BYTES);
        Ok(Self { bytes, start, length })
    }

    /// The aligned bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..][..self.length]
    }

    /// The aligned bytes, to fill.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.length]
    }
}

/// Finds the disk whose device path, with one more partition node, is that of the selector's own device.
fn own_handle() -> Result<Handle, DiskError> {
    let image = open_shared::<LoadedImage>(boot::image_handle()).map_err(DiskError::OwnDevice)?;
    let device = image.device().ok_or(DiskError::NoDisk)?;
    let own_path = open_shared::<DevicePath>(device).map_err(DiskError::OwnDevice)?;
    let disks = boot::find_handles::<BlockIO>().map_err(DiskError::Open)?;
    let is_own = |handle: &Handle| {
        open_shared::<DevicePath>(*handle).is_ok_and(|path| is_partition_of(&own_path, &path))
    };
    disks.into_iter().find(is_own).ok_or(DiskError::NoDisk)
}

fn is_partition_of(partition: &DevicePath, disk: &DevicePath) -> bool {
    let mut rest = partition.node_iter();
    let is_prefix = disk.node_iter().all(|node| rest.next() == Some(node));
    let partition_type = (DeviceType::MEDIA, DeviceSubType::MEDIA_HARD_DRIVE);
    is_prefix && rest.next().is_some_and(|node| node.full_type() == partition_type) && rest.next().is_none()
}
