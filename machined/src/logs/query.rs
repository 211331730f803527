//! Answers to what clients ask of the logs.

use std::collections::VecDeque;

use logstore::{BootId, Cursor, Range, Record, Source};
use regex::bytes::{Regex, RegexBuilder};
use tokio::sync::mpsc::Sender;

use super::{
    keeper::{Gone, Handle},
    lookup::{self, UnknownBoot},
};

/// Longest pattern.
const PATTERN_MAX_BYTES: usize = 1024;
/// Memory of a compiled pattern, and of its caches.
const PATTERN_MEMORY_BYTES: usize = 1 << 20;
/// Last lines that are held back when only reading all of them shows which they are.
const TAIL_MAX_LINES: usize = 10_000;
/// Memory of those.
const TAIL_MAX_BYTES: usize = 4 << 20;
/// What a line takes besides its text.
const LINE_OVERHEAD_BYTES: usize = 100;
/// Lines of one message, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Why lines are not sent.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Nobody has ever written there.
    #[error("there is no log of {name:?}; there are: {}", known.join(", "))]
    NoSource {
        /// As asked.
        name: String,
        /// Sources with lines.
        known: Vec<String>,
    },
    /// Not known which boot.
    #[error(transparent)]
    Boot(#[from] UnknownBoot),
    /// Not a pattern, or a pattern too large.
    #[error("the pattern cannot be used: {0}")]
    Pattern(String),
    /// Another boot writes nothing.
    #[error("only this boot's log can be followed")]
    FollowsPast,
    /// Logs are not kept.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Whose lines.
    pub source: String,
    /// Of which boot; nothing for this one or, with times, for all.
    pub boot: String,
    /// Microseconds since 1970.
    pub since_us: Option<i64>,
    /// Microseconds since 1970.
    pub until_us: Option<i64>,
    /// Only lines that match this regular expression.
    pub grep: String,
    /// Last lines to begin with; `None` for all.
    pub tail_lines: Option<u32>,
    /// Keep sending what is written from now on.
    pub follow: bool,
}

/// A line and its boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which boot.
    pub boot: BootId,
    /// The line.
    pub record: Record,
}

/// A question that makes sense.
#[derive(Debug)]
pub struct Search {
    source: Source,
    range: Range,
    pattern: Option<Regex>,
    tail_lines: Option<u32>,
    follow: bool,
}

impl Search {
    /// Checks a question. `services` may have written nothing yet.
    pub async fn prepare(logs: &Handle, query: Query, services: &[String]) -> Result<Self, QueryError> {
        let Query { source: name, boot, since_us, until_us, grep, tail_lines, follow } = query;
        let (sources, boots) = logs.ask(|keeper| (keeper.store().sources(), keeper.store().boots())).await?;
        let is_known = services.contains(&name) || sources.iter().any(|known| known.source.as_str() == name);
        let known = || {
            let mut known: Vec<String> = sources
                .iter()
                .map(|known| known.source.to_string())
                .chain(services.iter().cloned())
                .collect();
            known.sort();
            known.dedup();
            known
        };
        let source = Source::parse(&name)
            .filter(|_| is_known)
            .ok_or_else(|| QueryError::NoSource { name: name.clone(), known: known() })?;
        let is_timed = since_us.is_some() || until_us.is_some();
        let boot = match boot.as_str() {
            "" if is_timed => None,
            wanted => Some(lookup::boot(wanted, &boots, logs.boot())?),
        };
        if follow && boot.is_some_and(|boot| boot != logs.boot()) {
            return Err(QueryError::FollowsPast);
        }
        let pattern = (!grep.is_empty()).then(|| compile(&grep)).transpose()?;
        Ok(Self { source, range: Range { boot, since_us, until_us }, pattern, tail_lines, follow })
    }

    /// Sends lines until the last, or, when following, until the client goes.
    pub async fn send(self, logs: &Handle, sender: &Sender<Vec<Found>>) -> Result<(), QueryError> {
        let mut news = logs.news();
        let (mut place, mut skip) = self.begin(logs).await?;
        let mut last = (self.tail_lines.is_some() && skip.is_none()).then(Last::default);
        loop {
            news.borrow_and_update();
            let (source, range, pattern) = (self.source.clone(), self.range, self.pattern.clone());
            // A pattern takes its time from the keeper: nobody but logs waits for it.
            let read = logs.ask(move |keeper| {
                let (mut batch, next) = keeper.read(&source, place, &range);
                if let Some(pattern) = pattern {
                    batch.records.retain(|record| pattern.is_match(&record.entry.message));
                }
                (batch, next)
            });
            let (batch, next) = read.await?;
            place = next;
            let boot = batch.boot;
            let mut lines: Vec<Found> =
                batch.records.into_iter().map(|record| Found { boot, record }).collect();
            if let Some(skip) = &mut skip {
                let skipped = lines.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
                lines.drain(..skipped);
                *skip = skip.saturating_sub(skipped as u64);
            }
            match &mut last {
                Some(last) => last.add(lines, self.tail_lines),
                None if !lines.is_empty() && sender.send(lines).await.is_err() => return Ok(()),
                None => {}
            }
            if !batch.end {
                if sender.is_closed() {
                    return Ok(());
                }
                continue;
            }
            for piece in last.take().into_iter().flat_map(Last::pieces) {
                if sender.send(piece).await.is_err() {
                    return Ok(());
                }
            }
            if !self.follow {
                return Ok(());
            }
            tokio::select! {
                () = sender.closed() => return Ok(()),
                changed = news.changed() => changed.map_err(|_| Gone)?,
            }
        }
    }

    /// Where to begin, and how many lines to leave out there; `None` when only reading all of them shows which are the last.
    async fn begin(&self, logs: &Handle) -> Result<(super::keeper::Place, Option<u64>), Gone> {
        let is_counted =
            self.range.since_us.is_none() && self.range.until_us.is_none() && self.pattern.is_none();
        let lines = self.tail_lines.filter(|_| is_counted);
        let (source, boot) = (self.source.clone(), self.range.boot);
        logs.ask(move |keeper| match lines {
            Some(lines) => {
                let tail = keeper.store().tail(&source, boot, lines.into());
                (keeper.place(tail.from), Some(tail.skip))
            }
            None => (keeper.place(Cursor::at(0)), None),
        })
        .await
    }
}

/// Compiles a pattern that takes time in proportion to a line's length, whatever it is, and bounded memory.
fn compile(pattern: &str) -> Result<Regex, QueryError> {
    if pattern.len() > PATTERN_MAX_BYTES {
        return Err(QueryError::Pattern(format!("it is longer than {PATTERN_MAX_BYTES} bytes")));
    }
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(PATTERN_MEMORY_BYTES)
        .dfa_size_limit(PATTERN_MEMORY_BYTES)
        .build()
        .map_err(|error| QueryError::Pattern(error.to_string()))
}

/// The last lines of those seen so far.
#[derive(Default)]
struct Last {
    lines: VecDeque<Found>,
    bytes: usize,
}

impl Last {
    fn add(&mut self, lines: Vec<Found>, wanted: Option<u32>) {
        let wanted =
            wanted.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(usize::MAX).min(TAIL_MAX_LINES);
        for line in lines {
            self.bytes += size(&line);
            self.lines.push_back(line);
            while (self.lines.len() > wanted || self.bytes > TAIL_MAX_BYTES)
                && let Some(oldest) = self.lines.pop_front()
            {
                self.bytes -= size(&oldest);
            }
        }
    }

    fn pieces(self) -> Vec<Vec<Found>> {
        let mut pieces: Vec<Vec<Found>> = Vec::new();
        let mut bytes = PIECE_BYTES;
        for line in self.lines {
            bytes += size(&line);
            match pieces.last_mut() {
                Some(piece) if bytes <= PIECE_BYTES => piece.push(line),
                Some(_) | None => {
                    bytes = size(&line);
                    pieces.push(vec![line]);
                }
            }
        }
        pieces
    }
}

fn size(line: &Found) -> usize {
    line.record.entry.message.len() + LINE_OVERHEAD_BYTES
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
