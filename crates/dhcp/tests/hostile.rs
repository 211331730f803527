//! A network that sends anything at any time: no panic, bounded traffic, timers that always advance.

mod support;

use dhcp::{Action, Client, Event, State};
use dhcproto::v4::MessageType;
use proptest::prelude::*;
use support::{ADDRESS, MAC, SERVER, identity, reply, sent};

#[derive(Clone, Debug)]
enum Input {
    Up,
    Down,
    Timer {
        late_ms: u64,
    },
    Noise(Vec<u8>),
    /// A reply to the present transaction with options and single bytes of the attacker's choice.
    Reply {
        kind: u8,
        options: Vec<(u8, Vec<u8>)>,
        flips: Vec<(u16, u8)>,
    },
    Proper {
        kind: u8,
        lease_s: u32,
    },
}

fn input() -> impl Strategy<Value = Input> {
    let codes = prop_oneof![
        Just(1u8),
        Just(3),
        Just(6),
        Just(12),
        Just(15),
        Just(26),
        Just(51),
        Just(52),
        Just(121),
        any::<u8>()
    ];
    let option = (codes, prop::collection::vec(any::<u8>(), 0..40));
    prop_oneof![
        Just(Input::Up),
        Just(Input::Down),
        (0u64..100_000).prop_map(|late_ms| Input::Timer { late_ms }),
        prop::collection::vec(any::<u8>(), 0..600).prop_map(Input::Noise),
        (1u8..9, prop::collection::vec(option, 0..8), prop::collection::vec((0u16..400, any::<u8>()), 0..4))
            .prop_map(|(kind, options, flips)| Input::Reply { kind, options, flips }),
        (1u8..9, prop_oneof![0u32..120, any::<u32>()])
            .prop_map(|(kind, lease_s)| Input::Proper { kind, lease_s }),
    ]
}

fn hostile(xid: u32, kind: u8, options: &[(u8, Vec<u8>)], flips: &[(u16, u8)]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..4].copy_from_slice(&[2, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&xid.to_be_bytes());
    bytes[16..20].copy_from_slice(&ADDRESS.octets());
    bytes[28..34].copy_from_slice(&MAC);
    bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend_from_slice(&[53, 1, kind, 54, 4]);
    bytes.extend_from_slice(&SERVER.octets());
    for (code, data) in options {
        bytes.extend_from_slice(&[*code, u8::try_from(data.len()).unwrap()]);
        bytes.extend_from_slice(data);
    }
    for (at, value) in flips {
        if let Some(byte) = bytes.get_mut(usize::from(*at)) {
            *byte = *value;
        }
    }
    bytes
}

fn check(actions: &[Action], client: &Client, now_ms: u64) -> Result<(), TestCaseError> {
    prop_assert!(actions.len() <= 5, "{actions:?}");
    let sends =
        actions.iter().filter(|a| matches!(a, Action::SendBroadcast(_) | Action::SendUnicast { .. })).count();
    prop_assert!(sends <= 1, "{actions:?}");
    for action in actions {
        if let Action::Configure(lease) = action {
            prop_assert!((1..=32).contains(&lease.prefix_length));
            prop_assert!(lease.routes.len() <= 64 && lease.dns.len() <= 8);
            prop_assert!(lease.routes.iter().all(|route| route.prefix_length <= 32));
            prop_assert!(lease.renew_s < lease.rebind_s);
            prop_assert!(lease.duration_s.is_none_or(|duration_s| lease.rebind_s < duration_s));
            let text = lease.domain.iter().chain(&lease.hostname);
            prop_assert!(text.flat_map(|text| text.bytes()).all(|b| b.is_ascii_graphic()));
        }
    }
    if let (Some(at), true) = (client.deadline_ms(), sends > 0) {
        prop_assert!(at > now_ms, "a message must be followed by a wait: {:?}", client.state());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_the_client(seed: u64, inputs in prop::collection::vec(input(), 1..60)) {
        let mut client = Client::new(identity(), seed, 0, None);
        let mut now_ms = 0u64;
        let mut xid = 0;
        let mut configured = false;
        for input in inputs {
            let bytes;
            let event = match input {
                Input::Up => Event::CarrierUp,
                Input::Down => Event::CarrierDown,
                Input::Timer { late_ms } => {
                    now_ms = client.deadline_ms().unwrap_or(now_ms).max(now_ms).saturating_add(late_ms);
                    Event::Timer
                }
                Input::Noise(noise) => { bytes = noise; Event::Packet(&bytes) }
                Input::Reply { kind, options, flips } => { bytes = hostile(xid, kind, &options, &flips); Event::Packet(&bytes) }
                Input::Proper { kind, lease_s } => {
                    bytes = reply(MessageType::from(kind), xid, SERVER, ADDRESS, lease_s);
                    Event::Packet(&bytes)
                }
            };
            let actions = client.step(now_ms, event);
            check(&actions, &client, now_ms)?;
            if let Some(message) = sent(&actions) {
                xid = message.xid();
            }
            for action in &actions {
                match action {
                    Action::Configure(_) => configured = true,
                    Action::Deconfigure => { prop_assert!(configured); configured = false; }
                    _ => {}
                }
            }
            prop_assert_eq!(client.lease().is_some(), configured, "{:?}", client.state());
            if client.state() == State::Bound {
                prop_assert!(configured);
            }
        }
    }
}
