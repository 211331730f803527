//! `osctl mounts`

use proto::inspect::v1 as api;
use serde::Serialize;

use super::units::{bytes, part};
use super::{List, warn_of_omitted};
use crate::cli::inspect::Mounts;
use crate::command::Session;
use crate::failure::Failure;
use crate::output::{self, Table};

/// Below these the kubelet and containerd mount what pods ask for.
const OF_PODS: [&str; 3] = ["/var/lib/kubelet/", "/run/containerd/", "/run/netns/"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    name: String,
    source: String,
    target: String,
    root: String,
    #[serde(rename = "type")]
    kind: String,
    options: Vec<String>,
    size_bytes: Option<u64>,
    used_bytes: Option<u64>,
    available_bytes: Option<u64>,
    inodes: Option<u64>,
    inodes_used: Option<u64>,
}

impl From<api::Mount> for Mount {
    fn from(mount: api::Mount) -> Mount {
        Mount {
            name: mount.name,
            source: mount.source,
            target: mount.target,
            root: mount.root,
            kind: mount.r#type,
            options: mount.options,
            size_bytes: mount.size_bytes,
            used_bytes: mount.used_bytes,
            available_bytes: mount.available_bytes,
            inodes: mount.inodes,
            inodes_used: mount.inodes_used,
        }
    }
}

impl Mount {
    fn is_wanted(&self, all: bool) -> bool {
        let is_of_pod = OF_PODS.iter().any(|folder| self.target.starts_with(folder));
        all || self.size_bytes.is_some() && !is_of_pod
    }
}

pub async fn run(session: &Session, arguments: &Mounts) -> Result<(), Failure> {
    let node = session.connect().await?;
    let answer =
        node.call("cannot list the mounts", node.inspect().list_mounts(api::ListMountsRequest {})).await?;
    warn_of_omitted(answer.omitted);
    let items = answer.mounts.into_iter().map(Mount::from).filter(|mount| mount.is_wanted(arguments.all));
    let list = List { interval_ms: None, items: items.collect(), omitted: answer.omitted };
    output::print(session.format(), &list, |list: &List<Mount>| table(&list.items))
}

fn table(mounts: &[Mount]) -> String {
    let heading =
        ["TARGET", "NAME", "SOURCE", "TYPE", "SIZE", "USED", "USED%", "AVAILABLE", "INODES%", "OPTIONS"];
    let mut table = Table::new(heading);
    for mount in mounts {
        table.row([
            mount.target.clone(),
            mount.name.clone(),
            mount.source.clone(),
            mount.kind.clone(),
            bytes(mount.size_bytes),
            bytes(mount.used_bytes),
            part(mount.used_bytes, mount.size_bytes),
            bytes(mount.available_bytes),
            part(mount.inodes_used, mount.inodes),
            mount.options.join(","),
        ]);
    }
    table.take()
}
