//! What is checked once on a trial.

use std::{future::Future, path::PathBuf, pin::Pin};

use config::Probe;
use verity::BLOCK_BYTES;

use super::Served;
use crate::update::{
    device::{Origin, pieces},
    probe::Prober,
};

/// Something that must succeed once.
pub struct Check {
    /// What is missing until then.
    pub name: String,
    /// Returns when it has succeeded, or cannot any more.
    pub work: Pin<Box<dyn Future<Output = Result<(), String>> + Send>>,
}

/// The API is served.
pub fn api(served: Served) -> Check {
    let name = format!("the API is not served at {}", served.address);
    let work = async move {
        served.wait().await;
        Ok(())
    };
    Check { name, work: Box::pin(work) }
}

/// Something of the configuration's answers.
pub fn probe(probe: Probe, prober: Prober) -> Check {
    let name = format!("{probe} does not answer");
    let work = async move {
        prober.wait(&probe).await;
        Ok(())
    };
    Check { name, work: Box::pin(work) }
}

/// Every block of the root can be read, past the page cache; the kernel compares each with its hash.
pub fn root(device: PathBuf, blocks: u64) -> Check {
    let work = async move {
        let root =
            Origin::open(&device).map_err(|error| format!("cannot open {}: {error}", device.display()))?;
        for (begin, length) in pieces(0, blocks) {
            let read = root.read(begin, length, drop).await;
            let at = begin.saturating_mul(BLOCK_BYTES as u64);
            read.map_err(|error| format!("cannot read {} at byte {at}: {error}", device.display()))?;
        }
        Ok(())
    };
    Check { name: "the root is not read through yet".to_owned(), work: Box::pin(work) }
}
