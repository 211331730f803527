//! `osctl version`

use proto::machine::v1::{GetVersionRequest, GetVersionResponse};
use serde::Serialize;

use super::Session;
use crate::failure::Failure;
use crate::output;

#[derive(Serialize)]
struct Version {
    client: ClientVersion,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeVersion>,
}

#[derive(Serialize)]
struct ClientVersion {
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeVersion {
    version: String,
    kubernetes_version: String,
    kernel_version: String,
    architecture: String,
    slot: String,
    node_id: String,
    hostname: String,
    boot_id: String,
}

pub async fn run(session: &Session, client_only: bool) -> Result<(), Failure> {
    let node = if client_only { None } else { Some(of_node(session).await?) };
    let version = Version { client: ClientVersion { version: env!("CARGO_PKG_VERSION") }, node };
    output::print(session.format(), &version, text)
}

async fn of_node(session: &Session) -> Result<NodeVersion, Failure> {
    let node = session.connect().await?;
    let answer =
        node.call("cannot get the version", node.machine().get_version(GetVersionRequest {})).await?;
    let GetVersionResponse {
        version,
        kubernetes_version,
        kernel_version,
        architecture,
        slot,
        node_id,
        hostname,
        boot_id,
    } = answer;
    Ok(NodeVersion {
        version,
        kubernetes_version,
        kernel_version,
        architecture,
        slot,
        node_id,
        hostname,
        boot_id,
    })
}

fn text(version: &Version) -> String {
    let mut lines = vec![("osctl", version.client.version)];
    if let Some(node) = &version.node {
        lines.extend([
            ("node", node.version.as_str()),
            ("kubernetes", &node.kubernetes_version),
            ("kernel", &node.kernel_version),
            ("architecture", &node.architecture),
            ("slot", &node.slot),
            ("hostname", &node.hostname),
            ("node id", &node.node_id),
            ("boot id", &node.boot_id),
        ]);
    }
    lines.iter().map(|(name, value)| format!("{name:<13} {value}\n")).collect()
}
