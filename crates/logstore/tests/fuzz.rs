//! Any bytes in a segment: no panic, bounded memory, and nothing but whole blocks comes out.
//!
//! `CAIRN_FUZZ_SECONDS` is how long each target runs, `CAIRN_FUZZ_SEED` repeats a run.

mod support;

use std::{fs, path::Path, time::Instant};

use logstore::{BLOCK_HEADER_BYTES, BLOCK_RAW_MAX_BYTES, BlockHeader, Memory, Store, scan};
use support::{LIMITS, Random, all, boot, source};

/// What breaks decoders.
const PIECES: [&[u8]; 8] = [
    b"CLGB",
    b"CAIRNLOG",
    &[0; 16],
    &[0xff; 16],
    &[0x80; 12],
    b"\x28\xb5\x2f\xfd",
    &[0xff, 0xff, 0xff, 0x7f],
    b"\x01",
];

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, donor: &[u8]) {
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let to = (at + random.below(40)).min(bytes.len());
        match random.below(5) {
            0 => drop(bytes.drain(at..to)),
            1 => drop(bytes.splice(at..to, PIECES[random.below(PIECES.len())].iter().copied())),
            2 => {
                let from = random.below(donor.len());
                let piece = &donor[from..(from + random.below(300)).min(donor.len())];
                drop(bytes.splice(at..at, piece.iter().copied()));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// Makes checksums right again, so that damage is met behind them too.
fn mend(bytes: &mut [u8]) {
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let begins: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, four)| four == b"CLGB").map(|(at, _)| at).collect();
    for at in begins {
        let Some(header) = bytes.get(at..at + BLOCK_HEADER_BYTES) else { continue };
        let stored = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        if let Some(payload) =
            bytes.get(at + BLOCK_HEADER_BYTES..(at + BLOCK_HEADER_BYTES).saturating_add(stored))
        {
            let payload = checksum.checksum(payload).to_le_bytes();
            bytes[at + 20..at + 24].copy_from_slice(&payload);
        }
        let header = checksum.checksum(&bytes[at..at + 92]).to_le_bytes();
        bytes[at + 92..at + 96].copy_from_slice(&header);
    }
}

#[test]
fn segments() {
    let seed = support::fuzz_seed();
    let end = Instant::now() + support::fuzz_duration();
    let mut random = Random(seed);
    let corpus = corpus();
    assert!(corpus.len() >= 3);
    let (mut cases, mut lines, mut mended) = (0_u64, 0_u64, 0_u64);
    while Instant::now() < end || cases < 50 {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        let donor = &corpus[random.below(corpus.len())];
        mutate(&mut random, &mut bytes, donor);
        if random.below(2) == 0 {
            mend(&mut bytes);
            mended += 1;
        }
        let case = std::panic::catch_unwind(|| check(&bytes));
        lines += case.unwrap_or_else(|_| panic!("seed {seed}, case {cases}: {bytes:02x?}"));
        cases += 1;
    }
    println!("seed {seed}: {cases} segments, {mended} with mended checksums, {lines} lines read");
    assert!(lines > 0, "seed {seed}");
}

fn check(bytes: &[u8]) -> u64 {
    let name = "kubelet.0000000000000001.log";
    let mut memory = Memory::default();
    memory.files.insert(name.to_owned(), bytes.to_vec());
    let mut offset = 0;
    let mut blocks = 0;
    while let Some(found) = scan(&mut memory, name, offset, bytes.len() as u64).unwrap() {
        assert!(found.offset >= offset && found.end() > found.offset && found.end() <= bytes.len() as u64);
        let begin = usize::try_from(found.offset).unwrap();
        assert_eq!(BlockHeader::decode(&bytes[begin..]), Some(found.header));
        let payload = &bytes[begin + BLOCK_HEADER_BYTES..usize::try_from(found.end()).unwrap()];
        if let Some(records) = found.header.open(payload) {
            assert_eq!(records.len() as u64, u64::from(found.header.records));
            assert!(
                records.iter().map(|record| record.entry.message.len()).sum::<usize>() <= BLOCK_RAW_MAX_BYTES
            );
        }
        offset = found.end();
        blocks += 1;
    }
    let mut store = Store::open(memory, LIMITS, boot(9)).unwrap();
    let records = all(&mut store, &source("kubelet"));
    assert!(records.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert!(blocks > 0 || records.is_empty());
    records.len() as u64
}
