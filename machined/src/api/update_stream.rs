//! The conversation with whoever asked for an upgrade: what the node reads of him, and how far it is.

use std::{future, sync::Arc, time::Duration};

use ::update::Phase;
use proto::update::v1::{self as api, upgrade_request, upgrade_response::Message};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::update_convert as convert;
use crate::{
    configuration::BootClock,
    update::{Chunk, ClientEnd, Deliveries, Missing, View},
};

/// Between two lines of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

type Answers = mpsc::Sender<Result<api::UpgradeResponse, Status>>;

/// One upgrade and whoever asked for it.
pub struct Conversation {
    /// What goes to him.
    pub answers: Answers,
    /// The node's view, which showed the upgrade already.
    pub view: watch::Receiver<Arc<View>>,
    /// The time since the kernel started.
    pub clock: BootClock,
}

impl Conversation {
    /// Speaks until the upgrade ends or he leaves. With `end`, he is the one who has the release.
    pub async fn run(
        self,
        messages: impl Stream<Item = Result<api::UpgradeRequest, Status>> + Send + Unpin,
        end: Option<ClientEnd>,
    ) {
        let answers = self.answers.clone();
        tokio::select! {
            () = self.tell() => {}
            () = serve(messages, end, &answers) => {}
            () = answers.closed() => {}
        }
    }

    /// Tells how far the upgrade is, and at last how it ended.
    async fn tell(mut self) {
        let mut next = Instant::now();
        loop {
            let view = Arc::clone(&self.view.borrow_and_update());
            if let Some(outcome) = ended(&view) {
                say(&self.answers, Message::Outcome(outcome)).await;
                return;
            }
            let now = Instant::now();
            let is_due = now >= next;
            if let Some(operation) = convert::operation(&view, self.clock.now().since_boot_ms)
                && is_due
            {
                say(&self.answers, Message::Progress(operation)).await;
                next = now + PROGRESS_PAUSE;
            }
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() { return },
                () = sleep_until(next), if !is_due => {}
            }
        }
    }
}

/// The end of an upgrade, as far as this boot sees one.
fn ended(view: &View) -> Option<api::Outcome> {
    let Some(work) = view.upgrade.work() else {
        return Some(view.upgrade.last().map(convert::outcome).unwrap_or_default());
    };
    let ending = match work.phase {
        Phase::Staged { .. } => api::Ending::Staged,
        Phase::Rebooting { .. } => api::Ending::Rebooting,
        Phase::Resolving
        | Phase::Pausing { .. }
        | Phase::EndingTrial { .. }
        | Phase::Fetching
        | Phase::Verifying
        | Phase::Arming { .. }
        | Phase::Trial { .. }
        | Phase::Confirming
        | Phase::Failing { .. }
        | Phase::BackingOff => return None,
    };
    let version = work.version().to_string();
    Some(api::Outcome { ending: ending.into(), version, ..api::Outcome::default() })
}

/// Passes reads and their answers on. Ends when the client sends something that is none; one who has said all that he
/// wants to say may go on listening.
async fn serve(
    messages: impl Stream<Item = Result<api::UpgradeRequest, Status>> + Send + Unpin,
    end: Option<ClientEnd>,
    answers: &Answers,
) {
    let Some(mut end) = end else { return future::pending().await };
    let (reads, deliveries) = end.split();
    let ask = async {
        while let Some(read) = reads.recv().await {
            let read = api::Read {
                id: read.id,
                path: read.path,
                offset: read.offset_bytes,
                length: read.length_bytes,
            };
            say(answers, Message::Read(read)).await;
        }
        future::pending().await
    };
    let refused = tokio::select! {
        refused = take(messages, deliveries) => refused,
        never = ask => never,
    };
    // Whoever reads learns that the client is gone, and the upgrade's end is then told.
    drop(end);
    match refused {
        Some(status) => drop(answers.send(Err(status)).await),
        None => future::pending().await,
    }
}

/// Takes what the client sends; returns what is wrong with it, or nothing once he is silent.
async fn take(
    mut messages: impl Stream<Item = Result<api::UpgradeRequest, Status>> + Send + Unpin,
    deliveries: Deliveries<'_>,
) -> Option<Status> {
    while let Some(Ok(api::UpgradeRequest { message })) = messages.next().await {
        match message {
            Some(upgrade_request::Message::Chunk(chunk)) => deliveries.take(received(chunk)).await,
            Some(upgrade_request::Message::Request(_)) | None => {
                return Some(Status::invalid_argument("only the first message may be a request"));
            }
        }
    }
    None
}

pub(super) fn received(chunk: api::Chunk) -> Chunk {
    let api::Chunk { id, data, last, error } = chunk;
    match error {
        None => Chunk { id, content: Ok(data.into()), last },
        Some(api::ChunkError { not_found: true, .. }) => {
            Chunk { id, content: Err(Missing::NotFound), last: true }
        }
        Some(api::ChunkError { message, .. }) => {
            Chunk { id, content: Err(Missing::Failed(message)), last: true }
        }
    }
}

/// To a client who has left it is said in vain, which ends the conversation elsewhere.
async fn say(answers: &Answers, message: Message) {
    answers.send(Ok(api::UpgradeResponse { message: Some(message) })).await.ok();
}
