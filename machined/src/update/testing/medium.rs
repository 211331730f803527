//! A partition in memory that remembers what was done to it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use flash::Medium;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Write { first_block: u64, blocks: u64 },
    Flush,
}

#[derive(Debug, Default)]
pub struct State {
    pub content: Vec<u8>,
    pub done: Vec<Done>,
    /// Writes that still succeed.
    pub writes_left: Option<usize>,
    /// Whether it takes writes and keeps the old content.
    pub lies: bool,
}

/// The partition. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Partition(Arc<Mutex<State>>);

impl Partition {
    pub fn new(mut content: Vec<u8>, blocks: usize) -> Self {
        content.resize(blocks * verity::BLOCK_BYTES, 0);
        Self(Arc::new(Mutex::new(State { content, ..State::default() })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn put(&self, offset_bytes: u64, length: usize, data: Option<&[u8]>) -> io::Result<()> {
        let mut state = self.state();
        match &mut state.writes_left {
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        let block = verity::BLOCK_BYTES as u64;
        assert!(offset_bytes.is_multiple_of(block) && (length as u64).is_multiple_of(block));
        state.done.push(Done::Write { first_block: offset_bytes / block, blocks: length as u64 / block });
        if !state.lies {
            let at = usize::try_from(offset_bytes).unwrap();
            let room = &mut state.content[at..at + length];
            match data {
                Some(data) => room.copy_from_slice(data),
                None => room.fill(0),
            }
        }
        Ok(())
    }
}

impl Medium for Partition {
    fn size_bytes(&self) -> u64 {
        self.state().content.len() as u64
    }

    fn write(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.put(offset_bytes, data.len(), Some(data))
    }

    fn zero(&mut self, offset_bytes: u64, length: usize) -> io::Result<()> {
        self.put(offset_bytes, length, None)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.state().done.push(Done::Flush);
        Ok(())
    }

    fn read(&mut self, offset_bytes: u64, data: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let at = usize::try_from(offset_bytes).unwrap();
        data.copy_from_slice(state.content.get(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
