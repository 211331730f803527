//! The request socket: lists what there is and decodes it. Everything that depends on rtnetlink's shape is here
//! and in `execute.rs`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
use netplan::{Address, Link, OUR_GROUP, OUR_PROTOCOL, Observed, Origin, Prefix, sort_links};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::error::NetworkError;
use super::link_kind;
use super::seen::{self, KernelRoute, Neighbour};
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

    /// Lists links, addresses and our routes; with them the routes of all.
    pub async fn observe(&self, sysfs: &Sysfs) -> Result<(Observed, Vec<KernelRoute>), NetworkError> {
        let observed = tokio::time::timeout(LIST_DEADLINE, self.list(sysfs)).await;
        observed.map_err(|_| NetworkError::ListTimeout)?
    }

    /// Lists who was seen on links.
    pub async fn neighbours(&self) -> Result<Vec<Neighbour>, NetworkError> {
        let listed = collect("neighbours", self.handle.neighbours().get().execute());
        let listed =
            tokio::time::timeout(LIST_DEADLINE, listed).await.map_err(|_| NetworkError::ListTimeout)??;
        Ok(listed.iter().filter_map(seen::neighbour).collect())
    }

    async fn list(&self, sysfs: &Sysfs) -> Result<(Observed, Vec<KernelRoute>), NetworkError> {
        let links = collect("links", self.handle.link().get().execute()).await?;
        let addresses = collect("addresses", self.handle.address().get().execute()).await?;
        let (ipv4, ipv6) = (RouteMessageBuilder::<Ipv4Addr>::new(), RouteMessageBuilder::<Ipv6Addr>::new());
        let mut routes = collect("routes", self.handle.route().get(ipv4.build()).execute()).await?;
        routes.extend(collect("routes", self.handle.route().get(ipv6.build()).execute()).await?);
        let mut links: Vec<Link> = links.iter().map(link).collect();
        // A link whose message does not decode is missing from the list, but not from /sys.
        sysfs.complete(&mut links);
        sort_links(&mut links);
        let routes: Vec<KernelRoute> = routes.iter().filter_map(seen::route).collect();
        let observed = Observed {
            links,
            addresses: addresses.iter().filter_map(address).collect(),
            routes: routes
                .iter()
                .filter(|seen| seen.protocol == OUR_PROTOCOL)
                .map(|seen| seen.route.clone())
                .collect(),
            promotes_secondaries: sysfs.promotes_secondaries(),
        };
        Ok((observed, routes))
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
        kind_name: message.header.link_layer_type.to_string().to_lowercase(),
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
            LinkAttribute::Group(group) => link.ours = *group == OUR_GROUP,
            LinkAttribute::Controller(index) => link.master = Some(*index).filter(|index| *index != 0),
            LinkAttribute::Link(index) => link.parent = Some(*index),
            LinkAttribute::PermAddress(address) => link.permanent_address.clone_from(address),
            LinkAttribute::LinkInfo(info) => {
                let kind = info.iter().find_map(|part| match part {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
                link.kind_name = kind.unwrap_or(link.kind_name);
                link.kind = link_kind::decode(info);
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
        prefix: Prefix::new(local.or(any)?, message.header.prefix_len),
        scope: match message.header.scope {
            AddressScope::Host => "host",
            AddressScope::Link => "link",
            AddressScope::Site => "site",
            _ => "global",
        },
        origin,
    })
}
