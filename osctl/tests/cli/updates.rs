//! The fake node's releases. The version that is asked for says how its upgrade ends.

use std::collections::VecDeque;

use prost::Message as _;
use prost_types::Timestamp;
use proto::update::v1 as update;
use proto::update::v1::update_service_server::UpdateService;
use proto::update::v1::upgrade_body::Source;
use proto::update::v1::upgrade_request::Message as Said;
use proto::update::v1::upgrade_response::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _, iter};
use tonic::{Request, Response, Status, Streaming};

use crate::generations::EPOCH;
use crate::services::Services;

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the node has.
pub struct Updates {
    /// Answers, in order; the last one stays.
    pub statuses: VecDeque<update::Status>,
    taken: u64,
}

impl Updates {
    pub fn new() -> Updates {
        Updates { statuses: VecDeque::from([status()]), taken: 0 }
    }
}

/// Release 1.0.0 runs, 0.9.0 lies in the other slot.
pub fn status() -> update::Status {
    let slot = |name: &str, version: &str, running| update::Slot {
        name: name.into(),
        version: version.into(),
        state: update::SlotState::Confirmed.into(),
        active: running,
        running,
        ..update::Slot::default()
    };
    update::Status {
        slots: vec![slot("A", "0.9.0", false), slot("B", "1.0.0", true)],
        epoch: EPOCH.to_vec(),
        ..update::Status::default()
    }
}

pub fn operation(phase: update::Phase) -> update::Operation {
    update::Operation {
        version: "1.1.0".into(),
        source: "client".into(),
        author: "admin".into(),
        phase: phase.into(),
        blocks_done: 7,
        blocks_total: 10,
        bytes_fetched: 1 << 20,
        ..update::Operation::default()
    }
}

pub fn outcome(ending: update::Ending, message: &str) -> update::Outcome {
    update::Outcome {
        ending: ending.into(),
        version: "1.1.0".into(),
        message: message.into(),
        at: Some(Timestamp { seconds: 1_790_000_000, nanos: 0 }),
    }
}

impl Services {
    fn look(&self) -> update::Status {
        let mut state = self.state();
        let taken = state.updates.taken;
        let statuses = &mut state.updates.statuses;
        let status = statuses.front().unwrap().clone();
        if statuses.len() > 1 {
            statuses.pop_front();
        }
        update::Status { base_generation: taken, ..status }
    }

    fn take(
        &self,
        method: &str,
        request: Option<proto::config::v1::SignedRequest>,
    ) -> Result<Vec<u8>, Status> {
        let base = self.state().updates.taken;
        let body = self.verified(&format!("/cairn.update.v1.UpdateService/{method}"), base, request)?;
        self.state().updates.taken += 1;
        Ok(body)
    }
}

#[tonic::async_trait]
impl UpdateService for Services {
    async fn get_status(&self, _: Request<update::GetStatusRequest>) -> Answer<update::GetStatusResponse> {
        Ok(Response::new(update::GetStatusResponse { status: Some(self.look()) }))
    }

    type WatchStream = Streamed<update::WatchResponse>;

    async fn watch(&self, _: Request<update::WatchRequest>) -> Answer<Self::WatchStream> {
        let response = || Ok(update::WatchResponse { status: Some(self.look()) });
        Ok(Response::new(Box::pin(iter([response(), response()]))))
    }

    type UpgradeStream = Streamed<update::UpgradeResponse>;

    async fn upgrade(
        &self,
        request: Request<Streaming<update::UpgradeRequest>>,
    ) -> Answer<Self::UpgradeStream> {
        let mut messages = request.into_inner();
        let Some(Said::Request(signed)) = messages.message().await?.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("not signed"));
        };
        let body = update::UpgradeBody::decode(self.take("Upgrade", Some(signed))?.as_slice()).unwrap();
        self.state().done.push(format!("upgrade {body:?}"));
        if body.version == "0.1.0" {
            return Err(Status::failed_precondition(
                "release 0.1.0 is older; ask for it with leave to downgrade",
            ));
        }
        let (sender, receiver) = mpsc::channel(16);
        let services = self.clone();
        tokio::spawn(async move { services.install(body, messages, sender).await });
        let answers = ReceiverStream::new(receiver);
        let answers = answers.map(|message| Ok(update::UpgradeResponse { message: Some(message) }));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn rollback(&self, request: Request<update::RollbackRequest>) -> Answer<update::RollbackResponse> {
        let body = self.take("Rollback", request.into_inner().request)?;
        let body = update::RollbackBody::decode(body.as_slice()).unwrap();
        self.state().done.push(format!("rollback {}", body.version));
        Ok(Response::new(update::RollbackResponse {}))
    }

    async fn cancel(&self, request: Request<update::CancelRequest>) -> Answer<update::CancelResponse> {
        self.take("Cancel", request.into_inner().request)?;
        self.state().done.push("cancel".into());
        Ok(Response::new(update::CancelResponse {}))
    }
}

/// Read of the client: a file, one that is not there, and one that is none of the node's business.
const READS: [&str; 3] = ["targets/releases/1.1.0/root.img", "metadata/2.root.json", "../secrets.yaml"];

impl Services {
    async fn install(
        &self,
        body: update::UpgradeBody,
        mut messages: Streaming<update::UpgradeRequest>,
        sender: mpsc::Sender<Message>,
    ) {
        if let Some(Source::Client(_)) = body.source {
            for (id, path) in (0..).zip(READS) {
                let read = update::Read { id, path: path.into(), offset: 1, length: 200_000 };
                sender.send(Message::Read(read)).await.unwrap();
                let told = answer(&mut messages, id).await;
                self.state().done.push(format!("read {path}: {told}"));
            }
        }
        sender.send(Message::Progress(operation(update::Phase::Fetching))).await.unwrap();
        let ending = match body.version.as_str() {
            "9.0.0" => return,
            "8.0.0" => outcome(update::Ending::Failed, "root.img is not what was signed"),
            _ => outcome(update::Ending::Rebooting, ""),
        };
        sender.send(Message::Outcome(ending)).await.unwrap();
    }
}

/// What the client answered, in words.
async fn answer(messages: &mut Streaming<update::UpgradeRequest>, id: u32) -> String {
    let mut bytes = 0;
    loop {
        let Some(Said::Chunk(chunk)) = messages.message().await.unwrap().unwrap().message else {
            return "no chunk".into();
        };
        assert_eq!(chunk.id, id);
        bytes += chunk.data.len();
        match chunk.error {
            Some(error) if error.not_found => return "not found".into(),
            Some(error) => return error.message,
            None if chunk.last => return format!("{bytes} bytes"),
            None => {}
        }
    }
}
