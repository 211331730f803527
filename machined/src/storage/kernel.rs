//! Telling the kernel of a new partition while the disk is in use, which forbids reading the whole table anew.

// There is no safe wrapper of BLKPG in nix or rustix.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_longlong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use super::system::Extent;

/// `_IO(0x12, 105)` of linux/blkpg.h.
const BLKPG: libc::Ioctl = 0x1269;
const BLKPG_ADD_PARTITION: c_int = 1;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Argument {
    operation: c_int,
    flags: c_int,
    data_bytes: c_int,
    data: *mut c_void,
}

/// `struct blkpg_partition`.
#[repr(C)]
struct Partition {
    start_bytes: c_longlong,
    length_bytes: c_longlong,
    number: c_int,
    /// Not looked at by the kernel, like the next one.
    device_name: [c_char; 64],
    volume_name: [c_char; 64],
}

/// Adds the partition; when this returns, devtmpfs has its node.
pub(super) fn add_partition(disk: &File, number: u32, extent: Extent) -> io::Result<()> {
    let overflow = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = Partition {
        start_bytes: extent.start_bytes().try_into().map_err(overflow)?,
        length_bytes: extent.size_bytes().try_into().map_err(overflow)?,
        number: number.try_into().map_err(overflow)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let mut argument = Argument {
        operation: BLKPG_ADD_PARTITION,
        flags: 0,
        data_bytes: size_of::<Partition>().try_into().map_err(overflow)?,
        data: (&raw mut partition).cast(),
    };
    // SAFETY: the descriptor is open for as long as `disk` is borrowed; `argument` has the C layout that BLKPG asks
    // for and points to a `Partition` of the stated size; both live until the call returns.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw mut argument) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
