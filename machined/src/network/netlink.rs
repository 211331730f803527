//! The request socket: lists what there is and decodes it. Everything that depends on rtnetlink's shape is here
//! and in `execute.rs`.

use std::io;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::error::NetworkError;
use super::observation::{Address, Link, OUR_PROTOCOL, Observation, Origin, Route, sort_links};
use super::sysfs::Sysfs;

/// A lost answer would otherwise be waited for without end; a listing takes milliseconds.
const LIST_DEADLINE: Duration = Duration::from_secs(5);

/// A connection to the kernel's routing interface.
pub struct Netlink {
    pub(super) handle: Handle,
    task: JoinHandle<()>,
}

impl Netlink {
    /// Opens it; its task lives as long as the value.
    pub fn connect() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, task: tokio::spawn(connection) })
    }

    /// Lists links, addresses and our routes.
    pub async fn observe(&self, sysfs: &Sysfs) -> Result<Observation, NetworkError> {
        let observed = tokio::time::timeout(LIST_DEADLINE, self.list(sysfs)).await;
        observed.map_err(|_| NetworkError::ListTimeout)?
    }

    async fn list(&self, sysfs: &Sysfs) -> Result<Observation, NetworkError> {
        let links = collect("links", self.handle.link().get().execute()).await?;
        let addresses = collect("addresses", self.handle.address().get().execute()).await?;
        let all_routes = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
        let routes = collect("routes", self.handle.route().get(all_routes).execute()).await?;
        let mut links: Vec<Link> = links.iter().map(link).collect();
        // A link whose message does not decode is missing from the list, but not from /sys.
        sysfs.complete(&mut links);
        sort_links(&mut links);
        Ok(Observation {
            links,
            addresses: addresses.iter().filter_map(address).collect(),
            routes: routes.iter().filter_map(route).collect(),
        })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn collect<T>(
    what: &'static str,
    messages: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, NetworkError> {
    messages.try_collect().await.map_err(|source| NetworkError::List { what, source })
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        kind: message.header.link_layer_type.to_string().to_lowercase(),
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        // Only a candidate until /sys has been asked.
        physical: message.header.link_layer_type == LinkLayerType::Ether,
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(address) => link.hardware_address.clone_from(address),
            LinkAttribute::Mtu(bytes) => link.mtu_bytes = *bytes,
            LinkAttribute::MinMtu(bytes) => link.mtu_range_bytes.0 = *bytes,
            LinkAttribute::MaxMtu(bytes) => link.mtu_range_bytes.1 = *bytes,
            LinkAttribute::LinkInfo(info) => {
                for part in info {
                    if let LinkInfo::Kind(kind) = part {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn address(message: &AddressMessage) -> Option<Address> {
    let mut local = None;
    let mut any = None;
    let mut origin = Origin::Foreign;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => any = Some(*address),
            AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)) => origin = Origin::Ours,
            AddressAttribute::Protocol(
                AddressProtocol::Loopback | AddressProtocol::LinkLocal | AddressProtocol::RouterAnnouncement,
            ) => origin = Origin::Kernel,
            _ => {}
        }
    }
    Some(Address {
        link: message.header.index,
        // On a point-to-point link IFA_ADDRESS is the other end.
        address: local.or(any)?,
        prefix_length: message.header.prefix_len,
        scope: match message.header.scope {
            AddressScope::Host => "host",
            AddressScope::Link => "link",
            AddressScope::Site => "site",
            _ => "global",
        },
        origin,
    })
}

fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if u8::from(header.protocol) != OUR_PROTOCOL || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let mut found = Route {
        link: 0,
        destination: std::net::Ipv4Addr::UNSPECIFIED,
        prefix_length: header.destination_prefix_length,
        gateway: None,
        source: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.link = *index,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => found.destination = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => found.gateway = Some(*address),
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => found.source = Some(*address),
            _ => {}
        }
    }
    Some(found)
}
