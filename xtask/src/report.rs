//! Progress on standard error: what runs, for how long, and whether it came from the cache.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

const TICK_TERMINAL: Duration = Duration::from_secs(1);
const TICK_LOG: Duration = Duration::from_secs(30);

/// One line for the user.
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// A long step: shows elapsed time until it is finished or dropped.
pub struct Step {
    name: Arc<str>,
    started: Instant,
    stop: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Step {
    /// Announces a step; `hint` says what to expect, such as "about 11 min on 2 cores".
    pub fn start(name: &str, hint: &str) -> Self {
        let name: Arc<str> = name.into();
        say(&format!("  {name}: {hint}"));
        let (stop, stopped) = mpsc::channel();
        let started = Instant::now();
        let ticker = std::thread::spawn({
            let name = name.clone();
            move || tick(&name, started, &stopped)
        });
        Self { name, started, stop: Some(stop), ticker: Some(ticker) }
    }

    /// Ends the step well and returns how long it took.
    pub fn done(mut self) -> Duration {
        let elapsed = self.started.elapsed();
        self.end();
        say(&format!("  {}: done in {}", self.name, seconds(elapsed)));
        elapsed
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            ticker.join().ok();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.end();
    }
}

/// A duration as people read it.
pub fn seconds(elapsed: Duration) -> String {
    let total_s = elapsed.as_secs();
    if total_s < 60 {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else {
        format!("{} min {:02} s", total_s / 60, total_s % 60)
    }
}

fn tick(name: &str, started: Instant, stopped: &mpsc::Receiver<()>) {
    let terminal = std::io::stderr().is_terminal();
    let every = if terminal { TICK_TERMINAL } else { TICK_LOG };
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let elapsed = seconds(started.elapsed());
        if terminal {
            eprint!("\r\x1b[K  {name}: {elapsed}");
            std::io::stderr().flush().ok();
        } else {
            say(&format!("  {name}: {elapsed} so far"));
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
}
