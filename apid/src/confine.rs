//! Giving up what apid does not need once its sockets are open: files (Landlock), system calls (seccomp).
//!
//! What stays possible: reading the rendered files, connecting to unix sockets (file modes decide which, and
//! machined's lets apid in), accepting on the open listener. No new network socket, no write to any file, no
//! process, no thread, no executable memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::chain::Chain;

/// What the oldest kernel that Cairn ships (6.12) can enforce.
const LANDLOCK: ABI = ABI::V6;

/// Why apid could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The directory of the rendered files cannot be opened.
    #[error("cannot open the directory to confine reading to")]
    Directory {
        /// Why.
        #[source]
        source: PathFdError,
    },
    /// Landlock refused.
    #[error("cannot apply the Landlock rules")]
    Landlock {
        /// Why.
        #[source]
        source: RulesetError,
    },
    /// The kernel has no Landlock.
    #[error(
        "the kernel enforces no Landlock rules; it needs CONFIG_SECURITY_LANDLOCK and landlock in its lsm list"
    )]
    NoLandlock,
    /// The filter does not compile.
    #[error("cannot build the system call filter")]
    Filter {
        /// Why.
        #[source]
        source: BackendError,
    },
    /// The kernel refused the filter.
    #[error("cannot apply the system call filter")]
    Seccomp {
        /// Why.
        #[source]
        source: seccompiler::Error,
    },
}

/// Confines the calling thread, which must be the only one, to reading below `directory`.
///
/// # Errors
/// [`ConfineError`]; apid must not serve then.
pub fn confine(directory: &Path) -> Result<(), ConfineError> {
    report_capabilities();
    restrict_files(directory)?;
    restrict_system_calls()
}

fn restrict_files(directory: &Path) -> Result<(), ConfineError> {
    let directory = PathFd::new(directory).map_err(|source| ConfineError::Directory { source })?;
    let restrict = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .add_rule(PathBeneath::new(directory, AccessFs::ReadFile | AccessFs::ReadDir))?
            .restrict_self()
    };
    let status = restrict().map_err(|source| ConfineError::Landlock { source })?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => {
            tracing::warn!("the kernel enforces only some of the Landlock rules");
            Ok(())
        }
        RulesetStatus::NotEnforced => Err(ConfineError::NoLandlock),
    }
}

fn restrict_system_calls() -> Result<(), ConfineError> {
    let program = filter().map_err(|source| ConfineError::Filter { source })?;
    // Also sets no_new_privs, should PID 1 not have.
    seccompiler::apply_filter(&program).map_err(|source| ConfineError::Seccomp { source })
}

/// Kills the process on any call that is not listed: apid starts anew, an intruder does not.
fn filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
    rules.extend(conditional()?);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

/// System calls that are allowed with any arguments.
const ALWAYS: &[c_long] = &[
    // Event loop and timers.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    // Connections. New ones to the network are impossible: see `socket` below.
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    // The rendered files and their changes. Landlock decides what opens.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Locks, randomness, signals, the end.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// System calls that are allowed with some arguments.
fn conditional() -> Result<[(i64, Vec<SeccompRule>); 6], BackendError> {
    let exec = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
    let writing = SeccompCmpOp::MaskedEq((libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64);
    let command = |value| only_if(1, SeccompCmpOp::Eq, value);
    Ok([
        (libc::SYS_socket, vec![only_if(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64)?]),
        (libc::SYS_openat, vec![only_if(2, writing, libc::O_RDONLY as u64)?]),
        (libc::SYS_mmap, vec![only_if(2, exec.clone(), 0)?]),
        (libc::SYS_mprotect, vec![only_if(2, exec, 0)?]),
        (libc::SYS_ioctl, vec![command(libc::FIONBIO)?]),
        (libc::SYS_fcntl, vec![command(libc::F_GETFD as u64)?, command(libc::F_GETFL as u64)?]),
    ])
}

fn only_if(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])
}

/// PID 1 starts apid without capabilities. Should it not, confinement still holds, so this is only said.
fn report_capabilities() {
    match fs::read_to_string("/proc/self/status") {
        Ok(status) => match held_capabilities(&status) {
            Some(0) => {}
            held => tracing::error!(?held, "apid holds capabilities"),
        },
        Err(error) => report_unreadable(&error),
    }
}

fn report_unreadable(error: &io::Error) {
    tracing::error!(error = %Chain(error), "cannot tell whether apid holds capabilities");
}

/// Bits of all sets that can give a capability (capabilities(7)); `None` when a line is missing.
fn held_capabilities(status: &str) -> Option<u64> {
    ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].into_iter().try_fold(0, |held, name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(held | u64::from_str_radix(line.trim(), 16).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles() {
        assert!(filter().unwrap().len() > ALWAYS.len());
    }

    #[test]
    fn capabilities_are_read() {
        let status = |effective: &str| {
            format!(
                "Name:\tapid\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t{effective}\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n"
            )
        };
        assert_eq!(held_capabilities(&status("0000000000000000")), Some(0));
        assert_eq!(held_capabilities(&status("0000000000000400")), Some(0x400));
        assert_eq!(held_capabilities("Name:\tapid\n"), None);
        assert!(held_capabilities(&fs::read_to_string("/proc/self/status").unwrap()).is_some());
    }
}
