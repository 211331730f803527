//! Which method asks for which role. A method without a row does not exist for clients.

use pki::Role;
use pki::Role::{Admin, Operator, Reader};

use Answerer::{Health, Machined, Reflection};
use Shape::{Stream, Unary};

use crate::body::REQUEST_MAX_BYTES;

/// Longest request in maintenance, but for the configuration: a nonce.
const MAINTENANCE_REQUEST_MAX_BYTES: usize = 4 * 1024;
/// Longest first configuration: more than the longest text, with its signature.
const CONFIGURE_MAX_BYTES: usize = 1536 * 1024;
/// Longest request that carries a release along: more than the root and the UKI of a slot, however often resumed
/// blocks are read again. machined bounds each message of it.
const RELEASE_MAX_BYTES: usize = 2 * 1024 * 1024 * 1024;

/// Who answers a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// machined; the call is forwarded undecoded.
    Machined,
    /// apid: `grpc.health.v1`.
    Health,
    /// apid: `grpc.reflection.v1`.
    Reflection,
}

/// Whether a call ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One request, one response: has a deadline.
    Unary,
    /// Lasts until either side ends it.
    Stream,
}

/// One row of the table.
#[derive(Debug)]
pub struct Method {
    /// Path of the request: `/package.Service/Method`.
    pub path: &'static str,
    /// Least role that may call it.
    pub role: Role,
    /// Whether it ends by itself.
    pub shape: Shape,
    /// Who answers.
    pub answerer: Answerer,
    /// Longest request.
    pub request_max_bytes: usize,
}

const fn row(path: &'static str, role: Role, shape: Shape, answerer: Answerer) -> Method {
    Method { path, role, shape, answerer, request_max_bytes: REQUEST_MAX_BYTES }
}

/// A stream whose client answers what machined reads.
const fn upload(path: &'static str, role: Role, request_max_bytes: usize) -> Method {
    Method { path, role, shape: Stream, answerer: Machined, request_max_bytes }
}

const fn maintenance(path: &'static str, request_max_bytes: usize) -> Method {
    Method { path, role: Reader, shape: Unary, answerer: Machined, request_max_bytes }
}

/// Every method that clients can call.
///
/// A reader sees state and logs: whoever watches a fleet needs logs, and services are expected to keep secrets
/// out of them. Arguments of processes are not: people give passwords in them, to programs that offer no better way, so
/// who reads them must be an operator. An operator also controls services and power. Only an admin touches the node's
/// identity and its release, or becomes an admin of its cluster.
pub const METHODS: &[Method] = &[
    row("/cairn.cluster.v1.ClusterService/GetCluster", Reader, Unary, Machined),
    row("/cairn.cluster.v1.ClusterService/IssueAdminCertificate", Admin, Unary, Machined),
    row("/cairn.config.v1.ConfigService/Apply", Admin, Stream, Machined),
    row("/cairn.config.v1.ConfigService/Confirm", Admin, Unary, Machined),
    row("/cairn.config.v1.ConfigService/Get", Reader, Unary, Machined),
    row("/cairn.config.v1.ConfigService/ListGenerations", Reader, Unary, Machined),
    row("/cairn.config.v1.ConfigService/Plan", Admin, Unary, Machined),
    row("/cairn.config.v1.ConfigService/Reset", Admin, Unary, Machined),
    row("/cairn.identity.v1.IdentityService/GetSigningRequest", Admin, Unary, Machined),
    row("/cairn.identity.v1.IdentityService/InstallCertificate", Admin, Unary, Machined),
    row("/cairn.inspect.v1.InspectService/GetSystem", Reader, Unary, Machined),
    row("/cairn.inspect.v1.InspectService/ListArguments", Operator, Unary, Machined),
    row("/cairn.inspect.v1.InspectService/ListCgroups", Reader, Unary, Machined),
    row("/cairn.inspect.v1.InspectService/ListMounts", Reader, Unary, Machined),
    row("/cairn.inspect.v1.InspectService/ListProcesses", Reader, Unary, Machined),
    row("/cairn.inspect.v1.InspectService/ListSockets", Reader, Unary, Machined),
    row("/cairn.log.v1.LogService/ListBoots", Reader, Unary, Machined),
    row("/cairn.log.v1.LogService/ListCrashes", Reader, Unary, Machined),
    row("/cairn.log.v1.LogService/ListSources", Reader, Unary, Machined),
    row("/cairn.log.v1.LogService/Read", Reader, Stream, Machined),
    row("/cairn.log.v1.LogService/ReadKernel", Reader, Stream, Machined),
    row("/cairn.log.v1.LogService/ReadRecords", Reader, Stream, Machined),
    row("/cairn.machine.v1.MachineService/CheckHealth", Reader, Unary, Machined),
    row("/cairn.machine.v1.MachineService/GetVersion", Reader, Unary, Machined),
    row("/cairn.machine.v1.MachineService/Reboot", Operator, Unary, Machined),
    row("/cairn.machine.v1.MachineService/Shutdown", Operator, Unary, Machined),
    row("/cairn.resource.v1.ResourceService/Get", Reader, Unary, Machined),
    row("/cairn.resource.v1.ResourceService/List", Reader, Unary, Machined),
    row("/cairn.resource.v1.ResourceService/ListKinds", Reader, Unary, Machined),
    row("/cairn.resource.v1.ResourceService/Watch", Reader, Stream, Machined),
    row("/cairn.service.v1.ServiceService/Restart", Operator, Unary, Machined),
    row("/cairn.service.v1.ServiceService/Start", Operator, Unary, Machined),
    row("/cairn.service.v1.ServiceService/Stop", Operator, Unary, Machined),
    row("/cairn.update.v1.UpdateService/Cancel", Admin, Unary, Machined),
    row("/cairn.update.v1.UpdateService/GetStatus", Reader, Unary, Machined),
    row("/cairn.update.v1.UpdateService/Rollback", Admin, Unary, Machined),
    upload("/cairn.update.v1.UpdateService/Upgrade", Admin, RELEASE_MAX_BYTES),
    row("/cairn.update.v1.UpdateService/Watch", Reader, Stream, Machined),
    row("/grpc.health.v1.Health/Check", Reader, Unary, Health),
    row("/grpc.health.v1.Health/Watch", Reader, Stream, Health),
    row("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Reader, Stream, Reflection),
];

/// Every method of a node without configuration, where these are the only ones. machined itself asks for what makes
/// an admin here: the pairing code, or a signature.
pub const MAINTENANCE: &[Method] = &[
    maintenance("/cairn.maintenance.v1.MaintenanceService/Configure", CONFIGURE_MAX_BYTES),
    maintenance("/cairn.maintenance.v1.MaintenanceService/Prove", MAINTENANCE_REQUEST_MAX_BYTES),
    maintenance("/cairn.maintenance.v1.MaintenanceService/Status", MAINTENANCE_REQUEST_MAX_BYTES),
];

/// The row of a path on a node with a configuration.
#[must_use]
pub fn find(path: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Path of every method of a descriptor set, with (client streams, server streams).
    fn described(descriptors: &[u8]) -> BTreeMap<String, (bool, bool)> {
        let mut methods = BTreeMap::new();
        for file in FileDescriptorSet::decode(descriptors).unwrap().file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    methods.insert(path, (method.client_streaming(), method.server_streaming()));
                }
            }
        }
        methods
    }

    fn rows(answerer: Answerer) -> BTreeMap<String, Shape> {
        let rows = METHODS.iter().filter(|method| method.answerer == answerer);
        rows.map(|method| (method.path.to_owned(), method.shape)).collect()
    }

    fn shapes(methods: BTreeMap<String, (bool, bool)>) -> BTreeMap<String, Shape> {
        let shape = |(client, server)| if client || server { Stream } else { Unary };
        methods.into_iter().map(|(path, streams)| (path, shape(streams))).collect()
    }

    #[test]
    fn every_method_has_a_row_and_every_row_a_method() {
        let (maintenance, machined): (BTreeMap<_, _>, BTreeMap<_, _>) = described(proto::DESCRIPTORS)
            .into_iter()
            .partition(|(path, _)| path.starts_with("/cairn.maintenance."));
        assert_eq!(rows(Machined), shapes(machined));
        let in_maintenance = MAINTENANCE.iter().map(|method| (method.path.to_owned(), method.shape));
        assert_eq!(in_maintenance.collect::<BTreeMap<_, _>>(), shapes(maintenance));
        assert_eq!(rows(Health), shapes(described(tonic_health::pb::FILE_DESCRIPTOR_SET)));
        assert_eq!(rows(Reflection), shapes(described(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)));
        let rows: usize = [Machined, Health, Reflection].map(|answerer| rows(answerer).len()).iter().sum();
        assert_eq!(rows, METHODS.len(), "a path has two rows");
    }

    #[test]
    fn what_streams_from_the_client_has_a_limit_of_its_own() {
        // The limit on a request's size is one on the whole body.
        for (path, (client, _)) in described(proto::DESCRIPTORS) {
            let limit = find(&path).map_or(MAINTENANCE_REQUEST_MAX_BYTES, |method| method.request_max_bytes);
            assert_eq!(client, limit > REQUEST_MAX_BYTES, "{path}");
        }
    }

    #[test]
    fn readers_change_nothing() {
        let reading = ["Get", "List", "Watch", "Read", "Check", "ServerReflection"];
        for method in METHODS.iter().filter(|method| method.role == Reader) {
            let name = method.path.rsplit('/').next().unwrap();
            assert!(reading.iter().any(|verb| name.starts_with(verb)), "{name}");
        }
    }

    #[test]
    fn arguments_of_processes_are_not_for_readers() {
        let arguments = find("/cairn.inspect.v1.InspectService/ListArguments").unwrap();
        assert!(!Reader.allows(arguments.role) && Operator.allows(arguments.role));
    }

    #[test]
    fn paths_are_exact() {
        assert!(find("/cairn.machine.v1.MachineService/Reboot").is_some());
        for other in
            ["", "/", "/cairn.machine.v1.MachineService/reboot", "/cairn.machine.v1.MachineService/Reboot/"]
        {
            assert!(find(other).is_none(), "{other}");
        }
    }
}
