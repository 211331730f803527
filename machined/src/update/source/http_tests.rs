use super::*;
use crate::update::testing::server::{Manner, Server};

const FILE_BYTES: usize = 100_000;
/// Short, so that nobody waits; long for a machine under load.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    idle: Duration::from_millis(400),
    total: Duration::from_secs(2),
    slowest_bytes_per_s: 1_000_000,
};

fn content() -> Vec<u8> {
    (0..FILE_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

async fn source(manner: Manner) -> (HttpSource, Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), content()).unwrap();
    let server = Server::start(folder.path().to_owned(), manner).await;
    let source = HttpSource::new(vec![server.url()], tls(), None, TIMEOUTS).unwrap();
    (source, server, folder)
}

fn tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

async fn read(source: &HttpSource, part: Part) -> Result<Vec<u8>, SourceError> {
    source.open(0, &ReleasePath::new("file").unwrap(), part).await?.collect().await
}

const WHOLE: Part = Part::Whole { max_bytes: FILE_BYTES as u64 };
const RANGE: Part = Part::Range { first_byte: 4096, length_bytes: 8192 };
const BEGINNING: Part = Part::Range { first_byte: 0, length_bytes: 8192 };

#[tokio::test]
async fn files_and_ranges_come() {
    let (source, _server, _folder) = source(Manner::Well).await;
    assert_eq!(read(&source, WHOLE).await.unwrap(), content());
    assert_eq!(read(&source, RANGE).await.unwrap(), content()[4096..12288]);
    let missing = source.open(0, &ReleasePath::new("other").unwrap(), WHOLE).await.unwrap_err();
    assert!(matches!(missing, SourceError::NotFound(_)), "{missing:?}");
    let short = read(&source, Part::Whole { max_bytes: FILE_BYTES as u64 - 1 }).await.unwrap_err();
    assert!(matches!(short, SourceError::TooLong { .. }), "{short:?}");
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_beginning_only() {
    let (source, _server, _folder) = source(Manner::IgnoresRanges).await;
    assert_eq!(read(&source, BEGINNING).await.unwrap(), content()[..8192]);
    assert!(matches!(read(&source, RANGE).await.unwrap_err(), SourceError::Range));
}

#[tokio::test]
async fn what_is_not_what_was_asked_for_is_an_error() {
    for (manner, part) in [
        (Manner::Truncated, WHOLE),
        (Manner::Truncated, RANGE),
        (Manner::Endless, WHOLE),
        (Manner::Endless, RANGE),
        (Manner::Slow, WHOLE),
        (Manner::Slow, RANGE),
        (Manner::Silent, RANGE),
        (Manner::OtherRange, RANGE),
        (Manner::Huge, WHOLE),
        (Manner::Huge, RANGE),
        (Manner::RedirectLoop, WHOLE),
        (Manner::RedirectTo("file:///etc/passwd".to_owned()), WHOLE),
        (Manner::RedirectTo("ftp://127.0.0.1/file".to_owned()), WHOLE),
        (Manner::Status(500), WHOLE),
        (Manner::Status(403), RANGE),
        (Manner::Status(204), WHOLE),
    ] {
        let (source, server, _folder) = source(manner.clone()).await;
        let begun = Instant::now();
        let error = read(&source, part).await.expect_err(&format!("{manner:?}"));
        let is_named = match (&manner, &error) {
            (
                Manner::Truncated | Manner::Silent | Manner::Slow,
                SourceError::Request(_) | SourceError::Broken(_),
            ) => true,
            (Manner::Slow | Manner::Silent, SourceError::Slow { .. }) => true,
            (Manner::Endless | Manner::Huge, SourceError::TooLong { .. }) => true,
            (Manner::OtherRange, SourceError::Range) => true,
            (Manner::RedirectLoop, SourceError::Request(_)) => true,
            (Manner::RedirectTo(_), SourceError::Request(_) | SourceError::Status(302)) => true,
            (Manner::Status(given), SourceError::Status(told)) => given == told,
            _ => false,
        };
        assert!(is_named, "{manner:?}: {error:?}");
        assert!(server.requests() <= REDIRECTS_MAX + 2, "{manner:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{manner:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let (there, there_server, _there_folder) = source(Manner::Well).await;
    drop(there);
    let place = there_server.url().join("file").unwrap().to_string();
    let (source, _server, _folder) = source(Manner::RedirectTo(place)).await;
    assert_eq!(read(&source, RANGE).await.unwrap(), content()[4096..12288]);
}

#[tokio::test]
async fn a_limit_is_kept() {
    let (mut source, _server, _folder) = source(Manner::Well).await;
    source.limiter = Some(Arc::new(Limiter::new(200_000)));
    let begun = Instant::now();
    read(&source, WHOLE).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(240), "{:?}", begun.elapsed());
}

#[test]
fn a_mirror_is_named_without_its_secrets() {
    let urls = ["https://user:secret@mirror.example/token/", "http://[::1]:8080/x"];
    let urls = urls.map(|url| Url::parse(url).unwrap()).into();
    let source = HttpSource::new(urls, tls(), None, TIMEOUTS).unwrap();
    assert_eq!([source.name(0), source.name(1)], ["mirror.example", "[::1]:8080"]);
}
