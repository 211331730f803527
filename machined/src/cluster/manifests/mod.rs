//! Applies manifests to the cluster that this node serves: those that every cluster of Cairn's has, and those of the
//! configuration. What no document has any more is deleted.
//!
//! What was applied is recorded in the cluster itself, before it is applied and until it is deleted: a power cut in
//! between loses track of nothing. `object.rs` and `base.rs` are pure. Start reading at [`run`].

mod base;
mod object;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use config::NodeConfig;
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

pub use self::base::ADMINS;
use self::object::{Id, Resource};
use super::{
    client::{Client, ClientError},
    control_plane,
};
use crate::{context::Context, error_chain::error_chain, follow::Follower, health::Status};

/// The condition of all of them.
pub const CONDITION: &str = "manifests";
/// Between attempts.
const RETRY: Duration = Duration::from_secs(5);
/// Somebody may have changed what stands here.
const AGAIN: Duration = Duration::from_secs(600);
/// Where the record is.
const RECORD: &str = "/api/v1/namespaces/kube-system/configmaps/cairn-manifests";
/// Failures that are told.
const TOLD_MAX: usize = 3;

/// Runs for ever; on a node that serves no cluster it does nothing. `ready` says whether the API server is.
pub async fn run(context: Arc<Context>, mut ready: watch::Receiver<bool>) {
    if context.config.borrow().control_plane.is_none() {
        return;
    }
    let mut follower = context.follower("manifests");
    context.health.set(CONDITION, Status::Progressing, "WaitingForApi", "waiting for the API server");
    loop {
        let config = follower.current();
        follower.settle(&config);
        tokio::select! {
            // The sender ends only with the process.
            _ = ready.wait_for(|ready| *ready) => {}
            () = follower.changed() => continue,
        }
        let period = match bring_about(&config).await {
            Ok(()) => {
                context.health.set(CONDITION, Status::Healthy, "Applied", "");
                AGAIN
            }
            Err(Failure::Api(error)) => {
                let message = format!("waiting for the API server: {}", error_chain(&error));
                context.health.set(CONDITION, Status::Progressing, "WaitingForApi", message);
                RETRY
            }
            Err(Failure::Objects(failed)) => {
                context.health.set(CONDITION, Status::Unhealthy, "NotApplied", told(&failed));
                RETRY
            }
        };
        wait(&mut follower, period).await;
    }
}

async fn wait(follower: &mut Follower, period: Duration) {
    timeout(period, follower.changed()).await.ok();
}

enum Failure {
    /// Nothing can be done.
    Api(ClientError),
    /// These objects are not as they should be.
    Objects(Vec<(Id, ClientError)>),
}

fn told(failed: &[(Id, ClientError)]) -> String {
    let shown: Vec<String> =
        failed.iter().take(TOLD_MAX).map(|(id, error)| format!("{id}: {}", error_chain(error))).collect();
    let more = failed.len().saturating_sub(TOLD_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}

/// Makes the cluster have what it should.
async fn bring_about(config: &NodeConfig) -> Result<(), Failure> {
    let client = control_plane::client().map_err(Failure::Api)?;
    let wanted = wanted(config);
    let ids: BTreeSet<Id> = wanted.iter().map(|(id, _)| id.clone()).collect();
    let recorded = recorded(&client).await.map_err(Failure::Api)?;
    let all: BTreeSet<Id> = recorded.union(&ids).cloned().collect();
    record(&client, &recorded, &all).await.map_err(Failure::Api)?;

    let mut discovery = Discovery::default();
    let mut failed = Vec::new();
    for (id, object) in &wanted {
        let applied = match discovery.path(&client, id).await {
            Ok(path) => client.apply(&path, object).await,
            Err(error) => Err(error),
        };
        failed.extend(applied.err().map(|error| (id.clone(), error)));
    }
    let mut kept = ids.clone();
    for id in recorded.iter().filter(|id| !ids.iter().any(|wanted| wanted.is_same(id))) {
        let deleted = match discovery.path(&client, id).await {
            Ok(path) => client.delete(&path).await,
            // With its kind, the object is gone.
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = deleted {
            kept.insert(id.clone());
            failed.push((id.clone(), error));
        }
    }
    record(&client, &all, &kept).await.map_err(Failure::Api)?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::Objects(failed)) }
}

/// All objects, in the order in which they need each other.
fn wanted(config: &NodeConfig) -> Vec<(Id, Value)> {
    let own = config.cluster.iter().flat_map(|cluster| base::objects(&cluster.bootstrap_token));
    let own = own.map(|object| ("cairn", object));
    let given = config
        .manifests
        .iter()
        .flat_map(|document| document.objects.iter().map(|object| (document.name.as_str(), object.clone())));
    let mut wanted: Vec<(Id, Value)> = own
        .chain(given)
        .filter_map(|(document, object)| Some((Id::of(&object)?, object::owned(object, document))))
        .collect();
    wanted.sort_by_key(|(id, _)| id.rank());
    wanted
}

async fn recorded(client: &Client) -> Result<BTreeSet<Id>, ClientError> {
    let map = match client.get(RECORD).await {
        Ok(map) => map,
        Err(error) if error.is_not_found() => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let text = map["data"]["applied"].as_str().unwrap_or("[]");
    serde_json::from_str(text).map_err(ClientError::Json)
}

async fn record(client: &Client, known: &BTreeSet<Id>, ids: &BTreeSet<Id>) -> Result<(), ClientError> {
    if known == ids {
        return Ok(());
    }
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cairn-manifests", "namespace": "kube-system"},
        "data": {"applied": serde_json::to_string(ids).map_err(ClientError::Json)?},
    });
    client.apply(RECORD, &map).await
}

/// What the API server says of its kinds, asked once for each version of an API.
#[derive(Default)]
struct Discovery(BTreeMap<String, Vec<Resource>>);

impl Discovery {
    async fn path(&mut self, client: &Client, id: &Id) -> Result<String, ClientError> {
        if !self.0.contains_key(&id.api_version) {
            let answer = client.get(&object::root(&id.api_version)).await?;
            self.0.insert(id.api_version.clone(), object::resources(&answer));
        }
        let known = self.0.get(&id.api_version).map(Vec::as_slice).unwrap_or_default();
        id.path(known).ok_or_else(|| ClientError::Refused {
            status: reqwest::StatusCode::NOT_FOUND,
            message: format!("{} has no kind {}", id.api_version, id.kind),
        })
    }
}
