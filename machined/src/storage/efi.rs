//! What the selector left in volatile EFI variables.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bootstate::BootReport;

use super::StorageError;

const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Boot service and runtime access, not non-volatile: one that outlives a reboot is not the selector's.
const ATTRIBUTES: [u8; 4] = 6_u32.to_le_bytes();

/// Id of the disk that the selector started from; `None` when it left none.
pub fn efi_disk_id() -> Result<Option<[u8; 16]>, StorageError> {
    let content = read(Path::new(EFI_VARIABLES), layout::EFI_VARIABLE_DISK_ID)?;
    content.map(|content| content.try_into().map_err(|_| invalid(layout::EFI_VARIABLE_DISK_ID))).transpose()
}

/// The slot that the selector started, and how that came about; `None` when it left nothing.
pub fn boot_report() -> Result<Option<BootReport>, StorageError> {
    let content = read(Path::new(EFI_VARIABLES), layout::EFI_VARIABLE_BOOT)?;
    let decode = |content: Vec<u8>| BootReport::decode(&content).ok_or(invalid(layout::EFI_VARIABLE_BOOT));
    content.map(decode).transpose()
}

fn read(directory: &Path, name: &'static str) -> Result<Option<Vec<u8>>, StorageError> {
    let path: PathBuf = directory.join(format!("{name}-{}", layout::EFI_VENDOR_GUID));
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StorageError::Read { path, source }),
    };
    match content.split_first_chunk() {
        Some((&ATTRIBUTES, content)) => Ok(Some(content.to_vec())),
        Some(_) | None => Err(invalid(name)),
    }
}

const fn invalid(name: &'static str) -> StorageError {
    StorageError::EfiVariable { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn only_volatile_variables_count() {
        let scratch = Scratch::new("efi");
        let path = scratch.path().join(format!("CairnBoot-{}", layout::EFI_VENDOR_GUID));
        assert!(read(scratch.path(), "CairnBoot").unwrap().is_none());
        fs::write(&path, b"\x06\0\0\0A\0").unwrap();
        assert_eq!(read(scratch.path(), "CairnBoot").unwrap().unwrap(), b"A\0");
        for wrong in [&b"\x07\0\0\0A\0"[..], b"\x06\0", b""] {
            fs::write(&path, wrong).unwrap();
            assert!(matches!(read(scratch.path(), "CairnBoot"), Err(StorageError::EfiVariable { .. })));
        }
    }
}
