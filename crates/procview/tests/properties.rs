//! What is written as the kernel would is read back.

use std::net::{IpAddr, SocketAddr};

use procview::{MountEntry, ProcessStat, Protocol, SocketEntry};
use proptest::prelude::*;

/// As the kernel writes an address.
fn hexadecimal(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks(4).map(|word| format!("{:08X}", u32::from_ne_bytes(word.try_into().unwrap())));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

/// As the kernel escapes paths.
fn escaped(path: &str) -> String {
    path.chars()
        .map(|c| if " \t\n\\".contains(c) { format!("\\{:03o}", u32::from(c)) } else { c.to_string() })
        .collect()
}

proptest! {
    #[test]
    fn any_name_of_a_process(name in "[^\n]{0,15}", pid: u32, ticks: u64) {
        let line = format!(
            "{pid} ({name}) R 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 3 0 {ticks} 0 0\n"
        );
        let stat = ProcessStat::parse(line.as_bytes()).unwrap();
        prop_assert_eq!((stat.pid, stat.name, stat.user_ticks, stat.start_ticks), (pid, name, ticks, ticks));
    }

    #[test]
    fn any_path_of_a_mount(path in "/[^\r\u{85}\u{2028}]{0,20}") {
        let line = format!("1 2 0:3 / {} rw - tmpfs s rw\n", escaped(&path));
        let mounts = MountEntry::parse_all(line.as_bytes());
        prop_assert_eq!(&mounts[0].target, &path);
    }

    #[test]
    fn any_address(local: SocketAddr, peer: SocketAddr, inode: u64) {
        let [local, peer] = [local, peer].map(|address| SocketAddr::new(address.ip(), address.port()));
        let line = format!("0: {} {} 0A 0:0 0:0 0 7 0 {inode}\n", hexadecimal(local), hexadecimal(peer));
        let sockets = SocketEntry::parse_all(Protocol::Tcp, line.as_bytes());
        prop_assert_eq!((sockets[0].local, sockets[0].peer, sockets[0].inode), (local, peer, inode));
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        let _ = ProcessStat::parse(&bytes);
        for protocol in Protocol::ALL {
            prop_assert!(SocketEntry::parse_all(protocol, &bytes).len() <= bytes.len() + 1);
        }
        prop_assert!(MountEntry::parse_all(&bytes).len() <= bytes.len() + 1);
    }
}
