//! Arguments of `flash`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `flash`.
#[derive(Clone, Debug, Args)]
pub struct Flash {
    /// File or URL of the image, raw or packed with zstd. Checksums and a signature beside it are checked
    pub image: Option<String>,
    /// Disk to overwrite, such as /dev/sdb; without it the removable disks are listed
    pub device: Option<PathBuf>,
    /// DEVICE is a regular file that stands for a disk
    #[arg(long)]
    pub file: bool,
    // Takes the place of the global option: no context is used here.
    /// Machine configuration that the node starts with, without anyone's hand
    #[arg(id = "config", long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Image archive (OCI layout as tar) that the node starts with; may be repeated
    #[arg(id = "archives", long = "image", value_name = "FILE", requires = "config")]
    pub archives: Vec<PathBuf>,
    /// Admin CA, as PEM or secrets bundle: the unconfigured node obeys its clients only
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Ed25519 public key, PEM, that must have signed the image's checksums
    #[arg(long, value_name = "FILE")]
    pub verify_key: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Destroy the system disk of this computer, or a disk that is in use
    #[arg(long)]
    pub overwrite_system_disk: bool,
}
