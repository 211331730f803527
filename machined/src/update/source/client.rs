//! A release repository on the machine of whoever asked for the upgrade. The node asks for parts of files over the
//! stream of that call, which `api/update.rs` feeds.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    Body, Limiter, Part, ReleasePath, SourceError,
    body::{Deadline, Flow},
};

/// Reads that wait to be sent.
const READS_MAX: usize = 8;
/// Pieces of one answer, of 64 KiB each, that wait to be taken.
const PIECES_MAX: usize = 2;
/// For the next piece: the link may negotiate anew, the laptop's disk spin up.
const IDLE: Duration = Duration::from_secs(60);
/// The slowest client that is waited for, in bytes per second.
const RATE_MIN_BYTES_PER_S: u64 = 1024;

/// A part of a file that the client is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Names it in its chunks.
    pub id: u32,
    /// Below the base of the repository.
    pub path: String,
    /// Where it begins.
    pub offset_bytes: u64,
    /// At most so much.
    pub length_bytes: u64,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Of the read.
    pub id: u32,
    /// What comes next of it.
    pub content: Result<Bytes, Missing>,
    /// Whether it is the last of this read.
    pub last: bool,
}

/// Why the client has no more of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no such file.
    NotFound,
    /// In its words.
    Failed(String),
}

/// Answers under way, by the id of the read.
type Waiting = HashMap<u32, mpsc::Sender<Chunk>>;

#[derive(Debug, Default)]
struct Answers {
    /// `None` once the client is gone.
    waiting: Mutex<Option<Waiting>>,
    next_id: AtomicU32,
}

impl Answers {
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's end.
#[derive(Clone, Debug)]
pub struct ClientSource {
    reads: mpsc::Sender<Read>,
    answers: Arc<Answers>,
    limiter: Option<Arc<Limiter>>,
}

/// The end of whoever speaks to the client. Once it is dropped, the client is gone.
#[derive(Debug)]
pub struct ClientEnd {
    reads: mpsc::Receiver<Read>,
    answers: Arc<Answers>,
}

impl ClientSource {
    /// Both ends.
    pub fn new(limiter: Option<Arc<Limiter>>) -> (Self, ClientEnd) {
        let (sender, reads) = mpsc::channel(READS_MAX);
        let answers = Arc::new(Answers { waiting: Mutex::new(Some(Waiting::new())), ..Answers::default() });
        (Self { reads: sender, answers: Arc::clone(&answers), limiter }, ClientEnd { reads, answers })
    }

    pub(super) async fn open(&self, path: &ReleasePath, part: Part) -> Result<Body, SourceError> {
        let (offset_bytes, length_bytes) = match part {
            // One more, so that a longer file is noticed.
            Part::Whole { max_bytes } => (0, max_bytes.saturating_add(1)),
            Part::Range { first_byte, length_bytes } => (first_byte, length_bytes),
        };
        let id = self.answers.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, chunks) = mpsc::channel(PIECES_MAX);
        self.answers.waiting().as_mut().ok_or(SourceError::Gone)?.insert(id, sender);
        let answer =
            Answer { id, path: path.to_string(), chunks, ended: false, answers: Arc::clone(&self.answers) };
        let read = Read { id, path: path.to_string(), offset_bytes, length_bytes };
        self.reads.send(read).await.map_err(|_| SourceError::Gone)?;
        let within = IDLE.saturating_add(Duration::from_secs(length_bytes / self.slowest_bytes_per_s()));
        let deadline = Deadline { at: Instant::now() + within, within };
        Ok(Body::new(Flow::Client(answer), part).by(deadline).limited(self.limiter.clone()))
    }

    fn slowest_bytes_per_s(&self) -> u64 {
        let limit = self.limiter.as_ref().map_or(u64::MAX, |limiter| limiter.bytes_per_s());
        limit.clamp(1, RATE_MIN_BYTES_PER_S)
    }
}

/// Takes what the client sends.
#[derive(Clone, Copy, Debug)]
pub struct Deliveries<'a>(&'a Answers);

impl ClientEnd {
    /// What to ask the client for, and where its answers go: neither waits for the other.
    pub fn split(&mut self) -> (&mut mpsc::Receiver<Read>, Deliveries<'_>) {
        (&mut self.reads, Deliveries(&self.answers))
    }
}

impl Deliveries<'_> {
    /// Hands on what the client sent. Waits while nobody takes it; what nobody waits for is dropped.
    pub async fn take(self, chunk: Chunk) {
        let (id, last) = (chunk.id, chunk.last);
        let waiting = self.0.waiting().as_ref().and_then(|waiting| waiting.get(&id).cloned());
        if let Some(sender) = waiting {
            sender.send(chunk).await.ok();
        }
        if last {
            self.0.waiting().as_mut().map(|waiting| waiting.remove(&id));
        }
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.answers.waiting().take();
    }
}

/// One answer as it comes.
#[derive(Debug)]
pub(super) struct Answer {
    id: u32,
    path: String,
    chunks: mpsc::Receiver<Chunk>,
    ended: bool,
    answers: Arc<Answers>,
}

impl Answer {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        while !self.ended {
            let chunk =
                timeout(IDLE, self.chunks.recv()).await.map_err(|_| SourceError::Slow { within: IDLE })?;
            let Chunk { content, last, .. } = chunk.ok_or(SourceError::Gone)?;
            self.ended = last;
            match content {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Ok(Some(bytes)),
                Err(Missing::NotFound) => return Err(SourceError::NotFound(self.path.clone())),
                Err(Missing::Failed(message)) => return Err(SourceError::ClientRead(message)),
            }
        }
        Ok(None)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.answers.waiting().as_mut().map(|waiting| waiting.remove(&self.id));
    }
}
