//! Opens protocols without taking them from the firmware's own drivers.

// `open_protocol` is unsafe because it does not keep the protocol from being removed; that is argued below.
#![allow(unsafe_code)]

use uefi::Handle;
use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::ProtocolPointer;

/// Opens a protocol and leaves it to its present users. An exclusive open of the disk would disconnect the
/// partition driver, and with it the file system that this program was loaded from.
pub fn open_shared<P: ProtocolPointer + ?Sized>(handle: Handle) -> uefi::Result<ScopedProtocol<P>> {
    let parameters = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: what is opened belongs to the disk, the PCI root, or the firmware itself. These are removed when
    // a driver is disconnected or unloaded, and nothing does that while this program runs.
    unsafe { boot::open_protocol(parameters, OpenProtocolAttributes::GetProtocol) }
}
