//! What only /sys and /proc/sys tell about links.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use netplan::{Kind, Link};

use super::error::ChangeError;

/// `IFF_UP` (linux/if.h).
const FLAG_UP: u32 = 0x1;
/// `ARPHRD_ETHER` (linux/if_arp.h).
const TYPE_ETHERNET: u32 = 1;
/// `ARPHRD_LOOPBACK`.
const TYPE_LOOPBACK: u32 = 772;

/// The directories, so that tests can bring their own.
#[derive(Clone, Debug)]
pub struct Sysfs {
    /// /sys/class/net
    pub links: PathBuf,
    /// /proc/sys/net/ipv4/conf
    pub ipv4: PathBuf,
    /// /proc/sys/net/ipv6/conf
    pub ipv6: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self {
            links: "/sys/class/net".into(),
            ipv4: "/proc/sys/net/ipv4/conf".into(),
            ipv6: "/proc/sys/net/ipv6/conf".into(),
        }
    }
}

impl Sysfs {
    /// Adds links that are missing, and to each what netlink does not tell.
    pub fn complete(&self, links: &mut Vec<Link>) {
        links.extend(self.missing(links));
        for link in links {
            // Virtual links (veth, bridge, vlan, …) have no device behind them.
            let device = self.links.join(&link.name).join("device");
            link.physical = link.physical && device.exists();
            if link.physical {
                link.driver = last_component(&device.join("driver"));
                link.path = components(&device);
            }
            let takes = link.physical || link.ours && link.kind != Some(Kind::Dummy);
            link.accept_ra = if takes { self.accept_ra(&link.name) } else { None };
        }
    }

    /// Lets the link take router advertisements although the node forwards.
    pub fn accept_router_advertisements(&self, name: &str) -> Result<(), ChangeError> {
        write(self.ipv6.join(name).join("accept_ra"), "2")
    }

    /// Whether an IPv4 address that goes leaves the others of its subnet.
    pub fn promotes_secondaries(&self) -> bool {
        fs::read_to_string(self.promotion()).is_ok_and(|text| text.trim() == "1")
    }

    /// Lets an IPv4 address that goes leave the others of its subnet.
    pub fn promote_secondaries(&self) -> Result<(), ChangeError> {
        write(self.promotion(), "1")
    }

    fn promotion(&self) -> PathBuf {
        self.ipv4.join("all/promote_secondaries")
    }

    fn accept_ra(&self, name: &str) -> Option<u8> {
        fs::read_to_string(self.ipv6.join(name).join("accept_ra")).ok()?.trim().parse().ok()
    }

    fn missing(&self, known: &[Link]) -> Vec<Link> {
        let entries = fs::read_dir(&self.links).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| known.iter().all(|link| link.name != *name))
            .filter_map(|name| self.link(name))
            .collect()
    }

    fn link(&self, name: String) -> Option<Link> {
        let kind = self.number::<u32>(&name, "type")?;
        let flags = self.text(&name, "flags")?;
        let up = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()? & FLAG_UP != 0;
        let hardware_address = self.text(&name, "address").unwrap_or_default();
        Some(Link {
            index: self.number(&name, "ifindex")?,
            kind_name: match kind {
                TYPE_ETHERNET => "ether".to_owned(),
                TYPE_LOOPBACK => "loopback".to_owned(),
                other => other.to_string(),
            },
            hardware_address: hex::decode(hardware_address.replace(':', "")).unwrap_or_default(),
            mtu_bytes: self.number(&name, "mtu")?,
            up,
            // Reading it fails while the link is down.
            carrier: up && self.number::<u8>(&name, "carrier") == Some(1),
            loopback: kind == TYPE_LOOPBACK,
            physical: kind == TYPE_ETHERNET,
            name,
            ..Link::default()
        })
    }

    fn text(&self, name: &str, file: &str) -> Option<String> {
        Some(fs::read_to_string(self.links.join(name).join(file)).ok()?.trim().to_owned())
    }

    fn number<T: FromStr>(&self, name: &str, file: &str) -> Option<T> {
        self.text(name, file)?.parse().ok()
    }
}

fn write(path: PathBuf, text: &str) -> Result<(), ChangeError> {
    fs::write(&path, text).map_err(|source| ChangeError::Sysctl { path: path.display().to_string(), source })
}

fn last_component(link: &Path) -> String {
    let target = fs::read_link(link).ok();
    target.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())).unwrap_or_default()
}

/// The components of a device's path below /sys/devices: its address on each bus that leads to it.
fn components(device: &Path) -> Vec<String> {
    let path = fs::canonicalize(device).unwrap_or_default();
    let below = path.strip_prefix("/sys/devices").unwrap_or(&path);
    below.components().filter_map(|part| Some(part.as_os_str().to_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use netplan::{Selection, Selector};

    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn a_link_that_netlink_lost_is_found() {
        let scratch = Scratch::new("sysfs");
        let sysfs = Sysfs {
            links: scratch.path().join("net"),
            ipv4: scratch.path().join("ipv4"),
            ipv6: scratch.path().join("ipv6"),
        };
        for (link, device) in [("eth0", true), ("eth1", true), ("veth7", false)] {
            let directory = sysfs.links.join(link);
            fs::create_dir_all(&directory).unwrap();
            let files = [
                ("ifindex", "7\n"),
                ("type", "1\n"),
                ("flags", "0x1003\n"),
                ("address", "02:00:00:00:00:0a\n"),
                ("mtu", "1500\n"),
                ("carrier", "1\n"),
            ];
            for (file, text) in files {
                fs::write(directory.join(file), text).unwrap();
            }
            if device {
                let device = scratch.path().join("pci0000:00/0000:00:03.0").join(link);
                fs::create_dir_all(&device).unwrap();
                symlink("../../bus/pci/drivers/igc", device.join("driver")).unwrap();
                symlink(&device, directory.join("device")).unwrap();
            }
        }
        fs::create_dir_all(sysfs.ipv6.join("eth0")).unwrap();
        fs::write(sysfs.ipv6.join("eth0/accept_ra"), "1\n").unwrap();
        let mut links = vec![Link { name: "eth1".into(), physical: true, ..Link::default() }];
        sysfs.complete(&mut links);
        links.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(links.len(), 3);
        assert_eq!((links[0].mac(), links[0].carrier), (Some([2, 0, 0, 0, 0, 10]), true));
        assert_eq!((links[0].physical, links[0].accept_ra), (true, Some(1)));
        assert!(links[1].physical && !links[2].physical);
        let selector = Selector { path: Some("0000:00:03.0".into()), driver: Some("igc".into()), mac: None };
        assert_eq!(selector.select(&links[..1]), Selection::One(&links[0]));
        assert_eq!(selector.select(&links[2..]), Selection::None);
        sysfs.accept_router_advertisements("eth0").unwrap();
        assert_eq!(sysfs.accept_ra("eth0"), Some(2));
        assert!(matches!(sysfs.accept_router_advertisements("eth9"), Err(ChangeError::Sysctl { .. })));
        assert!(!sysfs.promotes_secondaries());
        fs::create_dir_all(sysfs.ipv4.join("all")).unwrap();
        sysfs.promote_secondaries().unwrap();
        assert!(sysfs.promotes_secondaries());
    }
}
