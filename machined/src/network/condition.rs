//! How the network stands, in words. Pure.

use dhcp::{ReplyError, State};

use crate::health::Status;

/// Seconds without an answer after which someone should look.
const UNANSWERED_S: u64 = 4;

/// What the judgement rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The uplink; `None` when there is no physical link.
    pub uplink: Option<Uplink>,
    /// The node has just started, so links may still negotiate.
    pub starting: bool,
    /// What the kernel refused.
    pub failure: Option<String>,
}

/// The link that is asked for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// Whether it has carrier.
    pub carrier: bool,
    /// Where the client stands.
    pub state: State,
    /// Whether a lease is in use.
    pub leased: bool,
    /// Seconds since a question stands unanswered.
    pub asking_s: Option<u64>,
    /// Why the last reply was rejected.
    pub rejected: Option<ReplyError>,
}

/// Status, stable reason, message.
pub type Judgement = (Status, &'static str, String);

/// Judges the network.
pub fn judge(view: &View) -> Judgement {
    let waits_or = if view.starting { Status::Progressing } else { Status::Unhealthy };
    let Some(uplink) = &view.uplink else {
        return (
            waits_or,
            "NoLink",
            "no Ethernet link found: its driver may be missing, see `osctl dmesg`".into(),
        );
    };
    let name = &uplink.name;
    if !uplink.carrier {
        let kept = if uplink.leased { "; the last lease stays in use" } else { "" };
        return (waits_or, "NoCarrier", format!("{name} has no carrier{kept}: check cable and switch port"));
    }
    let waited_s = uplink.asking_s.unwrap_or(0);
    let rejected = uplink.rejected.map_or(String::new(), |error| format!(" (one was rejected: {error})"));
    match uplink.state {
        State::Bound | State::Renewing => match &view.failure {
            None => (Status::Healthy, "Bound", String::new()),
            Some(failure) => {
                let message = format!("{failure}; tried again until it succeeds, see `osctl dmesg`");
                (Status::Unhealthy, "NotConfigured", message)
            }
        },
        State::Rebinding | State::Rebooting | State::InitReboot if uplink.leased => {
            let message = format!(
                "no DHCP server confirmed the lease for {waited_s} s on {name}{rejected}; it stays in use until it ends"
            );
            (Status::Progressing, "LeaseUnconfirmed", message)
        }
        State::Init => {
            let message =
                format!("DHCP servers on {name} refuse this node{rejected}: check their address pools");
            (Status::Unhealthy, "LeaseRefused", message)
        }
        State::Selecting | State::Requesting | State::InitReboot | State::Rebooting | State::Rebinding
            if waited_s < UNANSWERED_S =>
        {
            (Status::Progressing, "WaitingForLease", format!("asking for a lease on {name}"))
        }
        State::Selecting | State::Requesting | State::InitReboot | State::Rebooting | State::Rebinding => {
            let message = format!(
                "no DHCP server answered for {waited_s} s on {name}{rejected}: check cable/VLAN or configure a static address"
            );
            (Status::Unhealthy, "NoDhcpServer", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink(state: State) -> Uplink {
        Uplink { name: "eth0".into(), carrier: true, state, leased: false, asking_s: None, rejected: None }
    }

    fn reason(uplink: Option<Uplink>, starting: bool) -> (Status, &'static str) {
        let (status, reason, _) = judge(&View { uplink, starting, failure: None });
        (status, reason)
    }

    #[test]
    fn reasons() {
        use Status::{Healthy, Progressing, Unhealthy};
        let dead = || Uplink { carrier: false, ..uplink(State::Init) };
        let asking = |state, asking_s| Uplink { asking_s: Some(asking_s), ..uplink(state) };
        for (uplink, starting, expected) in [
            (None, true, (Progressing, "NoLink")),
            (None, false, (Unhealthy, "NoLink")),
            (Some(dead()), true, (Progressing, "NoCarrier")),
            (Some(dead()), false, (Unhealthy, "NoCarrier")),
            (Some(asking(State::Selecting, 0)), false, (Progressing, "WaitingForLease")),
            (Some(asking(State::Selecting, 12)), false, (Unhealthy, "NoDhcpServer")),
            (Some(asking(State::Requesting, 4)), true, (Unhealthy, "NoDhcpServer")),
            (Some(asking(State::Rebooting, 4)), true, (Unhealthy, "NoDhcpServer")),
            (Some(uplink(State::Bound)), false, (Healthy, "Bound")),
            (Some(asking(State::Renewing, 99)), false, (Healthy, "Bound")),
            (
                Some(Uplink { leased: true, ..asking(State::Rebinding, 99) }),
                false,
                (Progressing, "LeaseUnconfirmed"),
            ),
            (Some(uplink(State::Init)), false, (Unhealthy, "LeaseRefused")),
        ] {
            assert_eq!(reason(uplink.clone(), starting), expected, "{uplink:?}");
        }
    }

    #[test]
    fn a_lease_that_is_not_in_force_is_not_health() {
        let view = |state| View {
            uplink: Some(Uplink { asking_s: Some(9), ..uplink(state) }),
            starting: false,
            failure: Some("cannot add 192.0.2.7/24 to link 2: refused".into()),
        };
        let (status, reason, message) = judge(&view(State::Bound));
        assert_eq!((status, reason), (Status::Unhealthy, "NotConfigured"));
        assert!(message.starts_with("cannot add 192.0.2.7/24 to link 2: refused; "), "{message}");
        assert_eq!(judge(&view(State::Selecting)).1, "NoDhcpServer", "what is missing first is said first");
    }

    #[test]
    fn the_message_says_how_long_and_what_was_wrong() {
        let uplink =
            Uplink { asking_s: Some(28), rejected: Some(ReplyError::LeaseTime), ..uplink(State::Selecting) };
        let (_, _, message) = judge(&View { uplink: Some(uplink), starting: false, failure: None });
        assert_eq!(
            message,
            "no DHCP server answered for 28 s on eth0 (one was rejected: lease time is missing or shorter than 10 s): \
             check cable/VLAN or configure a static address"
        );
    }
}
