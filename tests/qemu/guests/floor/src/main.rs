//! PID 1 that does nothing but say hello: the floor that boot times are held against.
//!
//! It speaks through the kernel log, as the node's own milestones do, so that one clock stamps both. It must never
//! do anything else. Start reading at `main`.

use std::{fs::File, io::Write as _};

use nix::sys::signal::SigSet;

fn main() -> std::io::Result<()> {
    // Notice, the level at which PID 1 of a node speaks.
    File::options().write(true).open("/dev/kmsg")?.write_all(b"<5>floor: hello\n")?;
    // The end of PID 1 would be a panic on the console.
    loop {
        SigSet::all().wait()?;
    }
}
