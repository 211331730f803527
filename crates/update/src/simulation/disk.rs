//! The simulated disk: BOOTSTATE, both slots, the state's file.

use bootstate::{
    BootPlan, Copies, CopyIndex, Medium, PerSlot, RECORD_BYTES, Record, Recording, Release, ReleaseVersion,
    Slot, Uki, Ukis, choose, commit, load,
};

use crate::fixture;
pub(super) use crate::fixture::version;

/// Number of a release; its version is `1.<number>.0`.
pub(super) type Number = u8;

/// What lies in a slot; `None` for what is torn or zeroed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) uki: Option<Number>,
    pub(super) root: Option<Number>,
}

pub(super) struct Disk {
    copies: [[u8; RECORD_BYTES]; 2],
    /// Writes of BOOTSTATE until one is torn and all fail.
    writes_left: Option<u32>,
    pub(super) slots: PerSlot<Content>,
    /// Since somebody looked last.
    pub(super) changed: bool,
    pub(super) state: Option<String>,
}

pub(super) struct Torn;

impl Disk {
    pub(super) fn new() -> Self {
        let block = Record::new(release(0, Slot::A)).encode();
        let slots = PerSlot { a: Content { uki: Some(0), root: Some(0) }, b: Content::default() };
        Self { copies: [block; 2], writes_left: None, slots, changed: true, state: None }
    }

    pub(super) fn record(&mut self) -> Record {
        self.load().current().cloned().expect("one copy is intact at every moment")
    }

    fn load(&mut self) -> Copies {
        load(self)
    }

    /// Changes the record; with `writes` the power fails, or the disk refuses, after so many.
    pub(super) fn change(
        &mut self,
        writes: Option<u32>,
        change: impl FnOnce(&mut Record) -> bool,
    ) -> Result<Record, ()> {
        let mut copies = self.load();
        let mut next = self.record();
        if !change(&mut next) {
            return Err(());
        }
        self.writes_left = writes;
        let result = commit(self, &mut copies, next);
        self.writes_left = None;
        result.map(|()| self.record()).map_err(|_| ())
    }

    /// What the selector does before it starts a kernel.
    pub(super) fn select(&mut self) -> BootPlan {
        let mut copies = self.load();
        let plan = choose(&copies, self, Recording::Possible).expect("something boots always");
        let recorded = commit(self, &mut copies, plan.record.clone()).is_ok();
        assert!(recorded);
        plan
    }
}

impl Medium for Disk {
    type Error = Torn;

    fn read(&mut self, offset_bytes: u64) -> Result<[u8; RECORD_BYTES], Torn> {
        Ok(self.copies[usize::from(offset_bytes != CopyIndex::First.offset_bytes())])
    }

    fn write(&mut self, offset_bytes: u64, block: &[u8; RECORD_BYTES]) -> Result<(), Torn> {
        self.changed = true;
        let copy = &mut self.copies[usize::from(offset_bytes != CopyIndex::First.offset_bytes())];
        match &mut self.writes_left {
            Some(0) => {
                copy[..RECORD_BYTES / 2].copy_from_slice(&block[..RECORD_BYTES / 2]);
                Err(Torn)
            }
            left => {
                *copy = *block;
                if let Some(left) = left {
                    *left -= 1;
                }
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), Torn> {
        Ok(())
    }
}

impl Ukis for Disk {
    fn holds(&mut self, slot: Slot, uki: &Uki) -> bool {
        self.slots.get(slot).uki.is_some_and(|number| release(number, slot).uki == *uki)
    }

    fn discover(&mut self, slot: Slot) -> Option<Uki> {
        self.slots.get(slot).uki.map(|number| release(number, slot).uki)
    }
}

pub(super) fn number(version: &ReleaseVersion) -> Number {
    version.as_str().split('.').nth(1).unwrap().parse().unwrap()
}

pub(super) fn release(number: Number, slot: Slot) -> Release {
    Release { version: version(number), uki: fixture::uki(number, slot).record() }
}
