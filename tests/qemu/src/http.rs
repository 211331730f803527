//! The least HTTP/1.1 client that asks a pod something.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// To connect, and for an answer that is asked for again.
const ATTEMPT: Duration = Duration::from_secs(5);
/// For the answer to what is asked once, such as to fill a disk, on a busy host.
const ONCE: Duration = Duration::from_secs(60);
/// Between attempts while nothing listens: QEMU's forwarding gives no event for a listener in the guest.
const RETRY: Duration = Duration::from_millis(100);

/// One request; returns the body of a 200 answer.
pub fn request(method: &str, port: u16, target: &str) -> Result<String> {
    ask(method, port, target, ONCE)
}

fn ask(method: &str, port: u16, target: &str, patience: Duration) -> Result<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
    stream.set_read_timeout(Some(patience))?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{method} {target}: status {status}: {}", body.trim());
    }
    Ok(body.to_owned())
}

/// A GET that does not wait long.
pub fn get(port: u16, target: &str) -> Result<String> {
    ask("GET", port, target, ATTEMPT)
}

/// Asks until a 200 answer comes.
pub fn wait_for(
    port: u16,
    target: &str,
    deadline: Duration,
    mut alive: impl FnMut() -> bool,
) -> Result<String> {
    let until = Instant::now() + deadline;
    loop {
        match get(port, target) {
            Ok(body) => return Ok(body),
            Err(error) if Instant::now() >= until => {
                return Err(error)
                    .with_context(|| format!("no answer from port {port}{target} within {deadline:?}"));
            }
            Err(_) if !alive() => bail!("QEMU ended while waiting for port {port}{target}"),
            Err(_) => std::thread::park_timeout(RETRY),
        }
    }
}
