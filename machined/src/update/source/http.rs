//! Web servers that have a release repository: mirrors, of which none is trusted.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE},
    redirect,
};
use tokio::time::Instant;

use super::{
    Body, Limiter, Part, ReleasePath, SourceError,
    body::{Deadline, Flow},
};

/// What one file may be redirected; a content network takes two.
const REDIRECTS_MAX: usize = 5;

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For an answer of no length. One of some length has in addition the time that a slow link needs for it.
    pub total: Duration,
    /// The slowest link.
    pub slowest_bytes_per_s: u64,
}

impl Timeouts {
    /// For a satellite link that negotiates anew.
    pub const NODE: Self = Self {
        connect: Duration::from_secs(20),
        idle: Duration::from_secs(30),
        total: Duration::from_secs(60),
        slowest_bytes_per_s: 1024,
    };
}

/// The mirrors, in order.
#[derive(Clone, Debug)]
pub struct HttpSource {
    client: Client,
    mirrors: Vec<Url>,
    limiter: Option<Arc<Limiter>>,
    timeouts: Timeouts,
}

impl HttpSource {
    /// Mirrors with the same repository at these base URLs.
    pub fn new(
        mut mirrors: Vec<Url>,
        tls: rustls::ClientConfig,
        limiter: Option<Arc<Limiter>>,
        timeouts: Timeouts,
    ) -> Result<Self, SourceError> {
        for mirror in &mut mirrors {
            if !mirror.path().ends_with('/') {
                mirror.set_path(&format!("{}/", mirror.path()));
            }
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            .no_proxy()
            .http1_only()
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.idle)
            .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
            .build()
            .map_err(SourceError::Client)?;
        Ok(Self { client, mirrors, limiter, timeouts })
    }

    pub(super) fn mirrors(&self) -> usize {
        self.mirrors.len()
    }

    /// Host and port: a path or a user may be a secret.
    pub(super) fn name(&self, mirror: usize) -> String {
        let Some(url) = self.mirrors.get(mirror) else { return String::new() };
        let host = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    pub(super) async fn open(
        &self,
        mirror: usize,
        path: &ReleasePath,
        part: Part,
    ) -> Result<Body, SourceError> {
        let missing = || SourceError::NotFound(path.to_string());
        let base = self.mirrors.get(mirror).ok_or_else(missing)?;
        let url = base.join(path.as_str()).map_err(|_| missing())?;
        let deadline = self.deadline(part);
        let mut request = self.client.get(url);
        if let Part::Range { first_byte, length_bytes } = part {
            let last = first_byte.saturating_add(length_bytes).saturating_sub(1);
            request = request.header(RANGE, format!("bytes={first_byte}-{last}"));
        }
        let answer = tokio::time::timeout_at(deadline.at, request.send()).await;
        let answer = answer.map_err(|_| SourceError::Slow { within: deadline.within })?;
        let answer = answer.map_err(|error| SourceError::Request(error.without_url()))?;
        let cut = is_whole_file(&answer, path, part)?;
        Ok(Body::new(Flow::Http(answer), part).cut(cut).by(deadline).limited(self.limiter.clone()))
    }

    fn deadline(&self, part: Part) -> Deadline {
        let limit = self.limiter.as_ref().map_or(u64::MAX, |limiter| limiter.bytes_per_s());
        let slowest = limit.min(self.timeouts.slowest_bytes_per_s).max(1);
        let within = self.timeouts.total.saturating_add(Duration::from_secs(part.max_bytes() / slowest));
        Deadline { at: Instant::now() + within, within }
    }
}

/// A few times, never to another scheme, never from a private connection to an open one.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was_private = attempt.previous().iter().any(|url| url.scheme() == "https");
    match attempt.url().scheme() {
        _ if attempt.previous().len() > REDIRECTS_MAX => attempt.error("too many redirects"),
        "https" => attempt.follow(),
        "http" if !was_private => attempt.follow(),
        _ => attempt.error("a redirect to where no release is read"),
    }
}

/// Checks that the answer is what was asked for; says whether there is more behind it, which is to be left alone.
fn is_whole_file(answer: &Response, path: &ReleasePath, part: Part) -> Result<bool, SourceError> {
    let max_bytes = part.max_bytes();
    let is_longer = answer.content_length().is_some_and(|length| length > max_bytes);
    match (answer.status(), part) {
        (StatusCode::NOT_FOUND | StatusCode::GONE, _) => Err(SourceError::NotFound(path.to_string())),
        // The server does not know ranges, but this one begins where the file does.
        (StatusCode::OK, Part::Range { first_byte: 0, .. }) => Ok(true),
        (StatusCode::OK, Part::Range { .. }) => Err(SourceError::Range),
        (StatusCode::PARTIAL_CONTENT, Part::Range { .. }) if !is_range(answer, part) => {
            Err(SourceError::Range)
        }
        (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) if is_longer => {
            Err(SourceError::TooLong { max_bytes })
        }
        (StatusCode::OK, Part::Whole { .. }) | (StatusCode::PARTIAL_CONTENT, Part::Range { .. }) => Ok(false),
        (status, _) => Err(SourceError::Status(status.as_u16())),
    }
}

/// Whether the server says that it sends this range (RFC 9110, 14.4).
fn is_range(answer: &Response, part: Part) -> bool {
    let Part::Range { first_byte, length_bytes } = part else { return false };
    let last_byte = first_byte.saturating_add(length_bytes).saturating_sub(1);
    let given = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    given.is_some_and(|given| given.starts_with(&format!("bytes {first_byte}-{last_byte}/")))
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
