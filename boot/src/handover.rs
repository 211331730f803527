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
    let failed = |source| HandoverError { name, source };
    let invalid = |_| failed(Status::INVALID_PARAMETER.into());
    let vendor = VariableVendor(
        Guid::try_parse(layout::EFI_VENDOR_GUID).map_err(|_| failed(Status::INVALID_PARAMETER.into()))?,
    );
    let key = CString16::try_from(name).map_err(invalid)?;
    // Someone may have left a variable of this name behind, with attributes that would keep this one out.
    if runtime::variable_exists(&key, &vendor).unwrap_or(false) {
        runtime::delete_variable(&key, &vendor).map_err(failed)?;
    }
    let attributes = VariableAttributes::BOOTSERVICE_ACCESS | VariableAttributes::RUNTIME_ACCESS;
    runtime::set_variable(&key, &vendor, attributes, value).map_err(failed)
}
