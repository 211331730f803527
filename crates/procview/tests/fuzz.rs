//! Any bytes in place of the kernel's: no panic, and no more comes out than went in.
//!
//! `CAIRN_FUZZ_SECONDS` is how long it runs, 2 by default; `CAIRN_FUZZ_SEED` repeats a run.

use std::{
    env,
    time::{Duration, Instant},
};

use procview::{
    Arguments, CgroupIo, DiskCounters, LinkCounters, LoadAverage, MemoryUse, MountEntry, Owner, Pressure,
    ProcessStat, ProcessStatus, Protocol, SocketEntry, ZramUse, arguments, ceiling, celsius, cgroup_of,
    counter, first_number, processors, proportional_bytes, socket_inode, uptime_s,
};

/// What the files look like, and what breaks parsers.
const PIECES: [&[u8]; 24] = [
    b"71 (a (b) c) S 1 71 71 0 -1 4194560 3032 0 12 0 345 67 0 0 20 0 9 0 812 12345678 2048 1\n",
    b"Uid:\t0\t0\t0\t0\nVmRSS:\t 8 kB\nVmSwap:\t 0 kB\nPss: 123 kB\n",
    b"26 1 254:8 / /var rw,relatime shared:5 - ext4 /dev/vda8 rw\n",
    b"   0: 0100007F:280A 00000000:0000 0A 00000000:00000003 00:00000000 00000000 0 0 1234 1\n",
    b"1: 000080FE00000000FF005450564C2FFE:C350 00000000000000000000000001000000:D431 01 1F:0 0 0 100 0 99\n",
    b"cpu0 60 1 20 400 10 3 2 5 0 0\n",
    b"some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\n",
    b" 254 0 vda 10 1 2000 30 40 5 600 70 0 80 90\n",
    b" eth0: 9 8 7 6 5 4 3 2 19 18 17 16 15 14 13 12\n",
    b"254:0 rbytes=10 wbytes=20 rios=1\n",
    b"0.20 0.18 1.12 3/80 11206\n",
    b"MemTotal: 18446744073709551615 kB\n",
    b"0::/kubepods/burstable/pod1f/9ab/inner\n",
    b"socket:[18446744073709551615]",
    b"\\040\\777\\",
    b"18446744073709551616",
    b"-1",
    b" - ",
    b"()",
    b"\0",
    b"\xff\xfe",
    "é".as_bytes(),
    b":",
    b"\n",
];

/// SplitMix64: the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

fn number(name: &str, default: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn input(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(5) {
        bytes.extend_from_slice(PIECES[random.below(PIECES.len())]);
    }
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len() + 1);
        let to = (at + random.below(12)).min(bytes.len());
        match random.below(4) {
            0 => drop(bytes.drain(at..to)),
            1 => drop(bytes.splice(at..to, PIECES[random.below(PIECES.len())].iter().copied())),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

/// Every parser; returns how many values came out.
fn parse(bytes: &[u8]) -> usize {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let mut found = 0;
    let mut table = |rows: usize| {
        assert!(rows <= lines, "{rows} rows of {lines} lines");
        found += rows;
    };
    table(MountEntry::parse_all(bytes).len());
    table(DiskCounters::parse_all(bytes).len());
    table(LinkCounters::parse_all(bytes).len());
    let times = processors(bytes);
    table(times.len());
    for protocol in Protocol::ALL {
        table(SocketEntry::parse_all(protocol, bytes).len());
    }
    for pair in times.windows(2) {
        let shares = pair[1].1.shares_since(&pair[0].1).unwrap_or_default();
        assert!(shares.iter().all(|share| (0.0..=100.0).contains(share)), "{shares:?}");
    }
    let Arguments { words, cut } = arguments(bytes, 64);
    assert!(cut == (bytes.len() > 64) && words.len() <= 64);
    found += usize::from(ProcessStat::parse(bytes).is_some_and(|stat| stat.cpu_ticks() >= stat.user_ticks));
    found += usize::from(ProcessStatus::parse(bytes) != ProcessStatus::default());
    found += usize::from(MemoryUse::parse(bytes) != MemoryUse::default());
    found += usize::from(CgroupIo::parse(bytes) != CgroupIo::default());
    found += usize::from(cgroup_of(bytes).is_some_and(|path| Owner::of(&path).is_some()));
    let numbers = [
        first_number(bytes),
        ceiling(bytes),
        counter(bytes, "VmRSS"),
        proportional_bytes(bytes),
        socket_inode(bytes),
    ];
    found += numbers.iter().flatten().count();
    found += [uptime_s(bytes), celsius(bytes)].iter().flatten().filter(|number| number.is_finite()).count();
    found += usize::from(LoadAverage::parse(bytes).is_some());
    found += usize::from(ZramUse::parse(bytes).is_some());
    found + usize::from(Pressure::parse(bytes).is_some())
}

#[test]
fn no_text_of_the_kernel_is_too_strange() {
    let seed = number("CAIRN_FUZZ_SEED", 1);
    let end = Instant::now() + Duration::from_secs(number("CAIRN_FUZZ_SECONDS", 2));
    let mut random = Random(seed);
    let (mut cases, mut found) = (0_u64, 0);
    while Instant::now() < end || cases < 1000 {
        let bytes = input(&mut random);
        let shown = bytes.escape_ascii().to_string();
        let values = std::panic::catch_unwind(|| parse(&bytes));
        found += values.unwrap_or_else(|_| panic!("seed {seed}, case {cases}: {shown}"));
        cases += 1;
    }
    println!("seed {seed}: {cases} texts, {found} values");
    assert!(found > 500, "hardly anything was understood: {found} values");
}
