//! A flood of orphans, for the test that PID 1 reaps them all. Only a test hook starts it.
//!
//! It stops itself until the test is ready and sends SIGCONT. Then it makes orphans in waves, so that they never
//! exhaust the machine: a process leaves children behind, which PID 1 inherits, and the next wave comes when all of
//! them are reaped.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, setpgid, test_kill_process_group, waitpid,
};
use rustix::thread::set_name;

use crate::kmsg;
use crate::raw;

const WAVE_MAX: u32 = 500;
/// Nobody is told when somebody else's child is reaped.
const LOOK: Duration = Duration::from_millis(1);

/// Why there are fewer orphans than ordered.
#[derive(Debug, thiserror::Error)]
pub enum OrphansError {
    /// The argument.
    #[error("how many orphans is not said")]
    Count,
    /// The name by which the test finds this process, or its stop.
    #[error("cannot wait for the test")]
    Stop(#[source] Errno),
    /// No process to leave children behind.
    #[error("cannot make a process")]
    Fork(#[source] io::Error),
    /// Its end.
    #[error("cannot wait for the orphans' parent")]
    Wait(#[source] Errno),
    /// It had not all children.
    #[error("the orphans' parent could not make them all")]
    Parent,
}

/// `init orphans COUNT`.
pub fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), OrphansError> {
    let count: u32 = arguments.next().and_then(|count| count.parse().ok()).ok_or(OrphansError::Count)?;
    set_name(c"orphans").and_then(|()| kill_process(getpid(), Signal::STOP)).map_err(OrphansError::Stop)?;
    let mut left = count;
    while left > 0 {
        let wave = left.min(WAVE_MAX);
        make_and_await(wave)?;
        left = left.saturating_sub(wave);
    }
    kmsg::notice!("orphans: {count} reaped");
    Ok(())
}

fn make_and_await(wave: u32) -> Result<(), OrphansError> {
    let parent = raw::fork(|| leave_behind(wave)).map_err(OrphansError::Fork)?;
    let ended = waitpid(Some(parent), WaitOptions::empty()).map_err(OrphansError::Wait)?;
    // A process that nobody has reaped is still a member of its group.
    while test_kill_process_group(parent).is_ok() {
        sleep(LOOK);
    }
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(_) | None => Err(OrphansError::Parent),
    }
}

/// In a group of its own, makes children and ends without waiting for them.
fn leave_behind(children: u32) -> u8 {
    let made = setpgid(None::<Pid>, None::<Pid>)
        .map_err(io::Error::from)
        .and_then(|()| (0..children).try_for_each(|_| raw::fork(|| 0).map(drop)));
    u8::from(made.is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_a_number() {
        for wrong in [&[][..], &["many"]] {
            let arguments = wrong.iter().map(ToString::to_string);
            assert!(matches!(run(arguments), Err(OrphansError::Count)), "{wrong:?}");
        }
    }
}
