//! Files for apid's eyes, below /run/apid: in place at once, one after the other.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use layout::{APID_UID, path};

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot render {}", path.display())]
pub struct RenderError {
    /// Which.
    path: PathBuf,
    /// Cause.
    #[source]
    source: io::Error,
}

/// Writes files in this order.
pub fn render<const N: usize>(files: [(&str, &str); N]) -> Result<(), RenderError> {
    let folder = Path::new(path::APID);
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| RenderError { path, source }
    };
    fs::create_dir_all(folder).map_err(error(folder))?;
    std::os::unix::fs::chown(folder, Some(0), Some(APID_UID)).map_err(error(folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).map_err(error(folder))?;
    for (path, content) in files {
        let path = Path::new(path);
        render_file(path, content.as_bytes()).map_err(error(path))?;
    }
    Ok(())
}

/// Writes where the API is served; nowhere in particular means everywhere. apid reads it when it starts.
pub fn render_addresses(addresses: &BTreeSet<IpAddr>) -> Result<(), RenderError> {
    render([(path::APID_ADDRESSES, &lines(addresses))])
}

/// Whether apid may have started already to serve elsewhere.
pub fn listens_elsewhere(addresses: &BTreeSet<IpAddr>) -> bool {
    fs::read_to_string(path::APID_ADDRESSES).is_ok_and(|present| present != lines(addresses))
}

fn lines(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(|address| format!("{address}\n")).collect()
}

/// /run needs no flush.
fn render_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, content)?;
    std::os::unix::fs::chown(&temporary, Some(0), Some(APID_UID))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o640))?;
    fs::rename(temporary, path)
}
