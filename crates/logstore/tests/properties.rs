//! Random lines, cuts at any byte, flips at any byte: what comes out is what went in, less what was damaged.

mod support;

use std::collections::BTreeMap;

use logstore::{Entry, Memory, Merged, Source, Store};
use proptest::prelude::*;
use support::{LIMITS, Random, all, boot, entry, source};

/// What was written: by source the lines that are flushed, then those that are not.
struct Written {
    memory: Memory,
    flushed: BTreeMap<Source, Vec<Entry>>,
}

/// A few boots of a few sources, all of it on the medium.
fn write(seed: u64, lines: usize) -> Written {
    let mut random = Random(seed);
    let mut memory = Memory::default();
    let mut flushed: BTreeMap<Source, Vec<Entry>> = BTreeMap::new();
    let mut position = 0;
    for number in 0..=random.below(3) {
        let mut store = Store::open(memory, LIMITS, boot(number as u8)).unwrap();
        for _ in 0..lines {
            position += 1 + random.below(100) as u64;
            let name = source(["apid", "kernel", "kubelet"][random.below(3)]);
            let origin = position / 1500;
            let noise = random.below(60);
            let entry = entry(&mut random, origin, position, noise);
            store.append(&name, entry.clone()).unwrap();
            flushed.entry(name).or_default().push(entry);
            if random.below(10) == 0 {
                store.sync();
            }
        }
        store.sync();
        assert!(store.trouble().is_none());
        memory = store.into_medium();
    }
    Written { memory, flushed }
}

fn read(memory: Memory) -> (BTreeMap<Source, Vec<Entry>>, Memory) {
    let mut store = Store::open(memory, LIMITS, boot(9)).unwrap();
    let names: Vec<Source> = store.sources().into_iter().map(|summary| summary.source).collect();
    let read = names.into_iter().map(|name| {
        let records = all(&mut store, &name);
        assert!(records.is_sorted_by(|a, b| a.sequence < b.sequence));
        (name, records.into_iter().map(|record| record.entry).collect())
    });
    (read.collect(), store.into_medium())
}

/// Whether all of `part` is in `whole`, in order and not more often.
fn is_subsequence(part: &[Entry], whole: &[Entry]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|wanted| whole.any(|entry| entry == wanted))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_was_flushed_comes_back(seed in any::<u64>(), lines in 0..120_usize) {
        let Written { memory, flushed } = write(seed, lines);
        let (read, _) = read(memory);
        prop_assert_eq!(read, flushed);
    }

    #[test]
    fn a_cut_costs_only_what_lies_behind_it(seed in any::<u64>(), lines in 1..80_usize, file: prop::sample::Index, at: prop::sample::Index) {
        let Written { mut memory, flushed } = write(seed, lines);
        let name = file.get(&memory.files.keys().cloned().collect::<Vec<_>>()).clone();
        let content = memory.files.get_mut(&name).unwrap();
        let length = at.index(content.len());
        content.truncate(length);
        let (read, memory) = read(memory);
        for (source, entries) in &flushed {
            let found = read.get(source).map(Vec::as_slice).unwrap_or_default();
            prop_assert!(is_subsequence(found, entries));
            if !name.starts_with(&format!("{source}.")) {
                prop_assert_eq!(found, entries.as_slice());
            }
        }
        // What was cut is mended, and new lines come behind what was there.
        let mut store = Store::open(memory, LIMITS, boot(9)).unwrap();
        let cut = source(name.split('.').next().unwrap());
        let before = all(&mut store, &cut).len();
        let more = entry(&mut Random(1), 1, u64::from(u32::MAX), 5);
        store.append(&cut, more.clone()).unwrap();
        store.sync();
        let mut store = Store::open(store.into_medium(), LIMITS, boot(10)).unwrap();
        let after = all(&mut store, &cut);
        prop_assert_eq!(after.len(), before + 1);
        prop_assert_eq!(&after.last().unwrap().entry, &more);
    }

    #[test]
    fn a_flip_costs_a_block(seed in any::<u64>(), lines in 1..80_usize, file: prop::sample::Index, at: prop::sample::Index, mask in 1..=255_u8) {
        let Written { mut memory, flushed } = write(seed, lines);
        let name = file.get(&memory.files.keys().cloned().collect::<Vec<_>>()).clone();
        let content = memory.files.get_mut(&name).unwrap();
        let length = content.len();
        let blocks = content.windows(4).filter(|bytes| bytes == b"CLGB").count();
        content[at.index(length)] ^= mask;
        let (read, _) = read(memory);
        let mut hurt = 0;
        for (source, entries) in &flushed {
            let found = read.get(source).map(Vec::as_slice).unwrap_or_default();
            prop_assert!(is_subsequence(found, entries));
            hurt += usize::from(found != entries.as_slice());
            if blocks > 1 && name.starts_with(&format!("{source}.")) {
                prop_assert!(!found.is_empty(), "one flip took {} blocks", blocks);
            }
        }
        prop_assert!(hurt <= 1);
    }

    #[test]
    fn rot_in_many_places_invents_nothing(seed in any::<u64>(), lines in 1..80_usize, flips in 1..200_usize) {
        let Written { mut memory, flushed } = write(seed, lines);
        let mut random = Random(seed ^ 1);
        let names: Vec<String> = memory.files.keys().cloned().collect();
        for _ in 0..flips {
            let content = memory.files.get_mut(&names[random.below(names.len())]).unwrap();
            let at = random.below(content.len());
            content[at] = random.next() as u8;
        }
        let (read, _) = read(memory);
        for (source, found) in &read {
            prop_assert!(is_subsequence(found, &flushed[source]));
        }
    }

    #[test]
    fn all_sources_together_come_in_the_order_of_their_numbers(seed in any::<u64>(), lines in 1..80_usize, begin: prop::sample::Index) {
        let Written { memory, flushed } = write(seed, lines);
        let mut store = Store::open(memory, LIMITS, boot(9)).unwrap();
        let waiting = entry(&mut Random(3), 7, 7, 3);
        store.append(&source("kernel"), waiting.clone()).unwrap();
        let mut merged = Merged::from(0);
        let mut read = Vec::new();
        loop {
            let lines = merged.read(&mut store, 500);
            if lines.is_empty() {
                break;
            }
            read.extend(lines);
        }
        let numbers: Vec<u64> = read.iter().map(|(_, _, record)| record.sequence).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(numbers.len(), 1 + flushed.values().map(Vec::len).sum::<usize>());
        prop_assert_eq!(&read.last().unwrap().2.entry, &waiting);
        let from = *begin.get(&numbers);
        let rest = Merged::from(from).read(&mut store, usize::MAX);
        prop_assert_eq!(rest.len(), numbers.iter().filter(|number| **number >= from).count());
    }
}
