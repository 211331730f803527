//! Carries out operations, one netlink request each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netplan::{
    Bond, BondMode, Bridge, HashPolicy, Kind, LacpRate, OUR_GROUP, OUR_PROTOCOL, Operation, PlannedRoute,
    Prefix,
};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::address::{AddressAttribute, AddressProtocol};
use rtnetlink::packet_route::link::{
    BondLacpRate, BondMode as KernelBondMode, BondXmitHashPolicy, BridgeStpState, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkBond, LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec, LinkVlan,
    RouteMessageBuilder,
};

use super::error::{ChangeError, NetworkError};
use super::netlink::Netlink;
use super::sysfs::Sysfs;

/// Carries out one operation. That what is to go is gone already is no failure.
pub async fn execute(netlink: &Netlink, sysfs: &Sysfs, operation: &Operation) -> Result<(), NetworkError> {
    match change(&netlink.handle, sysfs, operation).await {
        Err(error)
            if is_removal(operation) && error.says(&[Errno::ENODEV, Errno::ESRCH, Errno::EADDRNOTAVAIL]) =>
        {
            Ok(())
        }
        done => done.map_err(|source| NetworkError::Change { operation: operation.to_string(), source }),
    }
}

fn is_removal(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::DeleteLink { .. } | Operation::DeleteAddress { .. } | Operation::DeleteRoute { .. }
    )
}

async fn change(handle: &Handle, sysfs: &Sysfs, operation: &Operation) -> Result<(), ChangeError> {
    match operation {
        Operation::PromoteSecondaries => sysfs.promote_secondaries()?,
        Operation::AcceptRouterAdvertisements { link } => sysfs.accept_router_advertisements(link)?,
        Operation::CreateLink { link, kind, parent } => {
            let parent = parent.as_deref().map(index).transpose()?;
            handle.link().add(new_link(link, *kind, parent)).execute().await?;
        }
        Operation::DeleteLink { index, .. } => handle.link().del(*index).execute().await?,
        Operation::ChangeLink { link, kind } => {
            let Some(message) = changed_link(link, index(link)?, *kind) else { return Ok(()) };
            handle.link().change(message).execute().await?;
        }
        Operation::SetMaster { link, master } => {
            let message = link_message(link)?;
            let message = match master {
                Some(master) => message.controller(index(master)?),
                None => message.nocontroller(),
            };
            handle.link().change(message.build()).execute().await?;
        }
        Operation::SetUp { link } => handle.link().change(link_message(link)?.up().build()).execute().await?,
        Operation::SetDown { link } => {
            handle.link().change(link_message(link)?.down().build()).execute().await?
        }
        Operation::SetMtu { link, bytes } => {
            handle.link().change(link_message(link)?.mtu(*bytes).build()).execute().await?;
        }
        Operation::AddAddress { link, prefix } => add_address(handle, index(link)?, *prefix).await?,
        Operation::DeleteAddress { link, prefix } => {
            let Prefix { address, length } = *prefix;
            let message = match address {
                IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new().address(address, length),
                IpAddr::V6(address) => {
                    let message = AddressMessageBuilder::<Ipv6Addr>::new().address(address, length);
                    return Ok(handle.address().del(message.index(index(link)?).build()).execute().await?);
                }
            };
            handle.address().del(message.index(index(link)?).build()).execute().await?;
        }
        Operation::AddRoute { link, route, on_link } => {
            let message = route_message(index(link)?, route, *on_link);
            handle.route().add(message).execute().await?;
        }
        Operation::DeleteRoute { link, route } => {
            handle.route().del(route_message(index(link)?, route, false)).execute().await?;
        }
    }
    Ok(())
}

fn index(link: &str) -> Result<u32, ChangeError> {
    if_nametoindex(link).map_err(|source| ChangeError::NoLink { link: link.to_owned(), source })
}

fn link_message(link: &str) -> Result<LinkMessageBuilder<LinkUnspec>, ChangeError> {
    Ok(LinkUnspec::new_with_index(index(link)?))
}

/// A new link with our mark. The convenience constructors are not used: some set links up at once.
fn new_link(name: &str, kind: Kind, parent: Option<u32>) -> LinkMessage {
    match kind {
        Kind::Vlan { id } => {
            LinkVlan::new(name, parent.unwrap_or_default(), id).link_group(OUR_GROUP).build()
        }
        Kind::Bond(Bond { mode, monitor_interval_ms }) => {
            let message =
                LinkMessageBuilder::<LinkBond>::new(name).mode(bond_mode(mode)).miimon(monitor_interval_ms);
            let message = match mode {
                BondMode::Lacp { rate, hash } => {
                    message.ad_lacp_rate(lacp_rate(rate)).xmit_hash_policy(hash_policy(hash))
                }
                BondMode::ActiveBackup | BondMode::Other(_) => message,
            };
            message.link_group(OUR_GROUP).build()
        }
        Kind::Bridge(settings) => {
            bridge(LinkMessageBuilder::<LinkBridge>::new(name), settings).link_group(OUR_GROUP).build()
        }
        Kind::Dummy => LinkMessageBuilder::<LinkDummy>::new(name).link_group(OUR_GROUP).build(),
    }
}

/// What of a link can be changed; nothing where it cannot. Of a bond the kernel refuses a mode, be it the same.
fn changed_link(name: &str, index: u32, kind: Kind) -> Option<LinkMessage> {
    match kind {
        Kind::Bond(Bond { mode, monitor_interval_ms }) => {
            let message = LinkMessageBuilder::<LinkBond>::new(name).index(index).miimon(monitor_interval_ms);
            let message = match mode {
                BondMode::Lacp { hash, .. } => message.xmit_hash_policy(hash_policy(hash)),
                BondMode::ActiveBackup | BondMode::Other(_) => message,
            };
            Some(message.build())
        }
        Kind::Bridge(settings) => {
            Some(bridge(LinkMessageBuilder::<LinkBridge>::new(name).index(index), settings).build())
        }
        Kind::Vlan { .. } | Kind::Dummy => None,
    }
}

fn bridge(message: LinkMessageBuilder<LinkBridge>, settings: Bridge) -> LinkMessageBuilder<LinkBridge> {
    match settings.spanning_tree {
        // The delay first: with the protocol on, the kernel wants it within IEEE 802.1D.
        Some(delay) => message.forward_delay(delay).stp_state(BridgeStpState::KernelStp),
        None => message.stp_state(BridgeStpState::Disabled),
    }
}

fn bond_mode(mode: BondMode) -> KernelBondMode {
    match mode {
        BondMode::ActiveBackup => KernelBondMode::ActiveBackup,
        BondMode::Lacp { .. } => KernelBondMode::Ieee8023Ad,
        BondMode::Other(number) => KernelBondMode::from(number),
    }
}

fn lacp_rate(rate: LacpRate) -> BondLacpRate {
    match rate {
        LacpRate::Slow => BondLacpRate::Slow,
        LacpRate::Fast => BondLacpRate::Fast,
    }
}

fn hash_policy(policy: HashPolicy) -> BondXmitHashPolicy {
    match policy {
        HashPolicy::Layer2 => BondXmitHashPolicy::Layer2,
        HashPolicy::Layer23 => BondXmitHashPolicy::Layer23,
        HashPolicy::Layer34 => BondXmitHashPolicy::Layer34,
        HashPolicy::Other(number) => BondXmitHashPolicy::from(number),
    }
}

async fn add_address(handle: &Handle, link: u32, prefix: Prefix) -> Result<(), rtnetlink::Error> {
    // Someone may have set the same address by hand: it becomes ours.
    let mut request = handle.address().add(link, prefix.address, prefix.length).replace();
    let ours = AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL));
    request.message_mut().attributes.push(ours);
    request.execute().await
}

/// The protocol in a message to remove a route keeps the kernel from taking another's.
fn route_message(link: u32, route: &PlannedRoute, on_link: bool) -> RouteMessage {
    let Prefix { address, length } = route.destination;
    match address {
        IpAddr::V4(destination) => {
            let mut builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(destination, length);
            if let Some(IpAddr::V4(source)) = route.source {
                builder = builder.pref_source(source);
            }
            builder = match route.gateway {
                Some(IpAddr::V4(gateway)) => builder.gateway(gateway),
                Some(IpAddr::V6(_)) | None => builder.scope(RouteScope::Link),
            };
            finished(builder, link, route, on_link)
        }
        IpAddr::V6(destination) => {
            let mut builder = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(destination, length);
            if let Some(IpAddr::V6(source)) = route.source {
                builder = builder.pref_source(source);
            }
            if let Some(IpAddr::V6(gateway)) = route.gateway {
                builder = builder.gateway(gateway);
            }
            finished(builder, link, route, on_link)
        }
    }
}

fn finished<T>(
    builder: RouteMessageBuilder<T>,
    link: u32,
    route: &PlannedRoute,
    on_link: bool,
) -> RouteMessage {
    let builder = builder
        .output_interface(link)
        .priority(route.metric)
        .table_id(route.table)
        .protocol(RouteProtocol::from(OUR_PROTOCOL));
    if on_link { builder.onlink().build() } else { builder.build() }
}
