//! A service that writes a gigabyte: what it costs, and that the quiet keep their lines. With its figures:
//! `cargo test --release -p logstore --test flood -- --ignored --nocapture`

mod support;

use std::{
    io,
    time::{Duration, Instant},
};

use logstore::{Due, Entry, Limits, Medium, Memory, Pace, Store};
use support::{Random, all, boot, source};

/// As on a node.
const LIMITS: Limits = Limits { cap_bytes: 128 << 20, segment_bytes: 1 << 20, floor_bytes: 8 << 20 };
/// 100 MB a minute for ten minutes.
const FLOOD_BYTES: usize = 1_000_000_000;
const BYTES_PER_MS: usize = 100_000_000 / 60_000;

/// Memory that counts what is written to it.
#[derive(Default)]
struct Counting {
    memory: Memory,
    written_bytes: usize,
    syncs: usize,
}

impl Medium for Counting {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.memory.list()
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.memory.read_at(name, offset, buffer)
    }

    fn append(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.written_bytes += bytes.len();
        self.memory.append(name, offset, bytes)
    }

    fn truncate(&mut self, name: &str, length_bytes: u64) -> io::Result<()> {
        self.memory.truncate(name, length_bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.syncs += 1;
        self.memory.sync(name)
    }
}

fn line(random: &mut Random, number: u64) -> Entry {
    let pod = random.next() % 40;
    let message = format!(
        "I0102 03:04:{:02}.{:06}       1 kubelet.go:{}] \"SyncLoop (PLEG): event for pod\" pod=\"default/shop-{pod}\" id=\"{:016x}\"",
        number / 1000 % 60,
        random.next() % 1_000_000,
        random.next() % 3000,
        random.next(),
    );
    let wall_us = i64::try_from(number).unwrap() * 80;
    Entry {
        origin: number >> 20,
        position: number,
        wall_us,
        mono_us: number * 80,
        priority: Some(30),
        message: message.into_bytes(),
    }
}

#[test]
#[ignore = "takes a minute without optimisation"]
fn a_gigabyte_of_one_service_takes_nothing_from_the_others() {
    let mut random = Random(1);
    let mut store = Store::open(Counting::default(), LIMITS, boot(1)).unwrap();
    let quiet = [source("apid"), source("audit"), source("kernel"), source("machined")];
    for name in &quiet {
        for number in 0..5000 {
            store.append(name, line(&mut random, number)).unwrap();
        }
    }
    store.sync();
    let (mut pace, mut bytes, mut number, mut most) = (Pace::new(0), 0, 0, Duration::ZERO);
    let began = Instant::now();
    while bytes < FLOOD_BYTES {
        let now_ms = u64::try_from(bytes / BYTES_PER_MS).unwrap();
        let entry = line(&mut random, number);
        bytes += entry.message.len();
        number += 1;
        pace.appended(now_ms, entry.message.len(), false);
        store.append(&source("kubelet"), entry).unwrap();
        if pace.due(now_ms) == Due::Now {
            let synced = Instant::now();
            store.sync();
            pace.synced(now_ms);
            most = most.max(synced.elapsed());
            assert!(store.stored_bytes() <= LIMITS.cap_bytes);
        }
    }
    store.sync();
    let took = began.elapsed();
    assert_eq!((store.lost_lines(), store.trouble().is_none()), (0, true));
    for name in &quiet {
        assert_eq!(all(&mut store, name).len(), 5000);
    }
    let kept = store.sources().into_iter().find(|summary| summary.source.as_str() == "kubelet").unwrap();
    assert_eq!(all(&mut store, &source("kubelet")).last().unwrap().entry.position, number - 1);
    let stored = store.stored_bytes();
    let Counting { written_bytes, syncs, .. } = store.into_medium();
    println!(
        "{number} lines of {bytes} bytes in {:.1} s of one processor; {written_bytes} bytes written in {syncs} syncs of files, the \
         longest flush {} ms; {stored} bytes and {} lines kept",
        took.as_secs_f64(),
        most.as_millis(),
        kept.lines
    );
}
