//! An image file: raw, or packed with zstd.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use zstd::stream::read::Decoder;

/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Longest header of a frame (RFC 8878, 3.1.1.1), with its magic.
const FRAME_HEADER_MAX_BYTES: u64 = 18;
/// Largest window that is accepted, as a power of two: 128 MiB, zstd's own limit for `--ultra`.
const WINDOW_LOG_MAX: u32 = 27;

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    /// It cannot be unpacked.
    #[error("cannot unpack the image")]
    Unpack(#[source] io::Error),
}

/// The unpacked bytes of an image.
pub struct Image {
    reader: Box<dyn Read + Send>,
    size_bytes: Option<u64>,
}

impl Image {
    /// Opens a packed image with anything behind it, as on a partition.
    pub fn open_embedded(file: File) -> Result<Self, SourceError> {
        let decoder = Decoder::new(file).map_err(SourceError::Unpack)?.single_frame();
        Self::with_decoder(decoder, None)
    }

    /// Opens an image from the file's first byte on, whatever it is called.
    pub fn open(mut file: File) -> Result<Self, SourceError> {
        let mut header = Vec::new();
        file.by_ref().take(FRAME_HEADER_MAX_BYTES).read_to_end(&mut header).map_err(SourceError::Read)?;
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(SourceError::Read)?;
        file.rewind().map_err(SourceError::Read)?;
        if !header.starts_with(&ZSTD_MAGIC) {
            return Ok(Self { reader: Box::new(file), size_bytes: Some(size_bytes) });
        }
        let size_bytes = zstd::zstd_safe::get_frame_content_size(&header).ok().flatten();
        Self::with_decoder(Decoder::new(file).map_err(SourceError::Unpack)?, size_bytes)
    }

    fn with_decoder(
        mut decoder: Decoder<'static, BufReader<File>>,
        size_bytes: Option<u64>,
    ) -> Result<Self, SourceError> {
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(SourceError::Unpack)?;
        Ok(Self { reader: Box::new(decoder), size_bytes })
    }

    /// Size of the unpacked image, when it is known beforehand.
    pub fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }
}

impl Read for Image {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn raw_and_packed_images_read_alike() {
        let content: Vec<u8> = (0..3_000_000u32).map(|index| (index / 1000) as u8).collect();
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.set_pledged_src_size(Some(content.len() as u64)).unwrap();
        encoder.include_contentsize(true).unwrap();
        encoder.write_all(&content).unwrap();
        let packed = encoder.finish().unwrap();
        for bytes in [&content, &packed] {
            let mut image = Image::open(file(bytes)).unwrap();
            assert_eq!(image.size_bytes(), Some(content.len() as u64));
            let mut read = Vec::new();
            image.read_to_end(&mut read).unwrap();
            assert!(read == content);
        }
        let mut partition = Image::open_embedded(file(&[&packed[..], &[0; 5000]].concat())).unwrap();
        let mut read = Vec::new();
        partition.read_to_end(&mut read).unwrap();
        assert!(read == content, "what lies behind a packed image is taken for a part of it");
        let mut cut = Image::open(file(&packed[..packed.len() / 2])).unwrap();
        assert!(cut.read_to_end(&mut Vec::new()).is_err(), "a cut archive reads to its end");
    }
}
