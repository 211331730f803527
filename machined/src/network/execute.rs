//! Carries out operations, one netlink request each.

use std::net::Ipv4Addr;

use rtnetlink::packet_route::address::{AddressAttribute, AddressProtocol};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{AddressMessageBuilder, Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::error::NetworkError;
use super::netlink::Netlink;
use super::observation::{OUR_PROTOCOL, Route};
use super::plan::{Operation, ROUTE_METRIC};
use super::sysfs::Sysfs;

/// Carries out one operation.
pub async fn execute(netlink: &Netlink, sysfs: &Sysfs, operation: &Operation) -> Result<(), NetworkError> {
    let handle = &netlink.handle;
    let done = match operation {
        Operation::AcceptRouterAdvertisements { name } => return sysfs.set_accept_ra(name),
        Operation::SetUp { link, .. } => {
            handle.link().change(LinkUnspec::new_with_index(*link).up().build()).execute().await
        }
        Operation::SetMtu { link, bytes } => {
            let message: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_index(*link).mtu(*bytes);
            handle.link().change(message.build()).execute().await
        }
        Operation::AddAddress { link, address, prefix_length } => {
            add_address(handle, *link, *address, *prefix_length).await
        }
        Operation::DeleteAddress { link, address, prefix_length } => {
            let message =
                AddressMessageBuilder::<Ipv4Addr>::new().index(*link).address(*address, *prefix_length);
            handle.address().del(message.build()).execute().await
        }
        Operation::AddRoute { route, on_link } => {
            handle.route().add(message(route, *on_link)).execute().await
        }
        Operation::DeleteRoute(route) => handle.route().del(message(route, false)).execute().await,
    };
    done.map_err(|source| NetworkError::Change { operation: operation.to_string(), source })
}

async fn add_address(
    handle: &Handle,
    link: u32,
    address: Ipv4Addr,
    prefix_length: u8,
) -> Result<(), rtnetlink::Error> {
    // Someone may have set the same address by hand: it becomes ours.
    let mut request = handle.address().add(link, address.into(), prefix_length).replace();
    let ours = AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL));
    request.message_mut().attributes.push(ours);
    request.execute().await
}

/// The protocol in a message to remove a route keeps the kernel from taking another's.
fn message(route: &Route, on_link: bool) -> RouteMessage {
    let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .output_interface(route.link)
        .destination_prefix(route.destination, route.prefix_length)
        .priority(ROUTE_METRIC)
        .protocol(RouteProtocol::from(OUR_PROTOCOL));
    if let Some(source) = route.source {
        builder = builder.pref_source(source);
    }
    builder = match route.gateway {
        Some(gateway) => builder.gateway(gateway),
        None => builder.scope(RouteScope::Link),
    };
    if on_link { builder.onlink().build() } else { builder.build() }
}
