//! How the network stands, in words. Pure.

use dhcp::{ReplyError, State};

use super::intent::Fault;
use crate::health::Status;

/// Seconds without an answer after which someone should look.
const UNANSWERED_S: u64 = 4;

/// What the judgement rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Links that are to have addresses.
    pub links: Vec<Link>,
    /// Why documents are not obeyed.
    pub faults: Vec<Fault>,
    /// Links that could be named.
    pub candidates: Vec<String>,
    /// The node has just started, so links may still negotiate.
    pub starting: bool,
    /// What the kernel refused.
    pub failure: Option<String>,
}

/// A link that is to have addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// From a server.
    Dhcp(Uplink),
    /// From the configuration.
    Static {
        /// Its name.
        name: String,
        /// Whether it has carrier.
        carrier: bool,
    },
}

/// A link that is asked for a lease.
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

/// Judges the network: as its worst link stands.
pub fn judge(view: &View) -> Judgement {
    let waits_or = if view.starting { Status::Progressing } else { Status::Unhealthy };
    if let Some(judgement) = faults(view, waits_or) {
        return judgement;
    }
    let judged = view.links.iter().map(|link| judge_link(link, waits_or));
    let Some(worst) = judged.reduce(worse) else {
        return (
            waits_or,
            "NoLink",
            "no Ethernet link found: its driver may be missing, see `osctl dmesg`".into(),
        );
    };
    match &view.failure {
        Some(failure) if worst.0 == Status::Healthy => {
            let message = format!("{failure}; tried again until it succeeds, see `osctl dmesg`");
            (Status::Unhealthy, "NotConfigured", message)
        }
        Some(_) | None => worst,
    }
}

/// What is missing may still come; two of a name stay two.
fn faults(view: &View, waits_or: Status) -> Option<Judgement> {
    let first = view.faults.first()?;
    let messages: Vec<&str> = view.faults.iter().map(Fault::message).collect();
    let exist = match view.candidates.as_slice() {
        [] => "no Ethernet link exists".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    let message = format!("{}; {exist}", messages.join("; "));
    Some(match first {
        Fault::Missing(_) => (waits_or, "LinkMissing", message),
        Fault::Conflict(_) => (Status::Unhealthy, "LinkConflict", message),
    })
}

/// The first of the worst.
fn worse(one: Judgement, other: Judgement) -> Judgement {
    let rank = |judgement: &Judgement| match judgement.0 {
        Status::Healthy => 0,
        Status::Progressing => 1,
        Status::Unhealthy => 2,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

fn judge_link(link: &Link, waits_or: Status) -> Judgement {
    let (name, carrier, kept) = match link {
        Link::Dhcp(uplink) if uplink.leased => {
            (&uplink.name, uplink.carrier, "; the last lease stays in use")
        }
        Link::Dhcp(uplink) => (&uplink.name, uplink.carrier, ""),
        Link::Static { name, carrier } => (name, *carrier, ""),
    };
    if !carrier {
        return (waits_or, "NoCarrier", format!("{name} has no carrier{kept}: check cable and switch port"));
    }
    match link {
        Link::Dhcp(uplink) => judge_uplink(uplink),
        Link::Static { .. } => (Status::Healthy, "Static", String::new()),
    }
}

fn judge_uplink(uplink: &Uplink) -> Judgement {
    let name = &uplink.name;
    let waited_s = uplink.asking_s.unwrap_or(0);
    let rejected = uplink.rejected.map_or(String::new(), |error| format!(" (one was rejected: {error})"));
    match uplink.state {
        State::Bound | State::Renewing => (Status::Healthy, "Bound", String::new()),
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
        let (status, reason, _) = judge(&View { starting, ..view(uplink.map(Link::Dhcp)) });
        (status, reason)
    }

    fn view(links: impl IntoIterator<Item = Link>) -> View {
        let links = links.into_iter().collect();
        View { links, faults: vec![], candidates: vec![], starting: false, failure: None }
    }

    fn fixed(carrier: bool) -> Link {
        Link::Static { name: "eth1".into(), carrier }
    }

    #[test]
    fn the_worst_link_counts() {
        let bound = || Link::Dhcp(uplink(State::Bound));
        let waits = || Link::Dhcp(Uplink { asking_s: Some(0), ..uplink(State::Selecting) });
        for (links, expected) in [
            (vec![fixed(true)], "Static"),
            (vec![bound(), fixed(true)], "Bound"),
            (vec![fixed(true), waits()], "WaitingForLease"),
            (vec![waits(), fixed(false), bound()], "NoCarrier"),
        ] {
            assert_eq!(judge(&view(links)).1, expected);
        }
    }

    #[test]
    fn a_link_that_is_missing_is_named_with_those_that_exist() {
        let missing = |candidates: &[&str]| {
            let candidates = candidates.iter().map(ToString::to_string).collect();
            let faults = vec![Fault::Missing("no link is called eth7".into())];
            judge(&View { faults, candidates, ..view([fixed(true)]) })
        };
        let expected = "no link is called eth7; there are: eth0, eth1";
        assert_eq!(missing(&["eth0", "eth1"]), (Status::Unhealthy, "LinkMissing", expected.to_owned()));
        assert_eq!(missing(&[]).2, "no link is called eth7; no Ethernet link exists");
        let faults = vec![Fault::Conflict("a and b".into()), Fault::Missing("c".into())];
        let (status, reason, message) = judge(&View { faults, starting: true, ..view([fixed(true)]) });
        assert_eq!((status, reason), (Status::Unhealthy, "LinkConflict"));
        assert_eq!(message, "a and b; c; no Ethernet link exists");
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
            failure: Some("cannot add 192.0.2.7/24 to link 2: refused".into()),
            ..view([Link::Dhcp(Uplink { asking_s: Some(9), ..uplink(state) })])
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
        let (_, _, message) = judge(&view([Link::Dhcp(uplink)]));
        assert_eq!(
            message,
            "no DHCP server answered for 28 s on eth0 (one was rejected: lease time is missing or shorter than 10 s): \
             check cable/VLAN or configure a static address"
        );
    }
}
