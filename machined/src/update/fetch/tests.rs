use std::{
    fs::File,
    sync::atomic::{AtomicU64, AtomicUsize},
};

use bootstate::ReleaseVersion;
use proptest::{
    prelude::{any, prop_assert, prop_assert_eq},
    sample::Index,
    test_runner::{Config, TestRunner},
};
use tempfile::TempDir;
use update::Target as Release;
use verity::BLOCK_BYTES;

use super::*;
use crate::update::{
    device::Origin,
    source::{Chunk, ClientSource, FolderSource, Missing, Source},
    testing::{
        http,
        medium::{Done, Partition},
        server::{Manner, Server},
        site::{Site, blocks, tree, uki},
    },
    verify::{VerifyError, verify},
};

const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";
/// Blocks of the boot partition in these tests.
const BOOT_BLOCKS: usize = 8;

/// A node with slot A running, slot B to be filled, and a repository.
struct Bench {
    site: Site,
    running: TempDir,
    boot: Partition,
    root: Partition,
    meter: Meter,
}

impl Bench {
    /// The old release's root runs; the new one's is in the repository.
    fn new(old: &[u8], new: &[u8]) -> Self {
        let site = Site::new();
        site.publish(NEW, new);
        let running = tempfile::tempdir().unwrap();
        std::fs::write(running.path().join("root"), [old, &tree(old).blocks].concat()).unwrap();
        let mut boot = uki(OLD, "a");
        boot.resize(3 * BLOCK_BYTES, 0);
        std::fs::write(running.path().join("boot"), boot).unwrap();
        let other = |blocks| Partition::new(b"other".repeat(blocks * BLOCK_BYTES / 5), blocks);
        let root = other((new.len() + tree(new).blocks.len()) / BLOCK_BYTES + 10);
        Self { site, running, boot: other(BOOT_BLOCKS), root, meter: Meter::default() }
    }

    fn folder(&self) -> Source {
        Source::Folder(FolderSource::at(&self.site.repository()))
    }

    fn partitions(&self) -> Partitions<Target> {
        Partitions { boot: Target::new(self.boot.clone()), root: Target::new(self.root.clone()) }
    }

    fn present(&self) -> Partitions<Present> {
        let origin = |name: &str| Origin::open(&self.running.path().join(name)).unwrap();
        let blocks = std::fs::metadata(self.running.path().join("root")).unwrap().len() / BLOCK_BYTES as u64;
        let data_blocks = (1..=blocks).find(|data| data + verity::tree_blocks(*data) == blocks).unwrap();
        let tree = Tree { first_block: data_blocks, salt: ::image::erofs::SALT.to_vec() };
        Partitions {
            boot: Present { origin: origin("boot"), data_blocks: 3, tree: None },
            root: Present { origin: origin("root"), data_blocks, tree: Some(tree) },
        }
    }

    async fn fill_from(&self, mirrors: &Arc<Mirrors>) -> Result<(), (FetchError, Failure)> {
        let job = Fill {
            manifest: Box::new(self.site.manifest(NEW)),
            slot: Slot::B,
            mirrors: Arc::clone(mirrors),
            partitions: self.partitions(),
            present: self.present(),
            meter: self.meter.clone(),
        };
        fill(job).await
    }

    async fn fill(&self, source: Source) -> Result<(), (FetchError, Failure)> {
        self.fill_from(&Arc::new(Mirrors::new(source))).await
    }

    async fn verify(&self) -> Result<(), VerifyError> {
        let manifest = self.site.manifest(NEW);
        let uki = manifest.uki(Slot::B);
        let release = Release {
            slot: Slot::B,
            version: ReleaseVersion::new(NEW).unwrap(),
            uki_bytes: uki.length_bytes,
            uki_sha256: uki.sha256,
            manifest: Some(Box::new(manifest)),
        };
        verify(&release, &self.partitions(), &self.meter).await
    }

    /// What the slot must hold.
    fn wanted(&self) -> (Vec<u8>, Vec<u8>) {
        (self.site.file(NEW, "b.efi"), self.site.file(NEW, "root.img"))
    }

    fn assert_whole(&self) {
        assert!(self.is_whole(&self.wanted()));
    }

    fn is_whole(&self, (boot, root): &(Vec<u8>, Vec<u8>)) -> bool {
        self.boot.state().content.starts_with(boot) && self.root.state().content.starts_with(root)
    }

    /// Whether each block is what it was or what it should be.
    fn is_clean(&self, before: &(Vec<u8>, Vec<u8>), (boot, root): &(Vec<u8>, Vec<u8>)) -> bool {
        let same = |now: &[u8], before: &[u8], wanted: &[u8]| {
            let mut blocks = (0..).zip(now.chunks(BLOCK_BYTES).zip(before.chunks(BLOCK_BYTES)));
            blocks.all(|(at, (now, before))| {
                let wanted = wanted.get(at * BLOCK_BYTES..(at + 1) * BLOCK_BYTES);
                now == before || Some(now) == wanted || (at == 0 && now.iter().all(|byte| *byte == 0))
            })
        };
        same(&self.boot.state().content, &before.0, boot) && same(&self.root.state().content, &before.1, root)
    }

    fn contents(&self) -> (Vec<u8>, Vec<u8>) {
        (self.boot.state().content.clone(), self.root.state().content.clone())
    }
}

/// Numbered blocks.
fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<u8> {
    blocks(&numbers.into_iter().map(|number| format!("block {number}")).collect::<Vec<_>>())
}

#[tokio::test(start_paused = true)]
async fn only_what_is_new_comes() {
    let old = numbered(0..500);
    // Something in front moves everything, something in the middle is new, zeros are nobody's.
    let new =
        [numbered([900]), numbered(0..200), numbered([901, 902]), blocks(&["", ""]), numbered(200..450)]
            .concat();
    let bench = Bench::new(&old, &new);
    bench.fill(bench.folder()).await.unwrap();
    bench.assert_whole();
    bench.verify().await.unwrap();
    let progress = bench.meter.read();
    let leaves = verity::leaves_bytes(455) + verity::leaves_bytes(3);
    // Three blocks of the root, two of the UKI.
    assert_eq!(progress.bytes_fetched, 5 * BLOCK_BYTES as u64 + leaves);
    assert_eq!(progress.bytes_saved, 453 * BLOCK_BYTES as u64);
    bench.fill(bench.folder()).await.unwrap();
    assert_eq!(bench.meter.read().blocks_done, bench.meter.read().blocks_total);
}

#[tokio::test(start_paused = true)]
async fn what_is_right_is_not_written_again() {
    let bench = Bench::new(&numbered(0..10), &numbered(5..300));
    bench.fill(bench.folder()).await.unwrap();
    for partition in [&bench.boot, &bench.root] {
        partition.state().done.clear();
    }
    bench.fill(bench.folder()).await.unwrap();
    assert_eq!((bench.boot.state().done.len(), bench.root.state().done.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_slot_does_not_start_while_it_is_filled() {
    let bench = Bench::new(&numbered(0..10), &numbered(5..300));
    bench.fill(bench.folder()).await.unwrap();
    let done = bench.boot.state().done.clone();
    let first = Done::Write { first_block: 0, blocks: 1 };
    assert_eq!(done[..2], [first.clone(), Done::Flush]);
    assert_eq!(done[done.len() - 3..], [Done::Flush, first.clone(), Done::Flush]);
    assert_eq!(done.iter().filter(|done| **done == first).count(), 2);
    assert!(matches!(bench.root.state().done.last(), Some(Done::Flush)));
    // Another release over it: what lay there must not start half-way through either.
    bench.site.publish("1.2.0", &numbered(100..300));
    bench.root.state().writes_left = Some(0);
    let job = Fill {
        manifest: Box::new(bench.site.manifest("1.2.0")),
        slot: Slot::B,
        mirrors: Arc::new(Mirrors::new(bench.folder())),
        partitions: bench.partitions(),
        present: bench.present(),
        meter: Meter::default(),
    };
    let (error, failure) = fill(job).await.unwrap_err();
    assert!(
        matches!((&error, failure), (FetchError::Write { partition: ROOT, .. }, Failure::Final)),
        "{error:?}"
    );
    assert!(bench.boot.state().content[..BLOCK_BYTES].iter().all(|byte| *byte == 0));
}

#[tokio::test(start_paused = true)]
async fn a_rotten_running_slot_is_made_up_for() {
    let all = numbered(0..300);
    let bench = Bench::new(&all, &[numbered([900]), all.clone()].concat());
    let path = bench.running.path().join("root");
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 77 * BLOCK_BYTES as u64).unwrap();
    bench.fill(bench.folder()).await.unwrap();
    bench.assert_whole();
    // Nothing can be read of it.
    let bench = Bench::new(&all, &[numbered([900]), all.clone()].concat());
    File::options().write(true).open(bench.running.path().join("boot")).unwrap().set_len(0).unwrap();
    let broken = Present { data_blocks: 1_000_000, ..bench.present().root };
    let job = Fill {
        manifest: Box::new(bench.site.manifest(NEW)),
        slot: Slot::B,
        mirrors: Arc::new(Mirrors::new(bench.folder())),
        partitions: bench.partitions(),
        present: Partitions { boot: bench.present().boot, root: broken },
        meter: bench.meter.clone(),
    };
    fill(job).await.unwrap();
    bench.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn another_salt_costs_a_pass_and_no_bytes() {
    let all = numbered(0..300);
    let bench = Bench::new(&all, &[numbered([900]), all.clone()].concat());
    let mut present = bench.present();
    present.root.tree.as_mut().unwrap().salt = vec![1, 2, 3];
    let job = Fill {
        manifest: Box::new(bench.site.manifest(NEW)),
        slot: Slot::B,
        mirrors: Arc::new(Mirrors::new(bench.folder())),
        partitions: bench.partitions(),
        present,
        meter: bench.meter.clone(),
    };
    fill(job).await.unwrap();
    assert_eq!(bench.meter.read().bytes_saved, 301 * BLOCK_BYTES as u64);
}

#[tokio::test]
async fn a_mirror_with_wrong_blocks_is_replaced_and_blamed() {
    let bench = Bench::new(&numbered(0..3), &numbered(5..300));
    let wrong = bench.site.photograph("wrong");
    let path = wrong.join("targets/releases").join(NEW).join("root.img");
    let mut content = std::fs::read(&path).unwrap();
    content[100 * BLOCK_BYTES] ^= 1;
    std::fs::write(&path, content).unwrap();
    let bad = Server::start(wrong, Manner::Well).await;
    let good = Server::start(bench.site.repository(), Manner::Well).await;
    let mirrors = Arc::new(Mirrors::new(http(vec![bad.url(), good.url()])));
    bench.fill_from(&mirrors).await.unwrap();
    bench.assert_whole();
    bench.verify().await.unwrap();
    let [mark] = mirrors.report().try_into().unwrap();
    assert_eq!((mark.mirror, mark.wrong), (bad.address.to_string(), 1));
    assert!(mark.last.contains("block 100 of targets/releases/1.1.0/root.img"), "{}", mark.last);
}

#[tokio::test]
async fn hostile_mirrors_alone_fill_nothing() {
    for (manner, expected) in [
        (Manner::SwappedBlocks, Failure::Final),
        (Manner::OtherRange, Failure::Passing),
        (Manner::Truncated, Failure::Passing),
        (Manner::Status(503), Failure::Passing),
        (Manner::Status(404), Failure::Final),
        (Manner::RedirectLoop, Failure::Passing),
    ] {
        let bench = Bench::new(&numbered(0..3), &numbered(5..60));
        let before = bench.contents();
        let server = Server::start(bench.site.repository(), manner.clone()).await;
        let (error, failure) = bench.fill(http(vec![server.url()])).await.unwrap_err();
        assert!(bench.is_clean(&before, &bench.wanted()), "{manner:?}");
        assert!(failure == expected || failure == Failure::Progressed, "{manner:?}: {failure:?}: {error:?}");
    }
}

#[tokio::test]
async fn every_byte_may_be_lost_once() {
    let bench = Bench::new(&numbered(0..3), &numbered(5..500));
    let (truncated, well) = (
        Server::start(bench.site.repository(), Manner::Truncated).await,
        Server::start(bench.site.repository(), Manner::Well).await,
    );
    bench.fill(http(vec![truncated.url(), well.url()])).await.unwrap();
    bench.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_medium_that_lies_is_found_out() {
    for which in ["boot", "root"] {
        let bench = Bench::new(&numbered(0..3), &numbered(5..60));
        let partition = if which == "boot" { &bench.boot } else { &bench.root };
        partition.state().lies = true;
        bench.fill(bench.folder()).await.unwrap();
        let error = bench.verify().await.unwrap_err();
        let is_named = match which {
            "boot" => matches!(error, VerifyError::Uki),
            _ => matches!(error, VerifyError::Root),
        };
        assert!(is_named, "{which}: {error:?}");
    }
    let bench = Bench::new(&numbered(0..3), &numbered(5..60));
    bench.fill(bench.folder()).await.unwrap();
    bench.root.state().content[55 * BLOCK_BYTES + 7] ^= 1;
    assert!(matches!(bench.verify().await.unwrap_err(), VerifyError::Tree));
}

/// A client who has the release in memory, with one byte of one of its files another.
struct Client {
    files: Vec<(String, Vec<u8>)>,
    served: Arc<AtomicU64>,
}

impl Client {
    fn of(bench: &Bench) -> Self {
        let file = |name: &str| (format!("targets/releases/{NEW}/{name}"), bench.site.file(NEW, name));
        Self {
            files: ["root.img", "root.leaves", "b.efi", "b.leaves"].map(file).into(),
            served: Arc::default(),
        }
    }

    /// Answers until nobody asks; after so many chunks it leaves.
    fn serve(self, leaves_after: Option<usize>) -> Source {
        let (source, mut end) = ClientSource::new(None);
        tokio::spawn(async move {
            let (reads, deliveries) = end.split();
            let chunks = AtomicUsize::new(0);
            while let Some(read) = reads.recv().await {
                let found = self.files.iter().find(|(path, _)| *path == read.path);
                let content = match found {
                    None => Err(Missing::NotFound),
                    Some((_, content)) => {
                        let first = usize::try_from(read.offset_bytes).unwrap().min(content.len());
                        let last =
                            first + usize::try_from(read.length_bytes).unwrap().min(content.len() - first);
                        Ok(bytes::Bytes::copy_from_slice(&content[first..last]))
                    }
                };
                let length = content.as_ref().map_or(0, bytes::Bytes::len);
                self.served.fetch_add(length as u64, Ordering::Relaxed);
                if leaves_after == Some(chunks.fetch_add(1, Ordering::Relaxed)) {
                    return;
                }
                deliveries.take(Chunk { id: read.id, content, last: true }).await;
            }
        });
        Source::Client(source)
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_filling_goes_on() {
    let bench = Bench::new(&numbered(0..3), &numbered(5..2005));
    let (first, second) = (Client::of(&bench), Client::of(&bench));
    let before = bench.contents();
    // After the leaves and six ranges, of which four at a time are on their way.
    let (error, failure) = bench.fill(first.serve(Some(8))).await.unwrap_err();
    assert_eq!(failure, Failure::Progressed, "{error:?}");
    assert!(bench.is_clean(&before, &bench.wanted()));
    let served = Arc::clone(&second.served);
    bench.fill(second.serve(None)).await.unwrap();
    bench.assert_whole();
    let all = 2000 * BLOCK_BYTES as u64 + verity::leaves_bytes(2000);
    assert!(served.load(Ordering::Relaxed) < all - update::RANGE_MAX_BLOCKS * BLOCK_BYTES as u64);
}

#[test]
fn no_flipped_byte_reaches_a_slot() {
    flip(1_000);
}

#[test]
#[ignore = "long form: half a minute"]
fn no_flipped_byte_of_many_reaches_a_slot() {
    flip(10_000);
}

fn flip(flips: u32) {
    let bench = Bench::new(&numbered(0..3), &numbered([7, 1, 8, 2, 9]));
    let (clean, wanted) = (bench.contents(), bench.wanted());
    let files = Client::of(&bench).files;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let refused = AtomicUsize::new(0);
    let config = Config { failure_persistence: None, ..Config::with_cases(flips) };
    let strategy = (0..files.len(), any::<Index>(), 1..=u8::MAX);
    let outcome = TestRunner::new(config).run(&strategy, |(file, at, mask)| {
        bench.boot.state().content.clone_from(&clean.0);
        bench.root.state().content.clone_from(&clean.1);
        let mut client = Client { files: files.clone(), served: Arc::default() };
        let content = &mut client.files[file].1;
        let at = at.index(content.len());
        content[at] ^= mask;
        let filled = runtime.block_on(async { bench.fill(client.serve(None)).await });
        if let Err((error, failure)) = &filled {
            prop_assert!(error.is_wrong_content(), "{error:?}");
            prop_assert_eq!(*failure, Failure::Final);
            refused.fetch_add(1, Ordering::Relaxed);
        }
        prop_assert!(bench.is_clean(&clean, &wanted));
        prop_assert!(filled.is_err() || bench.is_whole(&wanted));
        Ok(())
    });
    outcome.unwrap();
    // The others hit blocks that the node had, or the tree that it makes itself.
    assert!(refused.into_inner() > usize::try_from(flips / 2).unwrap());
}
