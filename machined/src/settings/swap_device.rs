//! Swap areas: their header (linux/swap.h, `union swap_header`), swapon(2) and swapoff(2), for which no library has a safe call.

#![allow(unsafe_code, reason = "two system calls without a safe wrapper")]

use std::{
    ffi::CString,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::Path,
};

const PAGE_BYTES: u64 = 4096;
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";
const VERSION: u32 = 1;
const VERSION_OFFSET: usize = 1024;

/// Makes an area of this size.
pub fn format(device: &Path, bytes: u64) -> io::Result<()> {
    let header = header(bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    File::options().write(true).open(device)?.write_all_at(&header, 0)
}

/// The first page: version and number of the last page after the boot block, the signature at its end.
fn header(bytes: u64) -> Option<Vec<u8>> {
    let last_page = u32::try_from(bytes / PAGE_BYTES).ok()?.checked_sub(1).filter(|last| *last > 0)?;
    let mut page = vec![0; VERSION_OFFSET];
    page.extend(VERSION.to_ne_bytes());
    page.extend(last_page.to_ne_bytes());
    page.resize(usize::try_from(PAGE_BYTES).ok()? - SIGNATURE.len(), 0);
    page.extend(SIGNATURE);
    Some(page)
}

/// Begins to swap to the device.
pub fn on(device: &Path) -> io::Result<()> {
    let path = c_path(device)?;
    // SAFETY: the path is a string with its end, which lives until the call returns.
    result(unsafe { libc::swapon(path.as_ptr(), 0) })
}

/// Takes everything back from the device.
pub fn off(device: &Path) -> io::Result<()> {
    let path = c_path(device)?;
    // SAFETY: as above.
    result(unsafe { libc::swapoff(path.as_ptr()) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn result(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_page_with_its_signature() {
        let page = header(64 << 20).unwrap();
        assert_eq!(page.len(), 4096);
        assert_eq!(&page[4086..], SIGNATURE);
        assert_eq!(page[1024..1028], 1_u32.to_ne_bytes());
        assert_eq!(page[1028..1032], 16383_u32.to_ne_bytes());
        assert_eq!(header(4096), None, "no room for anything");
        assert_eq!(header(u64::MAX), None);
    }
}
