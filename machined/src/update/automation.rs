//! What the node does by itself: it reads its channel every few hours, and asks for a release when that is due.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand;
use config::Update;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use update::{
    Allow, Channel, Decision, Ending, Installed, Origin, Policy, Request, Situation, Source, Upgrade,
    WINDOW_MAX_S, Weekdays, Window,
};

use super::{
    handle::Handle,
    mirrors::Mirrors,
    repository::{self, Judge, MetadataStore, Repository, RepositoryError},
    sources::{self, Place, PlaceError},
    view::Automation,
};
use crate::{context::Context, error_chain::error_chain, storage::SystemDisk, trust::Trust};

/// Between two readings of the channel. Half of it comes by chance on top, so that a fleet does not come at once.
const CHECK: Duration = Duration::from_secs(4 * 3600);
/// After a reading failed.
const CHECK_AGAIN: Duration = Duration::from_secs(10 * 60);
/// Up to this after the start, by chance: after a power cut a whole site starts at once.
const FIRST_CHECK: Duration = Duration::from_secs(60);
/// Until the node is asked again whether it is busy, or a refused release is asked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Why the channel is not known.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("no source is reached")]
    Place(#[source] PlaceError),
    #[error("the channel is not read")]
    Repository(#[source] RepositoryError),
}

/// The node's own will.
pub struct Automatic {
    /// Everything that controllers share.
    pub context: Arc<Context>,
    /// The system disk.
    pub disk: SystemDisk,
    /// The clock floor.
    pub trust: Arc<Trust>,
    /// What runs.
    pub installed: Installed,
    /// What was seen of repositories.
    pub metadata: MetadataStore,
    /// The way to ask for a release.
    pub handle: Handle,
    /// What is shown of it.
    pub shown: watch::Sender<Option<Automation>>,
}

/// What was read of the channel.
#[derive(Default)]
struct Known {
    sources: Vec<String>,
    channel: Option<Channel>,
    next_check: Option<Instant>,
    shown: Automation,
}

impl Automatic {
    /// Follows the configuration for ever.
    pub async fn run(self) {
        let (mut config, mut view) = (self.context.config.clone(), self.handle.view());
        let mut known = Known::default();
        loop {
            let update = config.borrow_and_update().update.clone();
            view.mark_unchanged();
            let until = match wanted(&update) {
                None => {
                    known = Known::default();
                    self.shown.send_replace(None);
                    None
                }
                Some(channel) => Some(self.look(&update, channel, &mut known).await),
            };
            tokio::select! {
                () = at(until) => {}
                changed = config.changed() => if changed.is_err() { return },
                changed = view.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Reads the channel if that is due, and decides; says when to look again.
    async fn look(&self, update: &Update, channel: &str, known: &mut Known) -> Instant {
        if known.shown.channel != channel || known.sources != update.sources {
            let next_check = Some(Instant::now() + by_chance(FIRST_CHECK));
            *known = Known { sources: update.sources.clone(), next_check, ..Known::default() };
            channel.clone_into(&mut known.shown.channel);
        }
        let mut next_check = known.next_check.unwrap_or_else(Instant::now);
        if next_check <= Instant::now() {
            next_check = Instant::now() + self.check(update, channel, known).await;
            known.next_check = Some(next_check);
        }
        let until = self.decide(update, known).await.map_or(next_check, |until| until.min(next_check));
        self.shown.send_if_modified(|shown| {
            let is_news = shown.as_ref() != Some(&known.shown);
            if is_news {
                *shown = Some(known.shown.clone());
            }
            is_news
        });
        until
    }

    /// Reads the channel; says how long to wait before the next time.
    async fn check(&self, update: &Update, channel: &str, known: &mut Known) -> Duration {
        known.shown.checked_s = Some(self.trust.floor_s());
        match self.read(update, channel).await {
            Ok(channel) => {
                known.channel = Some(channel);
                known.shown.error = String::new();
                CHECK + by_chance(CHECK / 2)
            }
            Err(error) => {
                known.shown.error = error_chain(&error);
                tracing::warn!(error = known.shown.error, "the channel of releases is not read");
                CHECK_AGAIN + by_chance(CHECK_AGAIN / 2)
            }
        }
    }

    async fn read(&self, update: &Update, channel: &str) -> Result<Channel, CheckError> {
        let now_s = self.trust.floor_s();
        let opened = sources::open(&self.context, &self.disk, now_s, Place::Configured).await;
        let mirrors: Mirrors = opened.map_err(CheckError::Place)?;
        let judge = Judge {
            anchor: repository::anchor().map_err(CheckError::Repository)?,
            store: self.metadata.clone(),
            now_s: (update.metadata_expiry == config::Expiry::Enforce).then_some(now_s),
        };
        let read = async { Repository::open(&mirrors, &judge).await?.channel(channel).await };
        read.await.map_err(CheckError::Repository)
    }

    /// Asks for a release if one is due; says when to decide anew.
    async fn decide(&self, update: &Update, known: &mut Known) -> Option<Instant> {
        let Known { channel, shown, .. } = known;
        (shown.next, shown.due_s, shown.waits_for) = (None, None, String::new());
        let channel = channel.as_ref()?;
        let view = Arc::clone(&self.handle.view().borrow());
        let now_s = self.trust.floor_s();
        match self.next(update, channel, &view.upgrade, now_s, false) {
            Decision::Nothing(why) => {
                shown.waits_for = why.to_string();
                None
            }
            Decision::Wait { version, wait, until_s } => {
                (shown.next, shown.due_s, shown.waits_for) = (Some(version), Some(until_s), wait.to_string());
                Some(Instant::now() + Duration::from_secs(until_s.saturating_sub(now_s)).max(LOOK_AGAIN))
            }
            Decision::Now { version, .. } if view.upgrade.work().is_some() => {
                shown.next = Some(version);
                shown.waits_for = "the end of what is under way".to_owned();
                None
            }
            Decision::Now { version, until_s } => {
                shown.next = Some(version);
                shown.waits_for = match sources::first_busy(&self.context, now_s).await {
                    Some(url) => format!("{url} says that the node is busy"),
                    None => self.ask(version, until_s).await,
                };
                Some(Instant::now() + LOOK_AGAIN)
            }
        }
    }

    fn next(
        &self,
        update: &Update,
        channel: &Channel,
        history: &Upgrade,
        now_s: u64,
        busy: bool,
    ) -> Decision {
        let machine_id = &self.context.node.machine_id;
        let situation = Situation { now_s, machine_id, busy };
        update::next(&policy(update), channel, &self.installed, history, &situation)
    }

    /// Says what is in the way; nothing when the upgrade is under way.
    async fn ask(&self, version: bootstate::ReleaseVersion, until_s: Option<u64>) -> String {
        let request = Request {
            origin: Origin::Automatic { until_s },
            source: Source::Configured,
            version,
            ending: Ending::Reboot,
            allow: Allow::default(),
        };
        match self.handle.upgrade(request, None).await {
            Ok(()) => String::new(),
            Err(error) => error_chain(&error),
        }
    }
}

/// The channel that is followed, if one is.
fn wanted(update: &Update) -> Option<&String> {
    update.channel.as_ref().filter(|_| update.automatic)
}

fn policy(update: &Update) -> Policy {
    let window = |window: &config::Window| Window {
        days: Weekdays(window.days.iter().fold(0, |days, day| days | 1 << weekday(*day))),
        start_s: u32::from(window.start_minute) * 60,
        duration_s: u32::try_from(window.duration.0).unwrap_or(WINDOW_MAX_S),
    };
    Policy { windows: update.windows.iter().map(window).collect(), random_delay_s: update.random_delay.0 }
}

/// As the crate `update` counts, from Sunday on.
fn weekday(day: config::Weekday) -> u8 {
    match day {
        config::Weekday::Sun => 0,
        config::Weekday::Mon => 1,
        config::Weekday::Tue => 2,
        config::Weekday::Wed => 3,
        config::Weekday::Thu => 4,
        config::Weekday::Fri => 5,
        config::Weekday::Sat => 6,
    }
}

/// Some time up to this.
fn by_chance(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without chance it is the longest.
    let share = rand::fill(&mut bytes).map_or(u32::MAX, |()| u32::from_le_bytes(bytes));
    most.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use bootstate::ReleaseVersion;
    use config::Seconds;
    use update::{ChannelRelease, KubernetesVersion, Wait};

    use super::*;

    /// 2026-11-28 02:00 UTC, a Saturday.
    const SATURDAY_TWO_S: u64 = 1_795_831_200;

    fn decide(now_s: u64) -> Decision {
        let window = config::Window {
            days: [config::Weekday::Sat].into(),
            start_minute: 120,
            duration: Seconds(4 * 3600),
        };
        let update = Update { windows: vec![window], ..Update::default() };
        let version = ReleaseVersion::new("1.1.0").unwrap();
        let release = ChannelRelease { version, begin_s: 0, spread_s: 0, paused: false, poisoned: false };
        let channel = Channel { format: 1, name: "stable-k1.37".to_owned(), releases: vec![release] };
        let installed = Installed {
            version: ReleaseVersion::new("1.0.0").unwrap(),
            kubernetes: KubernetesVersion::new("1.37.2").unwrap(),
            architecture: "x86_64".to_owned(),
        };
        let situation = Situation { now_s, machine_id: "machine", busy: false };
        update::next(&policy(&update), &channel, &installed, &Upgrade::new(), &situation)
    }

    #[test]
    fn windows_open_on_the_day_that_the_configuration_names() {
        let end_s = SATURDAY_TWO_S + 4 * 3600;
        assert!(
            matches!(decide(SATURDAY_TWO_S), Decision::Now { until_s: Some(until_s), .. } if until_s == end_s)
        );
        assert!(matches!(decide(end_s - 1), Decision::Now { .. }));
        for (now_s, opens_s) in
            [(SATURDAY_TWO_S - 1, SATURDAY_TWO_S), (end_s, SATURDAY_TWO_S + 7 * 24 * 3600)]
        {
            let Decision::Wait { wait: Wait::Window, until_s, .. } = decide(now_s) else { panic!("{now_s}") };
            assert_eq!(until_s, opens_s);
        }
    }

    #[test]
    fn a_channel_is_followed_only_where_that_is_wanted() {
        let update = Update { channel: Some("stable-k1.37".to_owned()), ..Update::default() };
        assert_eq!(wanted(&update), None);
        assert!(wanted(&Update { automatic: true, ..update }).is_some());
    }

    #[test]
    fn chance_has_a_limit() {
        assert!((0..100).all(|_| by_chance(CHECK) <= CHECK));
    }
}
