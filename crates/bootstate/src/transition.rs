//! What a running node may do to the record.
//!
//! Each transition changes the record in memory; [`crate::commit`] puts it in force.

use crate::record::{DiskId, Provisioning, Record, Release, Sha256, Slot, SlotRecord, SlotState};
use crate::version::ReleaseVersion;
use crate::{BOOTS_MAX, TRIAL_TRIES};
use core::cmp::Ordering;

/// Why a transition is refused. The record is unchanged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// A release may not be replaced while the running one has yet to be confirmed.
    #[error("slot {} runs a release that is not confirmed", running.letter())]
    Unconfirmed {
        /// The slot that runs.
        running: Slot,
    },
    /// Older than what the rollback floor allows.
    #[error("the release is below the rollback floor {floor}")]
    BelowFloor {
        /// In force.
        floor: ReleaseVersion,
    },
    /// The floor would shut out a release that the node may need.
    #[error("the rollback floor would be above release {version} in slot {}", slot.letter())]
    FloorAboveSlot {
        /// The slot that would be shut out.
        slot: Slot,
        /// Its release.
        version: ReleaseVersion,
    },
    /// There is no release in the slot.
    #[error("slot {} is empty", slot.letter())]
    Empty {
        /// Which slot.
        slot: Slot,
    },
    /// The slot is not on trial.
    #[error("slot {} is not on trial", slot.letter())]
    NotOnTrial {
        /// Which slot.
        slot: Slot,
    },
}

impl Record {
    /// Gives the disk its id, unless it has one.
    pub fn set_disk_id(&mut self, id: DiskId) {
        if self.disk_id.is_unset() {
            self.disk_id = id;
        }
    }

    /// The node has a configuration of its owner's, with these trust anchors. Only a reset leads back.
    pub fn set_provisioned(&mut self, trust_anchors_sha256: Sha256) {
        self.provisioning = Provisioning::Done { trust_anchors_sha256 };
    }

    /// Its owner reset the node: nothing of his is left, and whoever comes next may configure it.
    pub fn forget_provisioning(&mut self) {
        self.provisioning = Provisioning::Never;
    }

    /// The running slot has served the API for long enough. Outside of a trial it becomes the active one; the rest of
    /// a boot whose trial has just failed is still one.
    pub fn mark_alive(&mut self, running: Slot) {
        let slot = self.slots.get_mut(running);
        let started_off_trial = slot.boots_since_alive > 0;
        slot.boots_since_alive = 0;
        match slot.state {
            SlotState::Confirmed => self.active = running,
            SlotState::Failed if started_off_trial => self.active = running,
            SlotState::Failed | SlotState::Trial { .. } | SlotState::Empty => {}
        }
    }

    /// The slot that the next release goes to. To be asked before the first byte is written there.
    pub fn trial_target(&self, running: Slot, version: &ReleaseVersion) -> Result<Slot, TransitionError> {
        match self.slot(running).state {
            SlotState::Empty => return Err(TransitionError::Empty { slot: running }),
            SlotState::Trial { .. } => return Err(TransitionError::Unconfirmed { running }),
            SlotState::Confirmed | SlotState::Failed => {}
        }
        if version.precedence(&self.rollback_floor) == Ordering::Less {
            return Err(TransitionError::BelowFloor { floor: self.rollback_floor });
        }
        Ok(running.other())
    }

    /// Puts the release, which lies complete in the slot that does not run, on trial.
    pub fn begin_trial(&mut self, running: Slot, release: Release) -> Result<(), TransitionError> {
        let target = self.trial_target(running, &release.version)?;
        self.active = running;
        let slot = self.slots.get_mut(target);
        let state = SlotState::Trial { tries_left: TRIAL_TRIES };
        *slot = SlotRecord { release, state, boots_since_alive: 0, reserved: slot.reserved };
        Ok(())
    }

    /// The running slot passed its health gate: it is the active one from now on.
    pub fn confirm(&mut self, running: Slot) -> Result<(), TransitionError> {
        let slot = self.slots.get_mut(running);
        if slot.state == SlotState::Empty {
            return Err(TransitionError::Empty { slot: running });
        }
        slot.state = SlotState::Confirmed;
        slot.boots_since_alive = 0;
        self.active = running;
        Ok(())
    }

    /// The slot's trial failed its health gate: it is not started again while the other one works.
    pub fn fail(&mut self, slot: Slot) -> Result<(), TransitionError> {
        let record = self.slots.get_mut(slot);
        if !matches!(record.state, SlotState::Trial { .. }) {
            return Err(TransitionError::NotOnTrial { slot });
        }
        record.state = SlotState::Failed;
        Ok(())
    }

    /// Raises the rollback floor, never above the oldest release that is there. A lower floor changes nothing.
    pub fn raise_rollback_floor(&mut self, floor: ReleaseVersion) -> Result<(), TransitionError> {
        for slot in Slot::ALL {
            if let Some(Release { version, .. }) = self.slot(slot).release()
                && version.precedence(&floor) == Ordering::Less
            {
                return Err(TransitionError::FloorAboveSlot { slot, version: *version });
            }
        }
        if floor.precedence(&self.rollback_floor) == Ordering::Greater {
            self.rollback_floor = floor;
        }
        Ok(())
    }

    /// Counts one more start of a slot that is not on trial. It saturates: from [`BOOTS_MAX`] on the slots
    /// alternate, however often it was.
    pub(crate) fn count_boot(&mut self, slot: Slot) {
        let slot = self.slots.get_mut(slot);
        slot.boots_since_alive = slot.boots_since_alive.saturating_add(1).min(BOOTS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::tests::records;
    use crate::record::Uki;
    use proptest::prelude::*;

    fn version(text: &str) -> ReleaseVersion {
        ReleaseVersion::new(text).unwrap()
    }

    fn release(text: &str) -> Release {
        Release { version: version(text), uki: Uki { length_bytes: 1, sha256: [1; 32] } }
    }

    #[test]
    fn an_upgrade_from_begin_to_end() {
        let mut record = Record::new(release("1.0.0"));
        record.begin_trial(Slot::A, release("1.1.0")).unwrap();
        assert_eq!(record.slot(Slot::B).state(), SlotState::Trial { tries_left: TRIAL_TRIES });
        assert_eq!(record.active(), Slot::A);
        record.mark_alive(Slot::B);
        assert_eq!(record.active(), Slot::A);
        record.confirm(Slot::B).unwrap();
        assert_eq!((record.active(), record.slot(Slot::B).state()), (Slot::B, SlotState::Confirmed));
        assert_eq!(record.slot(Slot::A).release(), Some(&release("1.0.0")));
    }

    #[test]
    fn a_failed_trial_leaves_the_active_slot() {
        let mut record = Record::new(release("1.0.0"));
        record.begin_trial(Slot::A, release("1.1.0")).unwrap();
        record.fail(Slot::B).unwrap();
        record.mark_alive(Slot::B);
        assert_eq!((record.active(), record.slot(Slot::B).state()), (Slot::A, SlotState::Failed));
        record.count_boot(Slot::B);
        record.mark_alive(Slot::B);
        assert_eq!(record.active(), Slot::B, "it was started for want of anything better");
    }

    #[test]
    fn refusals_change_nothing() {
        let mut record = Record::new(release("1.0.0"));
        record.begin_trial(Slot::A, release("1.1.0")).unwrap();
        let before = record.clone();
        let unconfirmed = TransitionError::Unconfirmed { running: Slot::B };
        assert_eq!(record.begin_trial(Slot::B, release("1.2.0")), Err(unconfirmed));
        assert_eq!(record.fail(Slot::A), Err(TransitionError::NotOnTrial { slot: Slot::A }));
        let shut_out = TransitionError::FloorAboveSlot { slot: Slot::A, version: version("1.0.0") };
        assert_eq!(record.raise_rollback_floor(version("1.0.1")), Err(shut_out));
        assert_eq!(record, before);
        let mut record = Record::new(release("1.0.0"));
        assert_eq!(record.confirm(Slot::B), Err(TransitionError::Empty { slot: Slot::B }));
    }

    #[test]
    fn the_floor_only_rises_and_shuts_out_older_releases() {
        let mut record = Record::new(release("1.2.0"));
        record.raise_rollback_floor(version("1.1.0")).unwrap();
        record.raise_rollback_floor(version("1.0.0")).unwrap();
        assert_eq!(record.rollback_floor(), version("1.1.0"));
        let below = TransitionError::BelowFloor { floor: version("1.1.0") };
        assert_eq!(record.begin_trial(Slot::A, release("1.0.9")), Err(below));
        record.begin_trial(Slot::A, release("1.1.0")).unwrap();
    }

    #[test]
    fn the_disk_id_is_set_once() {
        let mut record = Record::new(release("1.0.0"));
        record.set_disk_id(DiskId([1; 16]));
        record.set_disk_id(DiskId([2; 16]));
        assert_eq!(record.disk_id(), DiskId([1; 16]));
    }

    proptest! {
        /// No transition takes back what must last, or touches bytes that it does not know.
        #[test]
        fn what_must_last_lasts(
            before in records(), choice in 0..7, slot in prop::sample::select(&Slot::ALL), minor in 0u8..3,
        ) {
            let mut after = before.clone();
            let other = release(&std::format!("1.{minor}.0"));
            let refused = match choice {
                0 => { after.mark_alive(slot); false }
                1 => { after.set_disk_id(DiskId([9; 16])); false }
                2 => { after.set_provisioned([9; 32]); false }
                3 => after.begin_trial(slot, other).is_err(),
                4 => after.confirm(slot).is_err(),
                5 => after.fail(slot).is_err(),
                _ => after.raise_rollback_floor(other.version).is_err(),
            };
            prop_assert!(!refused || after == before);
            prop_assert!(after.is_provisioned() || !before.is_provisioned());
            prop_assert!(before.disk_id.is_unset() || after.disk_id == before.disk_id);
            prop_assert_ne!(after.rollback_floor.precedence(&before.rollback_floor), Ordering::Less);
            prop_assert_eq!(after.reserved, before.reserved);
            for slot in Slot::ALL {
                prop_assert_eq!(after.slot(slot).reserved, before.slot(slot).reserved);
            }
        }
    }
}
