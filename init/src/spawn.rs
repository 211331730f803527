//! `init spawn NAME PROGRAM [ARGUMENT]...`: makes of itself the process of a service.
//!
//! PID 1 only forks and executes this; whatever can fail fails here, with a message in the service's log.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::fs::Mode;
use rustix::process::umask;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

use crate::cgroup::{self, CgroupError, Cgroups};
use crate::mountinfo::mount_points;
use crate::raw;
use crate::table::{self, Service};

/// Exit status of a child that could not be set up.
pub const SETUP_FAILED: u8 = 120;

/// Why a service's process could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Called without a name and a program.
    #[error("usage: init spawn NAME PROGRAM [ARGUMENT]...")]
    Usage,
    /// Not in the table.
    #[error("no service named {name:?}")]
    UnknownService {
        /// As called.
        name: String,
    },
    /// Joining the cgroup.
    #[error("cannot join the cgroup")]
    Cgroup(#[source] CgroupError),
    /// /proc/self/oom_score_adj.
    #[error("cannot set oom_score_adj")]
    OomScore(#[source] io::Error),
    /// RLIMIT_NOFILE or RLIMIT_CORE.
    #[error("cannot set resource limits")]
    ResourceLimit(#[source] Errno),
    /// A session of its own.
    #[error("cannot start a session")]
    Session(#[source] rustix::io::Errno),
    /// The read-only mount namespace.
    #[error("cannot make the read-only view")]
    View(#[source] io::Error),
    /// Bounding set, ambient set or no_new_privs.
    #[error("cannot drop privileges")]
    Privileges(#[source] rustix::io::Errno),
    /// Groups, group or user.
    #[error("cannot become user {user}")]
    User {
        /// Its id.
        user: u32,
        #[source]
        source: io::Error,
    },
    /// Unblocking the signals that PID 1 blocks.
    #[error("cannot unblock signals")]
    Signals(#[source] Errno),
    /// The program itself.
    #[error("cannot execute {program}")]
    Execute {
        /// Its path.
        program: String,
        #[source]
        source: io::Error,
    },
}

/// Becomes the service's process, or returns why not.
pub fn run(mut arguments: impl Iterator<Item = String>) -> Result<Infallible, SpawnError> {
    let (Some(name), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err(SpawnError::Usage);
    };
    let Some(service) = table::find(&name) else { return Err(SpawnError::UnknownService { name }) };
    set_up(service)?;
    let source = Command::new(&program).args(arguments).exec();
    Err(SpawnError::Execute { program, source })
}

/// The order matters: what needs privileges comes before they go.
fn set_up(service: &Service) -> Result<(), SpawnError> {
    Cgroups::new(cgroup::ROOT).join(service.cgroup).map_err(SpawnError::Cgroup)?;
    fs::write("/proc/self/oom_score_adj", service.oom_score_adj.to_string()).map_err(SpawnError::OomScore)?;
    limit_resources(service).map_err(SpawnError::ResourceLimit)?;
    rustix::process::setsid().map_err(SpawnError::Session)?;
    umask(Mode::from_bits_truncate(0o022));
    if service.read_only_view {
        make_read_only_view().map_err(SpawnError::View)?;
    }
    drop_capabilities(service.capabilities).map_err(SpawnError::Privileges)?;
    become_user(service.user, service.capabilities)
        .map_err(|source| SpawnError::User { user: service.user, source })?;
    if service.no_new_privileges {
        set_no_new_privs(true).map_err(SpawnError::Privileges)?;
    }
    SigSet::empty().thread_set_mask().map_err(SpawnError::Signals)
}

fn limit_resources(service: &Service) -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_NOFILE, service.open_files_max, service.open_files_max)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// Private, so that mounts made later do not come in; without those already made that it has no use for. A copy of
/// a container's mounts would also keep them, and its network namespace, alive after the container's end.
fn make_read_only_view() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    for target in mount_points()?.iter().filter(|target| is_hidden(target)) {
        match umount2(target.as_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Gone with another one, or unmounted meanwhile.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    raw::set_all_mounts_read_only()
}

/// STATE, DATA and whatever is mounted below /run.
fn is_hidden(target: &str) -> bool {
    let target = Path::new(target);
    let data = [layout::path::STATE, layout::path::DATA].iter().any(|data| target.starts_with(data));
    data || (target.starts_with("/run") && target != Path::new("/run"))
}

/// With the bounding set cut, an execution by root yields no more than `keep`; one by another user nothing.
fn drop_capabilities(keep: CapabilitySet) -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1_u64.wrapping_shl(bit))) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !keep.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
            // Beyond the last one that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Root's capabilities follow from the bounding set; another user's are ambient, so that they outlast the execution of a
/// program that has none of its own (capabilities(7)).
fn become_user(id: u32, keep: CapabilitySet) -> io::Result<()> {
    if id == 0 {
        return Ok(());
    }
    set_keep_capabilities(!keep.is_empty())?;
    setgroups(&[])?;
    setgid(Gid::from_raw(id))?;
    setuid(Uid::from_raw(id))?;
    if !keep.is_empty() {
        set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable: keep })?;
        for capability in keep.iter() {
            configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_only_view_lacks_data_and_containers() {
        for target in ["/system/state", "/var", "/var/lib/x", "/run/netns/cni-1", "/run/containerd/x/rootfs"]
        {
            assert!(is_hidden(target), "{target}");
        }
        for target in ["/", "/run", "/tmp", "/dev", "/running"] {
            assert!(!is_hidden(target), "{target}");
        }
    }
}
