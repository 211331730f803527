//! Bits of a node's root that flip while its power is off.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use testbed::bed::Bed;
use verity::BLOCK_BYTES;

use super::{Random, partition_start};

/// As many as fit into a command line.
const AT_ONCE: usize = 100;

/// A byte of an image with one bit flipped.
#[derive(Clone, Copy, Debug)]
pub struct Flip {
    /// Offset in the image.
    pub at: u64,
    /// What it becomes.
    pub byte: u8,
}

impl Flip {
    /// In this block of the image.
    pub fn random(random: &mut Random, image: &Path, block: u64) -> Self {
        let at = block * BLOCK_BYTES as u64 + random.below(BLOCK_BYTES as u64);
        Self { at, byte: byte(image, at) ^ (1 << random.below(8)) }
    }

    /// What was there before.
    pub fn undone(self, image: &Path) -> Self {
        Self { byte: byte(image, self.at), ..self }
    }
}

fn byte(image: &Path, at: u64) -> u8 {
    let mut byte = [0];
    File::open(image).unwrap().read_exact_at(&mut byte, at).unwrap();
    byte[0]
}

/// Writes them to a partition of a disk (qcow2) that holds the image.
pub fn write(bed: &Bed, disk: &Path, partition: &layout::Partition, flips: &[Flip]) {
    let start = partition_start(partition.number);
    let disk = disk.to_string_lossy();
    for some in flips.chunks(AT_ONCE) {
        let writes: Vec<_> =
            some.iter().map(|flip| format!("write -P {} {} 1", flip.byte, start + flip.at)).collect();
        let commands = writes.iter().flat_map(|write| ["-c", write]);
        let arguments: Vec<_> = ["-f", "qcow2"].into_iter().chain(commands).chain([&*disk]).collect();
        bed.programs().run("qemu-io", &arguments).unwrap();
    }
}

/// The block of a root image with a file's first bytes, as `dump.erofs -e` lists it:
/// `0:  0..  129964 |  129964 :   24821760..  24887296 |   65536`.
pub fn first_block(bed: &Bed, image: &Path, path: &str) -> u64 {
    let image = image.to_string_lossy();
    let listed = bed.programs().run("dump.erofs", &[&format!("--path={path}"), "-e", &image]).unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let extent = listed.lines().find(|line| line.trim_start().starts_with("0:")).unwrap();
    let start = extent.rsplit(':').next().unwrap().split("..").next().unwrap();
    start.trim().parse::<u64>().unwrap() / BLOCK_BYTES as u64
}
