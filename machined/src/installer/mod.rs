//! The installer: started from a medium of its own, it writes the release that the medium carries onto the disk that
//! the configuration means, hands the configuration over, and reboots. Nobody has to be there.
//!
//! It overwrites whatever is on that disk, except a node. It brings up no STATE, no network and no API.

mod boot_entry;
mod target;

use std::{
    convert::Infallible,
    error::Error,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use config::ConfigErrors;
use control::{PowerAction, Request};
use flash::{Device, FlashError, Image, SourceError, seed::SeedError};

use crate::{
    control_client::Control,
    error_chain::error_chain,
    notify,
    storage::{self, Origin, Seed, StorageError, SystemDisk},
};
use boot_entry::BootEntryError;
use target::TargetError;

const COMMAND_LINE: &str = "/proc/cmdline";
/// Between attempts at what only a person or another disk can mend.
const RETRY: Duration = Duration::from_secs(10);

/// Why nothing is installed.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("the medium")]
    Medium(#[source] StorageError),
    #[error(
        "no configuration: flash the medium with `osctl flash --config`, or attach a volume labelled {}",
        layout::CONFIG_VOLUME_LABEL
    )]
    Unconfigured,
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the configuration is refused")]
    Refused(#[source] ConfigErrors),
    #[error("no disk to install to")]
    Target(#[source] TargetError),
    #[error("the release on the medium cannot be used")]
    Release(#[source] SourceError),
    #[error("cannot open {}", device.display())]
    Open {
        device: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot install on {}", device.display())]
    Flash {
        device: PathBuf,
        #[source]
        source: FlashError,
    },
    #[error("cannot hand the configuration over")]
    Seed(#[source] SeedError),
    #[error(
        "the firmware does not know the installed disk; remove the installer medium and reset the machine"
    )]
    BootEntry(#[source] BootEntryError),
    #[error("{} holds a node and the firmware still starts the installer: remove the medium", device.display())]
    Installed { device: PathBuf },
}

/// Whether this boot is an installer's.
pub fn is_wanted() -> bool {
    let words = fs::read_to_string(COMMAND_LINE).unwrap_or_default();
    words.split_ascii_whitespace().any(|word| word == layout::INSTALLER_WORD)
}

/// Installs and reboots. What is wrong goes to the console and is tried again: someone may plug in what was missing.
pub async fn run() -> Infallible {
    let control = Control::default();
    tokio::spawn(notify::keep_alive());
    notify::ready();
    let mut said = String::new();
    loop {
        let (error, device) = match install(&control).await {
            Ok(device) => (None, device),
            Err(error) => (Some(error_chain(&error)), PathBuf::new()),
        };
        match error {
            None => {
                say(&control, format!("installer: {} holds the node; starting it", device.display())).await;
                request(&control, Request::Power(PowerAction::Reboot)).await;
                // PID 1 ends this process.
                std::future::pending::<()>().await;
            }
            Some(error) if error != said => {
                say(&control, format!("installer: {error}")).await;
                said = error;
            }
            Some(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn install(control: &Control) -> Result<PathBuf, InstallError> {
    let plan = blocking(plan).await?;
    let device = plan.device.clone();
    if plan.is_installed {
        // Only the firmware's order was in the way; if it was not that, a reboot would not help.
        return match boot_entry::prefer_installed().map_err(InstallError::BootEntry)? {
            true => Ok(device),
            false => Err(InstallError::Installed { device }),
        };
    }
    say(control, format!("installer: writing {}", device.display())).await;
    blocking(move || carry_out(&plan)).await?;
    boot_entry::prefer_installed().map_err(InstallError::BootEntry)?;
    Ok(device)
}

/// What is to be done.
struct Plan {
    medium: SystemDisk,
    device: PathBuf,
    is_installed: bool,
    configuration: String,
}

fn plan() -> Result<Plan, InstallError> {
    let medium = storage::find_system_disk().map_err(InstallError::Medium)?;
    let origin = Origin::find(&medium).map_err(InstallError::Medium)?.ok_or(InstallError::Unconfigured)?;
    let path = origin.path().join(layout::CONFIG_VOLUME_FILE);
    let configuration = read(&path).map_err(|source| InstallError::Read { path, source })?;
    let config = config::parse(&configuration).map_err(InstallError::Refused)?;
    let disks = storage::disks();
    let target = target::choose(&disks, config.install_disk.as_ref()).map_err(InstallError::Target)?;
    let device = PathBuf::from(&target.path);
    let is_installed = storage::holds_node(&device).map_err(InstallError::Medium)?;
    Ok(Plan { medium, device, is_installed, configuration })
}

/// Writes, proves, hands the configuration over, and only then makes it a disk that boots.
fn carry_out(plan: &Plan) -> Result<(), InstallError> {
    let failed = |source| InstallError::Flash { device: plan.device.clone(), source };
    let release = storage::open_release(&plan.medium).map_err(InstallError::Medium)?;
    let mut image = Image::open_embedded(release).map_err(InstallError::Release)?;
    let mut device = Device::open(&plan.device)
        .map_err(|source| InstallError::Open { device: plan.device.clone(), source })?;
    let written = flash::write(&mut image, &mut device, &mut |_| {}).map_err(failed)?;
    flash::verify(&written, &mut device, &mut |_| {}).map_err(failed)?;
    let (mut archive, size_bytes) = archive(plan)?;
    flash::seed::place(&mut device, &mut archive, size_bytes).map_err(InstallError::Seed)?;
    flash::commit(&written, &mut device).map_err(failed)
}

/// The seed for the node: the medium's own, images included, or one with the volume's configuration. A volume's images
/// are left to the node, which reads the volume itself if it stays attached.
fn archive(plan: &Plan) -> Result<(Box<dyn Read>, u64), InstallError> {
    if let Some((seed, size_bytes)) =
        Seed::archive(&plan.medium, &plan.configuration).map_err(InstallError::Medium)?
    {
        return Ok((Box::new(seed), size_bytes));
    }
    let entry = (flash::seed::Entry::Configuration, plan.configuration.clone().into_bytes());
    let archive = flash::seed::pack(&[entry]).map_err(InstallError::Seed)?;
    let size_bytes = archive.len() as u64;
    Ok((Box::new(io::Cursor::new(archive)), size_bytes))
}

/// Never more than a configuration may have.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = config::TEXT_MAX_BYTES as u64 + 1;
    fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InstallError> + Send + 'static,
) -> Result<T, InstallError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The work neither panics nor is it cancelled while this process lives.
        Err(_) => std::future::pending().await,
    }
}

async fn say(control: &Control, line: String) {
    tracing::info!(line, "installer");
    request(control, Request::Console(line)).await;
}

async fn request(control: &Control, request: Request) {
    if let Err(error) = control.request(request).await {
        tracing::warn!(error = &error as &dyn Error, "PID 1 does not hear");
    }
}
