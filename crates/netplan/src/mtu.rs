//! Which link has which MTU.

use crate::Kind;
use crate::desired::{Desired, Mtu};
use crate::draft::{Draft, MTU_DEFAULT_BYTES, MTU_UNKNOWN};
use crate::observed::Link;

/// Links stand on each other at most this deep here; the kernel allows 8 (`MAX_NEST_DEV`).
const DEPTH_MAX: usize = 8;

/// Sets what differs: hardware first, then what stands on it, for a VLAN's must not exceed its parent's.
pub(crate) fn set(draft: &mut Draft, desired: &[&Desired]) {
    let unnamed = draft.links.iter().filter(|link| link.physical).map(|link| link.name.as_str());
    let unnamed = unnamed.filter(|name| desired.iter().all(|wanted| wanted.name != *name));
    let named = desired.iter().map(|wanted| wanted.name.as_str());
    let order: Vec<String> = unnamed.chain(named).map(str::to_owned).collect();
    for name in order {
        let Some(link) = draft.link(&name) else { continue };
        // A bond's ports have the bond's.
        if draft.is_bond_port(link) {
            continue;
        }
        let (index, is) = (link.index, link.mtu_bytes);
        if let Some(bytes) = target(draft, desired, link, DEPTH_MAX).filter(|bytes| *bytes != is) {
            draft.set_mtu(index, bytes);
        }
    }
}

/// What the link should have; `None` for what it has.
fn target(draft: &Draft, desired: &[&Desired], link: &Link, depth: usize) -> Option<u32> {
    let wish =
        desired.iter().find(|wanted| wanted.name == link.name).map_or(Mtu::Default, |wanted| wanted.mtu);
    match wish {
        Mtu::Configured(bytes) => Some(bytes),
        Mtu::Offered(bytes) => {
            let (least, most) = link.mtu_range_bytes;
            let bytes = bytes.max(least);
            let bytes = if most == 0 { bytes } else { bytes.min(most) };
            match link.kind {
                // Next time, if it is not known now what the link below will have.
                Some(Kind::Vlan { .. }) => Some(bytes.min(below(draft, desired, link, depth)?)),
                Some(Kind::Bond(_) | Kind::Bridge(_) | Kind::Dummy) | None => Some(bytes),
            }
        }
        Mtu::Kept => None,
        Mtu::Default => match link.kind {
            Some(Kind::Vlan { .. }) => below(draft, desired, link, depth),
            Some(Kind::Bond(_) | Kind::Dummy) if link.ours => Some(MTU_DEFAULT_BYTES),
            Some(Kind::Bridge(_)) if link.ours => Some(least_of_ports(draft, desired, link, depth)),
            Some(Kind::Bond(_) | Kind::Dummy | Kind::Bridge(_)) | None => link.former_mtu_bytes,
        },
    }
}

/// What a link will have.
fn outcome(draft: &Draft, desired: &[&Desired], link: &Link, depth: usize) -> Option<u32> {
    let depth = depth.checked_sub(1)?;
    let bytes = match link.master.and_then(|master| draft.at(master)) {
        Some(master) if draft.is_bond_port(link) => outcome(draft, desired, master, depth)?,
        Some(_) | None => target(draft, desired, link, depth).unwrap_or(link.mtu_bytes),
    };
    (bytes != MTU_UNKNOWN).then_some(bytes)
}

/// What the link below a VLAN will have.
fn below(draft: &Draft, desired: &[&Desired], link: &Link, depth: usize) -> Option<u32> {
    match link.kind {
        Some(Kind::Vlan { .. }) => outcome(draft, desired, draft.at(link.parent?)?, depth),
        Some(Kind::Bond(_) | Kind::Bridge(_) | Kind::Dummy) | None => None,
    }
}

fn least_of_ports(draft: &Draft, desired: &[&Desired], bridge: &Link, depth: usize) -> u32 {
    let ports = draft.links.iter().filter(|link| link.master == Some(bridge.index));
    ports.filter_map(|port| outcome(draft, desired, port, depth)).min().unwrap_or(MTU_DEFAULT_BYTES)
}
