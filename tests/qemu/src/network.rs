//! The machine's network: a hub with the node on one port, and on another one a gateway that answers DHCP and leads
//! the host's ports to the node's.

use anyhow::Result;
use serde_json::json;

use crate::{machine::Hardware, qmp::Qmp};

/// Address in the guest's network at which the host listens, where it does.
pub const HOST: &str = "10.0.2.100";
/// QEMU's name for what leads there.
pub const HOST_CHARDEV: &str = "host";

/// Address of the host's loopback in the network of [`Network::Open`].
pub const OPEN_HOST: &str = "10.0.2.2";

/// What the node's link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The node has no link.
    Absent,
    /// The gateway, from the start.
    Served,
    /// The same, and through it the host, whose loopback is [`OPEN_HOST`].
    Open,
    /// A hub without a gateway, until [`plug_in_gateway`].
    Silent,
}

/// QEMU's arguments.
pub fn arguments(hardware: &Hardware, ports: &[u16]) -> Vec<String> {
    let netdevs = match hardware.network {
        Network::Absent => return Vec::new(),
        Network::Served | Network::Open => {
            let restrict = if hardware.network == Network::Open { "off" } else { "on" };
            let forwards: String = forwards(hardware, ports).map(|rule| format!(",hostfwd={rule}")).collect();
            // restrict=off lets the guest reach the host's network; most tests need no more than the forwards.
            let host =
                hardware.host_port.map(|port| format!(",guestfwd=tcp:{HOST}:{port}-chardev:{HOST_CHARDEV}"));
            vec![format!("user,id=net,restrict={restrict}{forwards}{}", host.unwrap_or_default())]
        }
        // A hub takes frames only for as long as someone else is on it; who has no IPv4 answers no DHCP.
        Network::Silent => vec![
            "user,id=mute,restrict=on,ipv4=off".to_owned(),
            "hubport,id=mute-port,hubid=0,netdev=mute".to_owned(),
            "hubport,id=net,hubid=0".to_owned(),
        ],
    };
    let netdevs = netdevs.into_iter().flat_map(|netdev| ["-netdev".to_owned(), netdev]);
    netdevs.chain(["-device".to_owned(), "virtio-net-pci,netdev=net".to_owned()]).collect()
}

/// Brings the gateway to a silent hub.
pub fn plug_in_gateway(qmp: &mut Qmp, hardware: &Hardware, ports: &[u16]) -> Result<()> {
    let forwards: Vec<_> = forwards(hardware, ports).map(|rule| json!({"str": rule})).collect();
    let gateway =
        json!({"type": "user", "id": "gateway", "restrict": true, "ipv6": false, "hostfwd": forwards});
    qmp.execute("netdev_add", gateway)?;
    let port = json!({"type": "hubport", "id": "gateway-port", "hubid": 0, "netdev": "gateway"});
    qmp.execute("netdev_add", port).map(drop)
}

fn forwards<'a>(hardware: &'a Hardware, ports: &'a [u16]) -> impl Iterator<Item = String> + 'a {
    let pairs = hardware.forwarded_ports.iter().zip(ports);
    pairs.map(|(guest, host)| format!("tcp:127.0.0.1:{host}-:{guest}"))
}
