//! Who is let in, and what happens to the rest.

use std::time::{SystemTime, UNIX_EPOCH};

use apid::connection::{FIRST_CALL_TIMEOUT, HANDSHAKE_TIMEOUT};
use apid::limits::RUNNING;
use pki::{Role, Template, Usage, Validity};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::Code;

use crate::log;
use crate::rig::{
    DAY_S, FLOOR_S, GET_VERSION, Rig, channel, code, connect, credentials_for, fast_forward, new_ca, refusal,
    tls, unary,
};

#[tokio::test]
async fn valid_certificates_of_every_role_get_in() {
    let rig = Rig::start().await;
    for role in Role::ALL {
        let client = rig.client("valid", role).await;
        assert_eq!(code(&unary(&client, GET_VERSION).await), Code::Ok);
    }
}

#[tokio::test]
async fn certificates_are_judged_by_the_floor() {
    let rig = Rig::start().await;
    let verdict = async |validity| {
        let credentials = credentials_for(&rig.files.ca, "timed", Role::Reader, validity);
        match channel(rig.address, &rig.files.ca, &credentials).await {
            Ok(client) => code(&unary(&client, GET_VERSION).await),
            Err(_) => Code::Unauthenticated,
        }
    };
    assert_eq!(verdict(Validity::starting(FLOOR_S - DAY_S, 2 * DAY_S)).await, Code::Ok);
    // Issued by a laptop whose clock is ahead of the node's.
    assert_eq!(verdict(Validity::starting(FLOOR_S + DAY_S, DAY_S)).await, Code::Ok);
    let expired = Validity::starting(FLOOR_S - 2 * DAY_S, DAY_S);
    let credentials = credentials_for(&rig.files.ca, "timed", Role::Reader, expired);
    let refused = refusal(rig.address, tls(&rig.files.ca, Some(&credentials), &[&TLS13])).await;
    assert_eq!(refused, "received fatal alert: CertificateExpired");
}

/// Only the floor that machined vouches for counts. This computer's wall clock plays that of the node.
#[tokio::test]
async fn a_wrong_wall_clock_locks_nobody_out() {
    const YEAR_S: u64 = 365 * DAY_S;
    let wall_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (what, floor_s) in [
        ("the wall clock is ten years ahead of the image", wall_s - 10 * YEAR_S),
        ("the wall clock fell back to 1970", wall_s + 50 * YEAR_S),
        ("nothing is known of the time", 0),
    ] {
        let rig = Rig::start_at(floor_s).await;
        // Issued by laptops that know the time: it is the floor or later.
        for start_s in [floor_s, floor_s + YEAR_S, floor_s + 30 * YEAR_S] {
            let valid = Validity::starting(start_s, DAY_S);
            let credentials = credentials_for(&rig.files.ca, "timed", Role::Admin, valid);
            let channel = channel(rig.address, &rig.files.ca, &credentials).await.unwrap();
            assert_eq!(code(&unary(&channel, GET_VERSION).await), Code::Ok, "{what}, {start_s}");
        }
        let Some(before_s) = floor_s.checked_sub(DAY_S) else { continue };
        let expired = Validity::starting(before_s, DAY_S / 2);
        let credentials = credentials_for(&rig.files.ca, "timed", Role::Admin, expired);
        let refused = refusal(rig.address, tls(&rig.files.ca, Some(&credentials), &[&TLS13])).await;
        assert_eq!(refused, "received fatal alert: CertificateExpired", "{what}");
    }
}

#[tokio::test]
async fn strangers_are_refused() {
    let rig = Rig::start().await;
    let ca = &rig.files.ca;
    let refused = async |credentials| refusal(rig.address, tls(ca, credentials, &[&TLS13])).await;

    assert_eq!(refused(None).await, "received fatal alert: CertificateRequired");

    let stranger = new_ca();
    let theirs = credentials_for(&stranger, "stranger", Role::Admin, Validity::starting(FLOOR_S, DAY_S));
    assert_eq!(refused(Some(&theirs)).await, "received fatal alert: UnknownCA");

    let mut template = Template {
        common_name: "kubelet".into(),
        organisation: Some("system:masters".into()),
        dns_names: vec![],
        addresses: vec![],
        usage: Usage::Client,
        validity: Validity::UNLIMITED,
    };
    let no_role = ca.issue_with_new_key(&template).unwrap();
    assert_eq!(refused(Some(&no_role)).await, "received fatal alert: AccessDenied");
    template.organisation = Some("os:admin".into());
    template.usage = Usage::Server;
    let server = ca.issue_with_new_key(&template).unwrap();
    assert_eq!(refused(Some(&server)).await, "received fatal alert: UnsupportedCertificate");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let rig = Rig::start().await;
    let credentials = rig.credentials("old", Role::Admin);
    let refused = refusal(rig.address, tls(&rig.files.ca, Some(&credentials), &[&TLS12])).await;
    assert_eq!(refused, "received fatal alert: ProtocolVersion");
}

#[tokio::test]
async fn plain_text_is_refused() {
    let rig = Rig::start().await;
    for text in ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The rest of the text may be reset unread.
        let _ended = stream.read_to_end(&mut answer).await;
        // At most a TLS alert (RFC 8446 section 6: type 21), never anything that serves.
        assert!(answer.is_empty() || (answer[0] == 21 && answer.len() == 7), "{answer:?}");
    }
}

#[tokio::test]
async fn http_2_must_be_asked_for() {
    let rig = Rig::start().await;
    let credentials = rig.credentials("no alpn", Role::Admin);
    let mut config = tls(&rig.files.ca, Some(&credentials), &[&TLS13]);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(refusal(rig.address, config.clone()).await, "received fatal alert: NoApplicationProtocol");
    config.alpn_protocols.clear();
    let mut stream = connect(rig.address, config).await.unwrap();
    assert!(!matches!(stream.read(&mut [0; 1]).await, Ok(1..)), "nothing may be served");
}

#[tokio::test]
async fn sessions_are_not_resumed() {
    let rig = Rig::start().await;
    let config = tls(&rig.files.ca, Some(&rig.credentials("again", Role::Reader)), &[&TLS13]);
    for _ in 0..2 {
        let mut stream = connect(rig.address, config.clone()).await.unwrap();
        // Tickets would come with the server's first bytes: its HTTP/2 settings.
        stream.read_exact(&mut [0; 9]).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn half_open_handshakes_are_bounded_in_number_and_time() {
    let rig = Rig::start().await;
    let mut silent = Vec::new();
    for _ in 0..RUNNING.address_connections {
        silent.push(TcpStream::connect(rig.address).await.unwrap());
    }
    let mut one_more = TcpStream::connect(rig.address).await.unwrap();
    let local = one_more.local_addr().unwrap().to_string();
    assert_eq!(one_more.read(&mut [0; 1]).await.unwrap(), 0, "one too many of this address");
    let line = log::line(|line| line["peer"] == local.as_str()).await;
    assert_eq!(line["reason"], "too many connections of this address");

    let started = Instant::now();
    for mut stream in silent {
        assert_eq!(fast_forward(stream.read(&mut [0; 1])).await.unwrap(), 0, "timed out");
    }
    let elapsed = started.elapsed();
    assert!(elapsed >= HANDSHAKE_TIMEOUT && elapsed < 2 * HANDSHAKE_TIMEOUT, "{elapsed:?}");
    let client = rig.client("after the flood", Role::Reader).await;
    assert_eq!(code(&unary(&client, GET_VERSION).await), Code::Ok);
}

#[tokio::test]
async fn connections_without_a_call_are_closed() {
    let rig = Rig::start().await;
    let credentials = rig.credentials("mute", Role::Reader);
    let mut stream = connect(rig.address, tls(&rig.files.ca, Some(&credentials), &[&TLS13])).await.unwrap();
    let started = Instant::now();
    // Ends without the client having said a word of HTTP/2.
    let _ended = fast_forward(stream.read_to_end(&mut Vec::new())).await;
    let elapsed = started.elapsed();
    assert!(elapsed >= FIRST_CALL_TIMEOUT && elapsed < 2 * FIRST_CALL_TIMEOUT, "{elapsed:?}");
}
