//! Sizes of what is shipped.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail};
use testbed::{measure::ROOT_IMAGE_LIMIT_BYTES, programs::Programs};

use super::figures::Figure;
use crate::{
    build::Built,
    cache::{self, Key},
};

const ROOT_IMAGE_GOAL_BYTES: f64 = 128.0 * 1024.0 * 1024.0;
const LEVEL: &str = "-19";

/// Sizes of the root image, the UKI and the disk, and of the disk when it is compressed for download.
pub fn measure(built: &Built) -> Result<Vec<Figure>> {
    let image = &built.image;
    let size = |path: &Path| Ok::<u64, anyhow::Error>(fs::metadata(path)?.len());
    Ok(vec![
        Figure::count("root_image_bytes", "root image with its hash tree", size(&image.root)?)
            .goal(ROOT_IMAGE_GOAL_BYTES)
            .limit(ROOT_IMAGE_LIMIT_BYTES),
        Figure::count("root_image_zstd_bytes", "  by zstd -19", compressed(built, &image.root)?),
        Figure::count("uki_bytes", "UKI", size(&image.uki)?),
        Figure::count("disk_image_bytes", "disk image, mostly holes", size(&image.disk)?),
        Figure::count("disk_image_zstd_bytes", "  by zstd -19", compressed(built, &image.disk)?),
    ])
}

/// Size of a file after zstd; kept, as an artifact's path names its content.
fn compressed(built: &Built, path: &Path) -> Result<u64> {
    let key = Key::new("bench-zstd", 1).text(&path.to_string_lossy()).text(LEVEL);
    let kept = cache::artifact("bench-zstd", key, "zstd -19, about 1 min", |into| {
        let size = compress(&Programs::new(&built.sdk.root), path)?;
        Ok(fs::write(into.join("size"), size.to_string())?)
    })?;
    Ok(fs::read_to_string(kept.path.join("size"))?.parse()?)
}

fn compress(programs: &Programs, path: &Path) -> Result<u64> {
    let mut child = programs
        .command("zstd")
        .args([LEVEL, "-T0", "--quiet", "--stdout"])
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run zstd of the SDK")?;
    let mut output = child.stdout.take().context("zstd without an output")?;
    let size = std::io::copy(&mut output, &mut std::io::sink())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("zstd {} failed ({status})", path.display());
    }
    Ok(size)
}
