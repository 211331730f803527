//! Shows that the image depends on its sources and on nothing else.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{
        self, Built,
        image::{self, Inputs},
    },
    cache,
    release::keys,
    report::Step,
};

const BLOCK_BYTES: usize = 1 << 20;

/// Assembles the image a second time from the same parts: every output must be bit-identical.
pub fn assembly(repository: &Path, built: &Built) -> Result<()> {
    let step = Step::start("reproducibility", "assembling the image again; about 1 min");
    let store = cache::scratch("reproduce")?.join(std::process::id().to_string());
    let inputs = build::inputs(repository, &built.sdk, &built.kernel)?;
    let again = image::provide(&Inputs { store: store.clone(), ..inputs })?;
    let first = &built.image;
    for (first, again) in [
        (&first.root, &again.root),
        (&first.uki, &again.uki),
        (&first.disk, &again.disk),
        (&first.test_disk, &again.test_disk),
    ] {
        must_equal(first, again)?;
    }
    step.done();
    cache::remove(&store)
}

/// Builds everything from a fresh clone into an empty cache and compares what boots: an hour or so.
pub fn everything(built: &Built) -> Result<()> {
    let step = Step::start("reproducibility", "building everything again; about 1 h");
    let work = cache::scratch("reproduce")?.join("everything");
    cache::remove(&work)?;
    let clone = work.join("source");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no repository")?;
    succeed(Command::new("git").args(["clone", "--quiet"]).arg(source).arg(&clone))?;
    // They are no product of the sources.
    keys::copy_to(&work.join("cache"))?;
    let output = Command::new("cargo")
        .args(["xtask", "artifact", "disk"])
        .current_dir(&clone)
        .env("XDG_CACHE_HOME", work.join("cache"))
        .env_remove("CARGO_TARGET_DIR")
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the second build failed (see above)");
    }
    let disk = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    must_equal(&built.image.disk, &disk)?;
    step.done();
    cache::remove(&work)
}

fn succeed(command: &mut Command) -> Result<()> {
    if command.status()?.success() { Ok(()) } else { bail!("{command:?} failed") }
}

fn must_equal(first: &Path, second: &Path) -> Result<()> {
    let named = |path: &Path| File::open(path).with_context(|| path.display().to_string());
    match first_difference(named(first)?, named(second)?)? {
        None => Ok(()),
        Some(offset) => bail!(
            "built twice from the same parts, {} and {} differ at byte {offset}",
            first.display(),
            second.display()
        ),
    }
}

/// Offset of the first byte that differs, or at which one of the two ends.
fn first_difference(mut first: impl Read, mut second: impl Read) -> io::Result<Option<u64>> {
    let mut offset = 0;
    loop {
        let (left, right) = (block(&mut first)?, block(&mut second)?);
        if let Some(index) = left.iter().zip(&right).position(|(left, right)| left != right) {
            return Ok(Some(offset + index as u64));
        }
        if left.len() != right.len() {
            return Ok(Some(offset + left.len().min(right.len()) as u64));
        }
        if left.is_empty() {
            return Ok(None);
        }
        offset += left.len() as u64;
    }
}

fn block(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    from.take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        let long = vec![7; BLOCK_BYTES + 3];
        let mut other = long.clone();
        other[BLOCK_BYTES + 1] = 8;
        let difference = |first: &[u8], second: &[u8]| first_difference(first, second).unwrap();
        assert_eq!(difference(&long, &long), None);
        assert_eq!(difference(&long, &other), Some(BLOCK_BYTES as u64 + 1));
        assert_eq!(difference(&long, &long[..5]), Some(5));
        assert_eq!(difference(&[], &[1]), Some(0));
    }
}
