//! Whole lives against scripted servers, on a virtual clock and with many seeds.

mod support;

use std::net::Ipv4Addr;

use dhcp::{Action, Client, Event, State, StoredLease};
use dhcproto::v4::MessageType;
use support::{ADDRESS, OTHER_SERVER, SERVER, Server, World, identity};

const SEEDS: u64 = 50;
const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

fn good() -> Server {
    Server::new(SERVER, ADDRESS)
}

fn with_seeds(servers: &[Server], run: impl Fn(u64, World)) {
    for seed in 0..SEEDS {
        run(seed, World::new(Client::new(identity(), seed, 0, None), servers.to_vec()));
    }
}

fn stored() -> StoredLease {
    let mut world = World::new(Client::new(identity(), 9, 0, None), vec![good()]);
    world.event(Event::CarrierUp);
    let lease = world.client.lease().unwrap().clone();
    StoredLease { lease, granted_unix_s: 0 }
}

#[test]
fn binds_without_delay_and_renews_for_a_day() {
    with_seeds(&[good()], |seed, mut world| {
        world.event(Event::CarrierUp);
        assert_eq!((world.state(), world.configured), (State::Bound, Some(ADDRESS)), "seed {seed}");
        world.run_until(24 * HOUR_MS);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
        let renewals = world.log.iter().filter(|(_, _, unicast)| *unicast).count();
        assert!(
            (48..=52).contains(&renewals),
            "seed {seed}: {renewals} renewals of an hour's lease in a day"
        );
        assert_eq!(world.log.len(), renewals + 2, "seed {seed}: nothing else is sent");
        assert!(!world.actions.contains(&Action::Deconfigure), "seed {seed}");
    });
}

#[test]
fn a_silent_network_is_asked_for_ever_with_bounded_back_off() {
    with_seeds(&[], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.run_until(HOUR_MS);
        assert_eq!(world.state(), State::Selecting);
        let gaps: Vec<u64> = world.log.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        for (gap, base_s) in gaps.iter().zip([4, 8, 16, 32].into_iter().chain(std::iter::repeat(64))) {
            assert!(gap.abs_diff(base_s * 1000) <= 1000, "seed {seed}: {gaps:?}");
        }
        assert!((50..=70).contains(&gaps.len()), "seed {seed}: {}", gaps.len());
        world.servers.push(good());
        world.run_until(HOUR_MS + 66_000);
        assert_eq!(world.state(), State::Bound, "seed {seed}");
    });
}

#[test]
fn a_refusing_server_is_not_flooded() {
    let refusing = Server { refuses: true, ..good() };
    with_seeds(&[refusing], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.run_until(HOUR_MS);
        assert_eq!(world.configured, None);
        // Two DISCOVERs and a REQUEST in 68 s, the pause and the wait for a server that does not refuse.
        assert!(
            world.log.len() <= 3 * 3600 / 66 + 12,
            "seed {seed}: {} messages in an hour",
            world.log.len()
        );
        world.servers = vec![good()];
        world.run_until(HOUR_MS + 70_000);
        assert_eq!(world.state(), State::Bound, "seed {seed}");
    });
}

#[test]
fn a_server_that_offers_and_then_is_silent_does_not_win_for_ever() {
    let mute = Server { acknowledges: false, ..Server::new(OTHER_SERVER, OTHER_ADDRESS) };
    with_seeds(&[mute, good()], |seed, mut world| {
        world.event(Event::CarrierUp);
        assert_eq!(world.state(), State::Requesting, "seed {seed}: the mute one was first");
        world.run_until(32_000);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
    });
}

#[test]
fn a_distrusted_server_is_taken_when_it_is_the_only_one() {
    let mute = Server { acknowledges: false, ..good() };
    with_seeds(&[mute], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.run_until(40_000);
        world.servers[0].acknowledges = true;
        world.run_until(80_000);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
    });
}

#[test]
fn of_two_servers_the_first_to_offer_is_kept() {
    with_seeds(&[good(), Server::new(OTHER_SERVER, OTHER_ADDRESS)], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.run_until(6 * HOUR_MS);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
        assert_eq!(
            world.log.iter().filter(|(_, kind, _)| *kind == MessageType::Discover).count(),
            1,
            "seed {seed}"
        );
    });
}

#[test]
fn another_server_takes_the_lease_over_at_t2() {
    let twin = Server { offers: false, ..Server::new(OTHER_SERVER, ADDRESS) };
    with_seeds(&[good(), twin], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.servers[0].alive = false;
        world.run_until(2 * HOUR_MS);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
        assert_eq!(world.client.lease().unwrap().server, OTHER_SERVER, "seed {seed}");
        assert!(!world.actions.contains(&Action::Deconfigure), "seed {seed}");
    });
}

#[test]
fn a_dead_server_costs_the_lease_at_its_end_and_not_before() {
    with_seeds(&[good()], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.servers[0].alive = false;
        world.run_until(HOUR_MS - 1);
        assert_eq!((world.configured, world.state()), (Some(ADDRESS), State::Rebinding), "seed {seed}");
        assert!(world.log.len() < 20, "seed {seed}: {} messages", world.log.len());
        world.run_until(HOUR_MS);
        assert_eq!((world.configured, world.state()), (None, State::Selecting), "seed {seed}");
    });
}

#[test]
fn leases_of_less_than_a_minute_are_kept_up() {
    for lease_s in [10, 20, 59] {
        with_seeds(&[Server { lease_s, ..good() }], |seed, mut world| {
            world.event(Event::CarrierUp);
            world.run_until(10 * MINUTE_MS);
            assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
            assert!(!world.actions.contains(&Action::Deconfigure), "seed {seed}, {lease_s} s");
            world.servers[0].alive = false;
            let end = world.now_ms + u64::from(lease_s) * 1000;
            world.run_until(end);
            assert_eq!(world.configured, None, "seed {seed}, {lease_s} s");
        });
    }
}

#[test]
fn a_lease_without_end_is_never_renewed() {
    with_seeds(&[Server { lease_s: u32::MAX, ..good() }], |seed, mut world| {
        world.event(Event::CarrierUp);
        assert_eq!((world.state(), world.timer), (State::Bound, None), "seed {seed}");
    });
}

#[test]
fn a_rogue_transaction_id_never_binds() {
    with_seeds(&[Server { wrong_xid: true, ..good() }], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.run_until(HOUR_MS);
        assert_eq!(world.configured, None, "seed {seed}");
    });
}

#[test]
fn a_cable_pulled_and_put_back_is_confirmed_with_one_exchange() {
    with_seeds(&[good()], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.event(Event::CarrierDown);
        world.run_until(MINUTE_MS);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
        let before = world.log.len();
        world.event(Event::CarrierUp);
        assert_eq!((world.state(), world.log.len()), (State::Bound, before + 1), "seed {seed}");
    });
}

#[test]
fn a_cable_put_into_another_network_gets_its_address_at_once() {
    with_seeds(&[good()], |seed, mut world| {
        world.event(Event::CarrierUp);
        world.event(Event::CarrierDown);
        world.servers = vec![Server::new(OTHER_SERVER, OTHER_ADDRESS)];
        world.event(Event::CarrierUp);
        assert_eq!(world.configured, Some(OTHER_ADDRESS), "seed {seed}");
        assert!(world.actions.contains(&Action::Forget), "seed {seed}");
    });
}

#[test]
fn a_reboot_asks_for_the_known_address_only() {
    for seed in 0..SEEDS {
        let client = Client::new(identity(), seed, 0, Some((&stored(), 60)));
        let mut world = World::new(client, vec![good()]);
        world.event(Event::CarrierUp);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
        assert_eq!(world.log, [(0, MessageType::Request, false)], "seed {seed}");
    }
}

#[test]
fn an_offline_boot_uses_the_stored_lease_until_its_end_and_keeps_asking() {
    for seed in 0..SEEDS {
        let client = Client::new(identity(), seed, 0, Some((&stored(), 60)));
        let mut world = World::new(client, vec![]);
        world.event(Event::CarrierUp);
        world.run_until(14_000);
        assert_eq!((world.configured, world.state()), (Some(ADDRESS), State::Rebinding), "seed {seed}");
        assert!(!world.actions.iter().any(|action| matches!(action, Action::Persist(_))), "seed {seed}");
        world.run_until(HOUR_MS - MINUTE_MS - 1);
        assert_eq!(world.configured, Some(ADDRESS), "seed {seed}");
        world.run_until(HOUR_MS - MINUTE_MS);
        assert_eq!(world.configured, None, "seed {seed}");
    }
    let mut world = World::new(Client::new(identity(), 1, 0, Some((&stored(), 60))), vec![]);
    world.event(Event::CarrierUp);
    world.run_until(20 * MINUTE_MS);
    world.servers.push(good());
    world.run_until(20 * MINUTE_MS + 66_000);
    assert_eq!(world.state(), State::Bound);
}

#[test]
fn a_boot_without_cable_uses_the_stored_lease_too() {
    let mut world = World::new(Client::new(identity(), 1, 0, Some((&stored(), 60))), vec![good()]);
    world.run_until(9_999);
    assert_eq!(world.configured, None);
    world.run_until(10_000);
    assert_eq!((world.configured, world.state()), (Some(ADDRESS), State::InitReboot));
    world.event(Event::CarrierUp);
    assert_eq!((world.configured, world.state()), (Some(ADDRESS), State::Bound));
}
