//! A folder with an image, and the binary run in it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

pub const MIB: usize = 1 << 20;

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {self:?}");
        }
    }
}

/// A folder with `cairn.img` and `cairn.img.zst`.
pub struct Rig {
    pub folder: TempDir,
    pub image: Vec<u8>,
}

impl Rig {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Content, a hole of zeros, content, and an end that is no whole MiB.
        let mut image = vec![0; 6 * MIB + 1536];
        for (index, byte) in image.iter_mut().enumerate() {
            if !(MIB..4 * MIB).contains(&index) {
                *byte = (index % 251) as u8;
            }
        }
        fs::write(folder.path().join("cairn.img"), &image).unwrap();
        let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packer.set_pledged_src_size(Some(image.len() as u64)).unwrap();
        packer.write_all(&image).unwrap();
        fs::write(folder.path().join("cairn.img.zst"), packer.finish().unwrap()).unwrap();
        Self { folder, image }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file full of what another system left.
    pub fn dirty(&self, name: &str, size: usize) -> PathBuf {
        fs::write(self.path(name), vec![0xa5; size]).unwrap();
        self.path(name)
    }

    pub fn flash(&self, arguments: &[&str]) -> Ran {
        self.flash_answering("", arguments)
    }

    pub fn flash_answering(&self, answer: &str, arguments: &[&str]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_osctl"))
            .arg("flash")
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts that a disk holds the image, then what was there, then a cleared end.
    #[track_caller]
    pub fn assert_flashed(&self, disk: &Path) {
        let content = fs::read(disk).unwrap();
        assert!(content.starts_with(&self.image), "{} does not begin with the image", disk.display());
        let tail = (content.len() - self.image.len()).min(MIB);
        let (between, end) = content[self.image.len()..].split_at(content.len() - self.image.len() - tail);
        assert!(end.iter().all(|byte| *byte == 0), "the end is not cleared");
        assert!(between.iter().all(|byte| *byte == 0xa5), "more than the image was written");
    }
}
