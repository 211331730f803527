//! Lines for one log server, from the store: what it has not got yet waits there, not in memory.

use std::{collections::VecDeque, time::SystemTime};

use config::LogDestination;
use tokio::sync::watch;

use super::{line::Form, positions::Positions};
use crate::logs::{Bookmark, Gone, Handle, Merge};

/// Read at once, in bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// The lines, in order.
pub struct Feed {
    destination: LogDestination,
    logs: Handle,
    form: watch::Receiver<Form>,
    positions: Positions,
    /// Behind what is sent.
    bookmark: Bookmark,
    merge: Option<Merge>,
    /// Read, and not known to be sent; without a bookmark what stands where lines are missing.
    waiting: VecDeque<(String, Option<Bookmark>)>,
    dropped: u64,
}

impl Feed {
    /// Begins behind what this server has got already, or with the next line that comes.
    pub async fn open(
        destination: LogDestination,
        logs: Handle,
        form: watch::Receiver<Form>,
        positions: Positions,
    ) -> Result<Self, Gone> {
        let sequence = positions.of(&destination);
        let bookmark = logs.ask(move |keeper| keeper.bookmark(sequence)).await?;
        if let Some(sequence) = bookmark.kept() {
            positions.reached(&destination, sequence);
        }
        Ok(Self {
            destination,
            logs,
            form,
            positions,
            bookmark,
            merge: None,
            waiting: VecDeque::new(),
            dropped: 0,
        })
    }

    /// The line to send now, ended by a line feed. It stays the next one until [`Feed::sent`]. Safe to cancel.
    pub async fn next(&mut self) -> Result<String, Gone> {
        let mut news = self.logs.news();
        loop {
            if let Some((line, _)) = self.waiting.front() {
                return Ok(line.clone());
            }
            news.borrow_and_update();
            self.refill().await?;
            if self.waiting.is_empty() {
                news.changed().await.map_err(|_| Gone)?;
            }
        }
    }

    async fn refill(&mut self) -> Result<(), Gone> {
        // Whoever gives up waiting takes the reader along; the next one begins at the bookmark.
        let (merge, bookmark) = (self.merge.take(), self.bookmark);
        let read = self.logs.ask(move |keeper| {
            let mut merge = merge.unwrap_or_else(|| keeper.merge(bookmark));
            (keeper.read_merged(&mut merge, PIECE_BYTES), merge)
        });
        let (read, merge) = read.await?;
        self.merge = Some(merge);
        let form = self.form.borrow();
        if read.missed > 0 {
            self.dropped += read.missed;
            self.waiting.push_back((form.gap(SystemTime::now(), read.missed), None));
        }
        for (source, record, bookmark) in read.lines {
            self.waiting.push_back((form.line(&source, &record), Some(bookmark)));
        }
        Ok(())
    }

    /// The line is sent.
    pub fn sent(&mut self) {
        if let Some((_, Some(bookmark))) = self.waiting.pop_front() {
            self.bookmark = bookmark;
            if let Some(sequence) = bookmark.kept() {
                self.positions.reached(&self.destination, sequence);
            }
        }
    }

    /// The line cannot be sent to this server: what stands where it is missing takes its place.
    pub fn skip(&mut self) {
        let bookmark = self.waiting.pop_front().and_then(|(_, bookmark)| bookmark);
        self.dropped += 1;
        let gap = self.form.borrow().gap(SystemTime::now(), 1);
        self.waiting.push_front((gap, bookmark));
    }

    /// Lines that the server will not get.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
