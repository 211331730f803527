//! The node's own name and id, behind the links in the read-only /etc.

use std::{fs, io, net::IpAddr, path::Path};

use layout::{CLUSTER_API_NAME, path::RUN_ETC};

use crate::files;

/// Sets the host name and writes hostname(5), machine-id(5) and hosts(5).
///
/// The node's own name must resolve without DNS: else the kubelet waits 10 s for each status when there is none.
pub fn render(hostname: &str, machine_id: &str, address: Option<IpAddr>, is_member: bool) -> io::Result<()> {
    nix::unistd::sethostname(hostname)?;
    let folder = Path::new(RUN_ETC);
    fs::create_dir_all(folder)?;
    let write = |name: &str, text: String| files::replace(&folder.join(name), text.as_bytes(), 0o644);
    write("hostname", format!("{hostname}\n"))?;
    write("machine-id", format!("{machine_id}\n"))?;
    write("hosts", hosts(hostname, address, is_member))
}

fn hosts(hostname: &str, address: Option<IpAddr>, is_member: bool) -> String {
    let own = address.map_or_else(|| "127.0.1.1".to_owned(), |address| address.to_string());
    let cluster = if is_member { format!("127.0.0.1 {CLUSTER_API_NAME}\n") } else { String::new() };
    format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{cluster}{own} {hostname}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_name_resolves_with_and_without_an_address() {
        assert!(hosts("node", None, false).ends_with("\n127.0.1.1 node\n"));
        assert!(hosts("node", "192.0.2.7".parse().ok(), false).ends_with("\n192.0.2.7 node\n"));
    }

    #[test]
    fn a_member_finds_its_cluster_on_loopback() {
        let [alone, member] = [false, true].map(|is_member| hosts("node", None, is_member));
        assert!(!alone.contains("kubernetes") && member.contains("\n127.0.0.1 kubernetes\n"));
    }
}
