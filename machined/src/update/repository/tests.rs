use std::path::PathBuf;

use jiff::SignedDuration;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::*;
use crate::update::{
    source::{FolderSource, Source},
    testing::{
        http,
        server::{Manner, Server},
        site::{CHANNEL, Site, VALIDITY, blocks, now, now_s},
    },
};

/// A node's memory of repositories.
struct Node {
    state: TempDir,
    anchor: Vec<u8>,
}

impl Node {
    fn of(site: &Site) -> Self {
        Self { state: tempfile::tempdir().unwrap(), anchor: site.anchor() }
    }

    /// Opens a repository; each time as after a reboot.
    async fn open<'a>(
        &self,
        mirrors: &'a Mirrors,
        now_s: Option<u64>,
    ) -> Result<Repository<'a>, RepositoryError> {
        let scratch = tempfile::tempdir().unwrap();
        let store = MetadataStore::at(self.state.path(), &scratch.path().join("metadata"));
        let judge = Judge { anchor: self.anchor.clone(), store, now_s };
        let opened = Repository::open(mirrors, &judge).await;
        assert!(!scratch.path().join("metadata").exists(), "the memory is given back");
        opened
    }

    async fn versions(&self, folder: &Path) -> Vec<String> {
        let mirrors = in_folder(folder);
        let repository = self.open(&mirrors, Some(now_s())).await.unwrap();
        let channel = repository.channel(CHANNEL).await.unwrap();
        channel.releases.iter().map(|release| release.version.to_string()).collect()
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.state.path().join("update/tuf").join(name)
    }
}

fn site() -> Site {
    let site = Site::new();
    site.publish("1.1.0", &blocks(&["a", "b"]));
    site
}

fn in_folder(folder: &Path) -> Mirrors {
    Mirrors::new(Source::Folder(FolderSource::at(folder)))
}

fn version(text: &str) -> ReleaseVersion {
    ReleaseVersion::new(text).unwrap()
}

#[tokio::test]
async fn releases_and_channels_are_found() {
    let site = site();
    site.publish("1.10.0", &blocks(&["c"]));
    site.publish("1.9.0-rc.1+b7", &blocks(&["e"]));
    site.publish_at("1.11.0", &blocks(&["d"]), "1.38.0", now());
    let node = Node::of(&site);
    let mirrors = in_folder(&site.repository());
    let repository = node.open(&mirrors, Some(now_s())).await.unwrap();
    assert_eq!(repository.manifest(&version("1.1.0")).await.unwrap(), site.manifest("1.1.0"));
    let odd = repository.manifest(&version("1.9.0-rc.1+b7")).await.unwrap();
    assert_eq!(odd, site.manifest("1.9.0-rc.1+b7"));
    let missing = repository.manifest(&version("1.2.0")).await.unwrap_err();
    assert!(matches!(missing, RepositoryError::NotThere(_)), "{missing:?}");
    let newest = repository.newest("1.37", |manifest| manifest.kubernetes.minor == 37).await.unwrap();
    assert_eq!(newest.version, version("1.10.0"));
    let nothing = repository.newest("1.36", |manifest| manifest.kubernetes.minor == 36).await.unwrap_err();
    assert_eq!(nothing.to_string(), "the repository has no release for 1.36");
    assert!(repository.channel("other-k1.37").await.is_err());
    assert_eq!(node.versions(&site.repository()).await, ["1.1.0", "1.9.0-rc.1+b7", "1.10.0", "1.11.0"]);
}

#[tokio::test]
async fn what_is_older_than_what_was_seen_is_refused() {
    let site = site();
    let older = site.photograph("older");
    site.publish("1.2.0", &blocks(&["c"]));
    let node = Node::of(&site);
    assert_eq!(node.versions(&site.repository()).await.len(), 2);
    let replayed = node.open(&in_folder(&older), Some(now_s())).await.unwrap_err();
    assert!(matches!(replayed, RepositoryError::Untrusted { .. }), "{replayed:?}");
    assert_eq!(replayed.failure(), Failure::Final);
    assert_eq!(node.versions(&site.repository()).await.len(), 2, "and the newer one is still good");
    // Newer timestamp, older content: a mirror that mixes.
    std::fs::copy(older.join("metadata/targets.json"), site.repository().join("metadata/targets.json"))
        .unwrap();
    assert!(node.open(&in_folder(&site.repository()), Some(now_s())).await.is_err());
}

#[tokio::test]
async fn one_good_mirror_is_enough() {
    let site = site();
    let older = site.photograph("older");
    site.publish("1.2.0", &blocks(&["c"]));
    let node = Node::of(&site);
    node.open(&in_folder(&site.repository()), Some(now_s())).await.unwrap();
    let servers =
        [Server::start(older, Manner::Well).await, Server::start(site.repository(), Manner::Well).await];
    let source = http(servers.iter().map(|server| server.url()).collect());
    let mirrors = Mirrors::new(source);
    let store = MetadataStore::at(node.state.path(), &site.folder.path().join("scratch"));
    let judge = Judge { anchor: site.anchor(), store, now_s: Some(now_s()) };
    let repository = Repository::open(&mirrors, &judge).await.unwrap();
    assert_eq!(repository.channel(CHANNEL).await.unwrap().releases.len(), 2);
    let marks = mirrors.report();
    assert_eq!(marks.len(), 1);
    assert_eq!((marks[0].mirror.as_str(), marks[0].wrong), (servers[0].address.to_string().as_str(), 1));
    assert_eq!(mirrors.order(), [1, 0]);
}

#[tokio::test]
async fn what_is_vouched_for_may_come_from_any_mirror() {
    let site = site();
    let (liar, thief) = (site.photograph("liar"), site.photograph("thief"));
    let manifest = "targets/releases/1.1.0/manifest.json";
    let mut wrong = std::fs::read(liar.join(manifest)).unwrap();
    wrong[10] ^= 1;
    std::fs::write(liar.join(manifest), wrong).unwrap();
    std::fs::remove_file(thief.join(manifest)).unwrap();
    let mut servers = Vec::new();
    for folder in [liar, thief, site.repository()] {
        servers.push(Server::start(folder, Manner::Well).await);
    }
    let scratch = tempfile::tempdir().unwrap();
    let read = async |count: usize| {
        let mirrors = Mirrors::new(http(servers[..count].iter().map(Server::url).collect()));
        let store = MetadataStore::at(scratch.path(), &scratch.path().join("scratch"));
        let judge = Judge { anchor: site.anchor(), store, now_s: Some(now_s()) };
        let read = Repository::open(&mirrors, &judge).await.unwrap().manifest(&version("1.1.0")).await;
        (read, mirrors.report().iter().map(|mark| mark.wrong).collect::<Vec<_>>(), mirrors.order())
    };
    let (read_at, wrong, order) = read(3).await;
    assert_eq!((read_at.unwrap(), wrong, order), (site.manifest("1.1.0"), vec![1, 0], vec![2, 1, 0]));
    let (read_at, wrong, _) = read(2).await;
    let error = read_at.unwrap_err();
    assert!(
        matches!(&error, RepositoryError::Untrusted { mirror, .. } if *mirror == servers[0].address.to_string())
    );
    assert_eq!(wrong, [1, 0]);
}

#[tokio::test]
async fn expiry_goes_by_the_nodes_own_clock() {
    let site = site();
    let node = Node::of(&site);
    let end_s = (now() + VALIDITY).as_second().try_into().unwrap();
    node.open(&in_folder(&site.repository()), Some(end_s)).await.unwrap();
    let frozen = node.open(&in_folder(&site.repository()), Some(end_s + 1)).await.unwrap_err();
    assert!(matches!(&frozen, RepositoryError::Expired { role, .. } if role == "timestamp"), "{frozen:?}");
    node.open(&in_folder(&site.repository()), None).await.unwrap();
    // In 1970, and where the library left a time from the future.
    std::fs::write(node.kept("latest_known_time.json"), "\"9999-01-01T00:00:00Z\"").unwrap();
    node.open(&in_folder(&site.repository()), Some(0)).await.unwrap();
    site.sign_again(now() + SignedDuration::from_hours(100));
    node.open(&in_folder(&site.repository()), Some(end_s + 1)).await.unwrap();
}

#[tokio::test]
async fn other_keys_are_not_believed() {
    let (site, stranger) = (site(), site());
    let node = Node::of(&site);
    node.open(&in_folder(&site.repository()), Some(now_s())).await.unwrap();
    let error = node.open(&in_folder(&stranger.repository()), Some(now_s())).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Untrusted { .. }), "{error:?}");
    let kept = std::fs::read(node.kept("timestamp.json")).unwrap();
    assert_eq!(node.versions(&site.repository()).await, ["1.1.0"]);
    assert_eq!(std::fs::read(node.kept("timestamp.json")).unwrap(), kept);
}

#[tokio::test]
async fn new_keys_are_followed_and_old_ones_do_not_come_back() {
    let mut site = site();
    let node = Node::of(&site);
    node.open(&in_folder(&site.repository()), Some(now_s())).await.unwrap();
    let older = site.photograph("older");
    site.rotate_keys("new");
    site.publish("1.2.0", &blocks(&["c"]));
    assert_eq!(node.versions(&site.repository()).await.len(), 2);
    // Signed by keys that were replaced, perhaps because they were stolen.
    let error = node.open(&in_folder(&older), Some(now_s())).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Untrusted { .. }), "{error:?}");
    let second = site.photograph("second");
    site.publish("1.3.0", &blocks(&["d"]));
    assert_eq!(node.versions(&site.repository()).await.len(), 3);
    assert!(
        node.open(&in_folder(&second), Some(now_s())).await.is_err(),
        "versions are remembered under the new keys, too"
    );
}

#[tokio::test]
async fn a_root_of_another_line_does_not_stick() {
    let mut site = site();
    let node = Node::of(&site);
    site.rotate_keys("new");
    site.sign_again(now());
    node.open(&in_folder(&site.repository()), Some(now_s())).await.unwrap();
    let other = self::site();
    let moved = Node { anchor: other.anchor(), ..node };
    assert_eq!(
        moved.versions(&other.repository()).await,
        ["1.1.0"],
        "an image may bring another trust anchor"
    );
}

#[tokio::test]
async fn damage_on_state_costs_memory_only() {
    let site = site();
    let node = Node::of(&site);
    node.open(&in_folder(&site.repository()), Some(now_s())).await.unwrap();
    for name in ["root.json", "timestamp.json", "snapshot.json", "targets.json"] {
        let content = std::fs::read(node.kept(name)).unwrap();
        std::fs::write(node.kept(name), &content[..content.len() / 2]).unwrap();
    }
    assert_eq!(node.versions(&site.repository()).await, ["1.1.0"]);
}

#[tokio::test]
async fn an_endless_file_is_not_read() {
    let site = site();
    let node = Node::of(&site);
    let path = site.repository().join("metadata/timestamp.json");
    std::fs::write(&path, vec![b' '; 3 << 20]).unwrap();
    let error = node.open(&in_folder(&site.repository()), Some(now_s())).await.unwrap_err();
    let RepositoryError::Unavailable { source: SourceError::TooLong { .. }, .. } = error else {
        panic!("{error:?}")
    };
}

#[test]
fn no_flipped_byte_of_the_metadata_is_believed() {
    let site = site();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let files = ["metadata/timestamp.json", "metadata/snapshot.json", "metadata/targets.json"];
    let good = site.manifest("1.1.0");
    let strategy = (0..files.len(), proptest::prelude::any::<proptest::sample::Index>(), 1..=u8::MAX);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(64) });
    let outcome = runner.run(&strategy, |(file, at, mask)| {
        let path = site.repository().join(files[file]);
        let content = std::fs::read(&path).unwrap();
        let mut flipped = content.clone();
        flipped[at.index(content.len())] ^= mask;
        std::fs::write(&path, flipped).unwrap();
        let node = Node::of(&site);
        let opened = runtime.block_on(async {
            let mirrors = in_folder(&site.repository());
            let repository = node.open(&mirrors, Some(now_s())).await?;
            repository.manifest(&version("1.1.0")).await
        });
        std::fs::write(&path, content).unwrap();
        // White space between tokens is nobody's.
        proptest::prop_assert!(opened.is_err() || opened.unwrap() == good);
        Ok(())
    });
    outcome.unwrap();
}
