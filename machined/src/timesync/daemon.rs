//! Has ntpd-rs do what is wanted.

use std::{fs, io, path::Path};

use config::TimeServer;
use control::{ControlError, Request, Response, ServiceName};
use layout::{NTP_UID, path};

use super::render;
use crate::{
    control_client::{Control, ControlClientError},
    files,
};

/// Name in PID 1's table.
const SERVICE: &str = "ntp";
/// Where the daemon looks for the image's CAs.
const ENVIRONMENT: [(&str, &str); 1] = [("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")];

/// Why it does not.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// What it reads.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// PID 1 cannot be asked.
    #[error("PID 1 cannot be asked")]
    Control(#[source] ControlClientError),
    /// PID 1 refuses.
    #[error("PID 1 refuses")]
    Refused(#[source] ControlError),
}

/// Asks these servers and no others; nobody, when there are none.
pub async fn obey(
    control: &Control,
    servers: &[TimeServer],
    certificates: &[String],
) -> Result<(), DaemonError> {
    let name = ServiceName(SERVICE.to_owned());
    if servers.is_empty() {
        return ask(control, Request::Stop(name)).await;
    }
    let write = |path: &'static str, content: &str| {
        let written = files::replace(Path::new(path), content.as_bytes(), 0o644);
        written.map_err(|source| DaemonError::Write { path, source })
    };
    write(path::NTP_CA, &certificates.concat())?;
    write(path::NTP_CONFIG, &render::config(servers, (!certificates.is_empty()).then_some(path::NTP_CA)))?;
    provide_folder().map_err(|source| DaemonError::Write { path: path::NTP, source })?;
    let arguments = vec!["--config".to_owned(), path::NTP_CONFIG.to_owned()];
    let environment = ENVIRONMENT.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    ask(control, Request::Configure { name: name.clone(), arguments, environment }).await?;
    ask(control, Request::Restart(name)).await
}

fn provide_folder() -> io::Result<()> {
    fs::create_dir_all(path::NTP)?;
    std::os::unix::fs::chown(path::NTP, Some(NTP_UID), Some(NTP_UID))
}

async fn ask(control: &Control, request: Request) -> Result<(), DaemonError> {
    match control.request(request).await.map_err(DaemonError::Control)? {
        Response::Error(error) => Err(DaemonError::Refused(error)),
        Response::Ok | Response::Services(_) | Response::Changed(_) => Ok(()),
    }
}
