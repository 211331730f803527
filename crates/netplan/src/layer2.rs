//! Links: which go, come, change, and belong to which.

use crate::Kind;
use crate::desired::Desired;
use crate::draft::Draft;
use crate::observed::Link;
use crate::plan::{Problem, is_there};

/// Removes links of ours that nobody wants any more, or not as they are. Those above them go along, and come back.
pub(crate) fn remove(draft: &mut Draft, desired: &[&Desired]) {
    let before = draft.links.clone();
    for link in before.iter().filter(|link| link.ours) {
        // Gone with the one below it.
        let Some(link) = draft.at(link.index).cloned() else { continue };
        let wanted = desired.iter().find(|wanted| wanted.name == link.name);
        if !wanted.is_some_and(|wanted| stays(draft, &before, desired, &link, wanted)) {
            draft.delete(&link);
        }
    }
}

fn stays(draft: &Draft, before: &[Link], desired: &[&Desired], link: &Link, wanted: &Desired) -> bool {
    let same_kind = match (link.kind, wanted.device.kind()) {
        (Some(is), Some(wanted)) => is.can_become(&wanted),
        (None, _) | (_, None) => false,
    };
    let parent = |name| draft.link(name).map(|parent| parent.index);
    same_kind
        && wanted.device.parent().is_none_or(|name| link.parent.is_some() && link.parent == parent(name))
        && !is_unaddressed(draft, before, desired, link, wanted)
}

/// A bridge that loses its last port has the hardware address 0 from then on, and so has a VLAN that is made above it: the
/// kernel never sets that up. Made anew, a bridge has an address of its own.
fn is_unaddressed(
    draft: &Draft,
    before: &[Link],
    desired: &[&Desired],
    link: &Link,
    wanted: &Desired,
) -> bool {
    let address = &link.hardware_address;
    let has_none = !address.is_empty() && address.iter().all(|octet| *octet == 0);
    let has_ports = before.iter().any(|port| port.master == Some(link.index));
    let keeps_none = !wanted.device.ports().iter().any(|port| is_there(draft, desired, port));
    has_none || matches!(link.kind, Some(Kind::Bridge(_))) && has_ports && keeps_none
}

/// Frees ports, makes links that are missing and changes those that can be changed, each with its ports: a VLAN above takes
/// the hardware address that its parent has then.
pub(crate) fn make(draft: &mut Draft, desired: &[&Desired], problems: &mut Vec<Problem>) {
    let claims = claims(draft, desired, problems);
    free(draft, &claims);
    for wanted in desired {
        let Some(kind) = wanted.device.kind() else { continue };
        match draft.link(&wanted.name) {
            Some(link) if link.kind != Some(kind) => draft.change(link.index, kind),
            Some(_) => {}
            None => {
                let parent = wanted.device.parent().and_then(|name| draft.link(name)).cloned();
                if wanted.device.parent().is_none() || parent.is_some() {
                    draft.create(&wanted.name, kind, parent.as_ref());
                }
            }
        }
        let Some(master) = draft.link(&wanted.name).cloned() else { continue };
        for (port, _) in claims.iter().filter(|(_, master)| *master == wanted.name) {
            join(draft, port, &master);
        }
    }
}

/// Which link is to be a port of which, by name. The first claim counts.
fn claims<'a>(
    draft: &Draft,
    desired: &[&'a Desired],
    problems: &mut Vec<Problem>,
) -> Vec<(&'a str, &'a str)> {
    let mut claims: Vec<(&str, &str)> = Vec::new();
    for wanted in desired {
        for port in wanted.device.ports() {
            if !is_there(draft, desired, port) {
                problems.push(Problem::PortMissing { link: wanted.name.clone(), port: port.clone() });
            } else if claims.iter().all(|(claimed, _)| claimed != port) {
                claims.push((port, &wanted.name));
            }
        }
    }
    claims
}

fn free(draft: &mut Draft, claims: &[(&str, &str)]) {
    let stale = draft.links.iter().filter_map(|port| {
        let master = draft.at(port.master?)?;
        let claim = claims.iter().find(|(claimed, _)| *claimed == port.name).map(|(_, master)| *master);
        let is_right = claim == Some(master.name.as_str());
        (!is_right && (master.ours || claim.is_some())).then_some(port.index)
    });
    for port in stale.collect::<Vec<_>>() {
        draft.free(port);
    }
}

fn join(draft: &mut Draft, port: &str, master: &Link) {
    let Some(link) = draft.link(port).filter(|link| link.master != Some(master.index)) else { return };
    let (port, up) = (link.index, link.up);
    // bond_enslave() of the kernel refuses a link that is up.
    if up && matches!(master.kind, Some(Kind::Bond(_))) {
        draft.set_down(port);
    }
    draft.join(port, master);
}

/// Loopback, hardware and what is ours is up; the sysctl comes first, or the first advertisement is lost.
pub(crate) fn bring_up(draft: &mut Draft) {
    let wanted = draft.links.iter().filter(|link| link.is_usable() && !draft.is_bond_port(link));
    let wanted = wanted.filter(|link| link.accept_ra.is_some_and(|value| value != 2));
    for index in wanted.map(|link| link.index).collect::<Vec<_>>() {
        draft.accept_ra(index);
    }
    // A VLAN cannot be up while the link below it is down.
    let mut down: Vec<(usize, u32)> = draft
        .links
        .iter()
        .filter(|link| (link.is_usable() || link.loopback) && !link.up)
        .map(|link| (height(draft, link), link.index))
        .collect();
    down.sort_by_key(|(height, _)| *height);
    for (_, index) in down {
        draft.set_up(index);
    }
}

/// How many links a VLAN stands on.
fn height(draft: &Draft, link: &Link) -> usize {
    let below = |link: &Link| match link.kind {
        Some(Kind::Vlan { .. }) => link.parent.and_then(|parent| draft.at(parent)),
        Some(Kind::Bond(_) | Kind::Bridge(_) | Kind::Dummy) | None => None,
    };
    std::iter::successors(below(link), |link| below(link)).take(draft.links.len()).count()
}
