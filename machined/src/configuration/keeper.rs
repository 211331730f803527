//! The node, as the manager of generations needs it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use config::NodeConfig;
use generation::Moment;

use super::{anchors, clock::BootClock, manager::Keeper, reset::Reset};
use crate::{
    error_chain::error_chain,
    recovery,
    storage::{BootState, SystemDisk},
    trust::Trust,
};

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
    /// The disk whose STATE is lost, if it is: then nothing can be noted there.
    pub lost: Option<SystemDisk>,
}

impl Keeper for NodeKeeper {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn keep_trust(&self, config: &NodeConfig) -> Result<(), String> {
        anchors::keep(&self.boot_state, &self.trust, config).map_err(|error| error_chain(&error))
    }

    fn note_reset(&self, wipe_data: bool) -> Result<(), String> {
        if let Some(disk) = &self.lost {
            let mut boot_state = self.boot_state.lock().unwrap_or_else(PoisonError::into_inner);
            let given_up = recovery::give_up(disk, wipe_data, || boot_state.forget_provisioning());
            return given_up.map_err(|error| error_chain(&error));
        }
        let reset = if wipe_data { Reset::StateAndData } else { Reset::State };
        reset.note(&self.state).map_err(|error| error_chain(&error))
    }
}
