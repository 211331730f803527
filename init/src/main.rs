//! PID 1 of a Cairn node.
//!
//! One binary, told apart by its first argument. As PID 1 it mounts the pseudo file systems, makes the cgroup
//! tree, starts and supervises the services of its table, reaps every orphan, feeds the watchdog and takes the
//! machine down in order. As a helper (`init spawn`, `init unmount`, `init bootstate-status`,
//! `init bootstate-alive`) it does what may fail or block, outside of PID 1.
//!
//! PID 1 has one thread and one loop. It must never link tokio, tonic or rustls, panic, wait for anyone,
//! resolve a name or use the network. Should it panic all the same, it leaves an epitaph in the kernel's log
//! and starts over as `init emergency`, which stops everything and reboots.
//!
//! Start reading at `setup.rs`, then `event_loop.rs` and `machine.rs`; every service is in `table.rs`.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod boot_record;
mod cgroup;
mod clock;
mod console;
mod control_server;
mod emergency;
mod event_loop;
mod health;
mod kmsg;
mod launch;
mod machine;
mod mountinfo;
mod mounts;
mod notify;
mod orphans;
mod output;
mod power;
mod raw;
mod requests;
mod setup;
mod shutdown;
mod spawn;
mod sysctl;
mod table;
mod test_hooks;
mod unmount;
mod watchdog;

use std::error::Error;
use std::process::{ExitCode, id};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if id() == 1 {
        match first.as_deref() {
            Some("emergency") => emergency::run(),
            // The kernel hands unknown words of its command line on.
            Some(_) | None => be_pid_1(),
        }
    }
    match first.as_deref() {
        Some("spawn") => match spawn::run(arguments) {
            Err(error) => {
                // For the service's log, and for the kernel's while this process may still write there.
                eprintln!("{}", kmsg::Chain(&error));
                kmsg::error!("spawn: {}", kmsg::Chain(&error));
                ExitCode::from(spawn::SETUP_FAILED)
            }
        },
        Some("unmount") => report("unmount", unmount::run()),
        Some("bootstate-status") => report("bootstate-status", boot_record::print_status()),
        Some("bootstate-alive") => report("bootstate-alive", boot_record::mark_alive()),
        Some("orphans") => report("orphans", orphans::run(arguments)),
        Some("exit") => exit_code(arguments.next()),
        Some("mute") => match test_hooks::mute() {
            Err(error) => report("mute", Err::<(), _>(error)),
        },
        Some(_) | None => {
            eprintln!("init runs as PID 1 only");
            ExitCode::FAILURE
        }
    }
}

fn be_pid_1() -> ! {
    emergency::install();
    match setup::run() {
        Err(error) => {
            kmsg::critical!("{}", kmsg::Chain(&error));
            emergency::run()
        }
    }
}

fn report<E: Error>(helper: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            kmsg::warning!("{helper}: {}", kmsg::Chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// `init exit STATUS`: what a test runs in a service's place.
fn exit_code(status: Option<String>) -> ExitCode {
    status.and_then(|status| status.parse::<u8>().ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
