//! The API of updates without a network: what a client is told, and what is taken from him.

use std::sync::Arc;

use ::update::{
    Allow, Boot, BootId, Ending, Event, Installed, KubernetesVersion, Moment, Origin, Request, Source,
    Upgrade,
};
use bootstate::{Record, Release, ReleaseVersion, Slot, Uki};
use bytes::Bytes;
use proto::update::v1::{self as api, upgrade_body, upgrade_request, upgrade_response::Message};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{update_convert as convert, update_stream::Conversation};
use crate::{
    configuration::BootClock,
    update::{ClientSource, Missing, Part, Progress, ReleasePath, SourceError, View},
};

const PATH: &str = "metadata/timestamp.json";

fn version(text: &str) -> ReleaseVersion {
    ReleaseVersion::new(text).unwrap()
}

/// A node that runs 1.0.0 from slot A and was asked for 1.1.0.
fn view() -> View {
    let uki = Uki { length_bytes: 4096, sha256: [7; 32] };
    let record = Record::new(Release { version: version("1.0.0"), uki });
    let installed = Installed {
        version: version("1.0.0"),
        kubernetes: KubernetesVersion::new("1.37.2").unwrap(),
        architecture: "x86_64".to_owned(),
    };
    let boot = Boot { running: Slot::A, record: record.clone(), installed, gate_s: 300 };
    let request = Request {
        origin: Origin::Admin { author: "ada".into() },
        source: Source::Client,
        version: version("1.1.0"),
        ending: Ending::Reboot,
        allow: Allow::default(),
    };
    let now = Moment { boot: BootId("b".into()), since_boot_ms: 1000, now_s: 1_800_000_000 };
    let mut upgrade = Upgrade::new();
    upgrade.step(&now, Event::Boot(Box::new(boot))).unwrap();
    upgrade.step(&now, Event::Request(Box::new(request))).unwrap();
    let progress = Progress { blocks_done: 3, blocks_total: 9, ..Progress::default() };
    View { upgrade, record, running: Slot::A, progress, automation: None }
}

/// The same after an admin has ended it.
fn cancelled(mut view: View) -> View {
    let now = Moment { boot: BootId("b".into()), since_boot_ms: 2000, now_s: 1_800_000_001 };
    view.upgrade.step(&now, Event::Cancel { author: "ada".into() }).unwrap();
    view
}

#[test]
fn the_status_says_what_lies_where_and_what_goes_on() {
    let view = view();
    let status = convert::status(&view, 1000, 4, vec![1; 16]);
    let [a, b] = status.slots.as_slice() else { panic!("{:?}", status.slots) };
    assert_eq!((a.name.as_str(), a.version.as_str(), a.state()), ("A", "1.0.0", api::SlotState::Confirmed));
    assert!(a.running && a.active && !b.running && !b.active);
    assert_eq!((b.version.as_str(), b.state()), ("", api::SlotState::Empty));
    let operation = status.operation.unwrap();
    assert_eq!((operation.version.as_str(), operation.author.as_str()), ("1.1.0", "ada"));
    assert_eq!((operation.phase(), operation.source.as_str()), (api::Phase::Resolving, "client"));
    assert_eq!((operation.blocks_done, operation.blocks_total, operation.block_bytes), (3, 9, 4096));
    assert_eq!((status.base_generation, status.epoch.len(), status.last), (4, 16, None));

    let status = convert::status(&cancelled(view), 1000, 5, Vec::new());
    assert_eq!(status.operation, None);
    let last = status.last.unwrap();
    assert_eq!((last.ending(), last.version.as_str()), (api::Ending::Cancelled, "1.1.0"));
    assert_eq!(last.at.unwrap().seconds, 1_800_000_001);
}

#[test]
fn a_request_says_how_far_to_go() {
    let body = |version: &str, extent| api::UpgradeBody {
        source: Some(upgrade_body::Source::Url("https://u.example".into())),
        version: version.into(),
        extent,
        allow_downgrade: true,
        ..api::UpgradeBody::default()
    };
    let request = convert::request(body("1.1.0", 2), "ada".into()).unwrap();
    assert_eq!((request.version, request.ending), (version("1.1.0"), Ending::Stage));
    assert_eq!(request.source, Source::Url("https://u.example".into()));
    assert_eq!(request.allow, Allow { downgrade: true, ..Allow::default() });
    assert!(convert::request(body("", 1), String::new()).unwrap().version.is_unknown());
    for wrong in [body("1.1.0", 0), body("1.1.0", 99), body("not a version", 1)] {
        assert_eq!(convert::request(wrong, String::new()).unwrap_err().code(), Code::InvalidArgument);
    }
}

/// A conversation, and all its ends.
struct Talk {
    view: watch::Sender<Arc<View>>,
    source: ClientSource,
    said: mpsc::Sender<Result<api::UpgradeRequest, Status>>,
    answers: mpsc::Receiver<Result<api::UpgradeResponse, Status>>,
}

impl Talk {
    fn begin() -> Self {
        let view = watch::Sender::new(Arc::new(view()));
        let (source, end) = ClientSource::new(None);
        let (said, messages) = mpsc::channel(4);
        let (sender, answers) = mpsc::channel(4);
        let clock = BootClock::open().unwrap();
        let conversation = Conversation { answers: sender, view: view.subscribe(), clock };
        tokio::spawn(conversation.run(ReceiverStream::new(messages), Some(end)));
        Self { view, source, said, answers }
    }

    async fn say(&self, message: upgrade_request::Message) {
        self.said.send(Ok(api::UpgradeRequest { message: Some(message) })).await.unwrap();
    }

    async fn chunk(&self, chunk: api::Chunk) {
        self.say(upgrade_request::Message::Chunk(chunk)).await;
    }

    /// The next answer that is no progress.
    async fn answer(&mut self) -> Option<Result<Message, Status>> {
        loop {
            match self.answers.recv().await?.map(|answer| answer.message.unwrap()) {
                Ok(Message::Progress(_)) => {}
                other => return Some(other),
            }
        }
    }

    /// Reads a file of the client as the node does.
    fn read(&self) -> tokio::task::JoinHandle<Result<Vec<u8>, SourceError>> {
        let source = crate::update::Source::Client(self.source.clone());
        tokio::spawn(async move {
            let path = ReleasePath::new(PATH).unwrap();
            source.open(0, &path, Part::Whole { max_bytes: 100 }).await?.collect().await
        })
    }

    async fn asked(&mut self) -> api::Read {
        match self.answer().await {
            Some(Ok(Message::Read(read))) => read,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_the_node_reads_is_asked_of_the_client_and_comes_back_in_order() {
    let mut talk = Talk::begin();
    let reading = talk.read();
    let read = talk.asked().await;
    assert_eq!((read.path.as_str(), read.offset, read.length), (PATH, 0, 101));
    let piece = |data: &str, last| api::Chunk { id: read.id, data: data.into(), last, error: None };
    talk.chunk(api::Chunk { id: read.id + 7, ..piece("nobody waits for this", true) }).await;
    talk.chunk(piece("ab", false)).await;
    talk.chunk(piece("c", true)).await;
    assert_eq!(reading.await.unwrap().unwrap(), b"abc");

    let reading = talk.read();
    let read = talk.asked().await;
    let error = Some(api::ChunkError { not_found: true, message: "no such file".into() });
    talk.chunk(api::Chunk { id: read.id, error, ..api::Chunk::default() }).await;
    assert!(matches!(reading.await.unwrap(), Err(SourceError::NotFound(_))));
}

#[tokio::test]
async fn the_end_is_told_and_ends_the_conversation() {
    let mut talk = Talk::begin();
    talk.view.send_replace(Arc::new(cancelled(view())));
    let Some(Ok(Message::Outcome(outcome))) = talk.answer().await else { panic!("no outcome") };
    assert_eq!((outcome.ending(), outcome.version.as_str()), (api::Ending::Cancelled, "1.1.0"));
    assert!(talk.answer().await.is_none());
    assert!(matches!(talk.read().await.unwrap(), Err(SourceError::Gone)));
}

#[tokio::test]
async fn a_client_who_leaves_is_gone_for_the_node() {
    let mut talk = Talk::begin();
    let reading = talk.read();
    talk.asked().await;
    talk.answers.close();
    assert!(matches!(reading.await.unwrap(), Err(SourceError::Gone)));

    let Talk { view: _view, source, said, mut answers } = Talk::begin();
    drop(said);
    let source = crate::update::Source::Client(source);
    let path = ReleasePath::new(PATH).unwrap();
    let body = async { source.open(0, &path, Part::Whole { max_bytes: 1 }).await?.collect().await };
    assert!(matches!(body.await, Err(SourceError::Gone)), "he will answer nothing");
    assert!(answers.recv().await.is_some(), "but is told how it goes on");
}

#[tokio::test]
async fn a_second_request_in_one_call_is_refused() {
    let mut talk = Talk::begin();
    talk.say(upgrade_request::Message::Request(proto::config::v1::SignedRequest::default())).await;
    let refused = talk.answer().await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[test]
fn a_chunk_is_what_the_client_said() {
    let chunk = api::Chunk { id: 1, data: vec![1], last: false, error: None };
    let taken = super::update_stream::received(chunk.clone());
    assert_eq!((taken.content, taken.last), (Ok(Bytes::from_static(&[1])), false));
    let error = api::ChunkError { not_found: false, message: "disk".into() };
    let taken = super::update_stream::received(api::Chunk { error: Some(error), ..chunk });
    assert_eq!((taken.content, taken.last), (Err(Missing::Failed("disk".into())), true));
}
