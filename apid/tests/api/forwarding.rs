//! Calls on their way to machined and back.

use std::time::Duration;

use apid::body::REQUEST_MAX_BYTES;
use apid::gateway::CALL_TIMEOUT;
use apid::limits::RUNNING;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::unfold;
use pki::Role;
use proto::service::v1::StartRequest;
use proto::service::v1::service_service_client::ServiceServiceClient;
use proto::update::v1::{Chunk, UpgradeRequest, upgrade_request};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;

use crate::log;
use crate::machined::{ECHOING, EMPTY_MESSAGE, HANGING};
use crate::rig::{GET_VERSION, Rig, WATCH, code, fast_forward, stream, unary, until_available};

#[tokio::test]
async fn streams_pass_through() {
    let mut rig = Rig::start().await;
    let client = rig.client("watcher", Role::Reader).await;
    let mut messages = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();
    for _ in 0..100 {
        frames.send(Bytes::from_static(EMPTY_MESSAGE)).await.unwrap();
        assert_eq!(messages.message().await.unwrap(), Some(()));
    }
    drop(frames);
    assert_eq!(messages.message().await.unwrap(), None);
    assert_eq!(log::audit("watcher", WATCH).await["status"], "Ok");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream() {
    let mut rig = Rig::start().await;
    let client = rig.client("leaver", Role::Reader).await;
    let messages = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();
    drop(messages);
    frames.closed().await;
    assert_eq!(log::audit("leaver", WATCH).await["status"], "Cancelled");
}

#[tokio::test]
async fn long_requests_are_cut_off() {
    let mut rig = Rig::start().await;
    let mut client = ServiceServiceClient::new(rig.client("talker", Role::Operator).await);
    // Five bytes of framing, five of tag and length.
    let name = "x".repeat(REQUEST_MAX_BYTES - 10);
    client.start(StartRequest { name: name.clone() }).await.unwrap();
    assert_eq!(rig.machined.next().await.body_bytes, REQUEST_MAX_BYTES);

    let refused = client.start(StartRequest { name: name + "x" }).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("4194304 bytes"), "{refused:?}");
    // The connection and the one behind it go on.
    client.start(StartRequest { name: "kubelet".into() }).await.unwrap();
}

#[tokio::test]
async fn a_release_passes_however_long_and_large_it_is() {
    let rig = Rig::start().await;
    let mut grpc = Grpc::new(rig.client("pusher", Role::Admin).await);
    grpc.ready().await.unwrap();
    let (chunks, sent) = mpsc::channel(1);
    let codec = tonic_prost::ProstCodec::<UpgradeRequest, UpgradeRequest>::default();
    let call = grpc.streaming(
        tonic::Request::new(unfold(sent, async |mut sent| Some((sent.recv().await?, sent)))),
        PathAndQuery::from_static(ECHOING),
        codec,
    );
    let mut echoed = call.await.unwrap().into_inner();
    let mut pass = async |id| {
        let chunk = Chunk { id, data: vec![0; 64 * 1024], ..Chunk::default() };
        let request = UpgradeRequest { message: Some(upgrade_request::Message::Chunk(chunk)) };
        chunks.send(request.clone()).await.unwrap();
        assert_eq!(echoed.message().await.unwrap(), Some(request));
    };
    let count = u32::try_from(2 * REQUEST_MAX_BYTES / (64 * 1024)).unwrap();
    for id in 0..count {
        pass(id).await;
    }
    fast_forward(tokio::time::sleep(10 * CALL_TIMEOUT)).await;
    pass(count).await;
    drop(chunks);
    assert_eq!(echoed.message().await.unwrap(), None);
    assert_eq!(log::audit("pusher", ECHOING).await["status"], "Ok");
}

#[tokio::test]
async fn calls_have_a_deadline() {
    let mut rig = Rig::start().await;
    let client = rig.client("patient", Role::Reader).await;
    unary(&client, GET_VERSION).await.unwrap();
    let late = fast_forward(unary(&client, HANGING)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    assert_eq!(rig.machined.next().await.path, GET_VERSION);
    assert_eq!(rig.machined.next().await.path, HANGING);
    assert!(log::audit("patient", HANGING).await["duration_ms"].as_u64().unwrap() >= 60_000);
}

#[tokio::test]
async fn a_restart_of_machined_is_survived() {
    let mut rig = Rig::start().await;
    let client = rig.client("steadfast", Role::Reader).await;
    let mut messages = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();
    frames.send(Bytes::from_static(EMPTY_MESSAGE)).await.unwrap();
    assert_eq!(messages.message().await.unwrap(), Some(()));

    rig.machined.stop();
    let lost = messages.message().await.unwrap_err();
    assert_eq!((lost.code(), lost.message()), (Code::Unavailable, "machined is restarting; try again"));
    let away = unary(&client, GET_VERSION).await.unwrap_err();
    assert_eq!((away.code(), away.message()), (Code::Unavailable, "machined is restarting; try again"));

    rig.machined.restart();
    unary(&client, GET_VERSION).await.unwrap();
    rig.machined.restart();
    until_available(&client).await;
}

#[tokio::test]
async fn one_subject_cannot_call_without_end() {
    let rig = Rig::start().await;
    let client = rig.client("hasty", Role::Reader).await;
    let other = rig.client("calm", Role::Reader).await;
    let mut answered = 0;
    let refused = loop {
        let batch = join_all((0..RUNNING.subject_calls / 2).map(|_| unary(&client, GET_VERSION))).await;
        answered += batch.iter().filter(|result| result.is_ok()).count();
        if let Some(refused) = batch.into_iter().find_map(Result::err) {
            break refused;
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("per second"), "{refused:?}");
    assert!(answered >= RUNNING.calls_burst as usize, "{answered}");
    assert_eq!(code(&unary(&other, GET_VERSION).await), Code::Ok);
}

#[tokio::test]
async fn one_subject_cannot_hold_all_streams() {
    let mut rig = Rig::start().await;
    let client = rig.client("hoarder", Role::Reader).await;
    let mut held = Vec::new();
    for _ in 0..RUNNING.subject_calls {
        held.push((stream(&client, WATCH).await.unwrap(), rig.machined.next().await.frames.unwrap()));
    }
    let refused = stream(&client, WATCH).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("at once"), "{refused:?}");
    assert_eq!(code(&unary(&rig.client("modest", Role::Reader).await, GET_VERSION).await), Code::Ok);

    let (messages, frames) = held.pop().unwrap();
    drop(messages);
    frames.closed().await;
    stream(&client, WATCH).await.unwrap();
}

#[tokio::test]
async fn a_stalled_reader_does_not_stop_others() {
    let mut rig = Rig::start().await;
    let client = rig.client("stalled", Role::Reader).await;
    let _unread = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();
    let message = Bytes::from([&[0, 0, 0, 16, 0][..], &[0; 4096]].concat());
    // Until every buffer on the way is full.
    let full = async || timeout(Duration::from_secs(2), frames.send(message.clone())).await.is_err();
    fast_forward(async { while !full().await {} }).await;
    assert_eq!(code(&unary(&client, GET_VERSION).await), Code::Ok);
    assert_eq!(code(&unary(&rig.client("lively", Role::Reader).await, GET_VERSION).await), Code::Ok);
}
