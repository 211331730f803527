//! What the node does at this moment.

use std::{sync::Arc, time::Duration};

use proto::inspect::v1 as api;
use tonic::{Request, Response, Status};

use crate::{
    context::Context,
    error_chain::error_chain,
    inspect::{self, INTERVAL_MAX, InspectError, Inspector, Names, Wanted},
};

/// The service.
pub struct Service {
    context: Arc<Context>,
    inspector: Inspector,
}

impl Service {
    /// For this node.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, inspector: Inspector::new() }
    }

    fn names(&self) -> Names {
        Names::of(&self.context.store)
    }
}

#[tonic::async_trait]
impl api::inspect_service_server::InspectService for Service {
    async fn list_processes(
        &self,
        request: Request<api::ListProcessesRequest>,
    ) -> Result<Response<api::ListProcessesResponse>, Status> {
        let request = request.into_inner();
        let wanted = Wanted { proportional: request.proportional_set_size };
        answer(self.inspector.processes(self.names(), wanted, interval(request.interval_ms)?).await)
    }

    async fn list_arguments(
        &self,
        _: Request<api::ListArgumentsRequest>,
    ) -> Result<Response<api::ListArgumentsResponse>, Status> {
        answer(self.inspector.look(inspect::arguments).await)
    }

    async fn list_cgroups(
        &self,
        request: Request<api::ListCgroupsRequest>,
    ) -> Result<Response<api::ListCgroupsResponse>, Status> {
        answer(self.inspector.cgroups(self.names(), interval(request.into_inner().interval_ms)?).await)
    }

    async fn get_system(
        &self,
        request: Request<api::GetSystemRequest>,
    ) -> Result<Response<api::GetSystemResponse>, Status> {
        answer(self.inspector.system(interval(request.into_inner().interval_ms)?).await)
    }

    async fn list_mounts(
        &self,
        _: Request<api::ListMountsRequest>,
    ) -> Result<Response<api::ListMountsResponse>, Status> {
        answer(self.inspector.look(inspect::mounts).await)
    }

    async fn list_sockets(
        &self,
        request: Request<api::ListSocketsRequest>,
    ) -> Result<Response<api::ListSocketsResponse>, Status> {
        let (request, names) = (request.into_inner(), self.names());
        answer(self.inspector.look(move |roots| inspect::sockets(roots, &names, request)).await)
    }
}

fn answer<T>(seen: Result<T, InspectError>) -> Result<Response<T>, Status> {
    seen.map(Response::new).map_err(|error| match error {
        InspectError::Busy => Status::unavailable(error.to_string()),
        InspectError::Broken(_) => Status::internal(error_chain(&error)),
    })
}

/// The time between two looks; nothing for one look.
fn interval(interval_ms: u32) -> Result<Option<Duration>, Status> {
    let interval = Duration::from_millis(interval_ms.into());
    if interval > INTERVAL_MAX {
        let max_ms = INTERVAL_MAX.as_millis();
        return Err(Status::invalid_argument(format!(
            "an interval is at most {max_ms} ms, not {interval_ms}"
        )));
    }
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_bounded() {
        assert_eq!(interval(0).unwrap(), None);
        assert_eq!(interval(10_000).unwrap(), Some(INTERVAL_MAX));
        assert!(interval(10_001).unwrap_err().message().contains("10000 ms"));
    }
}
