//! What a start of machined runs.

use bootstate::Slot;
use config::{ConfigErrors, NodeConfig};
use generation::{Action, Event, Generation, Index, Moment, Refusal};

use super::{
    running::{self, LoadError, Running},
    store::{GenerationStore, StoreError},
};
use crate::error_chain::error_chain;

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The index is of no use.
    #[error("STATE's index of generations")]
    Index(#[source] StoreError),
    /// No generation is whole.
    #[error("no generation of the configuration is whole")]
    Load(#[source] LoadError),
    /// The state machine does not take a boot.
    #[error("the boot does not fit the index of generations")]
    Step(#[source] Refusal),
    /// A first configuration is none.
    #[error("the configuration is refused")]
    Refused(#[source] ConfigErrors),
    /// A first configuration cannot be kept.
    #[error("the configuration cannot be kept")]
    Keep(#[source] StoreError),
}

/// What this start runs.
pub struct Chosen {
    /// All generations.
    pub index: Index,
    /// The one that runs.
    pub running: Running,
    /// Whether the node has to reboot once more.
    pub reboot: bool,
}

/// Makes a checked text the first generation of a node that has none.
pub fn found(store: &GenerationStore, text: &str, author: &str, created_s: i64) -> Result<(), BootError> {
    config::parse(text).map_err(BootError::Refused)?;
    let index = Index::first(author, created_s);
    store.save(index.confirmed(), text).map_err(BootError::Keep)?;
    store.save_index(&index).map_err(BootError::Keep)
}

/// Decides and reads what runs; `None` on a node that has no configuration.
pub fn choose(
    store: &GenerationStore,
    now: &Moment,
    slot: Slot,
    slot_on_trial: bool,
) -> Result<Option<Chosen>, BootError> {
    let Some(known) = store.load_index().map_err(BootError::Index)? else { return Ok(None) };
    let mut index = known.clone();
    let actions = index.step(now, Event::Boot { slot, slot_on_trial }).map_err(BootError::Step)?;
    let index = if keep(store, &index, &actions) { index } else { known };
    if let Err(error) = store.sweep(&index) {
        tracing::warn!(error = error_chain(&error), "what a power cut left over stays");
    }
    let running = read(store, &index).map_err(BootError::Load)?;
    let reboot = actions.contains(&Action::Reboot);
    Ok(Some(Chosen { index, running, reboot }))
}

/// The configurations that STATE holds whole.
pub fn kept(store: &GenerationStore, index: &Index) -> Vec<NodeConfig> {
    let load = |generation: Generation| running::load(store, generation).ok();
    let found = index.entries().iter().filter_map(|entry| load(entry.number));
    found.map(|running| NodeConfig::clone(&running.config)).collect()
}

/// Whether the step counts. When it had to be kept and is not, the next boot decides anew.
fn keep(store: &GenerationStore, index: &Index, actions: &[Action]) -> bool {
    if !actions.iter().any(|action| matches!(action, Action::Persist | Action::Record)) {
        return true;
    }
    let Err(error) = store.save_index(index) else { return true };
    tracing::error!(error = error_chain(&error), "the index of generations is not kept");
    !actions.contains(&Action::Persist)
}

/// The generation that the index wants. One on trial that is damaged gives way to the confirmed one; the manager sees
/// that another runs, and takes the trial back.
fn read(store: &GenerationStore, index: &Index) -> Result<Running, LoadError> {
    let wanted = index.running();
    if wanted == index.confirmed() {
        return running::load_best(store, index, wanted);
    }
    match running::load(store, wanted) {
        Ok(running) => Ok(running),
        Err(error) => {
            let former = running::load_best(store, index, index.confirmed())?;
            Ok(Running { damage: Some(error_chain(&error)), ..former })
        }
    }
}

#[cfg(test)]
#[path = "boot_tests.rs"]
mod tests;
