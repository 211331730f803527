//! Sources as requests and the configuration name them. What speaks HTTP lives only as long as it is used.

use std::sync::Arc;

use tokio::task::JoinError;
use update::Failure;
use url::Url;

use super::{
    mirrors::Mirrors,
    probe::Prober,
    source::{
        ClientSource, FolderSource, HttpSource, Limiter, Source, SourceError, Timeouts, TlsError,
        VolumeError, tls_client,
    },
};
use crate::{context::Context, error_chain::error_chain, storage::SystemDisk};

/// Why a source is not reached at all.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The configuration names none.
    #[error("the configuration names no source of releases")]
    NoSources,
    /// Not a URL that releases are read from.
    #[error("releases are read from http and https URLs only")]
    Url,
    /// No TLS.
    #[error("TLS")]
    Tls(#[source] TlsError),
    /// No HTTP.
    #[error("HTTP")]
    Http(#[source] SourceError),
    /// No volume.
    #[error("the volume")]
    Volume(#[source] VolumeError),
    /// The work beside the runtime broke off.
    #[error("the volume is not mounted")]
    Aside(#[source] JoinError),
}

impl PlaceError {
    /// Whether to try again.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Aside(_) | Self::Volume(VolumeError::NotThere(_)) => Failure::Passing,
            Self::NoSources | Self::Url | Self::Tls(_) | Self::Http(_) | Self::Volume(_) => Failure::Final,
        }
    }
}

/// Where a release lies.
pub enum Place {
    /// At the sources of the configuration.
    Configured,
    /// At a URL.
    Url(String),
    /// On the volume with this label.
    Volume(String),
    /// With a client.
    Client(ClientSource),
}

/// Opens a source.
pub async fn open(
    context: &Context,
    disk: &SystemDisk,
    now_s: u64,
    place: Place,
) -> Result<Mirrors, PlaceError> {
    let source = match place {
        Place::Configured => {
            let urls = context.config.borrow().update.sources.clone();
            http(context, now_s, &urls)?
        }
        Place::Url(url) => http(context, now_s, &[url])?,
        Place::Volume(label) => {
            let disk = disk.clone();
            let mounted = tokio::task::spawn_blocking(move || FolderSource::mount(&disk, &label)).await;
            Source::Folder(mounted.map_err(PlaceError::Aside)?.map_err(PlaceError::Volume)?)
        }
        Place::Client(client) => Source::Client(client),
    };
    Ok(Mirrors::new(source))
}

/// The first "not while" probe that says that now is no time to begin.
pub async fn first_busy(context: &Context, now_s: u64) -> Option<String> {
    let config = Arc::clone(&context.config.borrow());
    let urls = &config.update.not_while;
    if urls.is_empty() {
        return None;
    }
    match Prober::new(&config.trusted_certificates, now_s) {
        Ok(prober) => prober.first_busy(urls).await.cloned(),
        Err(error) => {
            tracing::warn!(error = error_chain(&error), "nobody is asked whether the node is busy");
            None
        }
    }
}

/// The limit on bytes per second of the configuration.
pub fn limiter(context: &Context) -> Option<Arc<Limiter>> {
    context.config.borrow().update.bandwidth_limit_bytes.map(Limiter::new).map(Arc::new)
}

/// A URL as everybody may see it: user, path and query may be secrets.
pub fn shown(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

fn http(context: &Context, now_s: u64, urls: &[String]) -> Result<Source, PlaceError> {
    if urls.is_empty() {
        return Err(PlaceError::NoSources);
    }
    let parse = |text: &String| {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.ok_or(PlaceError::Url)
    };
    let mirrors = urls.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let trusted = context.config.borrow().trusted_certificates.clone();
    let tls = tls_client(&trusted, now_s).map_err(PlaceError::Tls)?;
    let http = HttpSource::new(mirrors, tls, limiter(context), Timeouts::NODE).map_err(PlaceError::Http)?;
    Ok(Source::Http(http))
}
