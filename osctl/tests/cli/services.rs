//! What a fake node answers.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use pki::{Bundle, Certificate, Key, NodeId, Role};
use prost_types::value::Kind as ProtoValue;
use prost_types::{Struct, Timestamp};
use proto::identity::v1 as identity;
use proto::machine::v1 as machine;
use proto::resource::v1 as resource;
use proto::service::v1 as service;
use tokio_stream::{Stream, StreamExt as _, iter, pending};
use tonic::{Request, Response, Status};

use crate::clusters::Cluster;
use crate::generations::Generations;
use crate::maintenance::Maintenance;
use crate::updates::Updates;

pub type Answer<T> = Result<Response<T>, Status>;
pub type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Everything about the node that tests set or look at.
pub struct State {
    pub node_id: NodeId,
    pub key: Key,
    pub certificate: Certificate,
    pub cas: Bundle,
    pub boot: u32,
    /// Answers to health checks, in order; the last one stays.
    pub health: VecDeque<machine::CheckHealthResponse>,
    /// What was asked of it, such as "restart kubelet".
    pub done: Vec<String>,
    /// Its machine configuration.
    pub generations: Generations,
    /// The cluster that it belongs to.
    pub cluster: Option<Cluster>,
    /// Its releases.
    pub updates: Updates,
    /// While it has none.
    pub maintenance: Option<Maintenance>,
}

impl State {
    pub fn new(node_id: NodeId, key: Key, certificate: Certificate, cas: Bundle) -> State {
        let health = VecDeque::from([health(machine::ConditionStatus::Healthy)]);
        State {
            node_id,
            key,
            certificate,
            cas,
            boot: 1,
            health,
            done: Vec::new(),
            generations: Generations::new("kind: Machine\n"),
            cluster: None,
            updates: Updates::new(),
            maintenance: None,
        }
    }
}

pub fn health(status: machine::ConditionStatus) -> machine::CheckHealthResponse {
    let healthy = status == machine::ConditionStatus::Healthy;
    let message = if healthy { "" } else { "no carrier; plug in the cable" };
    let condition = machine::Condition {
        name: "network".into(),
        status: status.into(),
        reason: if healthy { "Configured" } else { "NoCarrier" }.into(),
        message: message.into(),
        since: Some(Timestamp { seconds: 1_790_000_000, nanos: 0 }),
    };
    machine::CheckHealthResponse { healthy, conditions: vec![condition] }
}

/// All services on one state.
#[derive(Clone)]
pub struct Services {
    pub state: Arc<Mutex<State>>,
}

impl Services {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn act<T>(&self, request: &Request<T>, needed: Role, what: String) -> Result<(), Status> {
        let role = request.extensions().get::<Option<Role>>().unwrap().unwrap();
        if !role.allows(needed) {
            return Err(Status::permission_denied(format!(
                "needs the role {needed} or higher; the certificate has {role}"
            )));
        }
        self.state().done.push(what);
        Ok(())
    }

    fn control<T>(&self, request: &Request<T>, action: &str, name: &str) -> Result<(), Status> {
        self.act(request, Role::Operator, format!("{action} {name}"))?;
        match name {
            "kubelet" => Ok(()),
            "machined" => Err(Status::failed_precondition(
                "machined is essential and cannot be stopped; restart it or reboot the node",
            )),
            _ => Err(Status::not_found(format!("no service named {name:?}"))),
        }
    }
}

#[tonic::async_trait]
impl machine::machine_service_server::MachineService for Services {
    async fn get_version(
        &self,
        _: Request<machine::GetVersionRequest>,
    ) -> Answer<machine::GetVersionResponse> {
        let state = self.state();
        Ok(Response::new(machine::GetVersionResponse {
            version: "0.1.0".into(),
            kubernetes_version: "1.37.2".into(),
            kernel_version: "6.12.1".into(),
            architecture: "amd64".into(),
            slot: "A".into(),
            node_id: state.node_id.to_string(),
            hostname: "edge-1".into(),
            boot_id: format!("boot-{}", state.boot),
        }))
    }

    async fn check_health(
        &self,
        _: Request<machine::CheckHealthRequest>,
    ) -> Answer<machine::CheckHealthResponse> {
        let mut state = self.state();
        let answer = state.health.front().unwrap().clone();
        if state.health.len() > 1 {
            state.health.pop_front();
        }
        Ok(Response::new(answer))
    }

    async fn reboot(&self, request: Request<machine::RebootRequest>) -> Answer<machine::RebootResponse> {
        self.act(&request, Role::Operator, "reboot".into())?;
        self.state().boot += 1;
        Ok(Response::new(machine::RebootResponse {}))
    }

    async fn shutdown(
        &self,
        request: Request<machine::ShutdownRequest>,
    ) -> Answer<machine::ShutdownResponse> {
        self.act(&request, Role::Operator, "shutdown".into())?;
        Ok(Response::new(machine::ShutdownResponse {}))
    }
}

#[tonic::async_trait]
impl identity::identity_service_server::IdentityService for Services {
    async fn get_signing_request(
        &self,
        request: Request<identity::GetSigningRequestRequest>,
    ) -> Answer<identity::GetSigningRequestResponse> {
        self.act(&request, Role::Admin, "csr".into())?;
        let state = self.state();
        let adopted = pki::check_server(state.certificate.der(), &state.cas, &state.node_id).is_ok();
        Ok(Response::new(identity::GetSigningRequestResponse {
            request_der: pki::node::signing_request(&state.key, &state.node_id).unwrap(),
            node_id: state.node_id.to_string(),
            adopted,
        }))
    }

    async fn install_certificate(
        &self,
        request: Request<identity::InstallCertificateRequest>,
    ) -> Answer<identity::InstallCertificateResponse> {
        self.act(&request, Role::Admin, "install".into())?;
        let der = request.into_inner().certificate_der;
        let mut state = self.state();
        pki::check_issued(&der, &state.key.public_key_der(), &state.cas, &state.node_id)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        state.certificate = Certificate::from_der(&der).unwrap();
        Ok(Response::new(identity::InstallCertificateResponse {}))
    }
}

#[tonic::async_trait]
impl service::service_service_server::ServiceService for Services {
    async fn start(&self, request: Request<service::StartRequest>) -> Answer<service::StartResponse> {
        self.control(&request, "start", &request.get_ref().name)?;
        Ok(Response::new(service::StartResponse {}))
    }

    async fn stop(&self, request: Request<service::StopRequest>) -> Answer<service::StopResponse> {
        self.control(&request, "stop", &request.get_ref().name)?;
        Ok(Response::new(service::StopResponse {}))
    }

    async fn restart(&self, request: Request<service::RestartRequest>) -> Answer<service::RestartResponse> {
        self.control(&request, "restart", &request.get_ref().name)?;
        Ok(Response::new(service::RestartResponse {}))
    }
}

fn kinds() -> Vec<resource::Kind> {
    let kind = |name: &str, alias: &str, columns: &[&str]| resource::Kind {
        name: name.into(),
        plural: format!("{name}s"),
        aliases: vec![alias.into()],
        description: format!("All {name}s"),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    vec![kind("service", "svc", &["state", "pid", "restarts"]), kind("pod", "po", &["phase", "ready"])]
}

fn resources(kind: &str) -> Vec<resource::Resource> {
    let text = |value: &str| ProtoValue::StringValue(value.into());
    match kind {
        "service" => ["apid", "kubelet"]
            .into_iter()
            .map(|id| {
                let fields = [
                    ("state", text("running")),
                    ("pid", ProtoValue::NumberValue(71.0)),
                    ("restarts", ProtoValue::NumberValue(0.0)),
                ];
                make(kind, id, &fields)
            })
            .collect(),
        _ => {
            let fields = [
                ("namespace", text("default")),
                ("name", text("hello")),
                ("phase", text("Running")),
                ("ready", ProtoValue::BoolValue(true)),
            ];
            vec![make(kind, "default/hello", &fields)]
        }
    }
}

fn make(kind: &str, id: &str, fields: &[(&str, ProtoValue)]) -> resource::Resource {
    let fields: BTreeMap<String, prost_types::Value> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), prost_types::Value { kind: Some(value.clone()) }))
        .collect();
    resource::Resource {
        kind: kind.into(),
        id: id.into(),
        version: 3,
        updated: Some(Timestamp { seconds: 1_790_000_000, nanos: 0 }),
        spec: Some(Struct { fields }),
    }
}

#[tonic::async_trait]
impl resource::resource_service_server::ResourceService for Services {
    type WatchStream = Streamed<resource::WatchResponse>;

    async fn list_kinds(
        &self,
        _: Request<resource::ListKindsRequest>,
    ) -> Answer<resource::ListKindsResponse> {
        Ok(Response::new(resource::ListKindsResponse { kinds: kinds() }))
    }

    async fn list(&self, request: Request<resource::ListRequest>) -> Answer<resource::ListResponse> {
        Ok(Response::new(resource::ListResponse {
            resources: resources(&request.get_ref().kind),
            version: 9,
        }))
    }

    async fn get(&self, request: Request<resource::GetRequest>) -> Answer<resource::GetResponse> {
        let resource::GetRequest { kind, id } = request.into_inner();
        let found = resources(&kind).into_iter().find(|resource| resource.id == id);
        let resource = found.ok_or_else(|| Status::not_found(format!("no {kind} {id:?}")))?;
        Ok(Response::new(resource::GetResponse { resource: Some(resource) }))
    }

    async fn watch(&self, request: Request<resource::WatchRequest>) -> Answer<Self::WatchStream> {
        use resource::EventType::{Added, Bookmark, Modified, Removed};
        let first = resources(&request.get_ref().kind).remove(0);
        let event =
            |kind: resource::EventType, resource| resource::WatchResponse { r#type: kind.into(), resource };
        let events = [
            event(Added, Some(first.clone())),
            event(Bookmark, None),
            event(Modified, Some(first.clone())),
            event(Removed, Some(first)),
        ];
        Ok(Response::new(Box::pin(iter(events).map(Ok).chain(pending()))))
    }
}
