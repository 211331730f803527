//! What is written to: a disk that was judged, or a file; and the question before it.

use std::io::{self, BufRead as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use flash::Device;
use layout::MIB;

use crate::disk::{Consent, Disk, Inventory, judge};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// What is overwritten.
#[derive(Debug)]
pub enum Target {
    /// A disk.
    Disk(Box<Disk>, Consent),
    /// A regular file that stands for a disk; whether it exists.
    File(PathBuf, bool),
}

impl Target {
    /// The disk with this device node.
    pub fn disk(path: &Path, consent: Consent, image_bytes: Option<u64>) -> Result<Self, Failure> {
        let cannot = || Failure::error(format!("cannot use {}", path.display()));
        let real = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::new(Exit::NotFound, format!("there is no {}", path.display())).hint(
                    "without a device, `osctl flash` lists the removable disks; --file makes a virtual disk",
                )
            }
            _ => cannot().why(error),
        })?;
        if !fs::metadata(&real).map_err(|error| cannot().why(error))?.file_type().is_block_device() {
            return Err(Failure::usage(format!("{} is no disk", path.display()))
                .hint("--file writes to a regular file that stands for one"));
        }
        let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let inventory = inventory()?;
        if let Some(disk) = inventory.disk_of_partition(name) {
            return Err(Failure::usage(format!("{name} is a partition of {disk}"))
                .hint(format!("an image takes the whole disk: /dev/{disk}")));
        }
        let disk = inventory.disk(name).ok_or_else(|| cannot().why("it is no whole disk"))?;
        judge(&disk, image_bytes, consent).map_err(|refusal| {
            let failure = Failure::error(format!("{} is not overwritten", path.display())).why(&refusal);
            match refusal.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        Ok(Self::Disk(Box::new(disk), consent))
    }

    /// A file, which need not exist.
    pub fn file(path: &Path) -> Result<Self, Failure> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Self::File(path.to_owned(), true)),
            Ok(_) => Err(Failure::usage(format!("{} is no regular file", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::File(path.to_owned(), false)),
            Err(error) => Err(Failure::error(format!("cannot use {}", path.display())).why(error)),
        }
    }

    /// Asks the user to type the target's name. Nothing is asked where nothing is lost.
    pub fn confirm(&self) -> Result<(), Failure> {
        if matches!(self, Self::File(_, false)) {
            return Ok(());
        }
        let name = self.name();
        output::note(&format!("All data on {self} will be lost. Type {name} to go on:"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::error("no answer").why(error))?;
        match answer.trim() {
            typed if typed == name => Ok(()),
            _ => Err(Failure::error(format!("{name} is left as it is"))
                .hint("its name was not typed; --yes goes on without asking")),
        }
    }

    /// Opens it for writing.
    pub fn open(&self, image_bytes: Option<u64>) -> Result<Device, Failure> {
        let opened = match self {
            Self::Disk(disk, Consent::UnusedDisk) => Device::open(&disk.device()),
            Self::Disk(disk, Consent::SystemDisk) => Device::open_shared(&disk.device()),
            Self::File(path, _) => Device::open_file(path, image_bytes.unwrap_or_default()),
        };
        opened.map_err(|error| {
            let failure = Failure::error(format!("cannot open {}", self.name())).why(&error);
            match error.kind() {
                io::ErrorKind::PermissionDenied => failure.hint("writing to a disk takes root: use sudo"),
                io::ErrorKind::ResourceBusy => failure.hint("something else uses it; unmount its partitions"),
                _ => failure,
            }
        })
    }

    /// What the user types to confirm.
    pub fn name(&self) -> String {
        match self {
            Self::Disk(disk, _) => disk.name.clone(),
            Self::File(path, _) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, _) => write!(f, "{}", path.display()),
            Self::Disk(disk, _) => {
                write!(f, "{}", disk.device().display())?;
                for part in [&disk.model, &disk.serial].into_iter().filter(|part| !part.is_empty()) {
                    write!(f, ", {part}")?;
                }
                write!(f, ", {}", size(disk.size_bytes))?;
                match disk.partitions.as_slice() {
                    [] => Ok(()),
                    partitions => write!(f, ", with {}", partitions.join(", ")),
                }
            }
        }
    }
}

/// The disks of this computer.
pub fn inventory() -> Result<Inventory, Failure> {
    Inventory::read(Path::new("/")).map_err(|error| Failure::error("cannot list the disks").why(error))
}

/// A size as it stands on a disk's label.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 2] = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{} MiB", bytes / MIB),
    }
}
