//! The mirrors of a source: the one that did well is asked first, the one that sent wrong blocks last.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::source::{Body, Part, ReleasePath, Source, SourceError};

/// What is held against a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// What to call it.
    pub mirror: String,
    /// How often it failed.
    pub failures: u32,
    /// How often it sent something else than what is signed.
    pub wrong: u32,
    /// What went wrong at last.
    pub last: String,
}

/// A source with what is known of its mirrors.
#[derive(Debug)]
pub struct Mirrors {
    source: Source,
    marks: Mutex<Vec<Mark>>,
}

impl Mirrors {
    /// Nothing is held against any of them yet.
    pub fn new(source: Source) -> Self {
        let mark = |mirror| Mark { mirror: source.name(mirror), ..Mark::default() };
        let marks = Mutex::new((0..source.mirrors()).map(mark).collect());
        Self { source, marks }
    }

    /// All of them, the best first.
    pub fn order(&self) -> Vec<usize> {
        let marks = self.marks();
        let mut order: Vec<usize> = (0..marks.len()).collect();
        order.sort_by_key(|mirror| marks.get(*mirror).map(|mark| (mark.wrong, mark.failures)));
        order
    }

    /// What to call a mirror.
    pub fn name(&self, mirror: usize) -> String {
        self.source.name(mirror)
    }

    /// The source, for whoever reads it as a whole.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Begins to read from a mirror.
    pub async fn open(&self, mirror: usize, path: &ReleasePath, part: Part) -> Result<Body, SourceError> {
        self.source.open(mirror, path, part).await
    }

    /// Holds something against a mirror; `wrong` when what it sent is not what is signed.
    pub fn blame(&self, mirror: usize, wrong: bool, why: String) {
        if let Some(mark) = self.marks().get_mut(mirror) {
            tracing::warn!(mirror = mark.mirror, why, "a mirror does not do");
            mark.failures = mark.failures.saturating_add(1);
            mark.wrong = mark.wrong.saturating_add(wrong.into());
            mark.last = why;
        }
    }

    /// What is held against them.
    pub fn report(&self) -> Vec<Mark> {
        self.marks().iter().filter(|mark| mark.failures > 0).cloned().collect()
    }

    fn marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
