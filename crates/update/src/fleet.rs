//! Simulated fleets: how a release spreads over 100,000 nodes, and which of them are first.

use crate::{
    Channel, ChannelRelease, Decision, Order, Policy, Position, Situation, Upgrade, Wait, Weekdays, Window,
    due_s, fixture, next,
};

const NODES: usize = 100_000;
const HOUR_S: u64 = 3600;

fn machine_id(node: usize) -> String {
    // As systemd makes them: 32 hex digits. Nodes that are numbered in a row must not go in a row.
    format!("{node:032x}")
}

fn release(number: u8, spread_s: u64) -> ChannelRelease {
    ChannelRelease {
        begin_s: fixture::START_S,
        spread_s,
        ..fixture::channel(number + 1).releases.remove(number as usize - 1)
    }
}

/// When each node takes release 1 of a channel that holds it alone, by asking again and again.
fn takes_s(policy: &Policy, spread_s: u64) -> Vec<u64> {
    let channel = Channel { releases: vec![release(1, spread_s)], ..fixture::channel(1) };
    let (installed, history) = (fixture::installed(0), Upgrade::new());
    let takes_s = |node| {
        let machine_id = machine_id(node);
        let mut now_s = fixture::START_S;
        // One pause for the wave, one for the window.
        for _ in 0..3 {
            let situation = Situation { now_s, machine_id: &machine_id, busy: false };
            match next(policy, &channel, &installed, &history, &situation) {
                Decision::Now { .. } => return now_s,
                Decision::Wait { until_s, .. } => {
                    assert!(until_s > now_s);
                    now_s = until_s;
                }
                Decision::Nothing(why) => panic!("{why}"),
            }
        }
        panic!("node {node} waits for ever");
    };
    (0..NODES).map(takes_s).collect()
}

/// Shares of the fleet that have begun at each tick; the first and last are none and all.
fn curve(takes_s: &[u64], tick_s: u64) -> Vec<f64> {
    let last_s = takes_s.iter().max().unwrap();
    let mut counts = vec![0_u32; ((last_s - fixture::START_S) / tick_s + 2) as usize];
    for take_s in takes_s {
        counts[((take_s - fixture::START_S) / tick_s + 1) as usize] += 1;
    }
    let mut begun = 0;
    counts
        .iter()
        .map(|count| {
            begun += count;
            f64::from(begun) / NODES as f64
        })
        .collect()
}

#[test]
fn a_release_spreads_as_its_schedule_says() {
    let (spread_s, tick_s) = (24 * HOUR_S, 300);
    let curve = curve(&takes_s(&Policy::default(), spread_s), tick_s);
    let ticks = (spread_s / tick_s) as f64;
    assert_eq!(curve.len() as f64, ticks + 1.0);
    for (tick, begun) in curve.iter().enumerate() {
        let scheduled = tick as f64 / ticks;
        assert!(
            (begun - scheduled).abs() < 0.01,
            "at tick {tick} {begun} of the nodes instead of {scheduled}"
        );
    }
    let largest_step = curve.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    println!("largest step {largest_step}, schedule {}", 1.0 / ticks);
    assert!(largest_step < 1.0 / ticks + 0.01);
}

#[test]
fn a_window_lets_no_burst_through() {
    let (delay_s, tick_s) = (2 * HOUR_S, 60);
    let windows = vec![Window { days: Weekdays::ALL, start_s: 2 * 3600, duration_s: 4 * 3600 }];
    let policy = Policy { windows, random_delay_s: delay_s };
    let takes_s = takes_s(&policy, 7 * 24 * HOUR_S);
    for take_s in &takes_s {
        let of_day_s = take_s % (24 * HOUR_S);
        assert!((2 * HOUR_S..6 * HOUR_S).contains(&of_day_s), "{of_day_s} is outside of the window");
    }
    // What came due in the 20 hours before spreads over the delay.
    let in_window = 20.0 / (7.0 * 24.0) * (tick_s as f64 / delay_s as f64);
    let meanwhile = tick_s as f64 / (7 * 24 * HOUR_S) as f64;
    let largest_step = curve(&takes_s, tick_s).windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    println!("largest step {largest_step}, expected {in_window}");
    assert!(largest_step < in_window + meanwhile + 0.001);
}

#[test]
fn each_release_has_other_nodes_first() {
    let positions = |order, number: u8| -> Vec<f64> {
        let version = fixture::version(number);
        let position = |node| Position::of(order, &machine_id(node), &version).share_s(1 << 40) as f64;
        (0..NODES / 4).map(position).collect()
    };
    let orders: Vec<_> = (1..5).map(|number| positions(Order::Wave, number)).collect();
    let delays = positions(Order::Delay, 1);
    let row: Vec<f64> = (0..NODES / 4).map(|node| node as f64).collect();
    for (at, order) in orders.iter().enumerate() {
        for other in orders[at + 1..].iter().chain([&delays, &row]) {
            // For independent orders of so many nodes its standard deviation is 0.0063.
            let correlation = correlation(order, other);
            assert!(correlation.abs() < 0.03, "two orders have correlation {correlation}");
        }
    }
    let first = |order: &[f64]| {
        let mut nodes: Vec<usize> = (0..order.len()).collect();
        nodes.sort_by(|one, other| order[*one].total_cmp(&order[*other]));
        nodes.truncate(order.len() / 100);
        nodes
    };
    let (one, other) = (first(&orders[0]), first(&orders[1]));
    let both = one.iter().filter(|node| other.contains(node)).count();
    assert!(both < 15, "{both} of the first {} nodes are the first again; 2 or 3 would be chance", one.len());
}

fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_one, mean_other) = (mean(one), mean(other));
    let product = |a: &[f64], mean_a: f64, b: &[f64], mean_b: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum()
    };
    product(one, mean_one, other, mean_other)
        / (product(one, mean_one, one, mean_one) * product(other, mean_other, other, mean_other)).sqrt()
}

/// The form is fixed: a fleet of different releases must agree on its order.
#[test]
fn positions_are_what_is_documented() {
    let position = Position::of(Order::Wave, "0123456789abcdef0123456789abcdef", &fixture::version(1));
    // printf 'cairn wave\0%s\0%s\0' 0123456789abcdef0123456789abcdef 1.1.0 | sha256sum
    assert_eq!(format!("{position:?}"), "Position(11839626494332295207)");
    let release = release(1, 1000);
    assert!((release.begin_s..release.begin_s + 1000).contains(&due_s(&release, "node")));
    let late = ChannelRelease { begin_s: u64::MAX, spread_s: u64::MAX, ..release };
    assert_eq!(due_s(&late, "node"), u64::MAX);
    assert_eq!(Wait::Wave.to_string(), "the node's turn in the wave");
}
