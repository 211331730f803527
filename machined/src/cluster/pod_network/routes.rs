//! Routes to other nodes' pods in the kernel, told from all others by their protocol (ip-route(8)).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
};

use futures_util::TryStreamExt as _;
use netplan::Prefix;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol},
};

/// Another one than that of configured routes, which the network's controller looks after.
const PROTOCOL: u8 = 0xcb;

/// Why a route is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No netlink socket.
    #[error("cannot speak to the kernel")]
    Socket(#[source] io::Error),
    /// The kernel does not list routes.
    #[error("cannot list routes")]
    List(#[source] rtnetlink::Error),
    /// The kernel refuses one.
    #[error("cannot change the route to {network} via {gateway}")]
    Change {
        /// Where it leads.
        network: Prefix,
        /// Over whom.
        gateway: Ipv4Addr,
        /// Cause.
        #[source]
        source: rtnetlink::Error,
    },
}

/// Speaks to the kernel.
pub struct Routes(Handle);

impl Routes {
    /// Opens a netlink socket.
    pub fn open() -> Result<Self, RouteError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(RouteError::Socket)?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Those of ours that are there.
    pub async fn list(&self) -> Result<BTreeMap<Prefix, Ipv4Addr>, RouteError> {
        let request = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let messages: Vec<RouteMessage> =
            self.0.route().get(request).execute().try_collect().await.map_err(RouteError::List)?;
        Ok(messages.iter().filter_map(own).collect())
    }

    /// Makes one, or leads it elsewhere.
    pub async fn add(&self, network: Prefix, gateway: Ipv4Addr) -> Result<(), RouteError> {
        let Some(message) = message(network, gateway) else { return Ok(()) };
        let added = self.0.route().add(message).replace().execute().await;
        added.map_err(|source| RouteError::Change { network, gateway, source })
    }

    /// Removes one.
    pub async fn remove(&self, network: Prefix, gateway: Ipv4Addr) -> Result<(), RouteError> {
        let Some(message) = message(network, gateway) else { return Ok(()) };
        let removed = self.0.route().del(message).execute().await;
        removed.map_err(|source| RouteError::Change { network, gateway, source })
    }
}

fn message(network: Prefix, gateway: Ipv4Addr) -> Option<RouteMessage> {
    let IpAddr::V4(destination) = network.address else { return None };
    let builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(destination, network.length)
        .gateway(gateway)
        .protocol(RouteProtocol::from(PROTOCOL));
    Some(builder.build())
}

fn own(message: &RouteMessage) -> Option<(Prefix, Ipv4Addr)> {
    if message.header.protocol != RouteProtocol::from(PROTOCOL) {
        return None;
    }
    let address =
        |wanted: fn(&RouteAttribute) -> Option<Ipv4Addr>| message.attributes.iter().find_map(wanted);
    let destination = address(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    let gateway = address(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    Some((Prefix::new(IpAddr::V4(destination), message.header.destination_prefix_length), gateway))
}
