//! The time daemon of a node: ntpd-rs as it is, with the image's one crypto stack.
//!
//! machined writes its configuration and reads how it stands; PID 1 starts it as a user of its own that may set the clock.
//! It must never judge anything else: what its time is worth is machined's matter.

use std::process::ExitCode;

fn main() -> ExitCode {
    match ntpd::daemon_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
