//! TCP and UDP sockets, with the processes that have them open.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use procview::{Protocol, SocketEntry, socket_inode};
use proto::inspect::v1 as api;

use super::{Names, Roots, omitted, processes, roots::read};

/// Sockets of one answer: with some 200 bytes each they fit into a message.
const SOCKETS_MAX: usize = 8192;
/// Open files that are looked at in search of sockets.
const FILES_MAX: usize = 200_000;
/// Networks of pods that are looked at.
const NETWORKS_MAX: usize = 512;

/// A socket and whose network it is in: that of a process, or the node's own.
struct Seen {
    protocol: Protocol,
    entry: SocketEntry,
    network_of: Option<u32>,
}

/// All sockets.
pub fn sockets(roots: &Roots, names: &Names, request: api::ListSocketsRequest) -> api::ListSocketsResponse {
    let mut seen = tables(&roots.proc.join("self/net"), None);
    if request.pods {
        for (pid, folder) in networks(roots) {
            seen.extend(tables(&folder, Some(pid)));
        }
    }
    seen.retain(|socket| !request.listening || socket.entry.is_listening());
    let omitted = omitted(seen.len(), SOCKETS_MAX);
    seen.truncate(SOCKETS_MAX);
    let holders = holders(roots, seen.iter().map(|socket| socket.entry.inode).filter(|inode| *inode != 0));
    let sockets = seen.into_iter().map(|socket| message(roots, names, socket, &holders));
    api::ListSocketsResponse { sockets: sockets.collect(), omitted }
}

fn tables(folder: &Path, network_of: Option<u32>) -> Vec<Seen> {
    let table = |protocol: Protocol| {
        let bytes = read(&folder.join(protocol.name())).unwrap_or_default();
        SocketEntry::parse_all(protocol, &bytes).into_iter().map(move |entry| Seen {
            protocol,
            entry,
            network_of,
        })
    };
    Protocol::ALL.into_iter().flat_map(table).collect()
}

/// Networks besides the node's own, each by the first process in it.
fn networks(roots: &Roots) -> Vec<(u32, PathBuf)> {
    let network = |folder: &Path| fs::read_link(folder.join("ns/net")).ok();
    let mut known: BTreeSet<PathBuf> = network(&roots.proc.join("self")).into_iter().collect();
    let mut found = Vec::new();
    for pid in roots.pids() {
        let folder = roots.process(pid);
        if found.len() < NETWORKS_MAX && network(&folder).is_some_and(|network| known.insert(network)) {
            found.push((pid, folder.join("net")));
        }
    }
    found
}

/// The first process that has each of these sockets open.
fn holders(roots: &Roots, wanted: impl Iterator<Item = u64>) -> HashMap<u64, u32> {
    let mut wanted: BTreeSet<u64> = wanted.collect();
    let mut holders = HashMap::new();
    let mut files_left = FILES_MAX;
    for pid in roots.pids() {
        if wanted.is_empty() || files_left == 0 {
            break;
        }
        let files = fs::read_dir(roots.process(pid).join("fd")).into_iter().flatten().flatten();
        for file in files.take(files_left) {
            files_left = files_left.saturating_sub(1);
            let Ok(link) = fs::read_link(file.path()) else { continue };
            if let Some(inode) =
                socket_inode(link.as_os_str().as_bytes()).filter(|inode| wanted.remove(inode))
            {
                holders.insert(inode, pid);
            }
        }
    }
    holders
}

fn message(roots: &Roots, names: &Names, socket: Seen, holders: &HashMap<u64, u32>) -> api::Socket {
    let Seen { protocol, entry, network_of } = socket;
    let pid = holders.get(&entry.inode).copied();
    // One that nobody has open any more still belongs to whom its network belongs to.
    let owner = pid.or(network_of).and_then(|pid| processes::cgroup(&roots.process(pid)));
    api::Socket {
        protocol: protocol.name().to_owned(),
        local_address: entry.local.ip().to_string(),
        local_port: entry.local.port().into(),
        peer_address: entry.peer.ip().to_string(),
        peer_port: entry.peer.port().into(),
        state: entry.state.to_owned(),
        receive_queue: entry.receive_queue,
        send_queue: entry.send_queue,
        user_id: entry.user_id,
        pid,
        process_name: pid.and_then(|pid| processes::name(&roots.process(pid))).unwrap_or_default(),
        owner: owner.and_then(|cgroup| names.owner(&cgroup)),
        pod_network: network_of.is_some(),
    }
}
