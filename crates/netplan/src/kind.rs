//! What a link is made of, where Cairn can make it.

use std::fmt;

/// A kind of link with what is set of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IEEE 802.1Q, above its parent.
    Vlan {
        /// 1 to 4094.
        id: u16,
    },
    /// Several links as one.
    Bond(Bond),
    /// A switch.
    Bridge(Bridge),
    /// A link that leads nowhere.
    Dummy,
}

/// Settings of a bond (kernel doc: networking/bonding.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    /// How its ports share the traffic.
    pub mode: BondMode,
    /// Between looks at the ports' carriers, in milliseconds (`miimon`).
    pub monitor_interval_ms: u32,
}

/// How the ports of a bond share the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BondMode {
    /// One port at a time carries all.
    ActiveBackup,
    /// IEEE 802.3ad (LACP): the switch takes part.
    Lacp {
        /// How often the partner is asked to speak.
        rate: LacpRate,
        /// What decides which port a packet leaves by.
        hash: HashPolicy,
    },
    /// One that Cairn never makes, by the kernel's number.
    Other(u8),
}

/// How often the partner of a bond is asked to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LacpRate {
    /// Every 30 s.
    Slow,
    /// Every second.
    Fast,
}

/// What decides which port of a bond a packet leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashPolicy {
    /// Hardware addresses.
    Layer2,
    /// Hardware and IP addresses.
    Layer23,
    /// IP addresses and ports.
    Layer34,
    /// One that Cairn never sets, by the kernel's number.
    Other(u8),
}

/// Settings of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Whether it speaks the spanning tree protocol; if so, how long a new port listens and learns, each, in
    /// hundredths of a second (IEEE 802.1D: 2 s to 30 s).
    pub spanning_tree: Option<u32>,
}

impl Kind {
    /// The kernel's name for the kind.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Vlan { .. } => "vlan",
            Self::Bond(_) => "bond",
            Self::Bridge(_) => "bridge",
            Self::Dummy => "dummy",
        }
    }

    /// Whether a link of this kind can become one of kind `other` without being made anew.
    ///
    /// The kernel takes another mode only of a bond without ports and another LACP rate only of one that is down; either
    /// would take the links above along. It never takes another id of a VLAN.
    pub(crate) fn can_become(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vlan { id }, Self::Vlan { id: other }) => id == other,
            (Self::Bond(one), Self::Bond(other)) => match (one.mode, other.mode) {
                (BondMode::ActiveBackup, BondMode::ActiveBackup) => true,
                (BondMode::Lacp { rate, .. }, BondMode::Lacp { rate: other, .. }) => rate == other,
                (BondMode::ActiveBackup | BondMode::Lacp { .. } | BondMode::Other(_), _) => false,
            },
            (Self::Bridge(_), Self::Bridge(_)) | (Self::Dummy, Self::Dummy) => true,
            (Self::Vlan { .. } | Self::Bond(_) | Self::Bridge(_) | Self::Dummy, _) => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vlan { id } => write!(out, "VLAN {id}"),
            Self::Bond(Bond { mode, .. }) => write!(out, "{mode} bond"),
            Self::Bridge(_) => out.write_str("bridge"),
            Self::Dummy => out.write_str("dummy"),
        }
    }
}

impl fmt::Display for BondMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActiveBackup => out.write_str("active-backup"),
            Self::Lacp { .. } => out.write_str("802.3ad"),
            Self::Other(number) => write!(out, "mode {number}"),
        }
    }
}

impl fmt::Display for LacpRate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Slow => "slow",
            Self::Fast => "fast",
        })
    }
}

impl fmt::Display for HashPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer2 => out.write_str("layer2"),
            Self::Layer23 => out.write_str("layer2+3"),
            Self::Layer34 => out.write_str("layer3+4"),
            Self::Other(number) => write!(out, "policy {number}"),
        }
    }
}
