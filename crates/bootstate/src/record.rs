//! The record: what BOOTSTATE says.

use crate::version::ReleaseVersion;

/// A SHA-256 digest.
pub type Sha256 = [u8; 32];

/// One of the two places for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// BOOT-A and ROOT-A.
    A,
    /// BOOT-B and ROOT-B.
    B,
}

impl Slot {
    /// Both slots.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The slot that this one is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `A` or `B`.
    pub const fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.byte() == byte)
    }

    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::A => b'A',
            Self::B => b'B',
        }
    }
}

/// One value per slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PerSlot<T> {
    /// Slot A's.
    pub a: T,
    /// Slot B's.
    pub b: T,
}

impl<T> PerSlot<T> {
    /// The slot's value.
    pub const fn get(&self, slot: Slot) -> &T {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// The slot's value, to change it.
    pub const fn get_mut(&mut self, slot: Slot) -> &mut T {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }
}

/// Random id of a disk, made at its first boot; all zero until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DiskId(pub [u8; 16]);

impl DiskId {
    /// Not made yet.
    pub const UNSET: Self = Self([0; 16]);

    /// Whether the id has yet to be made.
    pub fn is_unset(self) -> bool {
        self == Self::UNSET
    }
}

/// Whether the node ever had a configuration of its owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provisioning {
    /// Never: STATE may be created, insecure maintenance may be offered.
    Never,
    /// Not known, because both copies were damaged: to be treated as [`Provisioning::Done`], with the trust
    /// anchors taken from STATE.
    Presumed,
    /// Once and for ever.
    Done {
        /// Hash of the trust anchors that STATE must hold.
        trust_anchors_sha256: Sha256,
    },
}

/// A UKI as it lies at the start of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uki {
    /// Length of the PE file.
    pub length_bytes: u64,
    /// Digest of the PE file.
    pub sha256: Sha256,
}

/// What a slot is given when a release is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    /// Version of the release.
    pub version: ReleaseVersion,
    /// The slot's own UKI.
    pub uki: Uki,
}

/// How far a slot's release has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// No release.
    Empty,
    /// Written, not confirmed. With no tries left it ran out of them without a verdict.
    Trial {
        /// Starts that are left.
        tries_left: u8,
    },
    /// Passed its health gate.
    Confirmed,
    /// Failed its health gate.
    Failed,
}

/// One slot of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotRecord {
    pub(crate) release: Release,
    pub(crate) state: SlotState,
    pub(crate) boots_since_alive: u8,
    pub(crate) reserved: [u8; 21],
}

impl SlotRecord {
    pub(crate) const EMPTY: Self = Self {
        release: Release { version: ReleaseVersion::UNKNOWN, uki: Uki { length_bytes: 0, sha256: [0; 32] } },
        state: SlotState::Empty,
        boots_since_alive: 0,
        reserved: [0; 21],
    };

    /// How far the release has got.
    pub const fn state(&self) -> SlotState {
        self.state
    }

    /// The release; `None` in an empty slot.
    pub fn release(&self) -> Option<&Release> {
        (self.state != SlotState::Empty).then_some(&self.release)
    }

    /// Starts, other than trials, since the API was last served from this slot. At most [`crate::BOOTS_MAX`].
    pub const fn boots_since_alive(&self) -> u8 {
        self.boots_since_alive
    }
}

/// The content of BOOTSTATE. Changed only by its transitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub(crate) sequence: u64,
    pub(crate) disk_id: DiskId,
    pub(crate) provisioning: Provisioning,
    pub(crate) active: Slot,
    pub(crate) slots: PerSlot<SlotRecord>,
    pub(crate) rollback_floor: ReleaseVersion,
    pub(crate) reserved: [u8; 120],
}

impl Record {
    /// The record of a freshly assembled disk: the release confirmed in slot A, no disk id, never provisioned.
    pub const fn new(release: Release) -> Self {
        let slot_a = SlotRecord { release, state: SlotState::Confirmed, ..SlotRecord::EMPTY };
        Self {
            sequence: 1,
            disk_id: DiskId::UNSET,
            provisioning: Provisioning::Never,
            active: Slot::A,
            slots: PerSlot { a: slot_a, b: SlotRecord::EMPTY },
            rollback_floor: ReleaseVersion::UNKNOWN,
            reserved: [0; 120],
        }
    }

    /// Number of the write that made this copy.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Id of the disk.
    pub const fn disk_id(&self) -> DiskId {
        self.disk_id
    }

    /// Whether the node was ever provisioned, and with which trust anchors.
    pub const fn provisioning(&self) -> Provisioning {
        self.provisioning
    }

    /// Whether the node must be treated as provisioned.
    pub fn is_provisioned(&self) -> bool {
        self.provisioning != Provisioning::Never
    }

    /// The slot that boots when no trial is due.
    pub const fn active(&self) -> Slot {
        self.active
    }

    /// One slot.
    pub const fn slot(&self, slot: Slot) -> &SlotRecord {
        self.slots.get(slot)
    }

    /// Releases below this never start; [`ReleaseVersion::UNKNOWN`] for no floor.
    pub const fn rollback_floor(&self) -> ReleaseVersion {
        self.rollback_floor
    }
}
