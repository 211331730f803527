//! containerd and the kubelet as services of PID 1: starting them, and their health.

use std::{io, time::Duration};

use config::NodeConfig;
use control::{ControlError, Request, Response, ServiceName};
use resource::{Spec as _, spec::Service};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    condition::{self, Verdict},
    member,
    render::{GO_ENVIRONMENT, KUBELET_HEALTH_PORT},
};
use crate::{
    context::Context,
    control_client::{Control, ControlClientError},
    error_chain::error_chain,
    health::Status,
    store::Store,
};

/// Name of containerd in PID 1's table.
pub const CONTAINERD: &str = "containerd";
/// Name of the kubelet in PID 1's table.
pub const KUBELET: &str = "kubelet";

/// Between probes of a kubelet that is well: only its own sync loop can go bad unnoticed by PID 1.
const PROBE_PERIOD: Duration = Duration::from_secs(60);
/// Between probes of one that is not, or not yet.
const PROBE_AGAIN: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Failed probes after which a kubelet is no longer taken for one that starts.
const PROBES_TO_START: u32 = 60;
/// Longest status line and headers that are read.
const PROBE_ANSWER_MAX_BYTES: u64 = 4096;

/// Why a service is not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// PID 1 cannot be asked.
    #[error("PID 1 cannot be asked")]
    Control(#[source] ControlClientError),
    /// PID 1 refuses.
    #[error("PID 1 refuses")]
    Refused(#[source] ControlError),
    /// PID 1 answers something else.
    #[error("PID 1 gives an answer to another question")]
    Answer,
}

/// Parameterises and starts both. PID 1 starts the kubelet once containerd is ready.
pub async fn start(control: &Control, node: &NodeConfig) -> Result<(), StartError> {
    let config = |path: &str| vec!["--config".to_owned(), path.to_owned()];
    let mut kubelet = config(layout::path::KUBELET_CONFIG);
    kubelet.extend(member::arguments(node));
    let arguments = [(CONTAINERD, config(layout::path::CONTAINERD_CONFIG)), (KUBELET, kubelet)];
    for (name, arguments) in arguments {
        provide(control, name, arguments, &GO_ENVIRONMENT, false).await?;
    }
    Ok(())
}

/// Parameterises a service and starts it, or, when that is asked for, starts it anew.
pub async fn provide(
    control: &Control,
    name: &str,
    arguments: Vec<String>,
    environment: &[(&str, &str)],
    anew: bool,
) -> Result<(), StartError> {
    let name = ServiceName(name.to_owned());
    let environment =
        environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ask(control, Request::Configure { name: name.clone(), arguments, environment }).await?;
    ask(control, if anew { Request::Restart(name) } else { Request::Start(name) }).await
}

async fn ask(control: &Control, request: Request) -> Result<(), StartError> {
    match control.request(request).await.map_err(StartError::Control)? {
        Response::Ok => Ok(()),
        Response::Error(error) => Err(StartError::Refused(error)),
        Response::Services(_) | Response::Changed(_) => Err(StartError::Answer),
    }
}

/// Waits until PID 1 says that the service is ready.
pub async fn running(store: &Store, name: &str) {
    let mut changes = store.subscribe();
    loop {
        changes.borrow_and_update();
        if find(store, name).is_some_and(|service| service.state == "running") {
            return;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps containerd's condition for ever.
pub async fn watch_containerd(context: &Context) {
    let mut changes = context.store.subscribe();
    let mut judge = Judge::new(CONTAINERD);
    loop {
        changes.borrow_and_update();
        set(context, CONTAINERD, judge.verdict(find(&context.store, CONTAINERD).as_ref()));
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the kubelet's condition for ever: PID 1's word, and what its health endpoint says.
pub async fn watch_kubelet(context: &Context) {
    let mut changes = context.store.subscribe();
    let mut judge = Judge::new(KUBELET);
    let mut failures = 0;
    loop {
        changes.borrow_and_update();
        let service = find(&context.store, KUBELET);
        let mut verdict = judge.verdict(service.as_ref());
        let mut period = None;
        if verdict.status == Status::Healthy {
            let answer = probe().await;
            failures = if answer.is_ok() { 0 } else { failures + 1 };
            period = Some(if failures == 0 { PROBE_PERIOD } else { PROBE_AGAIN });
            if let Err(error) = answer {
                verdict = unwell(&error, failures);
            }
        } else {
            failures = 0;
        }
        set(context, KUBELET, verdict);
        let changed = other_than(&context.store, &mut changes, service);
        match period {
            Some(period) => drop(timeout(period, changed).await),
            None => changed.await,
        }
    }
}

/// Judges a service that was just started: that it is stopped is old news until PID 1 has said something else.
pub struct Judge {
    name: &'static str,
    begun: bool,
}

impl Judge {
    /// For a service of PID 1's table.
    pub fn new(name: &'static str) -> Self {
        Self { name, begun: false }
    }

    /// How it stands by what is published of it.
    pub fn now(&mut self, store: &Store) -> Verdict {
        self.verdict(find(store, self.name).as_ref())
    }

    fn verdict(&mut self, service: Option<&Service>) -> Verdict {
        self.begun |= service.is_some_and(|service| service.state != "stopped");
        condition::service(self.name, service.filter(|_| self.begun))
    }
}

fn unwell(error: &io::Error, failures: u32) -> Verdict {
    if failures < PROBES_TO_START {
        return Verdict::new(Status::Progressing, "Starting", error_chain(error));
    }
    let message = format!("the kubelet is not well: {}; see `osctl logs kubelet`", error_chain(error));
    Verdict::new(Status::Unhealthy, "ProbeFailing", message)
}

fn set(context: &Context, name: &'static str, verdict: Verdict) {
    context.health.set(name, verdict.status, verdict.reason, verdict.message);
}

fn find(store: &Store, name: &str) -> Option<Service> {
    let resource = store.read(|store| store.get(&Service::KIND, name))?;
    serde_json::from_value(resource.spec.clone()).ok()
}

/// Waits until the kubelet's process or state is another than `known`.
async fn other_than(store: &Store, changes: &mut tokio::sync::watch::Receiver<u64>, known: Option<Service>) {
    let essence = |service: &Service| (service.state.clone(), service.pid);
    loop {
        if changes.changed().await.is_err() {
            // The store lives as long as the process.
            return std::future::pending().await;
        }
        changes.borrow_and_update();
        if find(store, KUBELET).as_ref().map(essence) != known.as_ref().map(essence) {
            return;
        }
    }
}

async fn probe() -> io::Result<()> {
    let probed = timeout(PROBE_TIMEOUT, get(KUBELET_HEALTH_PORT)).await;
    probed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// `GET /healthz` by HTTP/1.0 (RFC 1945): one request, one answer, end.
async fn get(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(PROBE_ANSWER_MAX_BYTES).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let mut words = answer.split_ascii_whitespace();
    match (words.next().is_some_and(|version| version.starts_with("HTTP/1.")), words.next()) {
        (true, Some("200")) => Ok(()),
        (_, _) => {
            let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim();
            Err(io::Error::other(format!("its health endpoint says {body:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answered(answer: &'static str) -> io::Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let result = get(port).await;
        assert!(server.await.unwrap().starts_with("GET /healthz HTTP/1.0\r\n"));
        result
    }

    #[tokio::test]
    async fn only_200_is_well() {
        answered("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        let error = answered("HTTP/1.0 500 Internal Server Error\r\n\r\nsyncloop failed").await.unwrap_err();
        assert!(error.to_string().contains("syncloop failed"));
        answered("").await.unwrap_err();
        answered("SSH-2.0 200").await.unwrap_err();
    }

    #[tokio::test]
    async fn waiting_for_a_service_ends_when_it_runs() {
        let store = Store::default();
        let waiter = tokio::spawn({
            let store = store.clone();
            async move { running(&store, CONTAINERD).await }
        });
        for state in ["starting", "running"] {
            store.put(CONTAINERD, &Service { state: state.into(), ..Service::default() });
        }
        waiter.await.unwrap();
    }

    #[test]
    fn a_service_that_was_just_started_is_not_called_stopped() {
        let mut judge = Judge::new(KUBELET);
        let mut verdict =
            |state: &str| judge.verdict(Some(&Service { state: state.into(), ..Service::default() })).status;
        assert_eq!(verdict("stopped"), Status::Progressing);
        assert_eq!(verdict("waiting"), Status::Progressing);
        assert_eq!(verdict("running"), Status::Healthy);
        assert_eq!(verdict("stopped"), Status::Unhealthy);
    }

    #[test]
    fn a_kubelet_that_never_answers_is_unhealthy_in_the_end() {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(unwell(&error, 1).status, Status::Progressing);
        assert_eq!(unwell(&error, PROBES_TO_START).status, Status::Unhealthy);
    }
}
