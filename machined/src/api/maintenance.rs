//! The only service of a node without configuration.

use std::sync::Arc;

use pairing::Exhausted;
use proto::maintenance::v1 as api;
use resource::{Spec as _, spec};
use tonic::{Code, Request, Response, Status};

use crate::{
    error_chain::error_chain,
    maintenance::{Desk, Door, Refused, Turned},
    storage,
    store::Store,
};

/// The service.
pub struct Maintenance {
    /// Where the configuration is handed over.
    pub desk: Arc<Desk>,
    /// Links and their addresses.
    pub resources: Store,
    /// The running release.
    pub version: String,
}

#[tonic::async_trait]
impl api::maintenance_service_server::MaintenanceService for Maintenance {
    async fn status(&self, _: Request<api::StatusRequest>) -> Result<Response<api::StatusResponse>, Status> {
        let disks = tokio::task::spawn_blocking(storage::disks).await;
        let disks = disks.map_err(|error| Status::internal(error.to_string()))?;
        let (authentication, (tries_left, code_valid_s)) = match self.desk.door() {
            Door::Code(pairing) => (api::Authentication::PairingCode, pairing.left(self.desk.now_ms())),
            Door::Clients(_) => (api::Authentication::ClientCertificate, (0, 0)),
        };
        Ok(Response::new(api::StatusResponse {
            node_id: self.desk.node_id().to_owned(),
            version: self.version.clone(),
            authentication: authentication.into(),
            code_valid_s,
            disks: disks.into_iter().map(|(_, disk)| encode_disk(disk)).collect(),
            links: links(&self.resources),
            tries_left,
        }))
    }

    async fn prove(
        &self,
        request: Request<api::ProveRequest>,
    ) -> Result<Response<api::ProveResponse>, Status> {
        let proof = self.desk.prove(&request.into_inner().nonce).map_err(|refused| status(&refused))?;
        let tries_left = match self.desk.door() {
            Door::Code(pairing) => pairing.left(self.desk.now_ms()).0,
            Door::Clients(_) => 0,
        };
        Ok(Response::new(api::ProveResponse { proof, tries_left }))
    }

    async fn configure(
        &self,
        request: Request<api::ConfigureRequest>,
    ) -> Result<Response<api::ConfigureResponse>, Status> {
        let refusal = match self.desk.configure(request.into_inner()).await {
            Ok(()) => String::new(),
            // In the answer itself: all errors of a long configuration do not fit into a status.
            Err(refused @ (Refused::Content(_) | Refused::Cas(_))) => error_chain(&refused),
            Err(refused) => return Err(status(&refused)),
        };
        if refusal.is_empty() {
            tracing::info!("the first configuration was taken");
        }
        Ok(Response::new(api::ConfigureResponse { node_id: self.desk.node_id().to_owned(), refusal }))
    }
}

fn status(refused: &Refused) -> Status {
    let code = match refused {
        Refused::Turned(Turned::Exhausted(Exhausted::Spent | Exhausted::Expired) | Turned::NoCode) => {
            Code::FailedPrecondition
        }
        Refused::Turned(Turned::WrongCode { .. } | Turned::Unsigned | Turned::Signature(_)) => {
            Code::PermissionDenied
        }
        Refused::Turned(Turned::Nonce | Turned::Text) | Refused::Content(_) | Refused::Cas(_) => {
            Code::InvalidArgument
        }
        Refused::Busy => Code::Aborted,
        Refused::Configured | Refused::Closed => Code::FailedPrecondition,
        Refused::Turned(Turned::Door(_)) | Refused::Keep(_) | Refused::Unfinished => Code::Internal,
    };
    Status::new(code, error_chain(refused))
}

fn encode_disk(disk: spec::Disk) -> api::Disk {
    api::Disk {
        device: disk.path,
        model: disk.model,
        serial: disk.serial,
        bus: disk.transport,
        size_bytes: disk.size_bytes,
    }
}

fn links(resources: &Store) -> Vec<api::Link> {
    const LINK: resource::Kind = spec::Link::KIND;
    const ADDRESS: resource::Kind = spec::Address::KIND;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    resources.read(|store| {
        let addresses = |link: &str| {
            let of_link = store.list(&ADDRESS).filter(|address| address.spec["link"] == link);
            of_link.map(|address| text(&address.spec["address"])).collect()
        };
        let link = |link: &Arc<resource::Resource>| api::Link {
            name: link.id.clone(),
            mac: text(&link.spec["hardwareAddress"]),
            addresses: addresses(&link.id),
        };
        store.list(&LINK).map(link).collect()
    })
}
