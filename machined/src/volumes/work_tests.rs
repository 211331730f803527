use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::volumes::{
    content::DISK_MIN_BYTES,
    decide::{Decision, Seen, decide},
};

const SIZE_BYTES: u64 = DISK_MIN_BYTES + 4096;
const BLOCK_BYTES: usize = 4096;
/// More than the metadata of so small a file system.
const WRITTEN_BLOCKS: usize = 1024;

/// A disk in a file, and STATE.
struct Bench {
    folder: TempDir,
    records: Records,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("disk")).unwrap().set_len(SIZE_BYTES).unwrap();
        Self { folder, records: Records::default() }
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn make(&mut self, begun: Option<VolumeId>) -> Result<VolumeId, WorkError> {
        let (state, disk) = (self.folder.path().to_owned(), self.disk());
        make(&state, &mut self.records, "recordings-of-all", &disk, begun)
    }

    fn content(&self) -> Content {
        Content::read(&File::open(self.disk()).unwrap()).unwrap()
    }

    fn decide(&self) -> Decision {
        let disk = config::DiskSelector::default();
        let volume = config::Volume { name: "recordings-of-all".into(), disk };
        let disk = resource::spec::Disk { size_bytes: SIZE_BYTES, ..Default::default() };
        decide(&volume, &self.records, &[Seen { disk, content: Ok(self.content()) }])
    }

    fn begin(&mut self, uuid: VolumeId) {
        let record = Record { uuid, stage: Stage::Begun };
        self.records.set(self.folder.path(), "recordings-of-all", record).unwrap();
    }
}

#[test]
fn a_blank_disk_becomes_a_volume_once() {
    let mut bench = Bench::new();
    let uuid = bench.make(None).unwrap();
    let holds = Holds::Ext4 { uuid, label: "cairn-recordings".into() };
    assert_eq!(bench.content(), Content { mark: None, holds });
    let read = Records::read(bench.folder.path()).unwrap();
    assert_eq!(read.get("recordings-of-all"), Some(Record { uuid, stage: Stage::Complete }));
    assert_eq!(storage::check(&bench.disk(), Repair::Safe).unwrap(), Checked::Sound);
    assert_eq!(bench.decide(), Decision::Mount { disk: 0 });

    let before = fs::read(bench.disk()).unwrap();
    for begun in [None, Some(uuid)] {
        assert!(matches!(bench.make(begun), Err(WorkError::Changed { .. })));
    }
    assert!(fs::read(bench.disk()).unwrap() == before, "a volume was made anew");
}

#[test]
fn foreign_data_is_not_touched_and_nothing_is_recorded() {
    let mut bench = Bench::new();
    let mut bytes = vec![0; usize::try_from(SIZE_BYTES).unwrap()];
    *bytes.last_mut().unwrap() = 1;
    fs::write(bench.disk(), &bytes).unwrap();
    assert!(matches!(bench.make(None), Err(WorkError::Changed { .. })));
    assert!(fs::read(bench.disk()).unwrap() == bytes);
    assert_eq!(Records::read(bench.folder.path()).unwrap(), Records::default());
}

#[test]
fn a_disk_that_is_not_there_is_an_error_before_anything_is_recorded() {
    let mut bench = Bench::new();
    fs::remove_file(bench.disk()).unwrap();
    assert!(matches!(bench.make(None), Err(WorkError::Disk { .. })));
    assert_eq!(bench.records, Records::default());
}

/// A disk as a power cut left it: begun, marked, and any part of the file system written.
fn cut_off(written: &[bool]) -> (Bench, VolumeId) {
    let mut whole = Bench::new();
    let uuid = whole.make(None).unwrap();
    let made = fs::read(whole.disk()).unwrap();
    let mut bench = Bench::new();
    bench.begin(uuid);
    let disk = File::options().read(true).write(true).open(bench.disk()).unwrap();
    put(&disk, &mark(uuid), SIZE_BYTES).unwrap();
    let blocks = made.chunks(BLOCK_BYTES).zip(written).enumerate().filter(|(_, (_, written))| **written);
    for (index, (block, _)) in blocks {
        disk.write_all_at(block, (index * BLOCK_BYTES) as u64).unwrap();
    }
    (bench, uuid)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn what_was_cut_off_at_any_block_is_finished(written in prop::collection::vec(any::<bool>(), WRITTEN_BLOCKS)) {
        let (mut bench, uuid) = cut_off(&written);
        prop_assert_eq!(bench.decide(), Decision::Make { disk: 0, begun: Some(uuid) });
        prop_assert_eq!(bench.make(Some(uuid)).unwrap(), uuid);
        prop_assert_eq!(bench.decide(), Decision::Mount { disk: 0 });
        prop_assert_eq!(storage::check(&bench.disk(), Repair::Safe).unwrap(), Checked::Sound);
    }
}
