//! The node as a whole.

use std::{fs, sync::Arc};

use control::{PowerAction, Request as ControlRequest};
use proto::machine::v1 as api;
use tonic::{Request, Response, Status};

use super::{convert::to_timestamp, service::ask};
use crate::{
    context::Context,
    health::{Condition, Status as Health},
};

/// The service.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl api::machine_service_server::MachineService for Service {
    async fn get_version(
        &self,
        _: Request<api::GetVersionRequest>,
    ) -> Result<Response<api::GetVersionResponse>, Status> {
        let context = &self.0;
        let kernel = |name: &str| {
            fs::read_to_string(format!("/proc/sys/kernel/{name}"))
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        Ok(Response::new(api::GetVersionResponse {
            version: context.release.version.clone(),
            kubernetes_version: context.release.kubernetes.clone(),
            kernel_version: kernel("osrelease"),
            architecture: if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }.to_owned(),
            slot: context.slot.to_owned(),
            node_id: context.node.node_id.clone(),
            hostname: context.hostname(),
            boot_id: kernel("random/boot_id"),
        }))
    }

    async fn check_health(
        &self,
        _: Request<api::CheckHealthRequest>,
    ) -> Result<Response<api::CheckHealthResponse>, Status> {
        let conditions = self.0.health.snapshot();
        let healthy = conditions.iter().all(|(_, condition)| condition.status == Health::Healthy);
        let conditions = conditions.into_iter().map(|(name, condition)| encode(name, &condition)).collect();
        Ok(Response::new(api::CheckHealthResponse { healthy, conditions }))
    }

    async fn reboot(&self, _: Request<api::RebootRequest>) -> Result<Response<api::RebootResponse>, Status> {
        ask(&self.0, ControlRequest::Power(PowerAction::Reboot)).await?;
        Ok(Response::new(api::RebootResponse {}))
    }

    async fn shutdown(
        &self,
        _: Request<api::ShutdownRequest>,
    ) -> Result<Response<api::ShutdownResponse>, Status> {
        ask(&self.0, ControlRequest::Power(PowerAction::PowerOff)).await?;
        Ok(Response::new(api::ShutdownResponse {}))
    }
}

fn encode(name: &str, condition: &Condition) -> api::Condition {
    let since = condition.since.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let status = match condition.status {
        Health::Healthy => api::ConditionStatus::Healthy,
        Health::Progressing => api::ConditionStatus::Progressing,
        Health::Unhealthy => api::ConditionStatus::Unhealthy,
    };
    api::Condition {
        name: name.to_owned(),
        status: status.into(),
        reason: condition.reason.to_owned(),
        message: condition.message.clone(),
        since: Some(to_timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))),
    }
}
