//! Orphans in great numbers: processes whose parent is gone, left to whoever reaps for it.
//!
//! In a container that is the shim, a child subreaper, also in the host's process namespace. PID 1 gets them when
//! the shim is gone.
#![allow(unsafe_code)] // fork

use std::io;

use nix::{
    libc,
    sys::wait::waitpid,
    unistd::{ForkResult, fork},
};

/// Children that one parent leaves behind: few enough for any limit on processes.
const BATCH: u32 = 100;
/// Bounds a request's duration; callers that want more ask again.
const COUNT_MAX: u32 = 10_000;

/// Makes this many orphans, which end at once.
pub fn make(count: u32) -> io::Result<String> {
    if count > COUNT_MAX {
        return Err(io::Error::other(format!("at most {COUNT_MAX} orphans a request")));
    }
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        abandon(batch)?;
        left -= batch;
    }
    Ok(format!("{count}\n"))
}

/// Forks a parent that forks children and ends without waiting for them.
fn abandon(count: u32) -> io::Result<()> {
    // SAFETY: this program has one thread, so the child finds no lock held by another.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => {
            let status = waitpid(child, None)?;
            if status != nix::sys::wait::WaitStatus::Exited(child, 0) {
                return Err(io::Error::other(format!("cannot make orphans: {status:?}")));
            }
            Ok(())
        }
        ForkResult::Child => {
            for _ in 0..count {
                // SAFETY: as above.
                match unsafe { fork() } {
                    Ok(ForkResult::Parent { .. }) => {}
                    Ok(ForkResult::Child) => exit(0),
                    Err(_) => exit(1),
                }
            }
            exit(0)
        }
    }
}

/// Ends a forked child without the parent's exit handlers.
fn exit(code: i32) -> ! {
    // SAFETY: `_exit` only ends the process.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded() {
        assert!(make(COUNT_MAX + 1).is_err());
        assert_eq!(make(0).unwrap(), "0\n");
    }
}
