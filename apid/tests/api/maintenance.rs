//! A node without configuration: what anybody can reach, what nobody can, and that it ends for good.

use apid::limits::MAINTENANCE;
use apid::roles::{self, Shape};
use pki::{Ca, Role};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rustls::version::TLS13;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::log;
use crate::rig::{
    GET_VERSION, Rig, channel, channel_of, code, connect, credentials, new_ca, refusal, stream, tls, unary,
};

const STATUS: &str = "/cairn.maintenance.v1.MaintenanceService/Status";
const PROVE: &str = "/cairn.maintenance.v1.MaintenanceService/Prove";
const CONFIGURE: &str = "/cairn.maintenance.v1.MaintenanceService/Configure";

async fn unconfigured(medium: Option<&Ca>) -> Rig {
    Rig::start_with(|files| files.write_maintenance(medium.map(Ca::bundle))).await
}

async fn stranger(rig: &Rig) -> Channel {
    channel_of(rig.address, tls(&rig.files.ca, None, &[&TLS13])).await.unwrap()
}

/// Every method of the API, and of what apid answers itself.
fn all_methods() -> Vec<String> {
    let sets = [proto::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let files = sets.into_iter().flat_map(|set| FileDescriptorSet::decode(set).unwrap().file);
    let paths = files.flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().flat_map(move |service| {
            let name = format!("/{package}.{}", service.name());
            let methods = service.method.into_iter();
            methods.map(move |method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
        })
    });
    paths.collect()
}

#[tokio::test]
async fn nothing_but_the_maintenance_service_is_there() {
    let mut rig = unconfigured(None).await;
    let mut forwarded = Vec::new();
    for path in all_methods() {
        let path: &'static str = path.leak();
        // A stranger may make few calls a second: time flies until there is room again.
        let result = loop {
            let client = stranger(&rig).await;
            let result = match roles::find(path).map(|method| method.shape) {
                Some(Shape::Stream) => stream(&client, path).await.map(drop),
                Some(Shape::Unary) | None => unary(&client, path).await,
            };
            if code(&result) != Code::ResourceExhausted {
                break result;
            }
            tokio::time::pause();
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            tokio::time::resume();
        };
        let expected = if path.starts_with("/cairn.maintenance.") { Code::Ok } else { Code::Unimplemented };
        assert_eq!(code(&result), expected, "{path}: {result:?}");
        if code(&result) == Code::Ok {
            forwarded.push(path);
        }
    }
    forwarded.sort_unstable();
    assert_eq!(forwarded, [CONFIGURE, PROVE, STATUS]);
    let mut seen = Vec::new();
    while let Ok(call) = rig.machined.seen.try_recv() {
        assert_eq!(call.headers["cairn-subject"], "127.0.0.1");
        assert_eq!(call.headers["cairn-role"], "reader");
        seen.push(call.path);
    }
    seen.sort_unstable();
    assert_eq!(seen, forwarded, "machined got other calls");
}

#[tokio::test]
async fn a_configured_node_has_no_maintenance_service() {
    let mut rig = Rig::start().await;
    let client = rig.client("late", Role::Admin).await;
    for path in [STATUS, PROVE, CONFIGURE] {
        assert_eq!(code(&unary(&client, path).await), Code::Unimplemented, "{path}");
    }
    assert!(rig.machined.seen.try_recv().is_err(), "machined must not see the calls");
}

#[tokio::test]
async fn with_a_medium_of_an_admin_only_his_clients_are_let_in() {
    let medium = new_ca();
    let rig = unconfigured(Some(&medium)).await;
    let nobody = refusal(rig.address, tls(&rig.files.ca, None, &[&TLS13])).await;
    assert!(nobody.contains("CertificateRequired"), "{nobody}");
    let other = credentials(&rig.files.ca, "of another fleet", Role::Admin);
    let other = refusal(rig.address, tls(&rig.files.ca, Some(&other), &[&TLS13])).await;
    assert!(other.contains("UnknownCA"), "{other}");
    let admin = credentials(&medium, "admin of the medium", Role::Admin);
    let client = channel(rig.address, &rig.files.ca, &admin).await.unwrap();
    unary(&client, STATUS).await.unwrap();
    assert_eq!(log::audit("admin of the medium", STATUS).await["role"], "admin");
    assert_eq!(code(&unary(&client, GET_VERSION).await), Code::Unimplemented);
}

#[tokio::test]
async fn requests_are_short_but_for_the_configuration() {
    let mut rig = unconfigured(None).await;
    let client = stranger(&rig).await;
    let status = sized(&client, PROVE, 5 * 1024).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let status = sized(&client, CONFIGURE, 1600 * 1024).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    sized(&client, CONFIGURE, 1025 * 1024).await.unwrap();
    let call = rig.machined.next().await;
    assert_eq!((call.path.as_str(), call.body_bytes > 1025 * 1024), (CONFIGURE, true));
}

#[tokio::test]
async fn a_stranger_has_few_connections() {
    let rig = unconfigured(None).await;
    let config = tls(&rig.files.ca, None, &[&TLS13]);
    let mut held = Vec::new();
    for _ in 0..MAINTENANCE.address_connections {
        held.push(connect(rig.address, config.clone()).await.unwrap());
    }
    assert!(connect(rig.address, config.clone()).await.is_err());
}

#[tokio::test]
async fn a_configuration_ends_it() {
    let rig = unconfigured(None).await;
    let before = stranger(&rig).await;
    unary(&before, STATUS).await.unwrap();
    rig.files.write_cas(rig.files.ca.bundle());
    rig.files.write_identity(crate::rig::FLOOR_S);
    let closed = log::line(|line| {
        line["message"] == "connection closed"
            && line["refusal"].as_str().is_some_and(|refusal| refusal.contains("no longer in the mode"))
    });
    closed.await;
    assert_ne!(code(&unary(&before, STATUS).await), Code::Ok, "the old connection is of use no more");
    let nobody = refusal(rig.address, tls(&rig.files.ca, None, &[&TLS13])).await;
    assert!(nobody.contains("CertificateRequired"), "{nobody}");
    let client = rig.client("first", Role::Admin).await;
    unary(&client, GET_VERSION).await.unwrap();
    assert_eq!(code(&unary(&client, STATUS).await), Code::Unimplemented);
}

/// Without CAs a node that is configured serves nobody: an empty file must not open it.
#[tokio::test]
async fn a_running_node_without_cas_stays_with_the_old_ones() {
    let rig = Rig::start().await;
    rig.files.write("ca.crt", "");
    log::line(|line| {
        line["message"] == "old certificates stay in use"
            && line["error"].as_str().is_some_and(|error| error.contains("the CA bundle is empty"))
    })
    .await;
    let nobody = refusal(rig.address, tls(&rig.files.ca, None, &[&TLS13])).await;
    assert!(nobody.contains("CertificateRequired"), "{nobody}");
    unary(&rig.client("still", Role::Reader).await, GET_VERSION).await.unwrap();
}

async fn sized(channel: &Channel, path: &'static str, bytes: usize) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<Vec<u8>, ()>::default();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    grpc.unary(tonic::Request::new(vec![0; bytes]), path, codec).await.map(drop)
}
