//! `cargo xtask image`: what is published of a release: disk and installer medium, each raw and packed, checksums and
//! their signature.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest;
use image::arguments;
use testbed::programs::Programs;

use crate::{
    build::{self, image::Inputs},
    cache,
    release::keys,
    report::{Step, say},
    sdk,
};

const CHUNK_BYTES: usize = 1 << 20;
/// Beyond this, minutes more buy little: most of an image is an erofs that is packed already.
const LEVEL: &str = "-15";
/// st_blocks counts in these (stat(2)).
const STAT_BLOCK_BYTES: u64 = 512;

/// Builds both images and writes everything that is published of them into `folder`.
pub fn write(repository: &Path, folder: &Path, sign_key: Option<&Path>, keys: Option<&Path>) -> Result<()> {
    let sdk = sdk::provide(repository)?;
    let kernel = build::kernel::provide(repository, &sdk)?;
    let update_root = keys::choose(keys)?.anchor()?.to_owned();
    let inputs = Inputs { update_root, ..build::inputs(repository, &sdk, &kernel)? };
    let built = build::image::provide(&inputs)?;
    let programs = Programs::new(&sdk.root);
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut files = Vec::new();
    for (name, image) in [("cairn", &built.disk), ("cairn-installer", &built.installer)] {
        let raw = folder.join(format!("{name}-{}-amd64.img", inputs.version));
        copy_sparse(image, &raw)?;
        files.extend([pack(&programs, &raw)?, raw]);
    }
    let sums = write_sums(folder, &files)?;
    let public = sign(&programs, &sums, sign_key)?;
    for file in &files {
        say(&describe(file)?);
    }
    say("Write one to a disk and prove it, then start the node from it:");
    say(&format!("  osctl flash {} /dev/DISK --verify-key {}", files[0].display(), public.display()));
    Ok(())
}

/// Copies content and leaves zeros out.
fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut target = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    target.set_len(source.metadata()?.len())?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        if buffer[..length].iter().all(|byte| *byte == 0) {
            target.seek(SeekFrom::Current(i64::try_from(length)?))?;
        } else {
            target.write_all(&buffer[..length])?;
        }
    }
}

fn pack(programs: &Programs, raw: &Path) -> Result<PathBuf> {
    let packed = raw.with_added_extension("zst");
    let step = Step::start("zstd", "about 1 min");
    run(programs, "zstd", &arguments![LEVEL, "-T0", "--quiet", "--force", "-o", &packed, raw])?;
    step.done();
    Ok(packed)
}

/// As sha256sum(1) writes them.
fn write_sums(folder: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let mut text = String::new();
    for file in files {
        let name = file.file_name().context("file without a name")?.to_string_lossy();
        text.push_str(&format!("{}  {name}\n", sha256(file)?));
    }
    let sums = folder.join("SHA256SUMS");
    fs::write(&sums, text)?;
    Ok(sums)
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(context.finish().as_ref())),
            length => context.update(&buffer[..length]),
        }
    }
}

/// Signs with Ed25519 and returns the public key's file. Without a key: by one of this computer's own, which says only
/// that the image was built here.
fn sign(programs: &Programs, sums: &Path, key: Option<&Path>) -> Result<PathBuf> {
    let own = cache::scratch("release")?.join("key.pem");
    if key.is_none() && !own.exists() {
        File::options().write(true).create_new(true).mode(0o600).open(&own)?;
        run(programs, "openssl", &arguments!["genpkey", "-algorithm", "ed25519", "-out", &own])?;
    }
    let key = key.unwrap_or(&own);
    let public = sums.with_file_name("release.pub");
    run(programs, "openssl", &arguments!["pkey", "-in", key, "-pubout", "-out", &public])?;
    let signature = sums.with_added_extension("sig");
    let arguments = arguments!["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", sums, "-out", &signature];
    run(programs, "openssl", &arguments)?;
    Ok(public)
}

fn run(programs: &Programs, program: &str, arguments: &[std::ffi::OsString]) -> Result<()> {
    let output = programs
        .command(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{program} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn describe(file: &Path) -> Result<String> {
    let metadata = fs::metadata(file)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (size, taken) = (mib(metadata.len()), mib(metadata.blocks() * STAT_BLOCK_BYTES));
    Ok(format!("  {}: {size:.1} MiB, {taken:.1} MiB of it on this disk", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_copies_are_equal_and_checksums_are_those_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let content = [vec![7; CHUNK_BYTES], vec![0; 3 * CHUNK_BYTES], vec![9; 1000], vec![0; 24]].concat();
        fs::write(&from, &content).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert!(fs::read(&to).unwrap() == content);
        assert!(fs::metadata(&to).unwrap().blocks() * STAT_BLOCK_BYTES < 3 * CHUNK_BYTES as u64);
        fs::write(&from, "abc").unwrap();
        let sums = write_sums(folder.path(), &[from]).unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  from\n";
        assert_eq!(fs::read_to_string(sums).unwrap(), expected);
    }
}
