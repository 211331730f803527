//! `osctl flash`: an image onto a disk, proven by reading back.

mod checks;
mod location;
mod progress;
mod seed;
mod target;

use std::time::Instant;

use flash::Image;
use serde::Serialize;

use self::location::Location;
use self::progress::Meter;
use self::target::Target;
use super::Session;
use crate::cli::Flash;
use crate::disk::{Consent, Disk};
use crate::failure::{Failure, chain};
use crate::output::{self, Format, Table};

/// Flashes, or lists the disks that could be.
pub async fn run(session: &Session, arguments: Flash) -> Result<(), Failure> {
    let format = session.format();
    let work = tokio::task::spawn_blocking(move || work(format, &arguments));
    work.await.map_err(|error| Failure::error("cannot flash").why(error))?
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Flashed {
    device: String,
    size_bytes: u64,
    duration_s: u64,
    seeded: bool,
}

fn work(format: Option<Format>, arguments: &Flash) -> Result<(), Failure> {
    let (Some(image), Some(device)) = (&arguments.image, &arguments.device) else { return list(format) };
    let started = Instant::now();
    // All that can be refused is refused before anything is written or fetched.
    let consent = if arguments.overwrite_system_disk { Consent::SystemDisk } else { Consent::UnusedDisk };
    let choose = |image_bytes| match arguments.file {
        true => Target::file(device),
        false => Target::disk(device, consent, image_bytes),
    };
    choose(None)?;
    let archive = seed::archive(arguments)?;
    let location = Location::parse(image)?;
    let mut file = location.fetch()?;
    checks::check(&location, &mut file, arguments.verify_key.as_deref())?;
    let unpacked = Image::open(file)
        .map_err(|error| Failure::error(format!("cannot use {location}")).why(chain(&error)))?;
    let target = choose(unpacked.size_bytes())?;
    if !arguments.yes {
        target.confirm()?;
    }
    let size_bytes = put(&target, unpacked, archive.as_deref())?;
    let flashed = Flashed {
        device: device.display().to_string(),
        size_bytes,
        duration_s: started.elapsed().as_secs(),
        seeded: archive.is_some(),
    };
    output::print(format, &flashed, |flashed| {
        let Flashed { device, size_bytes, duration_s, .. } = flashed;
        format!(
            "{device} holds the image: {} written and read back in {duration_s}s\n",
            target::size(*size_bytes)
        )
    })
}

/// Writes, proves, places the seed, and only then makes it a disk that boots.
fn put(target: &Target, mut image: Image, archive: Option<&[u8]>) -> Result<u64, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::error(format!("{} does not hold the image", target.name()))
            .why(chain(error))
            .hint("a node must not be started from it; try another medium, port or reader")
    };
    let total = image.size_bytes();
    let mut device = target.open(total)?;
    let mut meter = Meter::new("writing", total);
    let written = flash::write(&mut image, &mut device, &mut |done| meter.show(done))
        .map_err(|error| failed(&error))?;
    drop(meter);
    let mut meter = Meter::new("reading back", Some(written.size_bytes));
    flash::verify(&written, &mut device, &mut |done| meter.show(done)).map_err(|error| failed(&error))?;
    drop(meter);
    if let Some(mut archive) = archive {
        let size_bytes = archive.len() as u64;
        flash::seed::place(&mut device, &mut archive, size_bytes).map_err(|error| seed::failure(&error))?;
    }
    flash::commit(&written, &mut device).map_err(|error| failed(&error))?;
    Ok(written.size_bytes)
}

/// The disks that people flash, and what each would lose.
fn list(format: Option<Format>) -> Result<(), Failure> {
    let disks = target::inventory()?.disks();
    let disks = disks.map_err(|error| Failure::error("cannot list the disks").why(error))?;
    let disks: Vec<Disk> = disks.into_iter().filter(Disk::is_portable).collect();
    if disks.is_empty() {
        output::note("no removable disk is plugged in; others can be named: osctl flash IMAGE /dev/NAME");
    }
    output::print(format, &disks, |disks| {
        let mut table = Table::new(["DEVICE", "SIZE", "BUS", "MODEL", "SERIAL", "WOULD BE OVERWRITTEN"]);
        for disk in disks {
            table.row([
                disk.device().display().to_string(),
                target::size(disk.size_bytes),
                disk.bus.to_owned(),
                disk.model.clone(),
                disk.serial.clone(),
                disk.partitions.join(", "),
            ]);
        }
        table.take()
    })
}
