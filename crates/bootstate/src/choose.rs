//! Which slot to start, decided before every boot.
//!
//! 1. A slot on trial with tries left; one try is taken away before it starts.
//! 2. The active slot, or, when it did not come alive in [`BOOTS_MAX`] starts, the other one, which then
//!    becomes active. Both exhausted, they take turns for ever.
//! 3. Whatever else is intact.
//!
//! A UKI that does not match its recorded hash is never started, and neither is a release below the floor.

use crate::BOOTS_MAX;
use crate::copies::Copies;
use crate::flags::BootFlags;
use crate::record::{DiskId, PerSlot, Provisioning, Record, Release, Slot, SlotRecord, SlotState, Uki};
use crate::version::ReleaseVersion;
use core::cmp::Ordering;

/// What lies in the BOOT partitions.
pub trait Ukis {
    /// Whether the slot holds exactly this UKI.
    fn holds(&mut self, slot: Slot, uki: &Uki) -> bool;
    /// The UKI that the slot's own PE headers describe (see [`crate::pe_length_bytes`]), with its digest.
    fn discover(&mut self, slot: Slot) -> Option<Uki>;
}

/// Whether the record can be written before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recording {
    /// As far as is known.
    Possible,
    /// It was tried in vain. A trial whose tries cannot be counted is not begun.
    Impossible,
}

/// What to start, and what to write before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPlan {
    /// The slot to start.
    pub slot: Slot,
    /// Its UKI, which was found to be there.
    pub uki: Uki,
    /// How it came to be chosen.
    pub flags: BootFlags,
    /// To be put in force before the start, unless recording is impossible.
    pub record: Record,
}

/// Chooses the slot to start; `None` when neither slot may be started.
///
/// After a start that failed it is asked again, with `ukis` that no longer hold the slot in question.
pub fn choose(copies: &Copies, ukis: &mut impl Ukis, recording: Recording) -> Option<BootPlan> {
    let (record, state_flags) = match copies.current() {
        Some(record) => (record.clone(), BootFlags::STATE_DAMAGED.when(copies.is_damaged())),
        None => (rebuild(ukis)?, BootFlags::STATE_REBUILT),
    };
    let mut fell_back = false;
    for attempt in attempts(&record, recording).into_iter().flatten() {
        let uki = record.slot(attempt.slot).release.uki;
        if ukis.holds(attempt.slot, &uki) {
            let flags = state_flags
                .with(attempt.flags())
                .with(BootFlags::FELL_BACK.when(fell_back))
                .with(BootFlags::UNRECORDED.when(recording == Recording::Impossible));
            return Some(BootPlan { slot: attempt.slot, uki, flags, record: attempt.record(record) });
        }
        fell_back = true;
    }
    None
}

/// One slot to try, and as what.
#[derive(Clone, Copy)]
struct Attempt {
    slot: Slot,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Trial {
        tries_left: u8,
    },
    /// Takes over from an active slot that does not come alive.
    Successor,
    Ordinary,
}

impl Attempt {
    fn flags(self) -> BootFlags {
        match self.role {
            Role::Trial { .. } => BootFlags::TRIAL,
            Role::Successor => BootFlags::ALTERNATED,
            Role::Ordinary => BootFlags::NONE,
        }
    }

    fn record(self, mut record: Record) -> Record {
        match self.role {
            Role::Trial { tries_left } => {
                record.slots.get_mut(self.slot).state = SlotState::Trial { tries_left }
            }
            Role::Successor => {
                record.active = self.slot;
                record.count_boot(self.slot);
            }
            Role::Ordinary => record.count_boot(self.slot),
        }
        record
    }
}

/// The slots to try, in order.
fn attempts(record: &Record, recording: Recording) -> [Option<Attempt>; 3] {
    let trial = trial(record).filter(|_| recording == Recording::Possible);
    let eligible = |attempt: &Attempt| {
        let on_trial = trial.is_some_and(|trial| trial.slot == attempt.slot);
        may_start(record, attempt.slot) && !on_trial
    };
    let active = Attempt { slot: record.active, role: Role::Ordinary };
    let other = Attempt { slot: record.active.other(), role: Role::Ordinary };
    let exhausted = record.slot(active.slot).boots_since_alive >= BOOTS_MAX;
    let untried = matches!(record.slot(other.slot).state, SlotState::Trial { tries_left: 1.. });
    let [preferred, last] = if exhausted && !untried {
        [Attempt { role: Role::Successor, ..other }, active]
    } else {
        [active, other]
    };
    [trial, Some(preferred).filter(eligible), Some(last).filter(eligible)]
}

/// The trial that is due. Two slots are on trial at once only if the active one ran out of tries.
fn trial(record: &Record) -> Option<Attempt> {
    [record.active.other(), record.active].into_iter().find_map(|slot| match record.slot(slot).state {
        SlotState::Trial { tries_left } if may_start(record, slot) => {
            Some(Attempt { slot, role: Role::Trial { tries_left: tries_left.checked_sub(1)? } })
        }
        SlotState::Empty | SlotState::Trial { .. } | SlotState::Confirmed | SlotState::Failed => None,
    })
}

fn may_start(record: &Record, slot: Slot) -> bool {
    record
        .slot(slot)
        .release()
        .is_some_and(|release| release.version.precedence(&record.rollback_floor) != Ordering::Less)
}

/// Makes a record from the slots alone. What it cannot know is presumed so that nothing of the owner's is lost:
/// the node was provisioned.
fn rebuild(ukis: &mut impl Ukis) -> Option<Record> {
    let mut slot = |slot| {
        ukis.discover(slot).map_or(SlotRecord::EMPTY, |uki| SlotRecord {
            release: Release { version: ReleaseVersion::UNKNOWN, uki },
            state: SlotState::Confirmed,
            ..SlotRecord::EMPTY
        })
    };
    let slots = PerSlot { a: slot(Slot::A), b: slot(Slot::B) };
    let active = Slot::ALL.into_iter().find(|slot| slots.get(*slot).release().is_some())?;
    Some(Record {
        sequence: 0,
        disk_id: DiskId::UNSET,
        provisioning: Provisioning::Presumed,
        active,
        slots,
        rollback_floor: ReleaseVersion::UNKNOWN,
        reserved: [0; 120],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TRIAL_TRIES;
    use crate::codec::tests::records;
    use proptest::prelude::*;

    /// Slots that hold what they should, or not.
    struct Health(PerSlot<bool>);

    impl Ukis for Health {
        fn holds(&mut self, slot: Slot, _: &Uki) -> bool {
            *self.0.get(slot)
        }

        fn discover(&mut self, slot: Slot) -> Option<Uki> {
            self.0.get(slot).then_some(Uki { length_bytes: 1, sha256: [slot.byte(); 32] })
        }
    }

    const BOTH: PerSlot<bool> = PerSlot { a: true, b: true };

    fn release(text: &str) -> Release {
        Release { version: ReleaseVersion::new(text).unwrap(), uki: Uki { length_bytes: 1, sha256: [1; 32] } }
    }

    fn confirmed_in_both() -> Record {
        let mut record = Record::new(release("1.0.0"));
        record.begin_trial(Slot::A, release("1.1.0")).unwrap();
        record.confirm(Slot::B).unwrap();
        record
    }

    fn boot(record: &mut Record, health: PerSlot<bool>) -> Option<(Slot, BootFlags)> {
        let copies = Copies { first: Some(record.clone()), second: Some(record.clone()) };
        let plan = choose(&copies, &mut Health(health), Recording::Possible)?;
        *record = plan.record;
        Some((plan.slot, plan.flags))
    }

    #[test]
    fn a_trial_has_its_tries_and_then_the_confirmed_slot_boots() {
        let mut record = Record::new(release("1.0.0"));
        record.begin_trial(Slot::A, release("1.1.0")).unwrap();
        for _ in 0..TRIAL_TRIES {
            assert_eq!(boot(&mut record, BOTH), Some((Slot::B, BootFlags::TRIAL)));
        }
        assert_eq!(boot(&mut record, BOTH), Some((Slot::A, BootFlags::NONE)));
        assert_eq!(record.slot(Slot::B).state(), SlotState::Trial { tries_left: 0 });
    }

    #[test]
    fn a_slot_that_does_not_come_alive_makes_room_and_both_alternate() {
        let mut record = confirmed_in_both();
        let mut boots = || boot(&mut record, BOTH).unwrap();
        for _ in 0..BOOTS_MAX {
            assert_eq!(boots(), (Slot::B, BootFlags::NONE));
        }
        assert_eq!(boots(), (Slot::A, BootFlags::ALTERNATED));
        for _ in 1..BOOTS_MAX {
            assert_eq!(boots(), (Slot::A, BootFlags::NONE));
        }
        for _ in 0..300 {
            assert_eq!(boots(), (Slot::B, BootFlags::ALTERNATED));
            assert_eq!(boots(), (Slot::A, BootFlags::ALTERNATED));
        }
        record.mark_alive(Slot::A);
        assert_eq!(boot(&mut record, BOTH), Some((Slot::A, BootFlags::NONE)));
    }

    #[test]
    fn a_damaged_slot_is_passed_over() {
        let mut record = confirmed_in_both();
        let only_a = PerSlot { a: true, b: false };
        for _ in 0..2 * BOOTS_MAX {
            assert_eq!(boot(&mut record, only_a), Some((Slot::A, BootFlags::FELL_BACK)));
        }
        assert_eq!(boot(&mut record, PerSlot { a: false, b: false }), None);
    }

    #[test]
    fn a_release_below_the_floor_never_starts() {
        let mut record = confirmed_in_both();
        record.rollback_floor = ReleaseVersion::new("1.1.0").unwrap();
        assert_eq!(boot(&mut record, PerSlot { a: true, b: false }), None);
        for _ in 0..2 * BOOTS_MAX {
            assert_eq!(boot(&mut record, BOTH), Some((Slot::B, BootFlags::NONE)));
        }
    }

    #[test]
    fn without_recording_no_trial_begins() {
        let mut record = Record::new(release("1.0.0"));
        record.begin_trial(Slot::A, release("1.1.0")).unwrap();
        let copies = Copies { first: Some(record.clone()), second: Some(record) };
        let choose = |a| choose(&copies, &mut Health(PerSlot { a, b: true }), Recording::Impossible);
        assert_eq!(choose(true).map(|plan| (plan.slot, plan.flags)), Some((Slot::A, BootFlags::UNRECORDED)));
        let unrecorded = BootFlags::FELL_BACK.with(BootFlags::UNRECORDED);
        assert_eq!(choose(false).map(|plan| (plan.slot, plan.flags)), Some((Slot::B, unrecorded)));
    }

    #[test]
    fn rebuilds_from_the_slots_alone() {
        let lost = Copies { first: None, second: None };
        let choose = |a, b| choose(&lost, &mut Health(PerSlot { a, b }), Recording::Possible);
        let plan = choose(false, true).unwrap();
        assert_eq!((plan.slot, plan.flags), (Slot::B, BootFlags::STATE_REBUILT));
        assert_eq!(plan.record.provisioning(), Provisioning::Presumed);
        assert!(plan.record.disk_id().is_unset());
        assert_eq!(plan.record.slot(Slot::A).state(), SlotState::Empty);
        assert_eq!(choose(true, true).map(|plan| plan.slot), Some(Slot::A));
        assert_eq!(choose(false, false), None);
    }

    proptest! {
        /// For any two records whatsoever: only what is intact starts, and something starts if anything may.
        #[test]
        fn starts_only_what_is_intact(
            first in prop::option::of(records()), second in prop::option::of(records()), a: bool, b: bool,
        ) {
            let copies = Copies { first, second };
            let health = PerSlot { a, b };
            for recording in [Recording::Possible, Recording::Impossible] {
                let plan = choose(&copies, &mut Health(health), recording);
                let may = |slot| *health.get(slot) && copies.current().is_none_or(|record| may_start(record, slot));
                prop_assert_eq!(plan.is_some(), may(Slot::A) || may(Slot::B));
                if let Some(plan) = plan {
                    prop_assert!(may(plan.slot));
                    let provisioned = copies.current().is_none_or(Record::is_provisioned);
                    prop_assert_eq!(plan.record.is_provisioned(), provisioned);
                }
            }
        }
    }
}
