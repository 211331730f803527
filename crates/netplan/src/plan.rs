//! The order of all changes.

use std::fmt;

use crate::desired::{Desired, Device};
use crate::draft::Draft;
use crate::observed::Observed;
use crate::operation::Operation;
use crate::{layer2, layer3, mtu};

/// What is to be done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub operations: Vec<Operation>,
    /// What of the desired state is left out, and why.
    pub problems: Vec<Problem>,
}

/// Why a part of the desired state is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No hardware has this name.
    Missing {
        /// The name.
        link: String,
    },
    /// Someone else's link has the name.
    NameTaken {
        /// The name.
        link: String,
        /// What has it.
        kind: String,
    },
    /// The link below a VLAN is not there.
    ParentMissing {
        /// The VLAN.
        link: String,
        /// The link below.
        parent: String,
    },
    /// A port is not there; the others are used.
    PortMissing {
        /// The bond or bridge.
        link: String,
        /// The port.
        port: String,
    },
    /// A link that would stand on itself.
    Loop {
        /// One of the links.
        link: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { link } => write!(out, "no link is called {link}"),
            Self::NameTaken { link, kind } => {
                write!(out, "{link} cannot be made: a link that is not Cairn's has the name (kind {kind})")
            }
            Self::ParentMissing { link, parent } => {
                write!(out, "{link} cannot be made: the link {parent} below it is not there")
            }
            Self::PortMissing { link, port } => write!(out, "{port}, a port of {link}, is not there"),
            Self::Loop { link } => write!(out, "{link} cannot be made: it would stand on itself"),
        }
    }
}

/// The changes that lead from what is to what should be, in the order to make them.
///
/// Links first, lower before upper; then addresses that are missing, routes, and last the addresses that are too much: an
/// address that stays on a link that stays is never away, but for what docs/networking.md lists.
#[must_use]
pub fn plan(observed: &Observed, desired: &[Desired]) -> Plan {
    let mut draft = Draft::new(observed);
    let mut problems = Vec::new();
    let desired = feasible(&draft, desired, &mut problems);
    layer2::remove(&mut draft, &desired);
    layer2::make(&mut draft, &desired, &mut problems);
    mtu::set(&mut draft, &desired);
    layer2::bring_up(&mut draft);
    layer3::plan(&mut draft, &desired);
    Plan { operations: draft.operations, problems }
}

/// What can be had, lower links before those above them.
fn feasible<'a>(draft: &Draft, desired: &'a [Desired], problems: &mut Vec<Problem>) -> Vec<&'a Desired> {
    let mut waiting: Vec<&Desired> = Vec::new();
    let mut placed: Vec<&Desired> = Vec::new();
    for link in desired {
        let found = draft.link(&link.name);
        match (&link.device, found) {
            (Device::Hardware, Some(found)) if found.physical => placed.push(link),
            (Device::Hardware, Some(_) | None) => problems.push(Problem::Missing { link: link.name.clone() }),
            (_, Some(found)) if !found.ours => {
                let kind = found.kind_name.clone();
                problems.push(Problem::NameTaken { link: link.name.clone(), kind });
            }
            (_, Some(_) | None) => waiting.push(link),
        }
    }
    loop {
        let names: Vec<&str> = waiting.iter().map(|link| link.name.as_str()).collect();
        let stands = |name: &str| !names.contains(&name);
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.iter().copied().partition(|link| {
            link.device.parent().is_none_or(stands) && link.device.ports().iter().all(|port| stands(port))
        });
        if ready.is_empty() {
            problems.extend(rest.iter().map(|link| Problem::Loop { link: link.name.clone() }));
            return placed;
        }
        for link in ready {
            match link.device.parent().filter(|parent| !is_there(draft, &placed, parent)) {
                Some(parent) => problems
                    .push(Problem::ParentMissing { link: link.name.clone(), parent: parent.to_owned() }),
                None => placed.push(link),
            }
        }
        waiting = rest;
    }
}

/// Whether a link is hardware, or one that we make.
pub(crate) fn is_there(draft: &Draft, placed: &[&Desired], name: &str) -> bool {
    placed.iter().any(|link| link.name == name) || draft.link(name).is_some_and(|link| link.physical)
}
