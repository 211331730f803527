//! Lines that wait for one log server: of bounded size, the oldest go first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Memory of one queue.
pub const QUEUE_MAX_BYTES: usize = 256 * 1024;
/// What a line takes besides its text: a reference in the queue, counters and the allocation.
const LINE_OVERHEAD_BYTES: usize = 48;

/// What is to be sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A line.
    Line(Arc<str>),
    /// So many lines are missing here.
    Gap(u64),
}

/// A queue between who reads logs and who sends lines to one server.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

impl Queue {
    /// Adds a line; never waits.
    pub fn push(&self, line: Arc<str>) {
        self.waiting().push(line);
        self.filled.notify_one();
    }

    /// Waits for the next item and takes it. Safe to cancel.
    pub async fn next(&self) -> Item {
        loop {
            let item = self.waiting().pop();
            match item {
                Some(item) => return item,
                None => self.filled.notified().await,
            }
        }
    }

    /// Counts a line that the server cannot be sent.
    pub fn drop_one(&self) {
        self.waiting().drop_one();
    }

    /// Lines dropped since the queue was made.
    pub fn dropped(&self) -> u64 {
        self.waiting().dropped
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    /// Dropped and not told yet; all of them came before `lines`.
    gap: u64,
    dropped: u64,
}

impl Waiting {
    fn push(&mut self, line: Arc<str>) {
        self.bytes += size(&line);
        self.lines.push_back(line);
        while self.bytes > QUEUE_MAX_BYTES
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= size(&oldest);
            self.drop_one();
        }
    }

    fn pop(&mut self) -> Option<Item> {
        if self.gap > 0 {
            return Some(Item::Gap(std::mem::take(&mut self.gap)));
        }
        let line = self.lines.pop_front()?;
        self.bytes -= size(&line);
        Some(Item::Line(line))
    }

    fn drop_one(&mut self) {
        self.gap += 1;
        self.dropped += 1;
    }
}

fn size(line: &str) -> usize {
    line.len() + LINE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_of_a_line() {
        let queue = Arc::new(Queue::default());
        let next = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.push("one".into());
        assert_eq!(next.await.unwrap(), Item::Line("one".into()));
    }

    proptest! {
        /// Whatever is pushed and taken: memory is bounded, the order holds, and gaps say exactly what is missing.
        #[test]
        fn every_line_is_sent_or_counted(steps in prop::collection::vec(prop::option::of(0_usize..60_000), 0..80)) {
            let mut queue = Waiting::default();
            let (mut pushed, mut expected) = (0_u64, 0_u64);
            let mut take = |queue: &mut Waiting| {
                match queue.pop() {
                    Some(Item::Gap(missing)) => expected += missing,
                    Some(Item::Line(line)) => {
                        assert_eq!(line.split(' ').next(), Some(expected.to_string().as_str()));
                        expected += 1;
                    }
                    None => return None,
                }
                Some(expected)
            };
            for step in steps {
                match step {
                    Some(length) => {
                        queue.push(format!("{pushed} {}", "x".repeat(length)).into());
                        pushed += 1;
                    }
                    None => drop(take(&mut queue)),
                }
                prop_assert!(queue.bytes <= QUEUE_MAX_BYTES);
            }
            let mut last = None;
            while let Some(seen) = take(&mut queue) {
                last = Some(seen);
            }
            prop_assert!(last.is_none_or(|seen| seen == pushed));
            prop_assert_eq!(queue.bytes, 0);
        }
    }
}
