//! A mirror of a release repository on the host's loopback, honest or not, for a node on [`Network::Open`].
//!
//! [`Network::Open`]: testbed::network::Network::Open

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use testbed::network::OPEN_HOST;

/// What a mirror does with releases. The signed metadata passes as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Serves them.
    Honest,
    /// Flips a bit of each manifest and of each answer with content.
    Lying,
}

/// The server; its thread ends with the test's process.
pub struct Mirror {
    port: u16,
    answers: Arc<Answers>,
}

/// What it gave of releases.
#[derive(Debug, Default)]
pub struct Answers {
    manifests: AtomicUsize,
    content: AtomicUsize,
}

impl Mirror {
    /// Serves a folder.
    pub fn of(folder: &Path, manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mirror = Self { port: listener.local_addr().unwrap().port(), answers: Arc::default() };
        let (folder, answers) = (folder.to_owned(), Arc::clone(&mirror.answers));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (folder, answers) = (folder.clone(), Arc::clone(&answers));
                // A client that leaves in the middle is its own affair.
                thread::spawn(move || answer(stream, &folder, manner, &answers).ok());
            }
        });
        mirror
    }

    /// As the node reaches it.
    pub fn url(&self) -> String {
        format!("http://{OPEN_HOST}:{}/", self.port)
    }

    /// How many manifests it gave, and how many answers with content of a release.
    pub fn answers(&self) -> (usize, usize) {
        (self.answers.manifests.load(Ordering::Relaxed), self.answers.content.load(Ordering::Relaxed))
    }
}

fn answer(stream: TcpStream, folder: &Path, manner: Manner, answers: &Answers) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut path, mut range, mut line) = (PathBuf::new(), None, String::new());
    while stream.read_line(&mut line)? > 2 {
        if let Some(rest) = line.strip_prefix("GET /") {
            path = rest.split(' ').next().unwrap_or_default().into();
        }
        if let Some(wanted) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (first, last) = wanted.trim().split_once('-').unwrap();
            range = Some((first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap()));
        }
        line.clear();
    }
    let stream = stream.get_mut();
    let Ok(mut file) = File::open(folder.join(&path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let (first, last) = range.map_or((0, size - 1), |(first, last)| (first, last.min(size - 1)));
    let status = match range {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}"),
        None => "200 OK".to_owned(),
    };
    let length = last + 1 - first;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    let mut content = Vec::new();
    file.seek(SeekFrom::Start(first))?;
    file.take(length).read_to_end(&mut content)?;
    if path.starts_with("targets/releases") {
        let is_manifest = path.ends_with("manifest.json");
        let counter = if is_manifest { &answers.manifests } else { &answers.content };
        counter.fetch_add(1, Ordering::Relaxed);
        if manner == Manner::Lying {
            let middle = content.len() / 2;
            content[middle] ^= 1;
        }
    }
    stream.write_all(&content)
}
