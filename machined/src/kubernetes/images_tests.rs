//! Against a real containerd with the rendered configuration, its paths moved into a temporary directory.

use std::{
    process::{Child, Command, Stdio},
    time::Instant,
};

use resource::Spec as _;

use super::{super::archive::tests::example, *};
use crate::kubernetes::render;

const START_MAX: Duration = Duration::from_secs(60);
const NAME: &str = "localhost/cairn/example:1";

struct Daemon {
    process: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    async fn start() -> Self {
        let program = std::env::var_os("CAIRN_TEST_CONTAINERD").expect("CAIRN_TEST_CONTAINERD names containerd");
        let folder = tempfile::tempdir().unwrap();
        let moved = |path: &str| format!("{}{path}", folder.path().display());
        let config = render::containerd()
            .replace("'/run/", &format!("'{}", moved("/run/")))
            .replace("'/var/lib/", &format!("'{}", moved("/var/lib/")));
        let file = folder.path().join("config.toml");
        fs::write(&file, config).unwrap();
        let process = Command::new(program)
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self { process, folder };
        daemon.answers().await;
        daemon
    }

    /// Waits until it answers: tries again as machined does.
    async fn answers(&self) {
        let begin = Instant::now();
        while Containerd::connect(&self.socket()).await.is_err() {
            assert!(begin.elapsed() < START_MAX, "containerd does not answer:\n{}", self.log());
            tokio::time::sleep(NOTICE_POLL).await;
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(path::CONTAINERD.trim_start_matches('/'))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn archive(&self, file: &str, layer: &[u8]) -> PathBuf {
        let path = self.folder.path().join(file);
        example(&path, NAME, layer);
        path
    }

    async fn import(&self, archive: &Path) -> (Outcome, spec::Image) {
        let store = Store::default();
        let outcome = import_all(&store, &self.socket(), vec![archive.to_owned()]).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{}\n{}", error_chain(&error), self.log()));
        let image = store.read(|store| store.get(&spec::Image::KIND, NAME).map(|image| image.spec.clone()));
        (outcome, serde_json::from_value(image.unwrap()).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A layer that is a tar archive of more than two messages.
fn layer(content: u8) -> Vec<u8> {
    let content = vec![content; 600_000];
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "file", content.as_slice()).unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test]
#[ignore = "needs root and CAIRN_TEST_CONTAINERD"]
async fn containerd_takes_the_configuration_and_the_images() {
    let daemon = Daemon::start().await;
    let one = daemon.archive("one.tar", &layer(1));
    let (outcome, first) = daemon.import(&one).await;
    assert_eq!((outcome, first.phase.as_str()), (Outcome::default(), "imported"), "{}", first.message);
    assert_eq!(daemon.import(&one).await, (Outcome::default(), first.clone()), "again, as after a restart");

    let (outcome, second) = daemon.import(&daemon.archive("two.tar", &layer(2))).await;
    assert_eq!(outcome, Outcome::default(), "{}", second.message);
    assert_ne!(second.digest, first.digest, "the name stands for the newer image");

    let damaged = daemon.archive("three.tar", &layer(3));
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&damaged, bytes).unwrap();
    let (outcome, third) = daemon.import(&damaged).await;
    assert_eq!((outcome, third.phase.as_str()), (Outcome { failed: 1, transient: 0 }, "failed"));

    let containerd = Containerd::connect(&daemon.socket()).await.unwrap();
    assert_eq!(containerd.pinned(NAME).await.unwrap(), Some(second.digest), "the damaged one changed nothing");
    assert!(!daemon.log().contains("level=error"), "{}", daemon.log());
}
