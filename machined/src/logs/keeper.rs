//! The thread that has the store: whatever a disk does, nobody but logs waits for it.

use std::{
    fmt,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use logstore::{
    Batch, BootId, Cursor, Due, Entry, Limits, Medium, Memory, Merged, Pace, Range, Record, Source, Store,
};
use tokio::sync::{oneshot, watch};

use super::{clock::Clock, collect::Line, folder::Folder, severity};
use crate::error_chain::error_chain;

/// On DATA, which has at least 2 GiB.
const ON_DATA: Limits = Limits { cap_bytes: 128 << 20, segment_bytes: 1 << 20, floor_bytes: 8 << 20 };
/// In memory, until DATA is there or for as long as there is none. What services wrote before fits.
const IN_MEMORY: Limits = Limits { cap_bytes: 2 << 20, segment_bytes: 64 << 10, floor_bytes: 0 };
/// On a medium that cannot be written: between attempts, each of which takes what room there is.
const RETRY: Duration = Duration::from_secs(5);
/// A hundred threads' worth of stack is not needed for any of this.
const STACK_BYTES: usize = 512 << 10;

type Question = Box<dyn FnOnce(&mut Keeper) + Send>;

/// The thread has ended; only the process's end leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("logs are not kept any more")]
pub struct Gone;

/// What the keeper says without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Changes with every line.
    pub next_sequence: u64,
    /// Whether the store is on DATA.
    pub on_data: bool,
    /// Why nothing can be written, if that is so.
    pub trouble: Option<String>,
    /// Lines that were dropped for it, since machined started.
    pub lost_lines: u64,
}

/// How others reach it. Who asks waits for the answer before asking again, so questions are as few as clients.
#[derive(Clone)]
pub struct Handle {
    questions: Sender<Question>,
    news: watch::Receiver<News>,
    clock: Clock,
    boot: BootId,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("boot", &self.boot).finish_non_exhaustive()
    }
}

impl Handle {
    /// Starts the thread, with a store in memory.
    pub fn start(boot: BootId, clock: Clock) -> std::io::Result<Self> {
        let (questions, asked) = channel();
        let (told, news) = watch::channel(News::default());
        let medium: Box<dyn Medium + Send> = Box::new(Memory::default());
        let store = Store::open(medium, IN_MEMORY, boot).map_err(std::io::Error::other)?;
        let began = Instant::now();
        let keeper =
            Keeper { store, pace: Pace::new(0), began, failed: None, on_data: false, risen: 0, told };
        thread::Builder::new()
            .name("logs".into())
            .stack_size(STACK_BYTES)
            .spawn(move || keeper.run(&asked))?;
        Ok(Self { questions, news, clock, boot })
    }

    /// Asks the keeper, and waits for the answer.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Keeper) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |keeper| drop(answer.send(question(keeper))));
        self.questions.send(question).map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// What the keeper says without being asked.
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.clone()
    }

    /// The clock of lines.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// This boot.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Makes every line that came until now survive; for the end of the process.
    pub async fn finish(&self) {
        // Without a keeper there is nothing to finish.
        self.ask(Keeper::sync).await.ok();
    }
}

/// Where somebody reads, across the move to DATA.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    cursor: Cursor,
    on_data: bool,
}

/// Up to where somebody has read all sources, across the move to DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// Number of the first line that was not read.
    sequence: u64,
    on_data: bool,
    /// Segments that had gone.
    evictions: u64,
}

/// A reader of all sources in order.
#[derive(Debug)]
pub struct Merge {
    merged: Merged,
    bookmark: Bookmark,
}

/// The next lines of all sources.
#[derive(Debug)]
pub struct Lines {
    /// Lines, each with where to read on behind it.
    pub lines: Vec<(Source, Record, Bookmark)>,
    /// Lines that went before they were read, at most.
    pub missed: u64,
}

/// What the thread has.
pub struct Keeper {
    store: Store<Box<dyn Medium + Send>>,
    pace: Pace,
    began: Instant,
    /// When writing failed last.
    failed: Option<Instant>,
    on_data: bool,
    /// What numbers of lines rose by with the move to DATA.
    risen: u64,
    told: watch::Sender<News>,
}

impl Keeper {
    fn run(mut self, asked: &Receiver<Question>) {
        loop {
            match asked.recv_timeout(self.rest()) {
                Ok(question) => question(&mut self),
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            if self.rest().is_zero() {
                self.sync();
            }
            self.tell();
        }
    }

    /// How long nothing needs to be done.
    fn rest(&mut self) -> Duration {
        const FOR_EVER: Duration = Duration::from_secs(3600);
        if let Some(failed) = self.failed {
            return RETRY.saturating_sub(failed.elapsed());
        }
        let now_ms = self.now_ms();
        match self.pace.due(now_ms) {
            Due::Idle => FOR_EVER,
            Due::At(at_ms) => Duration::from_millis(at_ms.saturating_sub(now_ms)),
            Due::Now => Duration::ZERO,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Makes every line survive.
    pub fn sync(&mut self) {
        self.store.sync();
        self.pace.synced(self.now_ms());
        self.failed = self.store.trouble().is_some().then(Instant::now);
    }

    fn tell(&self) {
        let news = News {
            next_sequence: self.store.next_sequence(),
            on_data: self.on_data,
            trouble: self.store.trouble().map(|error| error_chain(error)),
            lost_lines: self.store.lost_lines(),
        };
        self.told.send_if_modified(|told| {
            let is_new = *told != news;
            *told = news;
            is_new
        });
    }

    /// Takes lines.
    pub fn append(&mut self, lines: Vec<Line>) {
        let now_ms = self.now_ms();
        for Line { source, entry } in lines {
            let (bytes, urgent) = (entry.message.len(), severity::is_urgent(entry.priority));
            // Sources are the services of PID 1's table and a few of machined's own, fewer than the limit.
            if self.store.append(&source, entry).is_ok() {
                self.pace.appended(now_ms, bytes, urgent);
            }
        }
    }

    /// Adds a line of machined's own, in the order of this source's others.
    pub fn note(&mut self, source: &Source, entry: Entry) {
        self.append(vec![Line { source: source.clone(), entry }]);
    }

    /// Moves to DATA. What was gathered in memory comes along, but for what an earlier life of machined has put there.
    pub fn attach(&mut self, folder: Folder) -> Result<(), logstore::StoreError> {
        let medium: Box<dyn Medium + Send> = Box::new(folder);
        let mut store = Store::open(medium, ON_DATA, self.store.boot())?;
        self.risen = store.adopt(&mut self.store)?;
        self.store = store;
        self.on_data = true;
        self.sync();
        Ok(())
    }

    /// Whether everything that came is safe.
    pub fn is_sound(&self) -> bool {
        self.on_data && self.store.trouble().is_none()
    }

    /// The store.
    pub fn store(&mut self) -> &mut Store<Box<dyn Medium + Send>> {
        &mut self.store
    }

    /// A place to read from.
    pub fn place(&self, cursor: Cursor) -> Place {
        Place { cursor, on_data: self.on_data }
    }

    /// The next lines of a source.
    pub fn read(&mut self, source: &Source, place: Place, range: &Range) -> (Batch, Place) {
        let cursor = if place.on_data == self.on_data {
            place.cursor
        } else {
            Cursor::at(place.cursor.sequence.saturating_add(self.risen))
        };
        let batch = self.store.read(source, cursor, range);
        let place = self.place(batch.next);
        (batch, place)
    }

    /// Marks the line of this number, or the next one that comes.
    pub fn bookmark(&self, sequence: Option<u64>) -> Bookmark {
        let next = self.store.next_sequence();
        let sequence = sequence.map_or(next, |sequence| sequence.min(next));
        let (_, evictions) = self.store.evicted(0, u64::MAX);
        Bookmark { sequence, on_data: self.on_data, evictions }
    }

    /// A reader of all sources.
    pub fn merge(&self, mut bookmark: Bookmark) -> Merge {
        if bookmark.on_data != self.on_data {
            let sequence = bookmark.sequence.saturating_add(self.risen);
            bookmark = Bookmark { sequence, on_data: self.on_data, evictions: 0 };
        }
        Merge { merged: Merged::from(bookmark.sequence), bookmark }
    }

    /// The next lines of all sources, about so many bytes of them.
    pub fn read_merged(&mut self, merge: &mut Merge, bytes: usize) -> Lines {
        if merge.bookmark.on_data != self.on_data {
            *merge = self.merge(merge.bookmark);
        }
        let (missed, evictions) = self.store.evicted(merge.bookmark.evictions, merge.merged.position());
        merge.bookmark.evictions = evictions;
        let marked = |(source, _, record): (Source, BootId, Record)| {
            let sequence = record.sequence.saturating_add(1);
            (source, record, Bookmark { sequence, ..merge.bookmark })
        };
        let lines: Vec<_> = merge.merged.read(&mut self.store, bytes).into_iter().map(marked).collect();
        if let Some((_, _, last)) = lines.last() {
            merge.bookmark = *last;
        }
        Lines { lines, missed }
    }
}

impl Bookmark {
    /// The number, if it is one on DATA, which later lives of machined can go on from.
    pub fn kept(self) -> Option<u64> {
        self.on_data.then_some(self.sequence)
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
