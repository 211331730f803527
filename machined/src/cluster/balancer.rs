//! A load balancer on loopback over all API servers of the cluster, so that a cluster needs none of its own.
//!
//! It carries bytes: TLS is between the kubelet and the API server. A connection goes to the API server that answered
//! last, and to another one as soon as that does not.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use config::{ApiEndpoint, NodeConfig};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{context::Context, health::Status};

/// The condition that says which API servers answer.
pub const CONDITION: &str = "api-servers";
/// For a connection to an API server.
const CONNECT: Duration = Duration::from_secs(4);
/// Between attempts to have the port.
const RETRY: Duration = Duration::from_secs(5);
/// Between looks at API servers.
const LOOK: Duration = Duration::from_secs(15);
/// Looks that fail before open connections to an API server are given up.
const LOOKS_MAX: u32 = 2;
/// A node has one connection of each of its clients.
const CONNECTIONS_MAX: usize = 256;

/// What is known of the API servers.
#[derive(Default)]
struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    backends: Vec<Backend>,
}

struct Backend {
    endpoint: ApiEndpoint,
    /// Attempts that failed since the last one that did not.
    failures: u32,
    /// Told when its connections are to end.
    closing: watch::Sender<()>,
}

/// Runs for ever; on a node without a cluster it does nothing.
pub async fn run(context: Arc<Context>) {
    let mut follower = context.follower("balancer");
    let pool = Arc::new(Pool::default());
    let config = follower.current();
    follower.settle(&config);
    if config.cluster.is_none() {
        // A cluster comes with a reboot.
        return;
    }
    pool.set(endpoints(&config));
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, layout::CLUSTER_BALANCER_PORT);
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                let message = format!("nobody can listen on {address}: {error}");
                context.health.set(CONDITION, Status::Unhealthy, "CannotListen", message);
                sleep(RETRY).await;
            }
        }
    };
    let followed = async {
        loop {
            follower.changed().await;
            let config = follower.current();
            pool.set(endpoints(&config));
            follower.settle(&config);
        }
    };
    tokio::join!(accept(listener, &pool), look(&context, &pool), followed);
}

/// The node's own API server first: it is nearest.
fn endpoints(config: &NodeConfig) -> Vec<ApiEndpoint> {
    let own = ApiEndpoint { host: Ipv4Addr::LOCALHOST.to_string(), port: layout::CLUSTER_API_PORT };
    let own = config.control_plane.as_ref().map(|_| own);
    own.into_iter().chain(config.cluster.iter().flat_map(|cluster| cluster.endpoints.clone())).collect()
}

async fn accept(listener: TcpListener, pool: &Arc<Pool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%error, "a connection to the API servers is not taken");
                sleep(RETRY).await;
                continue;
            }
        };
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            serve(client, &pool).await;
            drop(permit);
        });
    }
}

/// Carries one connection; without an API server it ends at once.
async fn serve(mut client: TcpStream, pool: &Pool) {
    let Some((mut server, mut closing)) = pool.connect().await else { return };
    tokio::select! {
        // Whichever side ends it: nothing is to be said about that.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = closing.changed() => {}
    }
}

/// Looks at the API servers for ever, and says which answer.
async fn look(context: &Context, pool: &Pool) {
    loop {
        for endpoint in pool.order() {
            let answers = connect(&endpoint).await.is_ok();
            pool.note(&endpoint, answers);
        }
        let (status, reason, message) = pool.condition();
        context.health.set(CONDITION, status, reason, message);
        sleep(LOOK).await;
    }
}

async fn connect(endpoint: &ApiEndpoint) -> io::Result<TcpStream> {
    let connection = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    let stream = timeout(CONNECT, connection).await.map_err(|_| io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Pool {
    /// Those that are no more lose their connections.
    fn set(&self, endpoints: Vec<ApiEndpoint>) {
        let mut state = self.state();
        let mut known: BTreeMap<ApiEndpoint, Backend> =
            state.backends.drain(..).map(|backend| (backend.endpoint.clone(), backend)).collect();
        state.backends = endpoints
            .into_iter()
            .map(|endpoint| {
                let fresh = Backend { endpoint, failures: 0, closing: watch::Sender::default() };
                known.remove(&fresh.endpoint).unwrap_or(fresh)
            })
            .collect();
    }

    /// All of them: those first that failed least lately, as configured among equals.
    fn order(&self) -> Vec<ApiEndpoint> {
        let state = self.state();
        let mut order: Vec<(u32, ApiEndpoint)> =
            state.backends.iter().map(|backend| (backend.failures, backend.endpoint.clone())).collect();
        order.sort_by_key(|(failures, _)| *failures);
        order.into_iter().map(|(_, endpoint)| endpoint).collect()
    }

    /// Connects to the first that takes it.
    async fn connect(&self) -> Option<(TcpStream, watch::Receiver<()>)> {
        for endpoint in self.order() {
            match connect(&endpoint).await {
                Ok(stream) => {
                    let closing = self.note(&endpoint, true)?;
                    return Some((stream, closing));
                }
                Err(error) => {
                    tracing::debug!(%endpoint, %error, "an API server takes no connection");
                    self.note(&endpoint, false);
                }
            }
        }
        None
    }

    /// Notes an attempt. Connections to one that is dead hang until they are given up here.
    fn note(&self, endpoint: &ApiEndpoint, answers: bool) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        let backend = state.backends.iter_mut().find(|backend| backend.endpoint == *endpoint)?;
        if answers {
            backend.failures = 0;
        } else {
            backend.failures = backend.failures.saturating_add(1);
            if backend.failures >= LOOKS_MAX {
                backend.closing.send_replace(());
            }
        }
        Some(backend.closing.subscribe())
    }

    fn condition(&self) -> (Status, &'static str, String) {
        let state = self.state();
        let silent: Vec<String> = state
            .backends
            .iter()
            .filter(|backend| backend.failures > 0)
            .map(|backend| backend.endpoint.to_string())
            .collect();
        match silent.len() {
            0 => (Status::Healthy, "Answering", String::new()),
            silent_ones if silent_ones < state.backends.len() => {
                let message = format!("no answer from {}; the others serve the node", silent.join(", "));
                (Status::Healthy, "SomeAnswer", message)
            }
            _ => {
                let message = format!(
                    "no API server of the cluster answers ({}): pods run on, but nothing changes until one does",
                    silent.join(", ")
                );
                (Status::Progressing, "NoneAnswers", message)
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that says who it is to each connection.
    async fn server(name: &'static [u8]) -> (ApiEndpoint, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    stream.write_all(name).await.ok();
                    // Held open until the other side ends it.
                    stream.read_u8().await.ok();
                });
            }
        });
        (ApiEndpoint { host: "127.0.0.1".into(), port }, task)
    }

    async fn balanced(endpoints: Vec<ApiEndpoint>) -> (Arc<Pool>, u16) {
        let pool = Arc::new(Pool::default());
        pool.set(endpoints);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Arc::clone(&pool);
        tokio::spawn(async move { accept(listener, &served).await });
        (pool, port)
    }

    async fn first_byte(port: u16) -> (TcpStream, Option<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut byte = [0];
        let read = stream.read(&mut byte).await.unwrap_or(0);
        (stream, (read == 1).then(|| byte[0]))
    }

    #[tokio::test]
    async fn another_one_serves_when_the_first_is_gone() {
        let (one, first) = server(b"1").await;
        let (two, _second) = server(b"2").await;
        let (pool, port) = balanced(vec![one.clone(), two]).await;
        assert_eq!(first_byte(port).await.1, Some(b'1'));
        first.abort();
        first.await.ok();
        assert_eq!(first_byte(port).await.1, Some(b'2'));
        assert_eq!(pool.order().last(), Some(&one), "who failed is asked last");
        let (status, reason, message) = pool.condition();
        assert_eq!((status, reason), (Status::Healthy, "SomeAnswer"));
        assert!(message.contains(&one.to_string()), "{message}");
    }

    #[tokio::test]
    async fn without_any_a_connection_ends_at_once() {
        let (one, task) = server(b"1").await;
        task.abort();
        task.await.ok();
        let (pool, port) = balanced(vec![one]).await;
        assert_eq!(first_byte(port).await.1, None);
        assert_eq!(pool.condition().1, "NoneAnswers");
    }

    #[tokio::test]
    async fn connections_to_a_dead_one_are_given_up() {
        let (one, _task) = server(b"1").await;
        let (pool, port) = balanced(vec![one.clone()]).await;
        let (mut stream, byte) = first_byte(port).await;
        assert_eq!(byte, Some(b'1'));
        for _ in 0..LOOKS_MAX {
            pool.note(&one, false);
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        assert!(rest.is_empty());
    }
}
