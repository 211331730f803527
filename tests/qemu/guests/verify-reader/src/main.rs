//! PID 1 that reads a verity device over a damaged disk and holds it against the undamaged data.
//!
//! It reads past the page cache, one block at a time, prints which blocks are unreadable and which differ, and powers
//! off. It must never write to a disk. Start reading at `compare`.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use nix::{
    fcntl::OFlag,
    sys::reboot::{RebootMode, reboot},
};

/// The device that `dm-mod.create=` makes.
const VERIFIED: &str = "/dev/dm-0";
/// Disk with the same data, undamaged.
const PRISTINE: &str = "/dev/vdc";
const BLOCK_BYTES: usize = 4096;

/// Aligned, as O_DIRECT asks for.
#[repr(align(4096))]
struct Block([u8; BLOCK_BYTES]);

fn main() -> nix::Result<()> {
    match compare() {
        Ok(blocks) => println!("verify: done, {blocks}"),
        Err(error) => println!("verify: failed: {error}"),
    }
    reboot(RebootMode::RB_POWER_OFF).map(drop)
}

/// Compares every block of the verity device; returns how many there are.
fn compare() -> io::Result<u64> {
    let verified = File::options().read(true).custom_flags(OFlag::O_DIRECT.bits()).open(VERIFIED)?;
    let mut pristine = io::BufReader::with_capacity(1 << 20, File::open(PRISTINE)?);
    let mut found = Block([0; BLOCK_BYTES]);
    let mut expected = [0; BLOCK_BYTES];
    let mut number = 0;
    loop {
        let outcome = verified.read_at(&mut found.0, number * BLOCK_BYTES as u64);
        if matches!(outcome, Ok(0)) {
            return Ok(number);
        }
        pristine.read_exact(&mut expected)?;
        match outcome {
            Ok(BLOCK_BYTES) if found.0 == expected => {}
            Ok(_) => println!("verify: different {number}"),
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => {
                println!("verify: unreadable {number}")
            }
            Err(error) => return Err(error),
        }
        number += 1;
    }
}
