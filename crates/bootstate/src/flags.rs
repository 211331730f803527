//! What the selector tells the running node.

use crate::record::Slot;

/// Facts about how this boot came about: the second byte of the `CairnBoot` EFI variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootFlags(u8);

impl BootFlags {
    /// Nothing to report.
    pub const NONE: Self = Self(0);
    /// One copy of the record was damaged. The selector's own write has replaced it.
    pub const STATE_DAMAGED: Self = Self(1 << 0);
    /// Both copies were damaged; the record was rebuilt from what the slots hold.
    pub const STATE_REBUILT: Self = Self(1 << 1);
    /// A trial: confirm within the deadline, or reboot.
    pub const TRIAL: Self = Self(1 << 2);
    /// A slot was preferred whose UKI does not match its hash or did not start.
    pub const FELL_BACK: Self = Self(1 << 3);
    /// The active slot did not come alive in [`crate::BOOTS_MAX`] starts, so the slots changed places.
    pub const ALTERNATED: Self = Self(1 << 4);
    /// The record could not be written: this start is not counted.
    pub const UNRECORDED: Self = Self(1 << 5);
    /// The selector armed a hardware watchdog.
    pub const WATCHDOG_ARMED: Self = Self(1 << 6);

    /// Takes the stored byte; unknown bits are kept.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte to store.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set, or nothing when the condition does not hold.
    #[must_use]
    pub const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    /// Of these, those that tell of damage to the record.
    #[must_use]
    pub const fn damage(self) -> Self {
        Self(self.0 & Self::STATE_DAMAGED.with(Self::STATE_REBUILT).0)
    }

    /// Whether all of the other's flags are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Content of the `CairnBoot` EFI variable (without the four bytes of attributes that efivarfs puts before it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootReport {
    /// The slot that was started.
    pub slot: Slot,
    /// How that came about.
    pub flags: BootFlags,
}

impl BootReport {
    /// The variable's content.
    pub const fn encode(self) -> [u8; 2] {
        [self.slot.byte(), self.flags.bits()]
    }

    /// Reads the variable's content; bytes behind the known ones are ignored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([slot, flags], _) = bytes.split_first_chunk()?;
        Some(Self { slot: Slot::from_byte(*slot)?, flags: BootFlags::from_bits(*flags) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_round_trips() {
        for slot in Slot::ALL {
            for bits in 0..=u8::MAX {
                let report = BootReport { slot, flags: BootFlags::from_bits(bits) };
                assert_eq!(BootReport::decode(&report.encode()), Some(report));
            }
        }
        assert_eq!(BootReport::decode(b"B\x04 later additions").map(|report| report.slot), Some(Slot::B));
        assert_eq!(BootReport::decode(b"A"), None);
        assert_eq!(BootReport::decode(b"C\0"), None);
    }

    #[test]
    fn flags_are_distinct_bits() {
        let all = [
            BootFlags::STATE_DAMAGED,
            BootFlags::STATE_REBUILT,
            BootFlags::TRIAL,
            BootFlags::FELL_BACK,
            BootFlags::ALTERNATED,
            BootFlags::UNRECORDED,
            BootFlags::WATCHDOG_ARMED,
        ];
        let union = all.into_iter().fold(BootFlags::NONE, BootFlags::with);
        assert_eq!(union.bits().count_ones() as usize, all.len());
        assert_eq!(union.damage(), BootFlags::STATE_DAMAGED.with(BootFlags::STATE_REBUILT));
        assert!(all.into_iter().all(|flag| union.contains(flag) && !BootFlags::NONE.contains(flag)));
    }
}
