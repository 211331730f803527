//! What a plan promises.

use std::net::IpAddr;

use crate::{Addressing, Desired, Kind, Link, Observed, Operation, Origin, Prefix};

/// Addresses of ours that a link has and is to have, and that no change which the kernel makes it pay for touches.
#[must_use]
pub fn kept(observed: &Observed, desired: &[Desired], operations: &[Operation]) -> Vec<(String, Prefix)> {
    let disturbed: Vec<&str> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::DeleteLink { link, .. }
            | Operation::SetDown { link }
            | Operation::SetMaster { link, .. } => Some(link.as_str()),
            _ => None,
        })
        .collect();
    let deleted = |name: &str| {
        operations
            .iter()
            .any(|operation| matches!(operation, Operation::DeleteLink { link, .. } if link == name))
    };
    // A link with all that it stands on as a VLAN.
    let column = |link: &Link| {
        let mut column = vec![link.clone()];
        while let Some(parent) = column.last().and_then(|link| {
            let parent = link.parent.filter(|_| matches!(link.kind, Some(Kind::Vlan { .. })))?;
            observed.links.iter().find(|below| below.index == parent)
        }) {
            column.push(parent.clone());
        }
        column
    };
    // A master that is deleted frees its ports, and a bond sets them down.
    let master_goes = |link: &Link| {
        let master = link.master.and_then(|master| observed.links.iter().find(|link| link.index == master));
        master.is_some_and(|master| {
            deleted(&master.name) || column(master).iter().any(|below| deleted(&below.name))
        })
    };
    let kept = observed.addresses.iter().filter(|seen| seen.origin == Origin::Ours).filter_map(|seen| {
        let link = observed.links.iter().find(|link| link.index == seen.link)?;
        let wanted = desired.iter().find(|wanted| wanted.name == link.name)?;
        let addresses = match &wanted.addressing {
            Addressing::Undecided => return None,
            Addressing::Exactly { addresses, .. } => addresses,
        };
        let column = column(link);
        let stays = match seen.prefix.address {
            IpAddr::V4(_) => column.iter().all(|below| !deleted(&below.name)),
            IpAddr::V6(_) => {
                column.iter().all(|below| !disturbed.contains(&below.name.as_str()) && !master_goes(below))
            }
        };
        (addresses.contains(&seen.prefix) && stays).then(|| (link.name.clone(), seen.prefix))
    });
    kept.collect()
}
