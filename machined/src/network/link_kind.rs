//! What a link is made of, from the kernel's description.

use netplan::{Bond, BondMode, Bridge, HashPolicy, Kind, LacpRate};
use rtnetlink::packet_route::link::{
    BondLacpRate, BondMode as KernelBondMode, BondXmitHashPolicy, BridgeStpState, InfoBond, InfoBridge,
    InfoData, InfoKind, InfoVlan, LinkInfo,
};

/// The kind, if it is one that Cairn can make.
pub fn decode(info: &[LinkInfo]) -> Option<Kind> {
    let data = info.iter().find_map(|part| match part {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    let kind = info.iter().find_map(|part| match part {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    match (kind, data) {
        (InfoKind::Dummy, _) => Some(Kind::Dummy),
        (InfoKind::Vlan, Some(InfoData::Vlan(infos))) => {
            let id = infos.iter().find_map(|info| match info {
                InfoVlan::Id(id) => Some(*id),
                _ => None,
            });
            id.map(|id| Kind::Vlan { id })
        }
        (InfoKind::Bond, Some(InfoData::Bond(infos))) => Some(Kind::Bond(bond(infos)?)),
        (InfoKind::Bridge, Some(InfoData::Bridge(infos))) => Some(Kind::Bridge(bridge(infos))),
        _ => None,
    }
}

fn bond(infos: &[InfoBond]) -> Option<Bond> {
    let (mut mode, mut monitor_interval_ms) = (None, 0);
    let (mut rate, mut hash) = (LacpRate::Slow, HashPolicy::Layer2);
    for info in infos {
        match info {
            InfoBond::Mode(found) => mode = Some(*found),
            InfoBond::MiiMon(interval_ms) => monitor_interval_ms = *interval_ms,
            InfoBond::AdLacpRate(BondLacpRate::Fast) => rate = LacpRate::Fast,
            InfoBond::XmitHashPolicy(policy) => {
                hash = match *policy {
                    BondXmitHashPolicy::Layer2 => HashPolicy::Layer2,
                    BondXmitHashPolicy::Layer23 => HashPolicy::Layer23,
                    BondXmitHashPolicy::Layer34 => HashPolicy::Layer34,
                    other => HashPolicy::Other(other.into()),
                }
            }
            _ => {}
        }
    }
    let mode = match mode? {
        KernelBondMode::ActiveBackup => BondMode::ActiveBackup,
        KernelBondMode::Ieee8023Ad => BondMode::Lacp { rate, hash },
        other => BondMode::Other(other.into()),
    };
    Some(Bond { mode, monitor_interval_ms })
}

fn bridge(infos: &[InfoBridge]) -> Bridge {
    let (mut speaks, mut delay) = (false, 0);
    for info in infos {
        match info {
            InfoBridge::StpState(state) => speaks = *state != BridgeStpState::Disabled,
            InfoBridge::ForwardDelay(found) => delay = *found,
            _ => {}
        }
    }
    Bridge { spanning_tree: speaks.then_some(delay) }
}
