//! The rendered configuration and the import against a real containerd, all in a temporary directory:
//! `CAIRN_TEST_CONTAINERD=/path/to/containerd cargo test -p machined -- --ignored containerd_takes`, as root.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use layout::path;
use resource::{Spec as _, spec};
use tonic::transport::Endpoint;

use super::{
    archive::tests::example,
    containerd::Containerd,
    images::{self, Outcome},
    render,
    rpc::cri::{Image, ImageSpec, ImageStatusRequest, image_service_client::ImageServiceClient},
};
use crate::store::Store;

const START_MAX: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(50);
const NAME: &str = "localhost/cairn/example:1";

struct Daemon {
    process: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    async fn start() -> Self {
        let program =
            std::env::var_os("CAIRN_TEST_CONTAINERD").expect("CAIRN_TEST_CONTAINERD names containerd");
        let folder = tempfile::tempdir().unwrap();
        let config =
            ["/run/", "/var/lib/", "/etc/", "/opt/"].iter().fold(render::containerd(), |text, root| {
                text.replace(&format!("'{root}"), &format!("'{}{root}", folder.path().display()))
            });
        let file = folder.path().join("config.toml");
        fs::write(&file, config).unwrap();
        let process = Command::new(program)
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self { process, folder };
        let begin = Instant::now();
        while Containerd::connect(&daemon.socket()).await.is_err() {
            assert!(begin.elapsed() < START_MAX, "containerd does not answer:\n{}", daemon.log());
            tokio::time::sleep(START_POLL).await;
        }
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(path::CONTAINERD.trim_start_matches('/'))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn import(&self, archives: &Path) -> (Outcome, spec::Image) {
        let store = Store::default();
        let outcome = images::import(&store, &self.socket(), &[archives.to_str().unwrap()]).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        let image = store.read(|store| store.get(&spec::Image::KIND, NAME)).unwrap();
        (outcome, serde_json::from_value(image.spec.clone()).unwrap())
    }

    /// What the kubelet is told of the image.
    async fn status(&self) -> Image {
        let channel = Endpoint::from_shared(format!("unix:{}", self.socket().display()))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let request = ImageStatusRequest { image: Some(ImageSpec { image: NAME.to_owned() }) };
        ImageServiceClient::new(channel).image_status(request).await.unwrap().into_inner().image.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What is left in the directory could not be removed under a living daemon.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A layer of more than two messages.
fn layer(byte: u8) -> Vec<u8> {
    let content = vec![byte; 600_000];
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "file", content.as_slice()).unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test]
#[ignore = "needs root and a containerd"]
async fn containerd_takes_the_configuration_and_the_images() {
    let daemon = Daemon::start().await;
    let archives = tempfile::tempdir().unwrap();
    let archive = archives.path().join("image.tar");
    example(&archive, NAME, &layer(1));
    let (outcome, first) = daemon.import(archives.path()).await;
    assert_eq!((outcome, first.phase.as_str()), (Outcome::default(), "imported"), "{}", first.message);
    assert_eq!(daemon.import(archives.path()).await, (Outcome::default(), first.clone()), "after a restart");

    example(&archive, NAME, &layer(2));
    let (outcome, second) = daemon.import(archives.path()).await;
    assert_eq!(outcome, Outcome::default(), "{}", second.message);
    assert_ne!(second.digest, first.digest, "the name stands for the newer image");

    assert!(daemon.status().await.pinned, "the kubelet would remove it for space");
    assert_no_complaint(&daemon.log());

    example(&archive, NAME, &layer(3));
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&archive, bytes).unwrap();
    let (outcome, third) = daemon.import(archives.path()).await;
    assert_eq!((outcome, third.phase.as_str()), (Outcome { failed: 1, transient: 0 }, "failed"));

    let containerd = Containerd::connect(&daemon.socket()).await.unwrap();
    assert_eq!(
        containerd.pinned(NAME).await.unwrap(),
        Some(second.digest),
        "the damaged one changed nothing"
    );
}

fn assert_no_complaint(log: &str) {
    // Without the CNI configuration, which is not here, the CRI says so at this level.
    let complaints: Vec<&str> =
        log.lines().filter(|line| line.contains("level=error") && !line.contains("cni")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
