//! What links had as their largest packet before we set another, so that it can be set back.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use netplan::Link;

use crate::storage::replace_file;

/// Former MTUs by link name, in a file that lives as long as the boot: so long the kernel keeps what we set.
pub struct MtuStore {
    path: PathBuf,
    former_bytes: BTreeMap<String, u32>,
}

impl MtuStore {
    /// Reads the file, if there is one.
    pub fn load(path: PathBuf) -> Self {
        let former_bytes = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { path, former_bytes: former_bytes.unwrap_or_default() }
    }

    /// Adds to links what they had before.
    pub fn complete(&self, links: &mut [Link]) {
        for link in links {
            link.former_mtu_bytes = self.former_bytes.get(&link.name).copied();
        }
    }

    /// To be told before another MTU is set: the first time counts. What we made has had none before.
    pub fn about_to_change(&mut self, link: &Link) {
        if link.physical && !self.former_bytes.contains_key(&link.name) {
            self.former_bytes.insert(link.name.clone(), link.mtu_bytes);
            self.save();
        }
    }

    fn save(&self) {
        // Without the file an MTU cannot be set back after machined was started anew; that is all.
        let saved = serde_json::to_vec(&self.former_bytes)
            .map_err(|error| error.to_string())
            .and_then(|text| replace_file(&self.path, &text, 0o600).map_err(|error| error.to_string()));
        if let Err(reason) = saved {
            tracing::warn!(reason, "former MTUs are not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn the_first_is_kept_across_starts() {
        let scratch = Scratch::new("mtus");
        let path = scratch.path().join("mtus.json");
        let mut link = Link { name: "eth0".into(), mtu_bytes: 1500, physical: true, ..Link::default() };
        let mut store = MtuStore::load(path.clone());
        store.about_to_change(&link);
        link.mtu_bytes = 1400;
        store.about_to_change(&link);
        store.about_to_change(&Link { name: "eth1".into(), physical: false, ..link.clone() });
        let mut links = [link, Link { name: "eth1".into(), ..Link::default() }];
        MtuStore::load(path).complete(&mut links);
        assert_eq!(links.map(|link| link.former_mtu_bytes), [Some(1500), None]);
    }
}
