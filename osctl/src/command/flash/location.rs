//! Where an image is: a file, or a URL that is fetched into a temporary file first, so that nothing is written before
//! all of it is there and checked.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::{StatusCode, Url};

use super::progress::Meter;
use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// Longest silence of a server.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Largest checksum or signature file.
const BESIDE_MAX_BYTES: u64 = 1 << 20;
const CHUNK_BYTES: usize = 256 << 10;

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file of this computer.
    File(PathBuf),
    /// On an HTTP server.
    Url(Box<Url>),
}

impl Location {
    /// Takes `http://` and `https://` for URLs, all else for paths.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Ok(Self::File(text.into()));
        }
        let url = Url::parse(text).map_err(|error| Failure::usage(format!("{text} is no URL")).why(error))?;
        Ok(Self::Url(Box::new(url)))
    }

    /// Its last part.
    pub fn file_name(&self) -> String {
        match self {
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Url(url) => url.path().rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }

    /// The image as a local file.
    pub fn fetch(&self) -> Result<File, Failure> {
        match self {
            Self::File(path) => File::open(path).map_err(|error| {
                let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Error };
                Failure::new(exit, format!("cannot open the image {}", path.display())).why(error)
            }),
            Self::Url(url) => {
                let response =
                    get(url)?.ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no {url}")))?;
                save(response).map_err(|error| Failure::error(format!("cannot fetch {url}")).why(error))
            }
        }
    }

    /// The content of a small file in the same folder; `None` when there is none.
    pub fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let cannot = || Failure::error(format!("cannot read {name} beside {self}"));
        let mut content = Vec::new();
        let read = match self {
            Self::File(path) => match File::open(path.with_file_name(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened.and_then(|file| file.take(BESIDE_MAX_BYTES).read_to_end(&mut content)),
            },
            Self::Url(url) => {
                let url = url.join(name).map_err(|error| cannot().why(error))?;
                let Some(response) = get(&url)? else { return Ok(None) };
                response.take(BESIDE_MAX_BYTES).read_to_end(&mut content)
            }
        };
        read.map_err(|error| cannot().why(error))?;
        Ok(Some(content))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => write!(f, "{url}"),
        }
    }
}

/// `None` when the server has no such file.
fn get(url: &Url) -> Result<Option<Response>, Failure> {
    let failed = |error: reqwest::Error| {
        let exit = if error.is_connect() || error.is_timeout() { Exit::Unreachable } else { Exit::Error };
        Failure::new(exit, format!("cannot fetch {url}")).why(chain(&error.without_url()))
    };
    // Once for the process; a second call finds the first one's.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::builder().timeout(SILENCE_MAX).build().map_err(failed)?;
    let response = client.get(url.clone()).send().map_err(failed)?;
    if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Ok(None);
    }
    response.error_for_status().map(Some).map_err(failed)
}

fn save(mut response: Response) -> io::Result<File> {
    let total = response.content_length();
    let mut meter = Meter::new("fetching", total);
    let mut file = tempfile::tempfile()?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut done = 0;
    loop {
        let length = response.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        file.write_all(&buffer[..length])?;
        done += length as u64;
        meter.show(done);
    }
    match total {
        Some(total) if total != done => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(_) | None => file.rewind().map(|()| file),
    }
}

/// Reads a whole file of the user's.
pub fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Error };
        Failure::new(exit, format!("cannot read {}", path.display())).why(error)
    })
}
