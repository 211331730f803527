//! A web server on the loopback interface that serves a folder, badly if it is told to.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Manner {
    /// As it should.
    Well,
    /// Half of what it promised, then nothing more.
    Truncated,
    /// Without a length and without an end.
    Endless,
    /// One byte now and then.
    Slow,
    /// It takes the connection and says nothing.
    Silent,
    /// The right length from another place, and says so.
    OtherRange,
    /// The right length from another place, and does not say so.
    SwappedBlocks,
    /// The whole file, whatever range was asked for.
    IgnoresRanges,
    /// The length that it states is that of a petabyte.
    Huge,
    /// To itself, for ever.
    RedirectLoop,
    /// To another place.
    RedirectTo(String),
    /// With a status.
    Status(u16),
}

/// The server; it ends with its runtime.
#[derive(Clone, Debug)]
pub struct Server {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(folder: PathBuf, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = Arc::clone(&server.requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                requests.fetch_add(1, Ordering::Relaxed);
                let (folder, manner) = (folder.clone(), manner.clone());
                // Whoever asked may leave.
                tokio::spawn(async move { answer(stream, folder, manner).await.ok() });
            }
        });
        server
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}/", self.address)).unwrap()
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(stream: TcpStream, folder: PathBuf, manner: Manner) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut path, mut range, mut line) = (String::new(), None, String::new());
    while stream.read_line(&mut line).await? > 2 {
        if let Some(rest) = line.strip_prefix("GET /") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some(wanted) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (first, last) = wanted.trim().split_once('-').unwrap();
            range = Some((first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap()));
        }
        line.clear();
    }
    let Ok(file) = std::fs::read(folder.join(&path)) else {
        return head(&mut stream, "404 Not Found", "Content-Length: 0\r\n").await;
    };
    let (mut status, mut body, mut place) = ("200 OK", &file[..], String::new());
    if let Some((first, last)) = range.filter(|_| !matches!(manner, Manner::IgnoresRanges)) {
        let at = match manner {
            Manner::OtherRange | Manner::SwappedBlocks => {
                (first + 4096) % file.len().saturating_sub(last - first).max(1)
            }
            _ => first,
        };
        status = "206 Partial Content";
        body = &file[at..(at + last - first + 1).min(file.len())];
        let told = if matches!(manner, Manner::OtherRange) { at } else { first };
        place = format!("Content-Range: bytes {told}-{}/{}\r\n", told + body.len() - 1, file.len());
    }
    let length = |length: usize| format!("{place}Content-Length: {length}\r\n");
    match manner {
        Manner::Well | Manner::OtherRange | Manner::SwappedBlocks | Manner::IgnoresRanges => {
            head(&mut stream, status, &length(body.len())).await?;
            stream.write_all(body).await?;
        }
        Manner::Truncated => {
            head(&mut stream, status, &length(body.len())).await?;
            stream.write_all(&body[..body.len() / 2]).await?;
        }
        Manner::Endless => {
            head(&mut stream, status, &place).await?;
            loop {
                stream.write_all(body).await?;
            }
        }
        Manner::Slow => {
            head(&mut stream, status, &length(body.len())).await?;
            for byte in body {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Manner::Silent => std::future::pending().await,
        Manner::Huge => {
            head(&mut stream, status, &length(1 << 50)).await?;
            stream.write_all(body).await?;
        }
        Manner::RedirectLoop => {
            head(&mut stream, "302 Found", &format!("Location: /{path}\r\nContent-Length: 0\r\n")).await?;
        }
        Manner::RedirectTo(place) => {
            head(&mut stream, "302 Found", &format!("Location: {place}\r\nContent-Length: 0\r\n")).await?;
        }
        Manner::Status(status) => {
            head(&mut stream, &format!("{status} So"), "Content-Length: 0\r\n").await?;
        }
    }
    stream.shutdown().await
}

async fn head(stream: &mut BufReader<TcpStream>, status: &str, fields: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}
