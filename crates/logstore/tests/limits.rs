//! The cap, fairness between sources, a medium that is full or read-only, and another store that is taken over.

mod support;

use logstore::{Cursor, Limits, Memory, Range, Store};
use proptest::prelude::*;
use support::{Failing, LIMITS, Random, all, boot, entry, ranged, source};

const QUIET_LINES: u64 = 20;

fn sizes(memory: &Memory) -> u64 {
    memory.files.values().map(|content| content.len() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whoever floods evicts himself, and the cap holds at every moment.
    #[test]
    fn a_flood_takes_nothing_from_the_quiet(seed in any::<u64>(), floods in 1..4_usize) {
        let mut random = Random(seed);
        let mut store = Store::open(Memory::default(), LIMITS, boot(1)).unwrap();
        let quiet = [source("apid"), source("audit"), source("kernel")];
        for position in 0..QUIET_LINES {
            for name in &quiet {
                store.append(name, entry(&mut random, 1, position, 100)).unwrap();
            }
        }
        for position in 0..3000 {
            let name = source(&format!("flood-{}", random.below(floods)));
            store.append(&name, entry(&mut random, 1, position, 200)).unwrap();
            if random.below(20) == 0 {
                store.sync();
                prop_assert!(store.stored_bytes() <= LIMITS.cap_bytes);
            }
        }
        store.sync();
        prop_assert!(store.trouble().is_none());
        prop_assert!(store.stored_bytes() > LIMITS.cap_bytes / 2);
        for name in &quiet {
            prop_assert_eq!(all(&mut store, name).len() as u64, QUIET_LINES);
        }
        let last = all(&mut store, &source("flood-0")).pop();
        let memory = store.into_medium();
        prop_assert!(sizes(&memory) <= LIMITS.cap_bytes);
        let mut store = Store::open(memory, LIMITS, boot(2)).unwrap();
        prop_assert_eq!(all(&mut store, &source("flood-0")).pop(), last);
    }

    /// Boots that end at once make many short segments or none, but never more than the cap.
    #[test]
    fn short_boots_do_not_pile_up(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut memory = Memory::default();
        for number in 0..60 {
            let mut store = Store::open(memory, LIMITS, boot(number)).unwrap();
            for position in 0..20 {
                store.append(&source("kernel"), entry(&mut random, 0, position, 150)).unwrap();
            }
            store.sync();
            memory = store.into_medium();
            let newest = memory.files.keys().last().unwrap().clone();
            let content = memory.files.get_mut(&newest).unwrap();
            let kept = content.len() - random.below(50);
            content.truncate(kept);
            prop_assert!(sizes(&memory) <= LIMITS.cap_bytes);
        }
    }

    /// On a full medium the oldest lines go, down to a floor; then new ones are dropped, and the log says how many.
    #[test]
    fn a_full_medium_costs_old_lines_first(seed in any::<u64>()) {
        let mut random = Random(seed);
        let medium = Failing { room: Some(40 * 1024), ..Failing::default() };
        let mut store = Store::open(medium, LIMITS, boot(1)).unwrap();
        let name = source("kubelet");
        let mut written = 0;
        let mut append = |store: &mut Store<Failing>, random: &mut Random, lines| {
            for _ in 0..lines {
                store.append(&name, entry(random, 1, written, 300)).unwrap();
                written += 1;
            }
            store.sync();
        };
        for _ in 0..20 {
            append(&mut store, &mut random, 20);
            prop_assert!(store.trouble().is_none());
        }
        prop_assert_eq!(store.lost_lines(), 0);
        prop_assert_eq!(all(&mut store, &name).last().unwrap().entry.position, 399);
        // Somebody else takes all that is freed.
        let mut medium = store.into_medium();
        medium.room = Some(0);
        let mut store = Store::open(medium, LIMITS, boot(1)).unwrap();
        store.append(&name, entry(&mut random, 1, 400, 300)).unwrap();
        store.sync();
        let kept = store.stored_bytes();
        prop_assert!(store.trouble().is_none());
        let mut medium = store.into_medium();
        medium.read_only = true;
        let mut store = Store::open(medium, LIMITS, boot(1)).unwrap();
        append(&mut store, &mut random, 1000);
        prop_assert!(store.trouble().is_some());
        prop_assert_eq!(store.stored_bytes(), kept);
        let lost = store.lost_lines();
        prop_assert!(lost > 300 && lost < 1000, "{} lines lost", lost);
        // What waits can be read meanwhile.
        let last = all(&mut store, &name).pop().unwrap();
        let begin = format!("1 {} ", last.entry.position);
        prop_assert!(last.entry.message.starts_with(begin.as_bytes()));
    }

    /// A machine with a store in memory takes it along to the disk: each line once, whatever was there before.
    #[test]
    fn lines_gathered_before_the_disk_was_there_are_taken_over_once(
        seed in any::<u64>(), before in 0..60_u64, gathered in 0..80_u64, forgotten in 0..60_u64,
    ) {
        let mut random = Random(seed);
        let names = [source("apid"), source("kernel")];
        let origin = |position: u64| 1 + position / 25;
        let mut disk = Store::open(Memory::default(), LIMITS, boot(1)).unwrap();
        disk.append(&names[0], entry(&mut random, 1, 3, 10)).unwrap();
        disk.sync();
        let mut disk = Store::open(disk.into_medium(), LIMITS, boot(2)).unwrap();
        for position in 0..before {
            disk.append(&names[0], entry(&mut random, origin(position), position, 10)).unwrap();
        }
        disk.sync();
        let mut disk = Store::open(disk.into_medium(), LIMITS, boot(2)).unwrap();
        let mut memory = Store::open(Memory::default(), LIMITS, boot(2)).unwrap();
        let total = before + gathered;
        for position in forgotten..total {
            memory.append(&names[0], entry(&mut random, origin(position), position, 10)).unwrap();
        }
        memory.append(&names[1], entry(&mut random, 0, 5, 10)).unwrap();
        let waiting = memory.next_sequence();
        let risen = disk.adopt(&mut memory).unwrap();
        prop_assert!(disk.next_sequence() >= waiting + risen);
        let range = Range { boot: Some(boot(2)), ..Range::default() };
        let positions: Vec<u64> = ranged(&mut disk, &names[0], &range).iter().map(|record| record.entry.position).collect();
        let expected: Vec<u64> = (0..before).chain(before.max(forgotten)..total).collect();
        prop_assert_eq!(positions, expected);
        prop_assert_eq!(ranged(&mut disk, &names[1], &range).len(), 1);
        prop_assert_eq!(all(&mut disk, &names[0]).len(), 1 + ranged(&mut disk, &names[0], &range).len());
    }

    #[test]
    fn the_last_lines_are_found(seed in any::<u64>(), lines in 0..200_u64, wanted in 0..250_u64, waiting in 0..10_u64) {
        let mut random = Random(seed);
        let name = source("kubelet");
        let mut memory = Memory::default();
        for number in 1..=2 {
            let mut store = Store::open(memory, LIMITS, boot(number)).unwrap();
            for position in 0..lines {
                store.append(&name, entry(&mut random, 1, position, 20)).unwrap();
                if random.below(7) == 0 {
                    store.flush();
                }
            }
            store.sync();
            for position in 0..if number == 2 { waiting } else { 0 } {
                store.append(&name, entry(&mut random, 1, lines + position, 20)).unwrap();
            }
            for only in [None, Some(boot(1)), Some(boot(2))] {
                let kept = ranged(&mut store, &name, &Range { boot: only, ..Range::default() });
                let tail = store.tail(&name, only, wanted);
                let mut cursor = tail.from;
                let mut found = Vec::new();
                loop {
                    let batch = store.read(&name, cursor, &Range { boot: only, ..Range::default() });
                    found.extend(batch.records);
                    if batch.end { break }
                    cursor = batch.next;
                }
                found.drain(..usize::try_from(tail.skip).unwrap());
                let expected = kept.len().saturating_sub(usize::try_from(wanted).unwrap());
                prop_assert_eq!(&found[..], &kept[expected..]);
            }
            memory = store.into_medium();
        }
    }
}

#[test]
fn a_reader_that_waits_sees_each_line_once_across_blocks_and_segments() {
    let mut random = Random(1);
    let mut store = Store::open(Memory::default(), LIMITS, boot(1)).unwrap();
    let name = source("kubelet");
    let mut cursor = Cursor::at(0);
    let mut seen = Vec::new();
    for position in 0..600 {
        store.append(&name, entry(&mut random, position / 90, position, 90)).unwrap();
        if position % 7 == 0 {
            store.flush();
        }
        if position % 3 == 0 {
            loop {
                let batch = store.read(&name, cursor, &Range::default());
                seen.extend(batch.records.iter().map(|record| record.entry.position));
                cursor = batch.next;
                if batch.end {
                    break;
                }
            }
        }
    }
    let expected: Vec<u64> = (0..=*seen.last().unwrap()).collect();
    assert_eq!(seen, expected);
    assert!(seen.len() > 590);
}

#[test]
fn times_and_boots_narrow_what_is_read() {
    let mut random = Random(1);
    let name = source("kubelet");
    let mut memory = Memory::default();
    for number in 1..=3 {
        let mut store = Store::open(memory, LIMITS, boot(number)).unwrap();
        for position in 0..50 {
            store.append(&name, entry(&mut random, 1, u64::from(number) * 100 + position, 10)).unwrap();
        }
        store.sync();
        memory = store.into_medium();
    }
    let mut store = Store::open(memory, LIMITS, boot(4)).unwrap();
    let boots = store.boots();
    assert_eq!(
        boots.iter().map(|span| (span.boot, span.lines)).collect::<Vec<_>>(),
        [1, 2, 3].map(|n| (boot(n), 50))
    );
    assert_eq!((boots[1].earliest_us, boots[1].latest_us), (200_000, 249_000));
    let range = Range { boot: None, since_us: Some(149_000), until_us: Some(202_000) };
    let found: Vec<u64> =
        ranged(&mut store, &name, &range).iter().map(|record| record.entry.position).collect();
    assert_eq!(found, [149, 200, 201]);
    let range = Range { boot: Some(boot(2)), ..range };
    assert_eq!(ranged(&mut store, &name, &range).len(), 2);
    assert_eq!(store.sources()[0].lines, 150);
}

#[test]
fn what_a_full_medium_cost_is_said_in_the_log() {
    let mut random = Random(1);
    let name = source("kubelet");
    let medium = Failing { room: Some(100), ..Failing::default() };
    let mut store = Store::open(medium, LIMITS, boot(1)).unwrap();
    for position in 0..1000 {
        store.append(&name, entry(&mut random, position / 400, position, 300)).unwrap();
    }
    store.sync();
    assert!(store.trouble().is_some());
    let lost = store.lost_lines();
    let mut medium = store.into_medium();
    assert_eq!(sizes(&medium.memory), 0, "what did not fit was taken away again");
    medium.room = None;
    // The same once more, with room in the end.
    let roomy = Limits { cap_bytes: 1 << 20, ..LIMITS };
    let mut store = Store::open(Failing { read_only: true, ..medium }, roomy, boot(1)).unwrap();
    for position in 0..1000 {
        store.append(&name, entry(&mut random, position / 400, position, 300)).unwrap();
        if position % 100 == 0 {
            store.flush();
        }
    }
    store.medium_mut().read_only = false;
    store.sync();
    assert!(store.trouble().is_none());
    let records = all(&mut store, &name);
    let first = String::from_utf8(records[0].entry.message.clone()).unwrap();
    assert_eq!(
        first,
        format!("{} lines are missing here: the logs could not be written", store.lost_lines())
    );
    assert!(lost.abs_diff(store.lost_lines()) < 5);
    assert_eq!(records[1].entry.position, store.lost_lines());
    assert_eq!(records.last().unwrap().entry.position, 999);
}
