//! `osctl services`

use std::fmt;

use proto::service::v1::{RestartRequest, StartRequest, StopRequest};
use serde::Serialize;

use super::{Session, get};
use crate::cli::ServicesCommand;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::Node;
use crate::output;

/// Kind under which the node publishes its services.
pub const KIND: &str = "service";

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Start,
    Stop,
    Restart,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Restart => "restart",
        })
    }
}

#[derive(Serialize)]
struct Begun {
    service: String,
    action: Action,
}

pub async fn run(session: &Session, command: Option<ServicesCommand>) -> Result<(), Failure> {
    let node = session.connect().await?;
    let (service, action) = match command {
        None | Some(ServicesCommand::List) => {
            return get::list(session, &node, &get::find_kind(&node, KIND).await?).await;
        }
        Some(ServicesCommand::Start(service)) => (service.name, Action::Start),
        Some(ServicesCommand::Stop(service)) => (service.name, Action::Stop),
        Some(ServicesCommand::Restart(service)) => (service.name, Action::Restart),
    };
    match act(&node, action, &service).await {
        Ok(()) => output::print(session.format(), &Begun { service, action }, |begun| {
            format!("{}: {} begun\n", begun.service, begun.action)
        }),
        Err(failure) if failure.exit() == Exit::NotFound => Err(with_known_services(&node, failure).await),
        Err(failure) => Err(failure),
    }
}

async fn act(node: &Node, action: Action, service: &str) -> Result<(), Failure> {
    let what = format!("cannot {action} {service}");
    let name = service.to_owned();
    let mut services = node.services();
    match action {
        Action::Start => node.call(&what, services.start(StartRequest { name })).await.map(drop),
        Action::Stop => node.call(&what, services.stop(StopRequest { name })).await.map(drop),
        Action::Restart => node.call(&what, services.restart(RestartRequest { name })).await.map(drop),
    }
}

/// Adds to "no such service" which there are.
async fn with_known_services(node: &Node, failure: Failure) -> Failure {
    match get::resources(node, KIND).await {
        Ok(services) => {
            failure.hint(get::known_ids("services", services.iter().map(|service| service.id.as_str())))
        }
        // The first failure is what the user asked about.
        Err(_) => failure,
    }
}
