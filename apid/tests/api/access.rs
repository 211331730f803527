//! Who may call what, and what machined is told about it.

use apid::roles::{self, Shape};
use pki::Role;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::log;
use crate::rig::{GET_VERSION, REBOOT, Rig, code, stream, unary, unary_with};

#[tokio::test]
async fn every_method_asks_for_its_role() {
    let mut rig = Rig::start().await;
    for role in Role::ALL {
        // A new name per half of the table: each may only do so much at once.
        let client = rig.client(&format!("matrix {role}"), role).await;
        for method in roles::METHODS {
            let result = match method.shape {
                Shape::Unary if method.path.ends_with("CheckHealth") => continue,
                Shape::Unary => unary(&client, method.path).await,
                Shape::Stream => stream(&client, method.path).await.map(drop),
            };
            let expected = if role.allows(method.role) { Code::Ok } else { Code::PermissionDenied };
            assert_eq!(code(&result), expected, "{} by {role}: {result:?}", method.path);
        }
    }
    while let Ok(call) = rig.machined.seen.try_recv() {
        let role: Role = call.headers["cairn-role"].to_str().unwrap().parse().unwrap();
        let method = roles::find(&call.path).unwrap();
        assert!(role.allows(method.role), "machined got {} by {role}", call.path);
    }
}

#[tokio::test]
async fn a_reader_cannot_reboot() {
    let mut rig = Rig::start().await;
    let client = rig.client("reader who reboots", Role::Reader).await;
    let denied = unary(&client, REBOOT).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(denied.message().contains("needs the role operator"), "{denied:?}");
    assert!(denied.message().contains("\"reader who reboots\" has reader"), "{denied:?}");
    let record = log::audit("reader who reboots", REBOOT).await;
    assert_eq!(record["status"], "PermissionDenied");
    assert!(rig.machined.seen.try_recv().is_err(), "machined must not see the call");
}

#[tokio::test]
async fn unknown_methods_are_unimplemented() {
    let mut rig = Rig::start().await;
    let client = rig.client("explorer", Role::Admin).await;
    for path in ["/cairn.machine.v1.MachineService/Explode", "/x", "/cairn.machine.v1.MachineService/Reboot/"]
    {
        assert_eq!(code(&unary(&client, path).await), Code::Unimplemented, "{path}");
        assert_eq!(log::audit("explorer", path).await["status"], "Unimplemented");
    }
    assert!(rig.machined.seen.try_recv().is_err(), "machined must not see the calls");
}

#[tokio::test]
async fn a_client_cannot_say_who_it_is() {
    let mut rig = Rig::start().await;
    let client = rig.client("mallory", Role::Reader).await;
    let mut request = Request::new(());
    let metadata = request.metadata_mut();
    metadata.append("cairn-role", "admin".parse().unwrap());
    metadata.append("cairn-subject", "root".parse().unwrap());
    metadata.append_bin("cairn-subject-bin", MetadataValue::from_bytes(b"root"));
    metadata.append("cairn-later", "invention".parse().unwrap());
    metadata.append("x-kept", "as it is".parse().unwrap());
    unary_with(&client, GET_VERSION, request).await.unwrap();
    let call = rig.machined.next().await;
    let mut ours: Vec<_> =
        call.headers.iter().filter(|(name, _)| name.as_str().starts_with("cairn-")).collect();
    ours.sort_by_key(|(name, _)| name.as_str());
    assert_eq!(format!("{ours:?}"), r#"[("cairn-role", "reader"), ("cairn-subject", "mallory")]"#);
    assert_eq!(call.headers["x-kept"], "as it is");
}

#[tokio::test]
async fn every_call_is_recorded() {
    let rig = Rig::start().await;
    let client = rig.client("audited", Role::Operator).await;
    unary(&client, REBOOT).await.unwrap();
    let record = log::audit("audited", REBOOT).await;
    assert_eq!(record["role"], "operator");
    assert_eq!(record["status"], "Ok");
    assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(record["serial"].as_str().unwrap().len(), 32);
    assert!(record["duration_ms"].is_u64());
    assert!(record["timestamp"].is_string());
}

#[tokio::test]
async fn health_and_reflection_are_answered_here() {
    let mut rig = Rig::start().await;
    rig.machined.stop();
    let client = rig.client("prober", Role::Reader).await;

    let mut health = tonic_health::pb::health_client::HealthClient::new(client.clone());
    let checked =
        health.check(tonic_health::pb::HealthCheckRequest { service: String::new() }).await.unwrap();
    assert_eq!(
        checked.into_inner().status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );

    use tonic_reflection::pb::v1 as reflection;
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(reflection::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(client);
    let mut answers =
        client.server_reflection_info(futures_util::stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let reflection::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"cairn.machine.v1.MachineService".to_owned()), "{names:?}");
}
