//! What a flashed disk brings along: a configuration, images, or the admin's CA.

use std::path::Path;

use flash::seed::{Entry, SeedError, pack};
use pki::Bundle;

use super::location::read;
use crate::cli::Flash;
use crate::failure::{Failure, chain};
use crate::{file, secrets};

/// The archive that the user asked for, checked as the node would; `None` when nothing was asked for.
pub fn archive(arguments: &Flash) -> Result<Option<Vec<u8>>, Failure> {
    let mut contents = Vec::new();
    if let Some(path) = &arguments.config {
        contents.push((Entry::Configuration, configuration(path)?));
    }
    if let Some(path) = &arguments.ca {
        contents.push((Entry::AdminCa, admin_ca(path)?.into_bytes()));
    }
    for path in &arguments.archives {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        contents.push((Entry::Image(name), read(path)?));
    }
    if contents.is_empty() {
        return Ok(None);
    }
    pack(&contents).map(Some).map_err(|error| failure(&error))
}

/// What to tell of a seed that cannot be made or placed.
pub fn failure(error: &SeedError) -> Failure {
    Failure::error("the disk cannot bring this along").why(chain(error))
}

fn configuration(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = file::read(path)
        .map_err(|error| Failure::error(format!("cannot read {}", path.display())).why(error))?;
    // The node would refuse it too, but on its console.
    config::parse(&text)
        .map_err(|errors| Failure::error(format!("the node would refuse {}", path.display())).why(errors))?;
    Ok(text.into_bytes())
}

/// The certificates of a PEM file or of a secrets bundle; never a key.
fn admin_ca(path: &Path) -> Result<String, Failure> {
    let cannot = || Failure::error(format!("cannot take a CA from {}", path.display()));
    let text = file::read(path).map_err(|error| cannot().why(error))?;
    if !text.trim_start().starts_with("-----BEGIN CERTIFICATE-----") {
        return Ok(secrets::load(path)?.bundle().to_pem());
    }
    let bundle = Bundle::from_pem(&text).map_err(|error| cannot().why(chain(&error)))?;
    Ok(bundle.to_pem())
}
