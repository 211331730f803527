//! What other methods fetch of the same files.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use testbed::programs::Programs;

/// zstd --patch-from: made for this one pair of releases, and good for no other.
pub fn zstd_patch(sdk: &Path, old: &Path, new: &Path) -> Result<u64> {
    let mut child = Programs::new(sdk)
        .command("zstd")
        .args(["-19", "--long=31", "-T0", "--quiet", "--stdout", "--patch-from"])
        .args([old, new])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run zstd of the SDK")?;
    let mut output = child.stdout.take().context("zstd without an output")?;
    let size = std::io::copy(&mut output, &mut std::io::sink())?;
    ensure!(child.wait()?.success(), "zstd failed");
    Ok(size)
}

/// casync: chunks by content, packed one by one; an index of all chunks.
pub fn casync(root: &Path, old: &Path, new: &Path, scratch: &Path) -> Result<u64> {
    let store = scratch.join("store.castr");
    let index = |name: &str| scratch.join(format!("{name}.caibx"));
    let make = |file: &Path, name: &str| {
        run(root, "casync", &["make", &format!("--store={}", text(&store)), &text(&index(name)), &text(file)])
    };
    make(old, "old")?;
    let before = size_below(&store)?;
    make(new, "new")?;
    let fetched = size_below(&store)? - before + fs::metadata(index("new"))?.len();
    fs::remove_dir_all(store)?;
    Ok(fetched)
}

/// zchunk: one file of packed chunks, whose header tells which of them are there already.
pub fn zchunk(root: &Path, old: &Path, new: &Path, scratch: &Path) -> Result<u64> {
    let packed = |name: &str| text(&scratch.join(name));
    for (file, name) in [(old, "old.zck"), (new, "new.zck")] {
        run(root, "zck", &["--output", &packed(name), &text(file)])?;
    }
    let said = run(root, "zck_delta_size", &[&packed("old.zck"), &packed("new.zck")])?;
    parse_delta_size(&said).with_context(|| format!("zck_delta_size says {said:?}"))
}

fn parse_delta_size(said: &str) -> Option<u64> {
    said.lines()
        .find_map(|line| line.strip_prefix("Would download in total ")?.split(' ').next()?.parse().ok())
}

fn run(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Programs::new(root).command(program).args(arguments).output()?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn size_below(folder: &Path) -> Result<u64> {
    let sizes = crate::cache::files_below(folder)?.into_iter().map(|file| Ok(fs::metadata(file)?.len()));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zchunk_would_fetch_is_read() {
        let said = "Would download in total 30664 of 1263984 bytes (2%), 1708 in the header and the rest in 1 chunks\n\
                    Matched 76 of 77 (98%) chunks\n";
        assert_eq!(parse_delta_size(said), Some(30_664));
        assert_eq!(parse_delta_size("no"), None);
    }
}
