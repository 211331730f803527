//! Judges a release that runs on trial: what was well before the reboot must be well again, and the node must be able
//! to do what it is there for.
//!
//! `checks.rs` holds what is done once, `well.rs` what is watched.

mod api;
mod checks;
mod well;

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use update::Before;

use crate::{health::Health, store::Store};

pub use api::Served;
pub use checks::{Check, api, probe, root};
pub use well::healthy;

/// How long all must hold. A service that ends right after its start is reported within it.
const HOLD: Duration = Duration::from_secs(5);

/// What a trial waits for, in words.
pub type Missing = watch::Sender<Vec<String>>;

/// Waits until everything is well and has held so, or says what was missing at the deadline. A check that can no more
/// succeed ends it at once.
pub async fn pass(
    checks: Vec<Check>,
    health: &Health,
    store: &Store,
    before: &Before,
    deadline: Instant,
    missing: &Missing,
) -> Result<(), String> {
    let mut pending: BTreeSet<String> = checks.iter().map(|check| check.name.clone()).collect();
    let mut running: FuturesUnordered<_> =
        checks.into_iter().map(|check| async move { (check.name, check.work.await) }).collect();
    let (mut conditions, mut resources) = (health.subscribe(), store.subscribe());
    let mut well_since = None;
    loop {
        resources.mark_unchanged();
        let unwell = well::unwell(&conditions.borrow_and_update(), &well::ready_pods(store), before);
        let lacking: Vec<String> = pending.iter().cloned().chain(unwell).collect();
        let is_well = lacking.is_empty();
        well_since = if is_well { well_since.or_else(|| Some(Instant::now())) } else { None };
        missing.send_if_modified(|shown| std::mem::replace(shown, lacking.clone()) != lacking);
        tokio::select! {
            biased;
            () = until(well_since.map(|since| (since + HOLD).min(deadline))) => return Ok(()),
            () = sleep_until(deadline) => return Err(format!("not in time: {}", lacking.join("; "))),
            Some((name, result)) = running.next() => {
                result.map_err(|error| format!("{name}: {error}"))?;
                pending.remove(&name);
            }
            Ok(()) = conditions.changed() => {}
            Ok(()) = resources.changed() => {}
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "../gate_tests.rs"]
mod tests;
