//! What is to be said of the clock. Pure.

use std::time::Duration;

use config::TimeProtocol;
use resource::spec::TimeServer as Published;

use super::{Wanted, observe::Observed};
use crate::health::Status;

/// How long configured servers may be silent before that is a fault: longer than a release has to prove healthy, so that
/// none is taken back for an outage of the uplink.
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);
/// Polls without an answer after which a server counts as out of reach.
const UNANSWERED_MAX: u32 = 3;

/// How things stand.
pub struct View<'a> {
    /// Who is asked.
    pub wanted: &'a Wanted,
    /// What the daemon says; nothing when it does not run or does not answer.
    pub observed: Option<&'a Observed>,
    /// Why the daemon does not do as it should.
    pub failure: Option<&'a str>,
    /// How long these servers have been asked.
    pub waited: Duration,
}

/// The condition "time".
pub fn condition(view: &View<'_>) -> (Status, &'static str, String) {
    if let Some(failure) = view.failure {
        return (
            Status::Unhealthy,
            "NotObeyed",
            format!("the time daemon does not do as configured: {failure}"),
        );
    }
    if view.wanted.servers.is_empty() {
        return (Status::Healthy, "NoServers", String::new());
    }
    if view.observed.is_some_and(Observed::is_synchronized) {
        return (Status::Healthy, "Synchronized", String::new());
    }
    if !view.wanted.configured || view.waited < SILENCE_MAX {
        return (Status::Healthy, "NotSynchronized", String::new());
    }
    let names: Vec<String> = view.wanted.servers.iter().map(ToString::to_string).collect();
    let message = format!(
        "no time from {} for {} min: the clock is as the hardware has it; see `osctl get timeservers` and `osctl logs ntp`",
        names.join(", "),
        view.waited.as_secs() / 60
    );
    (Status::Unhealthy, "NotSynchronized", message)
}

/// The servers as resources.
pub fn resources(view: &View<'_>) -> Vec<(String, Published)> {
    let servers = view.wanted.servers.iter();
    servers.map(|server| (server.to_string(), published(view, server))).collect()
}

fn published(view: &View<'_>, server: &config::TimeServer) -> Published {
    let authority = server.authority();
    let found =
        view.observed.and_then(|observed| observed.sources.iter().find(|found| found.name == authority));
    let milliseconds = |seconds: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and no clock is so wrong")]
        let milliseconds = (seconds * 1000.0).round() as i64;
        milliseconds
    };
    Published {
        origin: if view.wanted.configured { "configuration" } else { "dhcp" }.to_owned(),
        authenticated: server.protocol == TimeProtocol::Nts,
        reachable: found.is_some_and(|found| found.unanswered_polls < UNANSWERED_MAX),
        synchronized: view.observed.is_some_and(Observed::is_synchronized),
        address: found.map(|found| found.address.clone()).unwrap_or_default(),
        offset_ms: found.map(|found| milliseconds(found.offset)),
        delay_ms: found.map(|found| milliseconds(found.delay)),
    }
}

#[cfg(test)]
mod tests {
    use config::TimeServer;

    use super::super::observe::tests::{lost, observed};
    use super::*;

    fn wanted(configured: bool) -> Wanted {
        Wanted { servers: vec![TimeServer::plain("192.0.2.1")], configured }
    }

    fn judged(wanted: &Wanted, observed: Option<&Observed>, waited_s: u64) -> (Status, &'static str) {
        let waited = Duration::from_secs(waited_s);
        let (status, reason, _) = condition(&View { wanted, observed, failure: None, waited });
        (status, reason)
    }

    #[test]
    fn only_configured_servers_that_stay_silent_are_a_fault() {
        let (right, wrong) = (observed(), lost());
        assert_eq!(judged(&Wanted::default(), None, 9_999), (Status::Healthy, "NoServers"));
        assert_eq!(judged(&wanted(true), Some(&right), 9_999), (Status::Healthy, "Synchronized"));
        assert_eq!(judged(&wanted(true), Some(&wrong), 60), (Status::Healthy, "NotSynchronized"));
        assert_eq!(judged(&wanted(true), Some(&wrong), 901), (Status::Unhealthy, "NotSynchronized"));
        assert_eq!(judged(&wanted(true), None, 901), (Status::Unhealthy, "NotSynchronized"));
        assert_eq!(judged(&wanted(false), None, 901), (Status::Healthy, "NotSynchronized"));
    }

    #[test]
    fn a_daemon_that_does_not_obey_is_a_fault() {
        let view =
            View { wanted: &wanted(false), observed: None, failure: Some("why"), waited: Duration::ZERO };
        let (status, reason, message) = condition(&view);
        assert_eq!((status, reason), (Status::Unhealthy, "NotObeyed"));
        assert!(message.contains("why"));
    }

    #[test]
    fn a_server_is_published_with_what_was_heard_of_it() {
        let (wanted, observed) = (wanted(true), observed());
        let view = View { wanted: &wanted, observed: Some(&observed), failure: None, waited: Duration::ZERO };
        let [(id, server)] = resources(&view).try_into().unwrap();
        assert_eq!(id, "ntp://192.0.2.1:123");
        assert_eq!((server.reachable, server.authenticated, server.offset_ms), (true, false, Some(-2)));
        let silent = View { observed: None, ..view };
        let [(_, server)] = resources(&silent).try_into().unwrap();
        assert_eq!((server.reachable, server.offset_ms), (false, None));
    }
}
