//! The firmware's boot entry for the installed disk, first in its order, so that the machine starts from there also with
//! the installer medium left in. A node needs none: without it the firmware finds the removable path by itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layout::{ESP, FIRST_PARTITION_BYTES, SECTOR_BYTES};

use crate::storage::guid_bytes;

const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// EFI_GLOBAL_VARIABLE (UEFI 2.11, section 3.3).
const GLOBAL_GUID: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, boot service and runtime access.
const ATTRIBUTES: [u8; 4] = 7_u32.to_le_bytes();
/// A number that no firmware gives out by counting.
const NUMBER: u16 = 0xca12;
const DESCRIPTION: &str = "Cairn OS";
const LOADER: &str = "\\EFI\\BOOT\\BOOTX64.EFI";
const LOAD_OPTION_ACTIVE: u32 = 1;

/// Why the firmware cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the firmware's variable {}", path.display())]
pub struct BootEntryError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Sees to it that the installed disk comes first. False when that was so already.
pub fn prefer_installed() -> Result<bool, BootEntryError> {
    prefer(Path::new(EFI_VARIABLES))
}

fn prefer(variables: &Path) -> Result<bool, BootEntryError> {
    let entry = variables.join(format!("Boot{NUMBER:04X}-{GLOBAL_GUID}"));
    let order = variables.join(format!("BootOrder-{GLOBAL_GUID}"));
    let wrote_entry = write(entry, &load_option())?;
    let known = fs::read(&order).unwrap_or_default();
    let wrote_order = write(order, &first_in(known.get(ATTRIBUTES.len()..).unwrap_or_default()))?;
    Ok(wrote_entry || wrote_order)
}

/// Writes a variable in one go, as efivarfs demands; not when it holds that already: firmware's flash wears out.
fn write(path: PathBuf, content: &[u8]) -> Result<bool, BootEntryError> {
    let content = [&ATTRIBUTES[..], content].concat();
    if fs::read(&path).is_ok_and(|found| found == content) {
        return Ok(false);
    }
    fs::write(&path, content).map(|()| true).map_err(|source| BootEntryError { path, source })
}

/// The order with our entry before all others.
fn first_in(order: &[u8]) -> Vec<u8> {
    let ours = NUMBER.to_le_bytes();
    let others = order.as_chunks::<2>().0.iter().filter(|number| **number != ours);
    ours.iter().chain(others.flatten()).copied().collect()
}

/// EFI_LOAD_OPTION (section 3.1.3): the ESP by its partition GUID, wherever the disk is attached, and the loader in it.
fn load_option() -> Vec<u8> {
    let path = device_path();
    let mut option = LOAD_OPTION_ACTIVE.to_le_bytes().to_vec();
    option.extend(length(path.len()));
    option.extend(utf16(DESCRIPTION));
    option.extend(path);
    option
}

/// Hard drive media and file path nodes, then the end (sections 10.3.5.1, 10.3.5.4 and 10.3.1).
fn device_path() -> Vec<u8> {
    let mut drive = ESP.number.to_le_bytes().to_vec();
    drive.extend((FIRST_PARTITION_BYTES / SECTOR_BYTES).to_le_bytes());
    drive.extend((ESP.size_bytes.unwrap_or_default() / SECTOR_BYTES).to_le_bytes());
    drive.extend(ESP.guid.and_then(guid_bytes).unwrap_or_default());
    // A GPT, identified by GUID.
    drive.extend([2, 2]);
    let mut path = node(4, 1, &drive);
    path.extend(node(4, 4, &utf16(LOADER)));
    path.extend(node(0x7f, 0xff, &[]));
    path
}

fn node(kind: u8, subtype: u8, content: &[u8]) -> Vec<u8> {
    const HEADER_BYTES: usize = 4;
    let mut node = vec![kind, subtype];
    node.extend(length(HEADER_BYTES + content.len()));
    node.extend(content);
    node
}

/// All lengths here are of constants, far below the limit.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_is_what_the_specification_says() {
        let option = load_option();
        assert_eq!(option[..4], [1, 0, 0, 0]);
        let path_bytes = usize::from(u16::from_le_bytes([option[4], option[5]]));
        let path = &option[option.len() - path_bytes..];
        assert_eq!(path[..4], [4, 1, 42, 0]);
        assert_eq!(path[4..8], [1, 0, 0, 0]);
        assert_eq!(path[8..16], 32_768_u64.to_le_bytes());
        assert_eq!(path[16..24], 131_072_u64.to_le_bytes());
        assert_eq!(path[24..30], [0x01, 0x00, 0x12, 0xca, 0x01, 0x00]);
        assert_eq!(path[40..42], [2, 2]);
        assert!(path.ends_with(&[0, 0, 0x7f, 0xff, 4, 0]));
        assert_eq!(option.len(), 6 + path_bytes + 2 * (DESCRIPTION.len() + 1));
    }

    #[test]
    fn it_comes_first_and_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let order = folder.path().join(format!("BootOrder-{GLOBAL_GUID}"));
        fs::write(&order, [7, 0, 0, 0, 1, 0, 0x12, 0xca, 2, 0]).unwrap();
        assert!(prefer(folder.path()).unwrap());
        assert_eq!(fs::read(&order).unwrap(), [7, 0, 0, 0, 0x12, 0xca, 1, 0, 2, 0]);
        assert!(!prefer(folder.path()).unwrap());
        fs::remove_file(&order).unwrap();
        assert!(prefer(folder.path()).unwrap());
    }
}
