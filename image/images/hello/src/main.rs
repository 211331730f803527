//! The sample pod: an HTTP server on port 8080 that says hello.
//!
//! Static, with no dependency but nix for the signal. One thread a request, at most [`REQUESTS_MAX`] at once.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal};

const PORT: u16 = 8080;
const REQUESTS_MAX: usize = 64;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Request line and headers that are read before answering.
const HEADER_LINES_MAX: usize = 100;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

fn main() -> std::io::Result<()> {
    end_on_sigterm()?;
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    println!("hello: listening on port {PORT}");
    for stream in listener.incoming().flatten() {
        if REQUESTS.fetch_add(1, Ordering::Relaxed) < REQUESTS_MAX {
            std::thread::spawn(move || {
                // The client's trouble.
                answer(stream).ok();
                REQUESTS.fetch_sub(1, Ordering::Relaxed);
            });
        } else {
            REQUESTS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines.take(HEADER_LINES_MAX) {
        if line?.is_empty() {
            break;
        }
    }
    println!("hello: {request}");
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "a pod".to_owned());
    let body = format!("hello from {host}\n");
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Waits for SIGTERM in a thread: as a container's PID 1 the default action would not end it.
fn end_on_sigterm() -> std::io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            println!("hello: SIGTERM, bye");
            std::process::exit(0);
        }
    });
    Ok(())
}
