//! The tests' view from inside: an HTTP server for a privileged pod in the host's process and network namespaces.
//!
//! Tests bring it onto a node with the configuration volume; it is never in the OS image. The host's root is mounted
//! read-only at /host. Start reading at [`route`].

mod processes;
mod query;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use nix::{fcntl::posix_fallocate, sys::statvfs::statvfs};
use query::Query;

const PORT: u16 = 8081;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than the tests' own patience for an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const HEADER_LINES_MAX: usize = 100;
const READ_MAX_BYTES: u64 = 4 << 20;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    // One request at a time: a test tool.
    for stream in listener.incoming().flatten() {
        serve(stream).ok();
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines.take(HEADER_LINES_MAX) {
        if line?.is_empty() {
            break;
        }
    }
    let target = request.split(' ').nth(1).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, body) = match route(path, &Query::new(query)) {
        Ok(body) => ("200 OK", body),
        Err(error) => ("400 Bad Request", format!("{error}\n").into_bytes()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

fn route(path: &str, query: &Query) -> io::Result<Vec<u8>> {
    match path {
        "/healthz" => Ok(b"ok\n".to_vec()),
        "/pss" => processes::memory().map(String::into_bytes),
        "/zombies" => processes::zombies().map(|count| format!("{count}\n").into_bytes()),
        "/kill" => processes::kill(query.text("comm")?, query.number("signal")?).map(String::into_bytes),
        "/read" => read(Path::new(query.text("path")?)),
        "/write" => fs::write(query.text("path")?, "x").map(|()| b"written\n".to_vec()),
        "/fill" => fill(query.text("path")?, query.number("free_percent")?).map(String::into_bytes),
        "/grep" => grep(Path::new(query.text("path")?), query.text("text")?).map(String::into_bytes),
        "/connect" => {
            let port = u16::try_from(query.number("port")?).map_err(io::Error::other)?;
            connect(query.text("host")?, port).map(|()| b"connected\n".to_vec())
        }
        _ => Err(io::Error::other(format!("no such path: {path}"))),
    }
}

/// With a deadline: a host that drops packets must not hold up the requests that follow.
fn connect(host: &str, port: u16) -> io::Result<()> {
    let address = (host, port).to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::other(format!("{host} has no address")))?;
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map(drop)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(READ_MAX_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// Makes a file so large that only so much of its file system is free for others than root.
fn fill(path: &str, free_percent: u32) -> io::Result<String> {
    let file = fs::File::create(path)?;
    let room = statvfs(path)?;
    let kept = room.blocks().saturating_mul(free_percent.into()) / 100;
    let blocks = room.blocks_available().saturating_sub(kept);
    let bytes = blocks.saturating_mul(room.fragment_size()).try_into().map_err(io::Error::other)?;
    posix_fallocate(&file, 0, bytes)?;
    Ok(format!("{bytes}\n"))
}

/// Lines below a folder that contain a text.
fn grep(path: &Path, text: &str) -> io::Result<String> {
    let mut found = String::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push_str(&grep(&path, text)?);
        } else {
            let content = String::from_utf8_lossy(&read(&path)?).into_owned();
            for line in content.lines().filter(|line| line.contains(text)) {
                found.push_str(&format!("{}: {line}\n", path.display()));
            }
        }
    }
    Ok(found)
}
