//! What the node does by itself: which release of its channel it takes, and when.

use bootstate::ReleaseVersion;

use crate::{Channel, ChannelRelease, Installed, Order, Position, Upgrade, due_s};

/// Longest maintenance window: it would otherwise meet itself a week later.
pub const WINDOW_MAX_S: u32 = 7 * DAY_S as u32;
const DAY_S: u64 = 24 * 3600;
/// 1970-01-01 was a Thursday, the fourth day after Sunday.
const WEEKDAY_OF_EPOCH: u64 = 4;

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Maintenance windows; none for any time.
    pub windows: Vec<Window>,
    /// Longest delay of a node, so that not all nodes of a site go at once.
    pub random_delay_s: u64,
}

/// A maintenance window, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Days on which it begins.
    pub days: Weekdays,
    /// When on such a day, in seconds since midnight.
    pub start_s: u32,
    /// How long, at most [`WINDOW_MAX_S`].
    pub duration_s: u32,
}

/// Days of the week: bit 0 is Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekdays(pub u8);

impl Weekdays {
    /// All of them.
    pub const ALL: Self = Self(0x7f);

    const fn contains(self, day: u64) -> bool {
        self.0 >> (day % 7) & 1 == 1
    }
}

/// What is the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation<'a> {
    /// The node's clock, in seconds since 1970.
    pub now_s: u64,
    /// The node's machine id.
    pub machine_id: &'a str,
    /// Whether a "not while" probe says that the node is busy.
    pub busy: bool,
}

/// What to do about the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is nothing to take.
    Nothing(Nothing),
    /// A release waits.
    Wait {
        /// The release.
        version: ReleaseVersion,
        /// For what.
        wait: Wait,
        /// Until when at least, in seconds since 1970. A channel that is read anew may change that.
        until_s: u64,
    },
    /// To be requested.
    Now {
        /// The release.
        version: ReleaseVersion,
        /// End of the maintenance window, in seconds since 1970, for [`crate::Origin::Automatic`].
        until_s: Option<u64>,
    },
}

/// Why there is nothing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    /// The channel is of another Kubernetes minor version, which a node never changes by itself.
    #[error("the channel is of another minor version of Kubernetes")]
    OtherKubernetes,
    /// Nothing newer is there, or only what was withdrawn, ruled out or failed here.
    #[error("no newer release is to be had")]
    UpToDate,
    /// What is newer is paused.
    #[error("the release is paused")]
    Paused,
    /// The configuration's windows have no days or no length.
    #[error("no maintenance window ever opens")]
    NoWindow,
}

/// What a release waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    /// The node's turn in the wave.
    #[error("the node's turn in the wave")]
    Wave,
    /// The pause after it came to nothing.
    #[error("the pause after the last try")]
    BackOff,
    /// A maintenance window, and the node's delay in it.
    #[error("the maintenance window and this node's delay")]
    Window,
    /// The end of what the "not while" probes watch.
    #[error("the end of what is not to be interrupted")]
    Busy,
}

/// What expired metadata is worth. Its signatures hold either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing: somebody may be holding back what is newer.
    #[default]
    Enforce,
    /// As much as before: a site without connection has nothing newer.
    Ignore,
}

impl Expiry {
    /// Whether metadata that expires then may be used.
    #[must_use]
    pub const fn accepts(self, expires_s: u64, now_s: u64) -> bool {
        match self {
            Self::Enforce => now_s < expires_s,
            Self::Ignore => true,
        }
    }
}

/// Says what to do about the channel.
#[must_use]
pub fn next(
    policy: &Policy,
    channel: &Channel,
    installed: &Installed,
    history: &Upgrade,
    situation: &Situation<'_>,
) -> Decision {
    if !channel.is_for(installed.kubernetes) {
        return Decision::Nothing(Nothing::OtherKubernetes);
    }
    let wanted = |release: &&ChannelRelease| {
        !release.poisoned
            && release.version.precedence(&installed.version).is_gt()
            && release.version.precedence(&history.floor()).is_ge()
            && history.failure(&release.version).is_none()
    };
    let mut wanted: Vec<_> = channel.releases.iter().filter(wanted).collect();
    let paused = wanted.iter().any(|release| release.paused);
    wanted.retain(|release| !release.paused);
    // The newest whose turn it is, else the one whose turn comes first.
    let turn_s = |release: &ChannelRelease| {
        let deferred_s = history.deferred_until_s(&release.version).unwrap_or_default();
        due_s(release, situation.machine_id).max(deferred_s)
    };
    let newer = |one: &&&ChannelRelease, other: &&&ChannelRelease| one.version.precedence(&other.version);
    let due = wanted.iter().filter(|release| turn_s(release) <= situation.now_s).max_by(newer);
    match due.or_else(|| wanted.iter().min_by_key(|release| turn_s(release))) {
        Some(release) => decide(policy, release, turn_s(release), situation),
        None if paused => Decision::Nothing(Nothing::Paused),
        None => Decision::Nothing(Nothing::UpToDate),
    }
}

fn decide(policy: &Policy, release: &ChannelRelease, turn_s: u64, situation: &Situation<'_>) -> Decision {
    let (version, now_s) = (release.version, situation.now_s);
    if turn_s > now_s {
        let in_wave = due_s(release, situation.machine_id) == turn_s;
        let wait = if in_wave { Wait::Wave } else { Wait::BackOff };
        return Decision::Wait { version, wait, until_s: turn_s };
    }
    let delay = Position::of(Order::Delay, situation.machine_id, &version);
    match opening(policy, delay, turn_s, now_s) {
        None => Decision::Nothing(Nothing::NoWindow),
        Some(Opening { at_s, .. }) if at_s > now_s => {
            Decision::Wait { version, wait: Wait::Window, until_s: at_s }
        }
        Some(_) if situation.busy => Decision::Wait { version, wait: Wait::Busy, until_s: now_s },
        Some(Opening { end_s, .. }) => Decision::Now { version, until_s: end_s },
    }
}

/// A time at which the node may begin.
struct Opening {
    at_s: u64,
    end_s: Option<u64>,
}

/// The first opening that has not ended. The delay counts from the node's turn or the window's start, whichever is
/// later, and never reaches beyond the window: a node that misses one goes in the next.
fn opening(policy: &Policy, delay: Position, turn_s: u64, now_s: u64) -> Option<Opening> {
    if policy.windows.is_empty() {
        let at_s = turn_s.saturating_add(delay.share_s(policy.random_delay_s));
        return Some(Opening { at_s, end_s: None });
    }
    let openings = policy.windows.iter().flat_map(|window| window.occurrences(now_s));
    let openings = openings.filter(|(_, end_s)| *end_s > now_s.max(turn_s)).map(|(start_s, end_s)| {
        let start_s = start_s.max(turn_s);
        let delay_s = delay.share_s(policy.random_delay_s.min(end_s - start_s));
        Opening { at_s: start_s + delay_s, end_s: Some(end_s) }
    });
    openings.min_by_key(|opening| opening.at_s)
}

impl Window {
    /// Start and end of all that end after `now_s`, until more than a week after.
    fn occurrences(self, now_s: u64) -> impl Iterator<Item = (u64, u64)> {
        let today = now_s / DAY_S;
        (today.saturating_sub(7)..=today.saturating_add(7))
            .filter(move |day| self.days.contains(day.wrapping_add(WEEKDAY_OF_EPOCH)))
            .map(move |day| {
                let start_s = day.saturating_mul(DAY_S).saturating_add(self.start_s.into());
                (start_s, start_s.saturating_add(self.duration_s.min(WINDOW_MAX_S).into()))
            })
            .filter(move |(_, end_s)| *end_s > now_s)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BootId, KubernetesVersion, Moment, fixture};

    const NOON_S: u64 = 1_795_003_200 / DAY_S * DAY_S + 12 * 3600;

    struct Case {
        policy: Policy,
        channel: Channel,
        installed: Installed,
        history: Upgrade,
        now_s: u64,
        busy: bool,
    }

    impl Case {
        /// Releases 1 and 2, both due.
        fn new() -> Self {
            let mut channel = fixture::channel(3);
            channel.releases.iter_mut().for_each(|release| (release.begin_s, release.spread_s) = (0, 0));
            let (policy, history) = (Policy::default(), Upgrade::new());
            Self { policy, channel, installed: fixture::installed(0), history, now_s: NOON_S, busy: false }
        }

        fn decision(&self) -> Decision {
            let situation = Situation { now_s: self.now_s, machine_id: "node", busy: self.busy };
            next(&self.policy, &self.channel, &self.installed, &self.history, &situation)
        }

        fn moment(&self) -> Moment {
            Moment { boot: BootId("boot".into()), since_boot_ms: 0, now_s: self.now_s }
        }
    }

    fn now(number: u8) -> Decision {
        Decision::Now { version: fixture::version(number), until_s: None }
    }

    #[test]
    fn the_newest_that_is_due_is_taken() {
        let mut case = Case::new();
        assert_eq!(case.decision(), now(2));
        case.channel.releases[1].begin_s = NOON_S + 10;
        assert_eq!(case.decision(), now(1), "the newer one has yet to begin");
        case.installed = fixture::installed(1);
        let wait = Decision::Wait { version: fixture::version(2), wait: Wait::Wave, until_s: NOON_S + 10 };
        assert_eq!(case.decision(), wait);
        case.installed = fixture::installed(2);
        assert_eq!(case.decision(), Decision::Nothing(Nothing::UpToDate));
    }

    #[test]
    fn what_is_withdrawn_failed_or_below_the_floor_is_not_taken() {
        let mut case = Case::new();
        case.channel.releases[1].poisoned = true;
        assert_eq!(case.decision(), now(1));
        case.channel.releases[0].paused = true;
        assert_eq!(case.decision(), Decision::Nothing(Nothing::Paused));
        case.channel.releases[0].paused = false;
        case.history.floor = fixture::version(2);
        assert_eq!(case.decision(), Decision::Nothing(Nothing::UpToDate));
        let mut case = Case::new();
        case.history.remember_failed(&case.moment(), fixture::version(2), "pods do not run");
        assert_eq!(case.decision(), now(1));
    }

    #[test]
    fn no_node_crosses_a_kubernetes_minor_by_itself() {
        let mut case = Case::new();
        case.installed.kubernetes = KubernetesVersion { major: 1, minor: 36, patch: 9 };
        assert_eq!(case.decision(), Decision::Nothing(Nothing::OtherKubernetes));
    }

    #[test]
    fn what_came_to_nothing_waits() {
        let mut case = Case::new();
        case.channel.releases.remove(0);
        case.history.defer(&case.moment(), fixture::version(2), true);
        let wait =
            Decision::Wait { version: fixture::version(2), wait: Wait::BackOff, until_s: NOON_S + 3600 };
        assert_eq!(case.decision(), wait);
        case.now_s += 3600;
        assert_eq!(case.decision(), now(2));
        case.busy = true;
        let busy = Decision::Wait { version: fixture::version(2), wait: Wait::Busy, until_s: case.now_s };
        assert_eq!(case.decision(), busy);
    }

    /// 2026-11-23 is a Monday.
    #[test]
    fn windows_are_in_utc_by_weekday() {
        let monday_s = 1_795_392_000;
        let window = Window { days: Weekdays(1 << 2), start_s: 23 * 3600, duration_s: 2 * 3600 };
        let mut case = Case::new();
        case.policy = Policy { windows: vec![window], random_delay_s: 0 };
        let tuesday_s = monday_s + DAY_S + 23 * 3600;
        case.now_s = monday_s;
        let wait = Decision::Wait { version: fixture::version(2), wait: Wait::Window, until_s: tuesday_s };
        assert_eq!(case.decision(), wait);
        // On Wednesday at 00:30 Tuesday's window is still open.
        for now_s in [tuesday_s, tuesday_s + 5400] {
            case.now_s = now_s;
            let open = Decision::Now { version: fixture::version(2), until_s: Some(tuesday_s + 7200) };
            assert_eq!(case.decision(), open);
        }
        case.now_s = tuesday_s + 7200;
        let next_s = tuesday_s + 7 * DAY_S;
        assert!(matches!(case.decision(), Decision::Wait { until_s, .. } if until_s == next_s));
        case.policy.windows[0].days = Weekdays(0);
        assert_eq!(case.decision(), Decision::Nothing(Nothing::NoWindow));
    }

    #[test]
    fn expired_metadata_is_for_sites_without_connection_only() {
        assert!(Expiry::Enforce.accepts(100, 99) && !Expiry::Enforce.accepts(100, 100));
        assert!(Expiry::Ignore.accepts(100, 200));
    }

    proptest! {
        /// Whoever waits as told gets there: in a window, in few steps, and then the answer stays.
        #[test]
        fn waiting_leads_into_a_window(
            days in 1..128u8, start_s in 0..86_400u32, duration_s in 60..2 * WINDOW_MAX_S,
            random_delay_s in 0..20_000_000u64, begin_s in NOON_S..NOON_S + 30 * DAY_S, spread_s in 0..60 * DAY_S,
        ) {
            let mut case = Case::new();
            let window = Window { days: Weekdays(days), start_s, duration_s };
            case.policy = Policy { windows: vec![window], random_delay_s };
            case.channel.releases.remove(0);
            (case.channel.releases[0].begin_s, case.channel.releases[0].spread_s) = (begin_s, spread_s);
            for _ in 0..3 {
                match case.decision() {
                    Decision::Wait { until_s, .. } => {
                        prop_assert!(until_s > case.now_s);
                        case.now_s = until_s;
                    }
                    Decision::Now { until_s, .. } => {
                        let until_s = until_s.unwrap();
                        prop_assert!(case.now_s < until_s && until_s <= case.now_s + u64::from(WINDOW_MAX_S));
                        case.now_s = until_s - 1;
                        let stays = matches!(case.decision(), Decision::Now { .. });
                        prop_assert!(stays);
                        return Ok(());
                    }
                    Decision::Nothing(why) => prop_assert!(false, "{}", why),
                }
            }
            prop_assert!(false, "it waits for ever");
        }
    }
}
