//! What the condition `logging` says of the log servers. Pure.

use super::{States, server::State};
use crate::health::Status;

/// Status, reason and message.
pub fn of(states: &States) -> (Status, &'static str, String) {
    let troubles: Vec<String> = states
        .iter()
        .filter_map(|(destination, state)| match state {
            State::Unreachable { reason, dropped: 0 } => Some(format!("{destination}: {reason}")),
            State::Unreachable { reason, dropped } => {
                Some(format!("{destination}: {reason}; {dropped} lines were dropped"))
            }
            State::Connecting | State::Reachable => None,
        })
        .collect();
    if !troubles.is_empty() {
        (Status::Unhealthy, "Unreachable", troubles.join(". "))
    } else if states.values().any(|state| *state == State::Connecting) {
        (Status::Progressing, "Connecting", "no log server has answered yet".into())
    } else if states.is_empty() {
        (Status::Healthy, "NotConfigured", String::new())
    } else {
        (Status::Healthy, "Sending", String::new())
    }
}

#[cfg(test)]
mod tests {
    use config::{LogDestination, Transport};

    use super::*;

    #[test]
    fn the_servers_that_cannot_be_reached_are_named() {
        let destination = |port| LogDestination { transport: Transport::Tcp, host: "192.0.2.9".into(), port };
        let mut states = States::new();
        assert_eq!(of(&states), (Status::Healthy, "NotConfigured", String::new()));
        states.insert(destination(1), State::Connecting);
        states.insert(destination(2), State::Reachable);
        assert_eq!(of(&states).1, "Connecting");
        let unreachable = |dropped| State::Unreachable { reason: "refused".into(), dropped };
        states.insert(destination(1), unreachable(0));
        assert_eq!(of(&states), (Status::Unhealthy, "Unreachable", "tcp://192.0.2.9:1: refused".into()));
        states.insert(destination(3), unreachable(7));
        assert_eq!(
            of(&states).2,
            "tcp://192.0.2.9:1: refused. tcp://192.0.2.9:3: refused; 7 lines were dropped"
        );
        states.retain(|destination, _| destination.port == 2);
        assert_eq!(of(&states), (Status::Healthy, "Sending", String::new()));
    }
}
