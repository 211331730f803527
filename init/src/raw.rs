//! System calls that no crate wraps.
#![allow(unsafe_code)] // The only module of init that has to.

use std::ffi::{c_char, c_int};
use std::io;
use std::mem;
use std::os::fd::AsFd;

use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};
use rustix::process::Pid;

/// linux/watchdog.h
const WDIOC_SETTIMEOUT: Opcode = opcode::read_write::<c_int>(b'W', 6);
/// linux/sockios.h
const SIOCSIFFLAGS: Opcode = 0x8914;

/// Sets a watchdog's timeout; returns what the hardware made of it.
pub fn set_watchdog_timeout(device: impl AsFd, timeout_s: c_int) -> io::Result<c_int> {
    let mut value = timeout_s;
    // SAFETY: the request reads and writes one int, which `value` is.
    unsafe { ioctl(device, Updater::<WDIOC_SETTIMEOUT, c_int>::new(&mut value))? };
    Ok(value)
}

/// Brings an interface up. `socket` is any socket of the wanted network namespace.
pub fn set_interface_up(socket: impl AsFd, name: &str) -> io::Result<()> {
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    let room = request.ifr_name.len().saturating_sub(1);
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request reads one ifreq with a terminated name and flags, which `request` is.
    unsafe { ioctl(socket, Setter::<SIOCSIFFLAGS, libc::ifreq>::new(request))? };
    Ok(())
}

/// Makes every mount of the calling process's mount namespace read-only (mount_setattr(2)).
pub fn set_all_mounts_read_only() -> io::Result<()> {
    // SAFETY: mount_attr is plain data, for which all zeroes is a value.
    let mut attributes: libc::mount_attr = unsafe { mem::zeroed() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: the path is terminated, `attributes` lives through the call and its size is the one passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            mem::size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a process that runs `child` and ends with the code that it returns. For processes of one thread.
pub fn fork(child: impl FnOnce() -> u8) -> io::Result<Pid> {
    // SAFETY: with one thread no lock is held by another one, so the child may do whatever this process may.
    match unsafe { libc::fork() } {
        0 => {
            let code = child();
            // SAFETY: it ends this process; what the parent has registered for its own end is left alone.
            unsafe { libc::_exit(c_int::from(code)) }
        }
        // Negative: none was made.
        pid => Pid::from_raw(pid.max(0)).ok_or_else(io::Error::last_os_error),
    }
}
