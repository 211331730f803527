//! What the running system is told: two volatile EFI variables.

use bootstate::{BootReport, DiskId};
use uefi::runtime::{self, VariableAttributes, VariableVendor};
use uefi::{CString16, Guid, Status};

/// A variable that could not be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot set the EFI variable {name}")]
pub struct HandoverError {
    name: &'static str,
    #[source]
    source: uefi::Error,
}

/// Leaves word of the disk and of how this boot came about.
pub fn announce(disk_id: DiskId, report: BootReport) -> Result<(), HandoverError> {
    set(layout::EFI_VARIABLE_DISK_ID, &disk_id.0)?;
    set(layout::EFI_VARIABLE_BOOT, &report.encode())
}

fn set(name: &'static str, value: &[u8]) -> Result<(), HandoverError> {
    set_volatile(name, value).map_err(|source| HandoverError { name, source })
}

fn set_volatile(name: &str, value: &[u8]) -> uefi::Result {
    let name = CString16::try_from(name).map_err(|_| Status::INVALID_PARAMETER)?;
    let vendor = Guid::try_parse(layout::EFI_VENDOR_GUID).map_err(|_| Status::INVALID_PARAMETER)?;
    let vendor = VariableVendor(vendor);
    // Someone may have left a variable of this name behind, with attributes that would keep this one out.
    if runtime::variable_exists(&name, &vendor).unwrap_or(false) {
        runtime::delete_variable(&name, &vendor)?;
    }
    let attributes = VariableAttributes::BOOTSERVICE_ACCESS | VariableAttributes::RUNTIME_ACCESS;
    runtime::set_variable(&name, &vendor, attributes, value)
}
