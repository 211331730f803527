//! What only /sys and /proc/sys tell about links.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::NetworkError;
use super::observation::Link;

/// `IFF_UP` (linux/if.h).
const FLAG_UP: u32 = 0x1;
/// `ARPHRD_ETHER` (linux/if_arp.h).
const TYPE_ETHERNET: u32 = 1;
/// `ARPHRD_LOOPBACK`.
const TYPE_LOOPBACK: u32 = 772;

/// The two directories, so that tests can bring their own.
#[derive(Clone, Debug)]
pub struct Sysfs {
    /// /sys/class/net
    pub links: PathBuf,
    /// /proc/sys/net/ipv6/conf
    pub ipv6: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self { links: "/sys/class/net".into(), ipv6: "/proc/sys/net/ipv6/conf".into() }
    }
}

impl Sysfs {
    /// Adds links that are missing, and to each what netlink does not tell.
    pub fn complete(&self, links: &mut Vec<Link>) {
        links.extend(self.missing(links));
        for link in links {
            // Virtual links (veth, bridge, vlan, …) have no device behind them.
            link.physical = link.physical && self.links.join(&link.name).join("device").exists();
            link.accept_ra = if link.physical { self.accept_ra(&link.name) } else { None };
        }
    }

    /// Lets the link take router advertisements although the node forwards.
    pub fn set_accept_ra(&self, name: &str) -> Result<(), NetworkError> {
        let path = self.ipv6.join(name).join("accept_ra");
        fs::write(&path, "2")
            .map_err(|source| NetworkError::Sysctl { path: path.display().to_string(), source })
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
            kind: match kind {
                TYPE_ETHERNET => "ether".to_owned(),
                TYPE_LOOPBACK => "loopback".to_owned(),
                other => other.to_string(),
            },
            hardware_address: hex::decode(hardware_address.replace(':', "")).unwrap_or_default(),
            mtu_bytes: self.number(&name, "mtu")?,
            mtu_range_bytes: (0, 0),
            former_mtu_bytes: None,
            up,
            // Reading it fails while the link is down.
            carrier: up && self.number::<u8>(&name, "carrier") == Some(1),
            loopback: kind == TYPE_LOOPBACK,
            physical: kind == TYPE_ETHERNET,
            accept_ra: None,
            name,
        })
    }

    fn text(&self, name: &str, file: &str) -> Option<String> {
        Some(fs::read_to_string(self.links.join(name).join(file)).ok()?.trim().to_owned())
    }

    fn number<T: FromStr>(&self, name: &str, file: &str) -> Option<T> {
        self.text(name, file)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn a_link_that_netlink_lost_is_found() {
        let scratch = Scratch::new("sysfs");
        let sysfs = Sysfs { links: scratch.path().join("net"), ipv6: scratch.path().join("ipv6") };
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
                fs::create_dir(directory.join("device")).unwrap();
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
        sysfs.set_accept_ra("eth0").unwrap();
        assert_eq!(sysfs.accept_ra("eth0"), Some(2));
        assert!(matches!(sysfs.set_accept_ra("eth9"), Err(NetworkError::Sysctl { .. })));
    }
}
