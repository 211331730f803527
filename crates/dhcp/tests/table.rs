//! Every state meets every event.

mod support;

use dhcp::{Action, Client, Event, Lease, State, StoredLease};
use dhcproto::v4::MessageType;
use support::{ADDRESS, LEASE_S, MAC, OTHER_SERVER, SERVER, decode, identity, reply, sent};

const ALL: [State; 8] = [
    State::Init,
    State::Selecting,
    State::Requesting,
    State::InitReboot,
    State::Rebooting,
    State::Bound,
    State::Renewing,
    State::Rebinding,
];

/// A client with the transaction that it waits on.
struct Case {
    client: Client,
    xid: u32,
    now_ms: u64,
}

impl Case {
    fn step(&mut self, event: Event<'_>) -> Vec<Action> {
        let actions = self.client.step(self.now_ms, event);
        if let Some(message) = sent(&actions) {
            self.xid = message.xid();
        }
        actions
    }

    fn receive(&mut self, kind: MessageType) -> Vec<Action> {
        let bytes = reply(kind, self.xid, SERVER, ADDRESS, LEASE_S);
        self.step(Event::Packet(&bytes))
    }

    fn fire(&mut self) -> Vec<Action> {
        self.now_ms = self.client.deadline_ms().unwrap();
        self.step(Event::Timer)
    }

    /// Brings a new client into `state` by the shortest way.
    fn reach(state: State) -> Self {
        let mut case = Self { client: Client::new(identity(), 1, 0, None), xid: 0, now_ms: 0 };
        let mut go = |steps: &[&str]| {
            for step in steps {
                match *step {
                    "up" => case.step(Event::CarrierUp),
                    "down" => case.step(Event::CarrierDown),
                    "offer" => case.receive(MessageType::Offer),
                    "ack" => case.receive(MessageType::Ack),
                    _ => case.fire(),
                };
            }
        };
        match state {
            State::Init => {}
            State::Selecting => go(&["up"]),
            State::Requesting => go(&["up", "offer"]),
            State::Bound => go(&["up", "offer", "ack"]),
            State::InitReboot => go(&["up", "offer", "ack", "down"]),
            State::Rebooting => go(&["up", "offer", "ack", "down", "up"]),
            State::Renewing => go(&["up", "offer", "ack", "timer"]),
            State::Rebinding => {
                go(&["up", "offer", "ack", "timer"]);
                while case.client.state() == State::Renewing {
                    case.fire();
                }
            }
        }
        assert_eq!(case.client.state(), state);
        case
    }
}

/// An action without its content.
fn name(action: &Action) -> &'static str {
    match action {
        Action::SendBroadcast(_) => "broadcast",
        Action::SendUnicast { .. } => "unicast",
        Action::Configure(_) => "configure",
        Action::Deconfigure => "deconfigure",
        Action::Persist(_) => "persist",
        Action::Forget => "forget",
        Action::SetTimer(_) => "timer",
        Action::StopTimer => "stop",
    }
}

type Row = (State, State, &'static [&'static str]);

fn check(event: &str, rows: [Row; 8], act: impl Fn(&mut Case) -> Vec<Action>) {
    let mut seen = Vec::new();
    for (from, to, expected) in rows {
        let mut case = Case::reach(from);
        let actions = act(&mut case);
        let names: Vec<&str> = actions.iter().map(name).collect();
        assert_eq!(names, expected, "{event} in {from:?}");
        assert_eq!(case.client.state(), to, "{event} in {from:?}");
        seen.push(from);
    }
    assert_eq!(seen, ALL, "every state has a row");
}

/// Nothing happens in any state.
fn check_ignored(event: &str, act: impl Fn(&mut Case) -> Vec<Action>) {
    check(event, ALL.map(|state| (state, state, &[][..])), act);
}

#[test]
fn carrier_up() {
    check(
        "carrier up",
        [
            (State::Init, State::Selecting, &["broadcast", "timer"]),
            (State::Selecting, State::Selecting, &[]),
            (State::Requesting, State::Requesting, &[]),
            (State::InitReboot, State::Rebooting, &["broadcast", "timer"]),
            (State::Rebooting, State::Rebooting, &[]),
            (State::Bound, State::Bound, &[]),
            (State::Renewing, State::Renewing, &[]),
            (State::Rebinding, State::Rebinding, &[]),
        ],
        |case| case.step(Event::CarrierUp),
    );
}

#[test]
fn carrier_down() {
    check(
        "carrier down",
        [
            (State::Init, State::Init, &[]),
            (State::Selecting, State::Init, &["stop"]),
            (State::Requesting, State::Init, &["stop"]),
            (State::InitReboot, State::InitReboot, &[]),
            (State::Rebooting, State::InitReboot, &["timer"]),
            (State::Bound, State::InitReboot, &["timer"]),
            (State::Renewing, State::InitReboot, &["timer"]),
            (State::Rebinding, State::InitReboot, &["timer"]),
        ],
        |case| case.step(Event::CarrierDown),
    );
}

#[test]
fn timer() {
    check(
        "timer",
        [
            (State::Init, State::Init, &[]),
            (State::Selecting, State::Selecting, &["broadcast", "timer"]),
            (State::Requesting, State::Requesting, &["broadcast", "timer"]),
            (State::InitReboot, State::Init, &["deconfigure", "stop"]),
            (State::Rebooting, State::Rebooting, &["broadcast", "timer"]),
            (State::Bound, State::Renewing, &["unicast", "timer"]),
            (State::Renewing, State::Renewing, &["unicast", "timer"]),
            (State::Rebinding, State::Rebinding, &["broadcast", "timer"]),
        ],
        |case| if case.client.deadline_ms().is_some() { case.fire() } else { case.step(Event::Timer) },
    );
}

#[test]
fn expiry() {
    check(
        "a timer after the lease's end",
        [
            (State::Init, State::Init, &[]),
            (State::Selecting, State::Selecting, &["broadcast", "timer"]),
            (State::Requesting, State::Requesting, &["broadcast", "timer"]),
            (State::InitReboot, State::Init, &["deconfigure", "stop"]),
            (State::Rebooting, State::Selecting, &["deconfigure", "broadcast", "timer"]),
            (State::Bound, State::Selecting, &["deconfigure", "broadcast", "timer"]),
            (State::Renewing, State::Selecting, &["deconfigure", "broadcast", "timer"]),
            (State::Rebinding, State::Selecting, &["deconfigure", "broadcast", "timer"]),
        ],
        |case| {
            case.now_ms = u64::from(LEASE_S) * 1000;
            case.step(Event::Timer)
        },
    );
}

#[test]
fn offer() {
    check(
        "offer",
        [
            (State::Init, State::Init, &[]),
            (State::Selecting, State::Requesting, &["broadcast", "timer"]),
            (State::Requesting, State::Requesting, &[]),
            (State::InitReboot, State::InitReboot, &[]),
            (State::Rebooting, State::Rebooting, &[]),
            (State::Bound, State::Bound, &[]),
            (State::Renewing, State::Renewing, &[]),
            (State::Rebinding, State::Rebinding, &[]),
        ],
        |case| case.receive(MessageType::Offer),
    );
}

#[test]
fn acknowledgement() {
    check(
        "acknowledgement",
        [
            (State::Init, State::Init, &[]),
            (State::Selecting, State::Selecting, &[]),
            (State::Requesting, State::Bound, &["configure", "persist", "timer"]),
            (State::InitReboot, State::InitReboot, &[]),
            (State::Rebooting, State::Bound, &["configure", "persist", "timer"]),
            (State::Bound, State::Bound, &[]),
            (State::Renewing, State::Bound, &["configure", "persist", "timer"]),
            (State::Rebinding, State::Bound, &["configure", "persist", "timer"]),
        ],
        |case| case.receive(MessageType::Ack),
    );
}

#[test]
fn refusal() {
    check(
        "refusal",
        [
            (State::Init, State::Init, &[]),
            (State::Selecting, State::Selecting, &[]),
            (State::Requesting, State::Selecting, &["broadcast", "timer"]),
            (State::InitReboot, State::InitReboot, &[]),
            (State::Rebooting, State::Selecting, &["deconfigure", "forget", "broadcast", "timer"]),
            (State::Bound, State::Bound, &[]),
            (State::Renewing, State::Selecting, &["deconfigure", "forget", "broadcast", "timer"]),
            (State::Rebinding, State::Selecting, &["deconfigure", "forget", "broadcast", "timer"]),
        ],
        |case| {
            case.now_ms += 1;
            case.receive(MessageType::Nak)
        },
    );
}

#[test]
fn another_server_counts_only_where_every_server_was_asked() {
    for kind in [MessageType::Ack, MessageType::Nak] {
        for state in [State::Requesting, State::Renewing] {
            let mut case = Case::reach(state);
            let bytes = reply(kind, case.xid, OTHER_SERVER, ADDRESS, LEASE_S);
            assert_eq!(case.step(Event::Packet(&bytes)), [], "{kind:?} in {state:?}");
        }
        for state in [State::Rebooting, State::Rebinding] {
            let mut case = Case::reach(state);
            let bytes = reply(kind, case.xid, OTHER_SERVER, ADDRESS, LEASE_S);
            assert_ne!(case.step(Event::Packet(&bytes)), [], "{kind:?} in {state:?}");
            assert_ne!(case.client.state(), state, "{kind:?} in {state:?}");
        }
    }
}

#[test]
fn what_is_not_for_us_is_ignored() {
    let altered = |alter: fn(&mut Vec<u8>)| {
        move |case: &mut Case| {
            let mut actions = Vec::new();
            for kind in [MessageType::Offer, MessageType::Ack, MessageType::Nak] {
                let mut bytes = reply(kind, case.xid, SERVER, ADDRESS, LEASE_S);
                alter(&mut bytes);
                actions.extend(case.step(Event::Packet(&bytes)));
            }
            actions
        }
    };
    check_ignored("another transaction", altered(|bytes| bytes[7] ^= 1));
    check_ignored("another hardware address", altered(|bytes| bytes[33] ^= 1));
    check_ignored("a hardware address of 255 bytes", altered(|bytes| bytes[2] = 255));
    check_ignored("a request", altered(|bytes| bytes[0] = 1));
    check_ignored("no magic number", altered(|bytes| bytes[236] = 0));
    check_ignored("half a message", altered(|bytes| bytes.truncate(200)));
    check_ignored("a jumbo message", altered(|bytes| bytes.resize(10_000, 0)));
    check_ignored("an early timer", |case| case.step(Event::Timer));
}

#[test]
fn an_acknowledgement_of_another_address_is_ignored() {
    for state in [State::Requesting, State::Rebooting, State::Renewing, State::Rebinding] {
        let mut case = Case::reach(state);
        let bytes = reply(MessageType::Ack, case.xid, SERVER, "192.0.2.77".parse().unwrap(), LEASE_S);
        assert_eq!(case.step(Event::Packet(&bytes)), [], "{state:?}");
    }
}

#[test]
fn a_stored_lease_waits_for_carrier_and_is_used_without() {
    let mut bound = Case::reach(State::Requesting);
    let lease = granted(&bound.receive(MessageType::Ack));
    let stored = StoredLease { lease, granted_unix_s: 1000 };
    let client = Client::new(identity(), 3, 50, Some((&stored, 1000 + 600)));
    let mut case = Case { client, xid: 0, now_ms: 50 };
    assert_eq!(case.client.state(), State::InitReboot);
    assert_eq!(case.client.lease(), None);
    let actions = case.fire();
    assert!(
        matches!(&actions[..], [Action::Configure(lease), Action::SetTimer(3_000_050)] if lease.address == ADDRESS)
    );
    let actions = case.step(Event::CarrierUp);
    let message = sent(&actions).unwrap();
    assert_eq!(message.chaddr(), MAC);
    assert_eq!(case.client.state(), State::Rebooting);
    assert_eq!(case.client.lease().unwrap().address, ADDRESS);
}

#[test]
fn an_expired_stored_lease_only_suggests_its_address() {
    let lease = granted(&Case::reach(State::Requesting).receive(MessageType::Ack));
    let stored = StoredLease { lease, granted_unix_s: 1000 };
    let mut client = Client::new(identity(), 3, 0, Some((&stored, 1000 + 3600)));
    assert_eq!(client.state(), State::Init);
    let discover = sent(&client.step(0, Event::CarrierUp)).unwrap();
    let suggested = discover.opts().get(dhcproto::v4::OptionCode::RequestedIpAddress);
    assert_eq!(suggested, Some(&dhcproto::v4::DhcpOption::RequestedIpAddress(ADDRESS)));
}

fn granted(actions: &[Action]) -> Lease {
    actions
        .iter()
        .find_map(|a| if let Action::Persist(lease) = a { Some(lease.clone()) } else { None })
        .unwrap()
}

#[test]
fn renewals_are_unicast_from_the_address_in_use() {
    let mut case = Case::reach(State::Bound);
    let actions = case.fire();
    let Some(Action::SendUnicast { message, server }) = actions.first() else { panic!("{actions:?}") };
    assert_eq!(*server, SERVER);
    assert_eq!(decode(message).ciaddr(), ADDRESS);
}
