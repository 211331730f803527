//! resolv.conf(5) of the node, from the configuration or a lease.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use config::Resolver;
use dhcp::Lease;

use crate::storage::{StorageError, replace_file};

/// Resolvers read no more (`MAXNS`).
const NAME_SERVERS_MAX: usize = 3;

/// Writes the file. It may name nobody, but must exist: the kubelet refuses pods without it.
pub fn write(path: &Path, text: &str) -> Result<(), StorageError> {
    replace_file(path, text.as_bytes(), 0o644)
}

/// What is configured, else what the first lease that names servers says.
pub fn render<'a>(resolver: Option<&Resolver>, mut leases: impl Iterator<Item = &'a Lease>) -> String {
    if let Some(Resolver { servers, search }) = resolver {
        return lines(servers.iter().copied(), search);
    }
    match leases.find(|lease| !lease.dns.is_empty()) {
        Some(lease) => lines(lease.dns.iter().copied().map(IpAddr::V4), lease.domain.as_slice()),
        None => String::new(),
    }
}

fn lines(servers: impl Iterator<Item = IpAddr>, search: &[String]) -> String {
    let mut text = String::new();
    for server in servers.take(NAME_SERVERS_MAX) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "nameserver {server}");
    }
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::Scratch;

    #[test]
    fn names_servers_and_domain() {
        let lease: Lease = serde_json::from_value(serde_json::json!({
            "address": "192.0.2.7", "prefix_length": 24, "server": "192.0.2.1", "duration_s": null, "renew_s": 0,
            "rebind_s": 0, "routes": [], "dns": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
            "domain": "example.com", "hostname": null, "mtu": null,
        }))
        .unwrap();
        let text = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nsearch example.com\n";
        let silent = Lease { dns: vec![], ..lease.clone() };
        assert_eq!(render(None, [&silent, &lease].into_iter()), text);
        assert_eq!(render(None, std::iter::empty()), "");
        let servers = vec!["2001:db8::53".parse().unwrap(), "192.0.2.9".parse().unwrap()];
        let mut resolver = Resolver { servers, search: vec!["a.example".into(), "b.example".into()] };
        let text = "nameserver 2001:db8::53\nnameserver 192.0.2.9\nsearch a.example b.example\n";
        assert_eq!(render(Some(&resolver), [&lease].into_iter()), text, "all of it, not a mixture");
        resolver.search.clear();
        assert!(!render(Some(&resolver), [&lease].into_iter()).contains("search"));
    }

    #[test]
    fn replaces_the_file() {
        let scratch = Scratch::new("resolv");
        let path = scratch.path().join("resolv.conf");
        write(&path, "nameserver 192.0.2.1\n").unwrap();
        write(&path, "").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "");
    }
}
