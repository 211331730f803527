//! Repositories, slots and servers for tests.

pub mod medium;
pub mod server;
pub mod site;

use std::sync::Arc;

use super::source::{HttpSource, Source, Timeouts};

/// Web servers without TLS.
pub fn http(mirrors: Vec<url::Url>) -> Source {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    Source::Http(HttpSource::new(mirrors, tls, None, Timeouts::NODE).unwrap())
}
