//! The manager as the API sees it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use update::{Refusal, Request};

use super::{source::ClientSource, store::StoreError, view::View};

/// Requests that wait; each is answered after a few writes.
const COMMANDS_MAX: usize = 8;

/// Why a request is not granted. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not fit what goes on, or the release does not fit the node.
    #[error("it is refused")]
    Step(#[source] Refusal),
    /// It cannot be kept.
    #[error("it cannot be kept")]
    Store(#[source] StoreError),
    /// The manager is gone; its process ends.
    #[error("machined is ending")]
    Ending,
}

pub(super) type Answer = oneshot::Sender<Result<(), Refused>>;

pub(super) enum Command {
    Upgrade(Box<Request>, Option<ClientSource>, Answer),
    Rollback(String, Answer),
    Cancel(String, Answer),
}

/// A way to ask the manager.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<View>>,
}

/// The manager's end.
pub struct Inbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<Arc<View>>,
}

impl Handle {
    /// A handle that shows this until the manager says more, and the manager's end.
    pub fn new(view: View) -> (Self, Inbox) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let view = watch::Sender::new(Arc::new(view));
        (Self { commands: sender, view: view.subscribe() }, Inbox { commands, view })
    }

    /// What there is; told of every change, of progress at most every half second.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Begins an upgrade, which the view shows once this returns. `client` is who has the release, if he has.
    pub async fn upgrade(&self, request: Request, client: Option<ClientSource>) -> Result<(), Refused> {
        self.ask(|answer| Command::Upgrade(Box::new(request), client, answer)).await
    }

    /// Returns to the release of the other slot, or ends the trial of the one that runs.
    pub async fn rollback(&self, author: String) -> Result<(), Refused> {
        self.ask(|answer| Command::Rollback(author, answer)).await
    }

    /// Ends an upgrade whose release does not run yet.
    pub async fn cancel(&self, author: String) -> Result<(), Refused> {
        self.ask(|answer| Command::Cancel(author, answer)).await
    }

    async fn ask(&self, command: impl FnOnce(Answer) -> Command) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Refused::Ending)?;
        answered.await.map_err(|_| Refused::Ending)?
    }
}
