//! Leases on STATE, one file per hardware address, so that a reboot asks for the same address and an offline one
//! keeps it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dhcp::StoredLease;
use tokio::sync::watch;

use crate::storage::replace_file;

/// Longest file that is read; a lease with the most routes is under 8 KiB.
const FILE_MAX_BYTES: u64 = 64 * 1024;

/// What files should hold; one for each link that ever asked.
type Leases = BTreeMap<PathBuf, Option<StoredLease>>;

/// Reads at once, writes in the background: a slow disk must not delay an address.
pub struct LeaseStore {
    directory: PathBuf,
    wanted: watch::Sender<Leases>,
}

impl LeaseStore {
    /// A store in this directory, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        let (wanted, receiver) = watch::channel(Leases::new());
        tokio::spawn(write_latest(receiver));
        Self { directory, wanted }
    }

    /// The lease kept for a hardware address.
    pub fn load(&self, mac: [u8; 6]) -> Option<StoredLease> {
        let path = self.path(mac);
        let text = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() <= FILE_MAX_BYTES => fs::read(&path).ok()?,
            Ok(_) | Err(_) => return None,
        };
        match serde_json::from_slice(&text) {
            Ok(lease) => Some(lease),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a stored lease does not decode");
                None
            }
        }
    }

    /// Whether there is a lease for a hardware address.
    pub fn contains(&self, mac: [u8; 6]) -> bool {
        self.path(mac).exists()
    }

    /// Keeps a lease.
    pub fn save(&self, mac: [u8; 6], lease: StoredLease) {
        self.want(mac, Some(lease));
    }

    /// Drops a lease.
    pub fn forget(&self, mac: [u8; 6]) {
        self.want(mac, None);
    }

    fn want(&self, mac: [u8; 6], lease: Option<StoredLease>) {
        self.wanted.send_modify(|wanted| drop(wanted.insert(self.path(mac), lease)));
    }

    fn path(&self, mac: [u8; 6]) -> PathBuf {
        self.directory.join(format!("{}.json", hex::encode(mac)))
    }
}

/// Of each file only the latest content counts.
async fn write_latest(mut wanted: watch::Receiver<Leases>) {
    let mut written = Leases::new();
    while wanted.changed().await.is_ok() {
        let latest = wanted.borrow_and_update().clone();
        for (path, lease) in latest.iter().filter(|(path, lease)| written.get(*path) != Some(*lease)) {
            let (file, lease) = (path.clone(), lease.clone());
            let done = tokio::task::spawn_blocking(move || write(&file, lease.as_ref())).await;
            if let Ok(Err(reason)) = done {
                tracing::warn!(path = %path.display(), reason, "the lease is not kept");
            }
        }
        written = latest;
    }
}

fn write(path: &Path, lease: Option<&StoredLease>) -> Result<(), String> {
    match lease {
        Some(lease) => {
            let text = serde_json::to_vec(lease).map_err(|error| error.to_string())?;
            make_directory(path).map_err(|error| error.to_string())?;
            replace_file(path, &text, 0o600).map_err(|error| error.to_string())
        }
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        },
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn stored() -> StoredLease {
        serde_json::from_value(serde_json::json!({
            "granted_unix_s": 5,
            "lease": {
                "address": "192.0.2.7", "prefix_length": 24, "server": "192.0.2.1", "duration_s": 60,
                "renew_s": 30, "rebind_s": 50, "routes": [], "dns": [], "domain": null, "hostname": null, "mtu": null,
            },
        }))
        .unwrap()
    }

    #[test]
    fn kept_forgotten_and_damaged() {
        let scratch = Scratch::new("leases");
        let directory = scratch.path().join("network/leases");
        let store = LeaseStore { directory, wanted: watch::Sender::default() };
        assert_eq!(store.load(MAC), None);
        let path = store.path(MAC);
        write(&path, None).unwrap();
        write(&path, Some(&stored())).unwrap();
        assert_eq!(store.load(MAC), Some(stored()));
        assert!(store.contains(MAC) && !store.contains([0; 6]));
        fs::write(store.path(MAC), "{\"granted_unix_s\":").unwrap();
        assert_eq!(store.load(MAC), None);
        fs::write(store.path(MAC), vec![b' '; 100_000]).unwrap();
        assert_eq!(store.load(MAC), None);
        write(&path, None).unwrap();
        assert!(!store.contains(MAC));
    }

    #[tokio::test]
    async fn two_links_do_not_supersede_each_other() {
        let scratch = Scratch::new("two-leases");
        let store = LeaseStore::new(scratch.path().to_owned());
        let other = [2, 0, 0, 0, 0, 2];
        store.save(MAC, stored());
        store.save(other, stored());
        let kept = async {
            while !(store.contains(MAC) && store.contains(other)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), kept).await.unwrap();
    }

    #[tokio::test]
    async fn without_state_nothing_breaks() {
        let store = LeaseStore::new(PathBuf::from("/proc/self/no-such-place"));
        store.save(MAC, stored());
        tokio::task::yield_now().await;
        assert_eq!(store.load(MAC), None);
    }
}
