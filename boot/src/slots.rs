//! The UKIs in the BOOT partitions: read whole, hashed, started from memory.

use crate::console::line;
use crate::disk::{Buffer, Disk, DiskError, Partition};
use bootstate::{PE_HEADERS_MAX_BYTES, PerSlot, Sha256, Slot, Uki, Ukis, pe_length_bytes};
use gpt::BLOCK_BYTES;
use sha2::{Digest, Sha256 as Hasher};
use uefi::boot::{self, LoadImageSource};

/// Bytes of one read. Firmware has been seen to fail on larger ones, and what was read is still in the cache
/// when it is hashed.
const READ_BYTES: usize = 1 << 20;

/// Why a UKI cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// It cannot be read.
    #[error("cannot read slot {}", slot.letter())]
    Read {
        /// Which slot.
        slot: Slot,
        /// Why.
        #[source]
        source: DiskError,
    },
    /// Longer than its partition, or empty.
    #[error("slot {} cannot hold a UKI of {bytes} bytes", slot.letter())]
    Length {
        /// Which slot.
        slot: Slot,
        /// As recorded.
        bytes: u64,
    },
    /// Damaged, or not what was recorded.
    #[error("the UKI in slot {} does not match its hash", slot.letter())]
    Hash {
        /// Which slot.
        slot: Slot,
    },
    /// No EFI application begins here.
    #[error("slot {} holds nothing that looks like a UKI", slot.letter())]
    Implausible {
        /// Which slot.
        slot: Slot,
    },
    /// The chosen UKI is not in memory.
    #[error("slot {} was not read", slot.letter())]
    NotRead {
        /// Which slot.
        slot: Slot,
    },
    /// The firmware does not accept it.
    #[error("the firmware cannot load slot {}", slot.letter())]
    Load {
        /// Which slot.
        slot: Slot,
        /// Why.
        #[source]
        source: uefi::Error,
    },
    /// It ran, and returned.
    #[error("the UKI in slot {} ended with {status}", slot.letter())]
    Returned {
        /// Which slot.
        slot: Slot,
        /// What it returned.
        status: uefi::Status,
    },
}

/// Both slots of the disk.
pub struct Slots<'a> {
    disk: &'a Disk,
    verified: Option<(Slot, Image)>,
    given_up: PerSlot<bool>,
}

/// A UKI in memory.
struct Image {
    buffer: Buffer,
    uki: Uki,
}

impl<'a> Slots<'a> {
    /// The slots of this disk.
    pub fn new(disk: &'a Disk) -> Self {
        Self { disk, verified: None, given_up: PerSlot { a: false, b: false } }
    }

    /// Starts the slot that was last found to hold its UKI. Returns only when that fails; the slot is not
    /// offered again then.
    pub fn start(&mut self, slot: Slot) -> SlotError {
        *self.given_up.get_mut(slot) = true;
        match self.verified.take() {
            Some((verified, image)) if verified == slot => start(slot, image),
            Some(_) | None => SlotError::NotRead { slot },
        }
    }

    fn read(&self, slot: Slot, length_bytes: u64) -> Result<Image, SlotError> {
        read(&self.partition(slot)?, length_bytes, slot)
    }

    fn verify(&self, slot: Slot, uki: &Uki) -> Result<Image, SlotError> {
        let image = self.read(slot, uki.length_bytes)?;
        if image.uki == *uki { Ok(image) } else { Err(SlotError::Hash { slot }) }
    }

    fn read_by_headers(&self, slot: Slot) -> Result<Image, SlotError> {
        let failed = |source| SlotError::Read { slot, source };
        let mut headers = Buffer::new(PE_HEADERS_MAX_BYTES).map_err(failed)?;
        self.partition(slot)?.read(0, headers.as_mut_slice()).map_err(failed)?;
        let length_bytes = pe_length_bytes(headers.as_slice()).ok_or(SlotError::Implausible { slot })?;
        self.read(slot, length_bytes)
    }

    fn partition(&self, slot: Slot) -> Result<Partition<'a>, SlotError> {
        let wanted = match slot {
            Slot::A => &layout::BOOT_A,
            Slot::B => &layout::BOOT_B,
        };
        self.disk.partition(wanted).map_err(|source| SlotError::Read { slot, source })
    }
}

impl Ukis for Slots<'_> {
    fn holds(&mut self, slot: Slot, uki: &Uki) -> bool {
        if *self.given_up.get(slot) {
            return false;
        }
        // Two UKIs at once might not fit into a small machine's memory.
        self.verified = None;
        match self.verify(slot, uki) {
            Ok(image) => self.verified = Some((slot, image)),
            Err(error) => crate::console::error(&error),
        }
        self.verified.is_some()
    }

    fn discover(&mut self, slot: Slot) -> Option<Uki> {
        match self.read_by_headers(slot) {
            Ok(image) => Some(image.uki),
            Err(error) => {
                crate::console::error(&error);
                None
            }
        }
    }
}

fn read(partition: &Partition<'_>, length_bytes: u64, slot: Slot) -> Result<Image, SlotError> {
    let impossible = SlotError::Length { slot, bytes: length_bytes };
    let failed = |source| SlotError::Read { slot, source };
    if length_bytes == 0 || length_bytes > partition.size_bytes() {
        return Err(impossible);
    }
    let Ok(length) = usize::try_from(length_bytes) else { return Err(impossible) };
    let mut buffer = Buffer::new(length.next_multiple_of(BLOCK_BYTES)).map_err(failed)?;
    let mut hasher = Hasher::new();
    let mut offset_bytes = 0;
    let mut left = length;
    for chunk in buffer.as_mut_slice().chunks_mut(READ_BYTES) {
        partition.read(offset_bytes, chunk).map_err(failed)?;
        let used = chunk.get(..left).unwrap_or(chunk);
        hasher.update(used);
        left -= used.len();
        offset_bytes += READ_BYTES as u64;
    }
    let sha256: Sha256 = hasher.finalize().into();
    Ok(Image { buffer, uki: Uki { length_bytes, sha256 } })
}

fn start(slot: Slot, image: Image) -> SlotError {
    let Ok(length) = usize::try_from(image.uki.length_bytes) else { return SlotError::NotRead { slot } };
    let source = LoadImageSource::FromBuffer { buffer: &image.buffer.as_slice()[..length], file_path: None };
    let handle = match boot::load_image(boot::image_handle(), source) {
        Ok(handle) => handle,
        Err(source) => return SlotError::Load { slot, source },
    };
    // The firmware has made its own copy.
    drop(image);
    line!("starting slot {}", slot.letter());
    let status = boot::start_image(handle).map_or_else(|error| error.status(), |()| uefi::Status::SUCCESS);
    SlotError::Returned { slot, status }
}
