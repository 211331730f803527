//! What the tests share: a random source, and a medium that fails on order.

#![allow(dead_code)]

use std::{
    env,
    io::{self, ErrorKind},
    time::Duration,
};

use logstore::{BootId, Cursor, Entry, Limits, Medium, Memory, Range, Record, Source, Store};

/// SplitMix64: the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// How long a fuzz target runs: `CAIRN_FUZZ_SECONDS`, 2 by default.
pub fn fuzz_duration() -> Duration {
    Duration::from_secs(number("CAIRN_FUZZ_SECONDS", 2))
}

/// The first seed: `CAIRN_FUZZ_SEED` repeats a run.
pub fn fuzz_seed() -> u64 {
    number("CAIRN_FUZZ_SEED", 1)
}

fn number(name: &str, default: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

pub const LIMITS: Limits = Limits { cap_bytes: 64 * 1024, segment_bytes: 8 * 1024, floor_bytes: 16 * 1024 };

pub fn boot(number: u8) -> BootId {
    BootId([number; 16])
}

pub fn source(name: &str) -> Source {
    Source::parse(name).unwrap()
}

/// A line whose text says its place; `noise` bytes of it cannot be compressed.
pub fn entry(random: &mut Random, origin: u64, position: u64, noise: usize) -> Entry {
    let mut message = format!("{origin} {position} ").into_bytes();
    message.extend((0..noise).map(|_| random.next() as u8));
    Entry {
        origin,
        position,
        wall_us: i64::try_from(position).unwrap() * 1000,
        mono_us: position,
        priority: Some(6),
        message,
    }
}

/// All lines of a source, of all boots.
pub fn all<M: Medium>(store: &mut Store<M>, source: &Source) -> Vec<Record> {
    ranged(store, source, &Range::default())
}

pub fn ranged<M: Medium>(store: &mut Store<M>, source: &Source, range: &Range) -> Vec<Record> {
    let mut cursor = Cursor::at(0);
    let mut records = Vec::new();
    loop {
        let batch = store.read(source, cursor, range);
        records.extend(batch.records);
        if batch.end {
            return records;
        }
        cursor = batch.next;
    }
}

/// Memory with as much room as there is left, whose writes may end in the middle.
#[derive(Default)]
pub struct Failing {
    pub memory: Memory,
    /// Bytes that still can be written; none for no limit.
    pub room: Option<u64>,
    pub read_only: bool,
}

impl Failing {
    fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

impl Medium for Failing {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.memory.list()
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.memory.read_at(name, offset, buffer)
    }

    fn append(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writable()?;
        let Some(room) = &mut self.room else { return self.memory.append(name, offset, bytes) };
        let fits = bytes.len().min(usize::try_from(*room).unwrap());
        *room -= fits as u64;
        self.memory.append(name, offset, &bytes[..fits])?;
        if fits < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, name: &str, length_bytes: u64) -> io::Result<()> {
        self.writable()?;
        let before = self.memory.files[name].len() as u64;
        if let Some(room) = &mut self.room {
            *room += before - length_bytes;
        }
        self.memory.truncate(name, length_bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.writable()?;
        if let (Some(room), Some(file)) = (&mut self.room, self.memory.files.get(name)) {
            *room += file.len() as u64;
        }
        self.memory.remove(name)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.memory.sync(name)
    }
}
