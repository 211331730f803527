//! Sizes of what is shipped.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail};
use testbed::{measure::ROOT_IMAGE_LIMIT_BYTES, programs::Programs};

use super::figures::Figure;
use crate::{
    build::Built,
    cache::{self, Key},
    sdk::Sdk,
};

const ROOT_IMAGE_GOAL_BYTES: f64 = 128.0 * 1024.0 * 1024.0;
const LEVEL: &str = "-19";

/// Sizes of the root image, the UKI and the disk, and of an update's download: root image and UKI compressed.
pub fn measure(built: &Built) -> Result<Vec<Figure>> {
    let image = &built.image;
    let size = |path: &Path| Ok::<u64, anyhow::Error>(fs::metadata(path)?.len());
    Ok(vec![
        Figure::count("root_image_bytes", "root image with its hash tree", size(&image.root)?)
            .goal(ROOT_IMAGE_GOAL_BYTES)
            .limit(ROOT_IMAGE_LIMIT_BYTES),
        Figure::count("uki_bytes", "UKI", size(&image.uki)?),
        Figure::count(
            "release_zstd_bytes",
            "both by zstd -19",
            compressed(&built.sdk, &[&image.root, &image.uki])?,
        ),
        Figure::count("disk_image_bytes", "disk image, mostly holes", size(&image.disk)?),
    ])
}

/// Size of files after zstd; kept, as an artifact's path names its content.
pub fn compressed(sdk: &Sdk, files: &[&Path]) -> Result<u64> {
    let key = files
        .iter()
        .fold(Key::new("bench-zstd", 1).text(LEVEL), |key, file| key.text(&file.to_string_lossy()));
    let kept = cache::artifact("bench-zstd", key, "zstd -19, about 1 min", |into| {
        let size = compress(&Programs::new(&sdk.root), files)?;
        Ok(fs::write(into.join("size"), size.to_string())?)
    })?;
    Ok(fs::read_to_string(kept.path.join("size"))?.parse()?)
}

fn compress(programs: &Programs, files: &[&Path]) -> Result<u64> {
    let mut child = programs
        .command("zstd")
        .args([LEVEL, "-T0", "--quiet", "--stdout"])
        .args(files)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run zstd of the SDK")?;
    let mut output = child.stdout.take().context("zstd without an output")?;
    let size = std::io::copy(&mut output, &mut std::io::sink())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("zstd failed ({status})");
    }
    Ok(size)
}
