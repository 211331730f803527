//! Requests to a pod, one after the other, all the while something happens to its node.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use testbed::http;

/// Between two requests: enough to be load, and little enough to leave the node time for other things under emulation.
const PAUSE: Duration = Duration::from_millis(50);

/// A client that never stops asking.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    thread: Option<JoinHandle<()>>,
}

/// What became of the requests.
#[derive(Default)]
struct Tally {
    answered: Vec<Instant>,
    failed: usize,
}

impl Load {
    /// Asks for `/` at a port of this host.
    pub fn on(port: u16) -> Self {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Tally>>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&tally));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let answered = http::get(port, "/").is_ok();
                let mut tally = counted.lock().unwrap();
                match answered {
                    true => tally.answered.push(Instant::now()),
                    false => tally.failed += 1,
                }
                drop(tally);
                std::thread::park_timeout(PAUSE);
            }
        });
        Self { stop, tally, thread: Some(thread) }
    }

    /// Requests that were answered, and that were not.
    pub fn count(&self) -> (usize, usize) {
        let tally = self.tally.lock().unwrap();
        (tally.answered.len(), tally.failed)
    }

    /// Waits for an answer from now on.
    pub fn wait_for_answer(&self, deadline: Duration) {
        let began = Instant::now();
        while self.tally.lock().unwrap().answered.last().is_none_or(|last| *last <= began) {
            assert!(began.elapsed() < deadline, "the pod does not answer within {deadline:?}");
            std::thread::park_timeout(PAUSE);
        }
    }

    /// The longest time without an answer since then, up to the last answer.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let tally = self.tally.lock().unwrap();
        let answers = tally.answered.iter().filter(|answered| **answered >= since);
        let pairs = std::iter::once(&since).chain(answers.clone()).zip(answers);
        pairs.map(|(one, next)| next.duration_since(*one)).max().unwrap_or_default()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
