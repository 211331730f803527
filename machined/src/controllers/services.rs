//! Services as PID 1 reports them, with the memory of their cgroups.

use std::{path::PathBuf, time::Duration};

use cgroups_rs::fs::{Cgroup, hierarchies::V2, memory::MemController};
use control::{Request, Response, ServiceState, ServiceStatus};
use resource::spec;

use crate::{
    context::Context,
    control_client::ControlClientError,
    health::{Health, Status},
};

/// After PID 1's connection broke, which it does only when PID 1 refuses or is replaced.
const RETRY: Duration = Duration::from_secs(1);
/// Memory changes without PID 1 taking notice.
const REFRESH: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// Publishes for ever.
pub async fn run(context: &Context) {
    loop {
        if let Err(error) = follow(context).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "services are not watched");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(context: &Context) -> Result<(), ControlClientError> {
    // The watch comes first: nothing is missed between it and the list.
    let changes = context.control.watch().await?;
    let mut failed = Vec::new();
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            change = changes.receive() => {
                if let Response::Changed(service) = change? {
                    publish(context, &service, &mut failed);
                }
            }
            _ = refresh.tick() => {
                if let Response::Services(all) = context.control.request(Request::List).await? {
                    all.iter().for_each(|service| publish(context, service, &mut failed));
                }
            }
        }
    }
}

fn publish(context: &Context, service: &ServiceStatus, failed: &mut Vec<String>) {
    let name = &service.name.0;
    failed.retain(|other| other != name);
    if service.state == ServiceState::Failed {
        failed.push(name.clone());
    }
    judge(&context.health, failed);
    context.store.put(
        name,
        &spec::Service {
            state: format!("{:?}", service.state).to_lowercase(),
            pid: service.pid,
            restarts: service.restarts,
            essential: service.essential,
            last_exit: service.last_exit.clone(),
            since_s: service.since_boottime_ms / 1000,
            memory_mib: memory_mib(&service.cgroup),
            cgroup: service.cgroup.clone(),
        },
    );
}

fn judge(health: &Health, failed: &[String]) {
    if failed.is_empty() {
        health.set("services", Status::Healthy, "AllRun", "");
    } else {
        let names = failed.join(", ");
        let message =
            format!("{names} ended too often; see `osctl logs NAME`, then `osctl services start NAME`");
        health.set("services", Status::Unhealthy, "RestartBudgetSpent", message);
    }
}

fn memory_mib(cgroup: &str) -> Option<u64> {
    let path = PathBuf::from(cgroup.trim_start_matches('/'));
    let group = Cgroup::load(Box::new(V2::new()), path);
    let memory: &MemController = group.controller_of()?;
    Some(memory.memory_stat().usage_in_bytes.div_ceil(MIB)).filter(|mib| *mib > 0)
}
