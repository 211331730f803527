//! A connection to one node: who it must be, where it is looked for, and its services.

mod dial;
mod fault;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use pki::{Bundle, Ca, Certificate, Credentials, Identity, NodeId, Revocations};
use proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use proto::config::v1::config_service_client::ConfigServiceClient;
use proto::identity::v1::identity_service_client::IdentityServiceClient;
use proto::inspect::v1::inspect_service_client::InspectServiceClient;
use proto::log::v1::log_service_client::LogServiceClient;
use proto::machine::v1::machine_service_client::MachineServiceClient;
use proto::maintenance::v1::maintenance_service_client::MaintenanceServiceClient;
use proto::resource::v1::resource_service_client::ResourceServiceClient;
use proto::service::v1::service_service_client::ServiceServiceClient;
use proto::update::v1::update_service_client::UpdateServiceClient;
use tonic::transport::{Channel, Endpoint as ChannelSettings, Uri};
use tonic::{Response, Status};

use crate::contexts::Context;
use crate::endpoint::Endpoint;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::pem::Pem;
use crate::{clock, output};
use dial::{DialError, Refusal, Wire};
use fault::Fault;

pub use tls::Trust;

/// Longest wait for a connection and for an answer, unless the user says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// A node that vanishes while a log is followed is noticed after both of these together.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Certificate and key with which osctl shows who it is.
#[derive(Clone, Debug)]
pub struct Client {
    certificate: Certificate,
    key: Pem,
}

impl Client {
    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.to_pem()
    }

    /// The key.
    pub fn key(&self) -> &Pem {
        &self.key
    }
}

impl From<&Credentials> for Client {
    fn from(credentials: &Credentials) -> Client {
        Client { certificate: credentials.certificate.clone(), key: Pem::new(credentials.key.to_pem()) }
    }
}

/// Everything needed to reach a node.
#[derive(Clone, Debug)]
pub struct Target {
    /// How messages call the node.
    pub name: String,
    /// Where to look, in order.
    pub endpoints: Vec<Endpoint>,
    /// Who it must be.
    pub trust: Trust,
    /// Who osctl is.
    pub client: Client,
    /// Longest wait for a connection, and again for each answer.
    pub timeout: Duration,
}

impl Target {
    /// The target of a context; `endpoints` take the place of the context's when there are any.
    pub fn of_context(
        context: &Context,
        endpoints: &[Endpoint],
        timeout: Duration,
    ) -> Result<Target, Failure> {
        let broken = |what: &str, why: String| {
            Failure::error(format!("{what} of context {:?} is unusable", context.name))
                .why(why)
                .hint("make it anew with `osctl adopt` or `osctl gen client`")
        };
        let cas = Bundle::from_pem(context.ca.as_str()).map_err(|error| broken("the CA", chain(&error)))?;
        let certificate = Certificate::from_pem(context.client_certificate.as_str())
            .map_err(|error| broken("the client certificate", chain(&error)))?;
        let node_id = context.node_id.as_deref().ok_or_else(|| not_adopted(&context.name))?;
        let node_id = NodeId::parse(node_id).map_err(|error| broken("the node id", error.to_string()))?;
        let endpoints = match endpoints {
            [] => context.endpoints.iter().map(|text| text.parse()).collect::<Result<_, _>>(),
            given => Ok(given.to_vec()),
        };
        Ok(Target {
            name: context.name.clone(),
            endpoints: endpoints.map_err(|error| broken("an endpoint", error))?,
            trust: Trust::Chain { cas, node_id },
            client: Client { certificate, key: context.client_key.clone() },
            timeout,
        })
    }
}

/// Who the client of a context is, when its certificate is in order.
pub fn identity_of(context: &Context) -> Option<Identity> {
    let cas = Bundle::from_pem(context.ca.as_str()).ok()?;
    let certificate = Certificate::from_pem(context.client_certificate.as_str()).ok()?;
    pki::judge(certificate.der(), &cas, &Revocations::default(), 0).ok()
}

/// SHA-256 of a context's client certificate, when that is in order.
pub fn client_hash(context: &Context) -> Option<String> {
    let certificate = Certificate::from_pem(context.client_certificate.as_str()).ok()?;
    Some(certificate.hash().to_string())
}

/// Whether a context trusts this CA.
pub fn trusts(context: &Context, ca: &Ca) -> bool {
    Bundle::from_pem(context.ca.as_str()).is_ok_and(|bundle| bundle.certificates().contains(ca.certificate()))
}

fn not_adopted(name: &str) -> Failure {
    Failure::error(format!("context {name:?} does not say which node it is for"))
        .hint("adopt the node with `osctl adopt -c`, or make the context with `osctl gen client --node-id`")
}

/// A node that was authenticated.
#[derive(Debug)]
pub struct Node {
    channel: Channel,
    name: String,
    endpoint: Endpoint,
    certificate: Option<Certificate>,
    public_key_der: Vec<u8>,
    refusal: Refusal,
    timeout: Duration,
}

impl Node {
    /// Connects to the first endpoint at which the right node answers.
    pub async fn connect(target: &Target) -> Result<Node, Failure> {
        warn_of_own_expiry(&target.client);
        let mut faults = Vec::new();
        for (index, endpoint) in target.endpoints.iter().enumerate() {
            let left = u32::try_from(target.endpoints.len() - index).unwrap_or(u32::MAX);
            match reach(target, endpoint, target.timeout / left).await {
                Ok(node) => return Ok(node),
                Err(error) => faults.push((endpoint, fault::of_dial(&error))),
            }
        }
        Err(no_connection(&target.name, faults))
    }

    /// `cluster.v1`
    pub fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }

    /// `config.v1`
    pub fn config(&self) -> ConfigServiceClient<Channel> {
        ConfigServiceClient::new(self.channel.clone())
    }

    /// `identity.v1`
    pub fn identity(&self) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.channel.clone())
    }

    /// `inspect.v1`
    pub fn inspect(&self) -> InspectServiceClient<Channel> {
        InspectServiceClient::new(self.channel.clone())
    }

    /// `log.v1`
    pub fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel.clone())
    }

    /// `machine.v1`
    pub fn machine(&self) -> MachineServiceClient<Channel> {
        MachineServiceClient::new(self.channel.clone())
    }

    /// `maintenance.v1`
    pub fn maintenance(&self) -> MaintenanceServiceClient<Channel> {
        MaintenanceServiceClient::new(self.channel.clone())
    }

    /// `resource.v1`
    pub fn resources(&self) -> ResourceServiceClient<Channel> {
        ResourceServiceClient::new(self.channel.clone())
    }

    /// `service.v1`
    pub fn services(&self) -> ServiceServiceClient<Channel> {
        ServiceServiceClient::new(self.channel.clone())
    }

    /// `update.v1`
    pub fn updates(&self) -> UpdateServiceClient<Channel> {
        UpdateServiceClient::new(self.channel.clone())
    }

    /// Where the node answered.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The certificate with which the node showed who it is; nothing when its fingerprint did.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The node's public key (subjectPublicKeyInfo in DER), as this connection shows it.
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    /// How messages call the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Awaits the answer to a call. `what` says what failed if it does, such as "cannot reboot".
    pub async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.explain(what, &status)),
            Err(_) => Err(self.silent(what)),
        }
    }

    /// Longest wait for an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The failure of a call that was not answered in time.
    pub fn silent(&self, what: &str) -> Failure {
        let why = format!("{} did not answer within {} s", self.endpoint, self.timeout.as_secs());
        Failure::new(Exit::Unreachable, self.on_node(what)).why(why).hint("wait longer with --timeout")
    }

    /// The failure behind a status.
    pub fn explain(&self, what: &str, status: &Status) -> Failure {
        fault::of_status(status, self.refusal.get().copied()).fail(self.on_node(what))
    }

    fn on_node(&self, what: &str) -> String {
        format!("{what} on {}", self.name)
    }
}

async fn reach(target: &Target, endpoint: &Endpoint, limit: Duration) -> Result<Node, DialError> {
    let (config, verifier) = tls::configure(target.trust.clone(), &target.client)
        .map_err(|error| DialError::Handshake(std::io::Error::other(error)))?;
    let wire = dial::dial(endpoint, Arc::clone(&config), limit).await?;
    let certificate = verifier.certificate().cloned();
    let validity = certificate.as_ref().map(Certificate::validity);
    if let Some(validity) = validity.filter(|validity| validity.ended_before(clock::now_s())) {
        let (name, date) = (&target.name, clock::date(validity.not_after_s));
        output::warn(&format!(
            "the certificate of node {name} expired at {date}; renew it with `osctl adopt`"
        ));
    }
    let public_key_der = verifier.presented().map(|seen| seen.public_key_der().to_vec()).unwrap_or_default();
    let refusal = wire.refusal();
    let channel = open(wire).await?;
    Ok(Node {
        channel,
        name: target.name.clone(),
        endpoint: endpoint.clone(),
        certificate,
        public_key_der,
        refusal,
        timeout: target.timeout,
    })
}

/// A gRPC channel over this one connection: when it is lost, calls fail instead of silently going elsewhere.
async fn open(wire: Wire) -> Result<Channel, DialError> {
    let mut wire = Some(TokioIo::new(wire));
    let connector = tower::service_fn(move |_: Uri| {
        let taken = wire.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        async move { taken }
    });
    ChannelSettings::from_static("http://node")
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .connect_with_connector(connector)
        .await
        .map_err(|error| DialError::Handshake(std::io::Error::other(error)))
}

fn warn_of_own_expiry(client: &Client) {
    let validity = client.certificate.validity();
    if validity.ended_before(clock::now_s()) {
        let date = clock::date(validity.not_after_s);
        output::warn(&format!(
            "your client certificate expired at {date}; mint a new one with `osctl gen client`"
        ));
    }
}

/// One failure for all endpoints: the worst cause decides, each is named.
fn no_connection(name: &str, mut faults: Vec<(&Endpoint, Fault)>) -> Failure {
    let what = format!("cannot reach {name}");
    if faults.len() == 1 {
        let (endpoint, fault) = faults.remove(0);
        return fault.fail(format!("{what} at {endpoint}"));
    }
    let why: Vec<String> =
        faults.iter().map(|(endpoint, fault)| format!("{endpoint}: {}", fault.why)).collect();
    // A refusal tells more than an address at which nobody is.
    faults.sort_by_key(|(_, fault)| fault.exit == Exit::Unreachable);
    match faults.into_iter().next() {
        Some((_, fault)) => Fault { why: why.join("; "), ..fault }.fail(what),
        None => Failure::error(what).why("it has no endpoint").hint("give its address with -n HOST[:PORT]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_endpoints_make_one_failure() {
        let endpoints: Vec<Endpoint> = ["a", "b"].map(|text| text.parse().unwrap()).into();
        let fault = |exit, why: &str| Fault { exit, why: why.into(), hint: format!("hint for {why}") };
        let failure = no_connection(
            "edge",
            vec![
                (&endpoints[0], fault(Exit::Unreachable, "off")),
                (&endpoints[1], fault(Exit::Denied, "stranger")),
            ],
        );
        assert_eq!(failure.exit(), Exit::Denied);
        assert_eq!(
            failure.render(),
            "error: cannot reach edge: a:50000: off; b:50000: stranger\nhint: hint for stranger\n"
        );
        assert!(no_connection("edge", Vec::new()).render().contains("no endpoint"));
    }
}
