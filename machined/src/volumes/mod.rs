//! Disks besides the system's: formatted once, when they are blank, and mounted below `/var/mnt`.
//!
//! No disk is ever written that holds anything which this node did not begin itself; a volume that was once complete is
//! never formatted again. What may be done is decided purely ([`decide`]) from the records on STATE and what the disks
//! hold; start reading there, then at [`run`].

mod content;
mod decide;
mod keeper;
mod mark;
mod mounts;
mod records;
mod work;

use std::{path::Path, sync::Arc, time::Duration};

use config::{NodeConfig, Volume};
use layout::path;
use tokio::task::JoinError;

use crate::{
    context::Context, error_chain::error_chain, follow::Follower, health::Status, storage, store::Store,
};
use decide::Problem;
use keeper::{Keeper, Report};
use mounts::{PlaceError, Places};

/// Below DATA.
const PLACES: &str = "mnt";
const CONDITION: &str = "volumes";
/// Owner of the rows.
const OWNER: &str = "volumes";
/// Between looks at what the kernel tells nobody: which disks there are, how full a volume is, who uses it.
const INTERVAL: Duration = Duration::from_secs(10);

/// Sees to it that nothing is stored in the place of a volume that is not mounted. To be called once DATA is, before
/// any pod starts.
pub fn reserve_places() -> Result<(), PlaceError> {
    places().reserve()
}

fn places() -> Places {
    Places::at(&Path::new(path::DATA).join(PLACES))
}

/// Follows the configuration and the disks for ever.
pub async fn run(context: Arc<Context>) {
    let mut controller = Controller { follower: context.follower(CONDITION), context, obeyed: None };
    controller.wait_for_data().await;
    let mut keeper = new_keeper(&controller.context.store);
    loop {
        let config = controller.take_up();
        let (kept, report) = controller.pass(keeper, &config.volumes).await;
        keeper = kept;
        if controller.take_up().volumes != config.volumes {
            continue;
        }
        let is_idle = config.volumes.is_empty() && report.rows.is_empty();
        controller.publish(report, config.volumes.clone());
        tokio::select! {
            () = tokio::time::sleep(INTERVAL), if !is_idle => {}
            () = controller.follower.changed() => {}
        }
    }
}

fn new_keeper(store: &Store) -> Keeper {
    Keeper::new(Path::new(path::STATE), places(), store.clone())
}

struct Controller {
    context: Arc<Context>,
    follower: Follower,
    /// What the condition speaks of.
    obeyed: Option<Vec<Volume>>,
}

impl Controller {
    async fn wait_for_data(&mut self) {
        let text = "waiting for DATA to be mounted";
        self.context.health.set(CONDITION, Status::Progressing, "WaitingForData", text);
        let mut data_ready = self.context.data_ready.clone();
        loop {
            let config = self.follower.current();
            self.follower.settle(&config);
            tokio::select! {
                ready = data_ready.wait_for(|ready| *ready) => if ready.is_ok() { return },
                () = self.follower.changed() => {}
            }
        }
    }

    /// The present configuration. Making or checking a file system may take longer than a change waits for its
    /// followers: the condition tells when it is done, and until then is that of no other configuration.
    fn take_up(&mut self) -> Arc<NodeConfig> {
        let config = self.follower.current();
        if self.obeyed.as_ref() != Some(&config.volumes) {
            let text = "disks are looked at, file systems made, checked and mounted";
            self.context.health.set(CONDITION, Status::Progressing, "Preparing", text);
        }
        self.follower.settle(&config);
        config
    }

    /// One pass of the keeper. Changes of the configuration meanwhile are for the next.
    async fn pass(&mut self, mut keeper: Keeper, volumes: &[Volume]) -> (Keeper, Report) {
        let wanted = volumes.to_vec();
        let mut pass = tokio::task::spawn_blocking(move || {
            let report = keeper.pass(&wanted, storage::spare_disks());
            (keeper, report)
        });
        loop {
            tokio::select! {
                done = &mut pass => return done.unwrap_or_else(|error| self.start_anew(&error)),
                () = self.follower.changed() => drop(self.take_up()),
            }
        }
    }

    fn start_anew(&self, error: &JoinError) -> (Keeper, Report) {
        let problem = Problem { reason: "NotPrepared", message: error_chain(error) };
        (new_keeper(&self.context.store), Report { rows: Vec::new(), problems: vec![problem] })
    }

    fn publish(&mut self, report: Report, volumes: Vec<Volume>) {
        let Report { rows, problems } = report;
        self.context.store.replace_owned(OWNER, rows);
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        let (status, reason) = match problems.first() {
            Some(problem) => (Status::Unhealthy, problem.reason),
            None if volumes.is_empty() => (Status::Healthy, "NotConfigured"),
            None => (Status::Healthy, "Mounted"),
        };
        self.context.health.set(CONDITION, status, reason, messages.join("; "));
        self.obeyed = Some(volumes);
    }
}
