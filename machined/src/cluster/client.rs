//! A small client of the Kubernetes API: what machined needs of it, with a client certificate, in JSON.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reqwest::{Method, StatusCode, redirect};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;

/// For one answer.
const WITHIN: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const ANSWER_MAX_BYTES: usize = 16 << 20;
/// Who owns the fields that machined applies.
const FIELD_MANAGER: &str = "cairn";

/// Who the client is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM; may be the same file.
    pub key: PathBuf,
}

/// Why an API server does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of the client's is missing.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file of the client's is damaged.
    #[error("{} holds no {what}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// No TLS with these.
    #[error("TLS")]
    Tls(#[source] rustls::Error),
    /// The client cannot be made.
    #[error("there is no HTTP client")]
    Client(#[source] reqwest::Error),
    /// No answer.
    #[error("the API server does not answer")]
    Request(#[source] reqwest::Error),
    /// It refuses.
    #[error("the API server refuses ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it says.
        message: String,
    },
    /// Its answer is too long.
    #[error("the API server's answer is longer than {ANSWER_MAX_BYTES} bytes")]
    TooLong,
    /// Its answer is no JSON.
    #[error("the API server's answer is no JSON")]
    Json(#[source] serde_json::Error),
}

impl ClientError {
    /// Whether there is no such object, or no such kind.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

/// Speaks to one API server.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    server: String,
}

impl Client {
    /// One that believes the CAs of this file alone.
    pub fn new(server: &str, authorities: &Path, identity: &Identity) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&read(authorities)?).flatten());
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&read(&identity.certificate)?).flatten().collect();
        let key = PrivateKeyDer::from_pem_slice(&read(&identity.key)?)
            .map_err(|_| ClientError::Pem { path: identity.key.clone(), what: "private key" })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Tls)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(ClientError::Tls)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .timeout(WITHIN)
            .build()
            .map_err(ClientError::Client)?;
        Ok(Self { http, server: server.to_owned() })
    }

    /// Whether the API server does its work; says what does not.
    pub async fn ready(&self) -> Result<(), ClientError> {
        match self.text(Method::GET, "/readyz", None).await {
            Err(ClientError::Refused { status, message }) => {
                Err(ClientError::Refused { status, message: unready(&message) })
            }
            other => other.map(drop),
        }
    }

    /// What lies at a path.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        let text = self.text(Method::GET, path, None).await?;
        serde_json::from_slice(&text).map_err(ClientError::Json)
    }

    /// Server-side apply: the object is made, or the fields that stand here are set in it, whoever set them before.
    pub async fn apply(&self, path: &str, object: &Value) -> Result<(), ClientError> {
        let path = format!("{path}?fieldManager={FIELD_MANAGER}&force=true");
        // JSON is YAML.
        let body = ("application/apply-patch+yaml", object.to_string());
        self.text(Method::PATCH, &path, Some(body)).await.map(drop)
    }

    /// Makes an object.
    pub async fn create(&self, path: &str, object: &Value) -> Result<(), ClientError> {
        let body = ("application/json", object.to_string());
        self.text(Method::POST, path, Some(body)).await.map(drop)
    }

    /// Deletes an object, and what belongs to it afterwards. One that is not there is no error.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        let path = format!("{path}?propagationPolicy=Background");
        match self.text(Method::DELETE, &path, None).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn text(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Result<Vec<u8>, ClientError> {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if let Some((media_type, body)) = body {
            request = request.header("content-type", media_type).body(body);
        }
        let mut answer = request.send().await.map_err(ClientError::Request)?;
        let status = answer.status();
        let mut content = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(ClientError::Request)? {
            content.extend_from_slice(&chunk);
            if content.len() > ANSWER_MAX_BYTES {
                return Err(ClientError::TooLong);
            }
        }
        if status.is_success() { Ok(content) } else { Err(refused(status, &content)) }
    }
}

/// What is not ready yet, of a list of all that must be.
fn unready(list: &str) -> String {
    let missing: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("[-]"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if missing.is_empty() { list.to_owned() } else { missing.join(", ") }
}

/// An API server says what it refuses as an object of kind Status; what is before it may say anything.
fn refused(status: StatusCode, content: &[u8]) -> ClientError {
    const SHOWN_MAX_CHARS: usize = 4096;
    let object: Option<Value> = serde_json::from_slice(content).ok();
    let message = object.as_ref().and_then(|object| object["message"].as_str().map(str::to_owned));
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(content).trim().to_owned());
    ClientError::Refused { status, message: message.chars().take(SHOWN_MAX_CHARS).collect() }
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    fs::read(path).map_err(|source| ClientError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_as_the_server_says_it() {
        let object = br#"{"kind": "Status", "message": "configmaps \"a\" is forbidden", "code": 403}"#;
        let error = refused(StatusCode::FORBIDDEN, object);
        assert_eq!(
            error.to_string(),
            "the API server refuses (403 Forbidden): configmaps \"a\" is forbidden"
        );
        let list =
            "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: not finished\nreadyz check failed\n";
        assert_eq!(unready(list), "poststarthook/rbac/bootstrap-roles");
        assert!(refused(StatusCode::BAD_GATEWAY, b"gone\n").to_string().ends_with(": gone"));
        assert!(refused(StatusCode::NOT_FOUND, b"").is_not_found() && !error.is_not_found());
    }
}
