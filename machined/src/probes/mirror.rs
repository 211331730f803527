//! A registry's mirror answers: over HTTP with any status, over TLS by taking the connection.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::{AGAIN, target::Mirror};

/// What every HTTP/1 answer begins with (RFC 9112).
const VERSION: &[u8; 7] = b"HTTP/1.";

/// Waits until the mirror answers.
pub async fn answers(mirror: &Mirror) {
    while let Err(error) = ask(mirror).await {
        tracing::debug!(mirror = %mirror.authority(), %error, "the mirror does not answer yet");
        sleep(AGAIN).await;
    }
}

async fn ask(mirror: &Mirror) -> io::Result<()> {
    let mut stream = TcpStream::connect((mirror.host.as_str(), mirror.port)).await?;
    if mirror.tls {
        return Ok(());
    }
    stream.write_all(request(mirror).as_bytes()).await?;
    let mut version = [0; VERSION.len()];
    stream.read_exact(&mut version).await?;
    if version == *VERSION { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// As a client of the distribution specification asks whether a registry is there.
fn request(mirror: &Mirror) -> String {
    let (path, authority) = (&mirror.path, mirror.authority());
    format!("GET {path}/v2/ HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")
}
