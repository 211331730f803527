//! Images of random shape onto media of memory: clean, dirty, failing and lying.

use proptest::prelude::*;

use super::*;

/// A disk of memory that can go wrong.
struct Memory {
    content: Vec<u8>,
    /// Bytes that read back with a bit flipped.
    rotten: Vec<usize>,
    /// Writes and zeroing from here on are dropped without a word, as a counterfeit stick does.
    real_bytes: usize,
    flushed: bool,
}

impl Memory {
    fn dirty(size: usize) -> Self {
        Self { content: vec![0x5a; size], rotten: Vec::new(), real_bytes: size, flushed: false }
    }
}

impl Medium for Memory {
    fn size_bytes(&self) -> u64 {
        self.content.len() as u64
    }

    fn write(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        let at = offset_bytes as usize;
        let end = (at + data.len()).min(self.real_bytes).max(at);
        self.content[at..end].copy_from_slice(&data[..end - at]);
        Ok(())
    }

    fn zero(&mut self, offset_bytes: u64, length: usize) -> io::Result<()> {
        self.write(offset_bytes, &vec![0; length])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = true;
        Ok(())
    }

    fn read(&mut self, offset_bytes: u64, data: &mut [u8]) -> io::Result<()> {
        let at = offset_bytes as usize;
        data.copy_from_slice(&self.content[at..at + data.len()]);
        for rotten in &self.rotten {
            if (at..at + data.len()).contains(rotten) {
                data[rotten - at] ^= 0x10;
            }
        }
        Ok(())
    }
}

/// Chunks with content and chunks of zeros, and an end within a chunk.
fn image() -> impl Strategy<Value = Vec<u8>> {
    (proptest::collection::vec(any::<bool>(), 1..4), 1..2048usize).prop_map(|(filled, sectors)| {
        let mut image = Vec::new();
        for (index, filled) in filled.iter().enumerate() {
            image.resize((index + 1) * CHUNK_BYTES, if *filled { index as u8 + 1 } else { 0 });
        }
        image.resize(image.len() + sectors * 512, 9);
        image
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_written_is_there_also_on_a_dirty_medium(image in image(), spare in 0..4000usize) {
        let mut medium = Memory::dirty(image.len() + spare * 512);
        let mut done = 0;
        let written = write(&mut image.as_slice(), &mut medium, &mut |bytes| done = bytes).unwrap();
        prop_assert!(medium.flushed);
        prop_assert_eq!((done, written.size_bytes), (image.len() as u64, image.len() as u64));
        let head = image.len().min(CHUNK_BYTES);
        prop_assert!(medium.content[..head].iter().all(|byte| *byte == 0), "it boots before it is proven");
        verify(&written, &mut medium, &mut |_| {}).unwrap();
        commit(&written, &mut medium).unwrap();
        prop_assert!(medium.content.starts_with(&image));
        let tail = (spare * 512).min(CHUNK_BYTES);
        prop_assert!(medium.content.ends_with(&vec![0; tail]));
        let between = &medium.content[image.len()..medium.content.len() - tail];
        prop_assert!(between.iter().all(|byte| *byte == 0x5a), "more than the image was touched");
    }

    #[test]
    fn one_flipped_bit_is_found_where_it_is(image in image(), place in 0.0..1.0f64) {
        let mut medium = Memory::dirty(image.len());
        let written = write(&mut image.as_slice(), &mut medium, &mut |_| {}).unwrap();
        let rotten = (place * (image.len() - 1) as f64) as usize;
        medium.rotten.push(rotten);
        let verified = verify(&written, &mut medium, &mut |_| {});
        let error = verified.and_then(|()| commit(&written, &mut medium)).unwrap_err();
        let expected = (rotten - rotten % CHUNK_BYTES) as u64;
        let found = matches!(error, FlashError::Differs { offset_bytes, chunks: 1, .. } if offset_bytes == expected);
        prop_assert!(found, "{error}");
    }
}

#[test]
fn a_first_chunk_that_rots_is_found_at_the_end() {
    let image = vec![3; 2 * CHUNK_BYTES];
    let mut medium = Memory::dirty(image.len());
    let written = write(&mut image.as_slice(), &mut medium, &mut |_| {}).unwrap();
    verify(&written, &mut medium, &mut |_| {}).unwrap();
    medium.rotten.push(77);
    assert!(matches!(commit(&written, &mut medium), Err(FlashError::Differs { offset_bytes: 0, .. })));
}

#[test]
fn a_medium_that_lies_about_its_size_is_found() {
    let image = vec![3; 4 * CHUNK_BYTES];
    let mut medium = Memory::dirty(6 * CHUNK_BYTES);
    medium.real_bytes = 2 * CHUNK_BYTES;
    let written = write(&mut image.as_slice(), &mut medium, &mut |_| {}).unwrap();
    let error = verify(&written, &mut medium, &mut |_| {}).unwrap_err();
    // Two chunks of the image and the tail.
    let expected = (2 * CHUNK_BYTES) as u64;
    assert!(matches!(error, FlashError::Differs { offset_bytes, chunks: 3, .. } if offset_bytes == expected));
}

#[test]
fn what_cannot_be_flashed_is_refused() {
    let flash = |image: &[u8], size| write(&mut &*image, &mut Memory::dirty(size), &mut |_| {}).unwrap_err();
    assert!(matches!(flash(&[], 4096), FlashError::Empty));
    assert!(matches!(flash(&[1; 700], 4096), FlashError::Cut { size_bytes: 700 }));
    assert!(matches!(flash(&[1; 8192], 4096), FlashError::TooSmall { size_bytes: 4096 }));
}
