//! The kernel's persistent storage (kernel Documentation/ABI/testing/pstore).

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::assemble::Part;

/// What the kernel said before it died; other files hold a whole console or a trace.
const DUMP: &str = "dmesg-";
/// What the kernel could not unpack.
const PACKED: &str = ".enc.z";
/// Most files: firmware has room for fewer.
const FILES_MAX: usize = 1024;
/// Most of a file.
const PART_MAX_BYTES: u64 = 64 * 1024;

/// What lies there, and the files to erase once it is kept. Nothing without persistent storage.
pub fn read(folder: &Path) -> io::Result<(Vec<Part>, Vec<PathBuf>)> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        entries => entries?,
    };
    let (mut parts, mut files) = (Vec::new(), Vec::new());
    for entry in entries.take(FILES_MAX) {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with(DUMP) {
            continue;
        }
        parts.push(part(&path, name.ends_with(PACKED))?);
        files.push(path);
    }
    Ok((parts, files))
}

fn part(path: &Path, is_packed: bool) -> io::Result<Part> {
    let file = File::open(path)?;
    let written = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_us = i64::try_from(written.as_micros()).unwrap_or(i64::MAX);
    let mut bytes = Vec::new();
    file.take(PART_MAX_BYTES).read_to_end(&mut bytes)?;
    let text = if is_packed {
        format!("{} bytes that the kernel could not unpack\n", bytes.len())
    } else {
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Part { at_us, text })
}

/// Makes room for the next ones.
pub fn erase(files: &[PathBuf]) -> io::Result<()> {
    files.iter().try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_read_and_erased_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("none")).unwrap().0, []);
        for (name, content) in [
            ("dmesg-efi_pstore-1", "Panic#1 Part1\nx\n"),
            ("dmesg-efi_pstore-2.enc.z", "zz"),
            ("console-ramoops-0", "c"),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let (parts, files) = read(folder.path()).unwrap();
        let mut texts: Vec<String> = parts.into_iter().map(|part| part.text).collect();
        texts.sort();
        assert_eq!(texts, ["2 bytes that the kernel could not unpack\n", "Panic#1 Part1\nx\n"]);
        erase(&files).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
