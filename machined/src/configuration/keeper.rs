//! The node, as the manager of generations needs it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use config::NodeConfig;
use generation::Moment;

use super::{anchors, clock::BootClock, manager::Keeper, reset::Reset};
use crate::{error_chain::error_chain, storage::BootState, trust::Trust};

/// STATE, BOOTSTATE and the clock.
pub struct NodeKeeper {
    /// Where STATE is mounted.
    pub state: PathBuf,
    /// BOOTSTATE of the system disk.
    pub boot_state: Arc<Mutex<BootState>>,
    /// What the node trusts.
    pub trust: Arc<Trust>,
    /// The clock of this boot.
    pub clock: BootClock,
}

impl Keeper for NodeKeeper {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn keep_trust(&self, config: &NodeConfig) -> Result<(), String> {
        anchors::keep(&self.boot_state, &self.trust, config).map_err(|error| error_chain(&error))
    }

    fn note_reset(&self, wipe_data: bool) -> Result<(), String> {
        let reset = if wipe_data { Reset::StateAndData } else { Reset::State };
        reset.note(&self.state).map_err(|error| error_chain(&error))
    }
}
