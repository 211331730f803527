//! `osctl upgrade`: asks for a release, serves it where it lies here, and shows how far it is.

use std::time::Duration;

use prost::Message as _;
use proto::config::v1::SignedRequest;
use proto::update::v1::{
    ClientSource, Ending, Extent, Operation, Outcome, Phase, Read, UpgradeBody, UpgradeRequest,
    upgrade_body::Source, upgrade_request, upgrade_response::Message,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::folder::{self, Folder};
use super::{follow, show, status};
use crate::cli::upgrade::Begin;
use crate::command::Session;
use crate::command::sign::{self, sign};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Progress, note, printable};

const UPGRADE: &str = "/cairn.update.v1.UpdateService/Upgrade";
/// Answers on their way to the node; HTTP/2 bounds what is beyond.
const MESSAGES_MAX: usize = 2;
/// Reads that wait for their answer; the node asks for no more at a time.
const READS_MAX: usize = 8;

pub async fn begin(session: &Session, arguments: &Begin) -> Result<(), Failure> {
    let folder = arguments.release.as_deref().map(Folder::open).transpose()?;
    let serves = folder.is_some();
    let target = session.target()?;
    let node = Node::connect(&target).await?;
    let before = status(&node).await?;
    let base = sign::base(&before.epoch, before.base_generation)?;
    let request = sign(&target, UPGRADE, base, body(arguments).encode_to_vec())?;
    let told = converse(&node, request, folder).await?;
    drop(node);
    let outcome = match told {
        Some(outcome) if !arguments.wait || outcome.ending() != Ending::Rebooting => outcome,
        None if !arguments.wait => return Err(lost(&target.name, serves)),
        told => {
            let why = if told.is_some() { "the node reboots" } else { "the connection was lost" };
            note(&format!("{why}: looking for the node"));
            follow::verdict(session, &target, before.last.as_ref()).await?
        }
    };
    follow::report(session, &target.name, &outcome)
}

fn body(arguments: &Begin) -> UpgradeBody {
    let extent = match (arguments.stage, arguments.no_reboot) {
        (_, true) => Extent::Write,
        (true, false) => Extent::Stage,
        (false, false) => Extent::Reboot,
    };
    let source = match (&arguments.release, &arguments.url, &arguments.volume) {
        (Some(_), ..) => Some(Source::Client(ClientSource {})),
        (None, Some(url), _) => Some(Source::Url(url.clone())),
        (None, None, Some(label)) => Some(Source::VolumeLabel(label.clone())),
        (None, None, None) => None,
    };
    UpgradeBody {
        source,
        version: arguments.version.clone().unwrap_or_default(),
        extent: extent.into(),
        allow_downgrade: arguments.allow_downgrade,
        retry_failed: arguments.retry_failed,
        allow_expired: arguments.allow_expired,
        allow_kubernetes_minor: arguments.allow_kubernetes_minor,
    }
}

fn lost(node: &str, serves: bool) -> Failure {
    let failure = Failure::new(Exit::Unreachable, format!("the connection to {node} was lost"));
    failure.hint(match serves {
        true => "repeat the command: it goes on where it was. `osctl upgrade status` shows whether the node reboots",
        false => "the upgrade goes on by itself: `osctl upgrade status --watch` shows how far it is",
    })
}

/// Speaks with the node until it tells the end; nothing when the connection was lost before.
async fn converse(
    node: &Node,
    request: SignedRequest,
    folder: Option<Folder>,
) -> Result<Option<Outcome>, Failure> {
    let what = "cannot upgrade";
    let (messages, sent) = mpsc::channel(MESSAGES_MAX);
    let first = UpgradeRequest { message: Some(upgrade_request::Message::Request(request)) };
    // There is room for one, and the receiver is here.
    messages.try_send(first).map_err(|_| Failure::error(what))?;
    let mut client = node.updates();
    let answers = node.call(what, client.upgrade(ReceiverStream::new(sent))).await;
    let mut answers = answers.map_err(explained)?;
    let reads = folder.map(|folder| {
        let (reads, asked) = mpsc::channel(READS_MAX);
        tokio::spawn(folder::serve(folder, asked, messages.clone()));
        reads
    });
    let mut display = Display::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => match answer.message {
                Some(Message::Read(read)) => hand_on(reads.as_ref(), read).await,
                Some(Message::Progress(operation)) => display.show(&operation),
                Some(Message::Outcome(outcome)) => return Ok(Some(outcome)),
                // A newer node's message: the outcome will tell.
                None => {}
            },
            Ok(None) => return Ok(None),
            Err(status) => {
                let failure = node.explain(what, &status);
                return if failure.exit() == Exit::Unreachable { Ok(None) } else { Err(failure) };
            }
        }
    }
}

/// A node that was given another source asks for nothing; whatever asks in its place gets no answer.
async fn hand_on(reads: Option<&mpsc::Sender<Read>>, read: Read) {
    if let Some(reads) = reads {
        reads.send(read).await.ok();
    }
}

fn explained(failure: Failure) -> Failure {
    let hint = follow::remedy(&failure.to_string());
    if failure.exit() == Exit::Error { failure.hint(hint) } else { failure }
}

/// Shows how far the node is: each phase once, and on a terminal a line that moves.
struct Display {
    line: Progress,
    phase: Phase,
    /// When fetching began to be seen, and what had come by then.
    fetching: Option<(Instant, u64)>,
}

impl Display {
    fn new() -> Display {
        Display { line: Progress::new(), phase: Phase::Unspecified, fetching: None }
    }

    fn show(&mut self, operation: &Operation) {
        if operation.phase() != self.phase {
            self.phase = operation.phase();
            self.line.show("");
            note(&printable(&show::line(operation, None)));
        }
        let rate = match self.phase {
            Phase::Fetching => {
                let (since, had) = *self.fetching.get_or_insert((Instant::now(), operation.bytes_fetched));
                Some(rate(operation.bytes_fetched.saturating_sub(had), since.elapsed()))
            }
            _ => None,
        };
        self.line.show(&show::line(operation, rate));
    }
}

fn rate(bytes: u64, elapsed: Duration) -> u64 {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / elapsed_ms
}
