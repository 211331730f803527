//! The seed in the system disk's ESP: what was laid in when the disk was flashed. Read only on a node that was never
//! provisioned, and never written.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use flash::seed::{Entry, SeedError, locate, unpack};
use tracing::warn;

use super::config_volume::{LabelledVolume, find_config_volume};
use super::{StorageError, SystemDisk};

/// In memory: the small files only.
const UNPACKED: &str = "/run/cairn/seed";
/// On DATA: images too would burst machined's memory.
const UNPACKED_WITH_IMAGES: &str = "/var/lib/cairn/seed";
/// Longest of the small files: one byte more than a configuration may have, so that too long a one is noticed.
const SMALL_MAX_BYTES: u64 = config::TEXT_MAX_BYTES as u64 + 1;

/// What is unpacked of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Small,
    WithImages,
}

/// Where a node that was never provisioned finds its configuration: a labelled volume, or else the seed.
#[derive(Debug)]
pub enum Origin {
    /// A volume that someone plugged in.
    Volume(LabelledVolume),
    /// What was flashed with the disk.
    Seed(Seed),
}

impl Origin {
    /// Looks for one; `None` when nobody left a configuration. Without the images of a seed.
    pub fn find(disk: &SystemDisk) -> Result<Option<Self>, StorageError> {
        Self::look(disk, Scope::Small)
    }

    /// Looks for one and has its images too; to be called when DATA is mounted.
    pub fn find_with_images(disk: &SystemDisk) -> Result<Option<Self>, StorageError> {
        Self::look(disk, Scope::WithImages)
    }

    fn look(disk: &SystemDisk, scope: Scope) -> Result<Option<Self>, StorageError> {
        if let Some(device) = find_config_volume(disk) {
            return LabelledVolume::mount(&device).map(|volume| Some(Self::Volume(volume)));
        }
        let seed = Seed::read(disk, scope)?;
        Ok(seed.filter(|seed| seed.path().join(layout::CONFIG_VOLUME_FILE).exists()).map(Self::Seed))
    }

    /// Where its files are: the same on both.
    pub fn path(&self) -> &Path {
        match self {
            Self::Volume(volume) => volume.path(),
            Self::Seed(seed) => seed.path(),
        }
    }
}

/// An unpacked seed; removed when dropped.
#[derive(Debug)]
pub struct Seed {
    folder: PathBuf,
}

impl Seed {
    /// Unpacks the small files of the disk's seed; `None` when it is empty or the image has none.
    pub fn unpack(disk: &SystemDisk) -> Result<Option<Self>, StorageError> {
        Self::read(disk, Scope::Small)
    }

    fn read(disk: &SystemDisk, scope: Scope) -> Result<Option<Self>, StorageError> {
        let esp = disk.image_partition(&layout::ESP)?;
        let folder = match scope {
            Scope::Small => UNPACKED,
            Scope::WithImages => UNPACKED_WITH_IMAGES,
        };
        match Self::unpack_from(&esp, Path::new(folder), scope) {
            Ok(seed) => Ok(seed),
            Err(SeedError::NoPlace) => Ok(None),
            Err(source) => Err(StorageError::Seed { device: esp, source }),
        }
    }

    fn unpack_from(esp: &Path, folder: &Path, scope: Scope) -> Result<Option<Self>, SeedError> {
        let (device, place) = open(esp)?;
        make(folder).map_err(SeedError::Read)?;
        let seed = Self { folder: folder.to_owned() };
        let mut is_empty = true;
        unpack(device.take(place.end - place.start), |entry, content| {
            is_empty = false;
            match entry {
                Entry::Configuration | Entry::AdminCa => seed.put(&entry, &mut content.take(SMALL_MAX_BYTES)),
                Entry::Image(_) if scope == Scope::WithImages => seed.put(&entry, content),
                Entry::Image(_) => Ok(()),
            }
        })?;
        Ok((!is_empty).then_some(seed))
    }

    fn put(&self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let path = self.folder.join(entry.path());
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir(folder)?;
        }
        io::copy(content, &mut File::create_new(path)?).map(drop)
    }

    /// The archive as it lies there, and its size; `None` unless it is what holds this configuration.
    pub fn archive(
        disk: &SystemDisk,
        configuration: &str,
    ) -> Result<Option<(io::Take<File>, u64)>, StorageError> {
        let is_from_here = Self::unpack(disk)?.is_some_and(|seed| {
            let path = seed.path().join(layout::CONFIG_VOLUME_FILE);
            fs::read_to_string(path).is_ok_and(|text| text == configuration)
        });
        if !is_from_here {
            return Ok(None);
        }
        let esp = disk.image_partition(&layout::ESP)?;
        match open(&esp) {
            Ok((device, place)) => {
                let size_bytes = place.end - place.start;
                Ok(Some((device.take(size_bytes), size_bytes)))
            }
            Err(source) => Err(StorageError::Seed { device: esp, source }),
        }
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// CA of the admin whose clients alone may configure this node, in PEM.
    pub fn admin_ca(&self) -> Option<String> {
        fs::read_to_string(self.folder.join(layout::SEED_ADMIN_CA)).ok()
    }
}

/// The ESP, set to the seed's beginning, and where in it the seed lies.
fn open(esp: &Path) -> Result<(File, Range<u64>), SeedError> {
    let mut device = File::open(esp).map_err(SeedError::Read)?;
    let place = locate(|offset, data| device.read_exact_at(data, offset))?;
    device.seek(SeekFrom::Start(place.start)).map_err(SeedError::Read)?;
    Ok((device, place))
}

/// Readable by root only: a configuration may hold secrets.
fn make(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

impl Drop for Seed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            warn!(path = %self.folder.display(), %error, "cannot remove the unpacked seed");
        }
    }
}

#[cfg(test)]
mod tests {
    use flash::seed::pack;

    use super::*;
    use crate::storage::scratch::Scratch;

    /// An ESP as small as a test needs: its tables, and the seed from the ninth MiB on.
    fn esp(scratch: &Scratch, archive: &[u8]) -> PathBuf {
        let path = scratch.path().join("esp");
        let file = File::create_new(&path).unwrap();
        file.set_len(layout::ESP.size_bytes.unwrap()).unwrap();
        let put = |at: u64, bytes: &[u8]| file.write_all_at(bytes, at).unwrap();
        let (sector, fat_sectors) = (512u64, 1024u32);
        let data = (32 + u64::from(fat_sectors)) * sector;
        put(510, &[0x55, 0xaa]);
        put(82, b"FAT32   ");
        put(11, &512u16.to_le_bytes());
        put(13, &[1]);
        put(14, &32u16.to_le_bytes());
        put(16, &[1]);
        put(36, &fat_sectors.to_le_bytes());
        put(44, &2u32.to_le_bytes());
        put(data, b"CAIRN      \x10");
        put(data + 26, &3u16.to_le_bytes());
        put(data + sector, b"SEED    TAR\x20");
        put(data + sector + 26, &4u16.to_le_bytes());
        let size = 64 * 1024u32;
        put(data + sector + 28, &size.to_le_bytes());
        for cluster in 4..4 + size / 512 {
            put(32 * sector + u64::from(cluster) * 4, &(cluster + 1).to_le_bytes());
        }
        put(data + 2 * sector, archive);
        path
    }

    #[test]
    fn a_seed_unpacks_like_a_volume_and_leaves_nothing_behind() {
        let scratch = Scratch::new("seed");
        let archive = pack(&[
            (Entry::Configuration, b"kind: Api\n".to_vec()),
            (Entry::AdminCa, b"pem".to_vec()),
            (Entry::Image("web.tar".into()), vec![7; 9000]),
        ]);
        let folder = scratch.path().join("run/seed");
        let esp = esp(&scratch, &archive.unwrap());
        for _ in 0..2 {
            let seed = Seed::unpack_from(&esp, &folder, Scope::WithImages).unwrap().unwrap();
            let read = |name: &str| fs::read(seed.path().join(name)).unwrap();
            assert_eq!(read(layout::CONFIG_VOLUME_FILE), b"kind: Api\n");
            assert_eq!(read("images/web.tar"), vec![7; 9000]);
            assert_eq!(seed.admin_ca().as_deref(), Some("pem"));
        }
        let small = Seed::unpack_from(&esp, &folder, Scope::Small).unwrap().unwrap();
        assert_eq!(fs::read(small.path().join(layout::CONFIG_VOLUME_FILE)).unwrap(), b"kind: Api\n");
        assert!(!small.path().join("images").exists(), "images are unpacked into memory");
        drop(small);
        assert!(!folder.exists());
    }

    #[test]
    fn an_empty_seed_is_none_and_a_damaged_one_an_error() {
        let scratch = Scratch::new("no-seed");
        let folder = scratch.path().join("run");
        let empty = esp(&scratch, &[]);
        assert!(Seed::unpack_from(&empty, &folder, Scope::Small).unwrap().is_none());
        fs::remove_file(&empty).unwrap();
        let damaged = esp(&scratch, &[0x20; 512]);
        assert!(matches!(Seed::unpack_from(&damaged, &folder, Scope::Small), Err(SeedError::Archive(_))));
        assert!(!folder.exists());
    }
}
