//! resolv.conf(5) of the node, from the lease.

use std::fmt::Write as _;
use std::path::Path;

use dhcp::Lease;

use crate::storage::{StorageError, replace_file};

/// Resolvers read no more (`MAXNS`).
const NAME_SERVERS_MAX: usize = 3;

/// Writes the file. Without a lease it names nobody, but exists: the kubelet refuses pods without it.
pub fn write(path: &Path, lease: Option<&Lease>) -> Result<(), StorageError> {
    replace_file(path, render(lease).as_bytes(), 0o644)
}

fn render(lease: Option<&Lease>) -> String {
    let mut text = String::new();
    let Some(lease) = lease else { return text };
    for server in lease.dns.iter().take(NAME_SERVERS_MAX) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "nameserver {server}");
    }
    if let Some(domain) = &lease.domain {
        let _ = writeln!(text, "search {domain}");
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
        assert_eq!(render(Some(&lease)), text);
        assert_eq!(render(None), "");
    }

    #[test]
    fn replaces_the_file() {
        let scratch = Scratch::new("resolv");
        let path = scratch.path().join("resolv.conf");
        write(&path, None).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "");
    }
}
