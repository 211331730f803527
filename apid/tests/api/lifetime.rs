//! Changes while apid runs: files that come late, new certificates, other CAs, time.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use apid::Server;
use apid::notify::Supervisor;
use pki::{Bundle, Revocations, Role, Validity};
use rustls::version::TLS13;

use crate::log;
use crate::rig::{
    DAY_S, FLOOR_S, Files, GET_VERSION, Rig, WATCH, channel, connect, credentials, credentials_for,
    fast_forward, new_ca, refusal, stream, tls, unary,
};

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn files_may_come_late() {
    let files = Files::new();
    let notify = files.socket().with_file_name("notify");
    let told = UnixDatagram::bind(&notify).unwrap();
    let mut options = files.options();
    options.supervisor = Supervisor::connect(notify.as_os_str(), Some(2_000_000)).unwrap();
    let starting = tokio::spawn(Server::start(options));
    let missed = async |name| {
        let path = files.apid().join(name).display().to_string();
        log::line(move |line| {
            line["message"] == "waiting for machined" && line["error"].as_str().unwrap().contains(&path)
        })
        .await
    };
    missed("identity.json").await;
    fs::create_dir(files.apid()).unwrap();
    files.write_identity(FLOOR_S);
    missed("ca.crt").await;
    files.write_rest();
    starting.await.unwrap().unwrap();
    assert_eq!(heard(&told), "WATCHDOG=1", "kept alive while waiting");
    assert_eq!(heard(&told), "READY=1");
}

#[tokio::test]
async fn pid_1_is_told() {
    let files = Files::new();
    files.write_all();
    let notify = files.socket().with_file_name("notify");
    let told = tokio::net::UnixDatagram::bind(&notify).unwrap();
    let mut options = files.options();
    options.supervisor = Supervisor::connect(notify.as_os_str(), Some(60_000_000)).unwrap();
    let server = Server::start(options).await.unwrap();
    let mut buffer = [0; 64];
    let length = told.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"READY=1");
    tokio::spawn(server.serve());
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        let length = fast_forward(told.recv(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..length], b"WATCHDOG=1");
    }
    assert!(started.elapsed() >= Duration::from_secs(60), "half of the time PID 1 gives");
}

#[tokio::test]
async fn new_handshakes_get_the_new_certificate() {
    let rig = Rig::start().await;
    let client = rig.client("before", Role::Reader).await;
    unary(&client, GET_VERSION).await.unwrap();
    let renewed = rig.files.write_certificate(&rig.files.ca);
    let config = tls(&rig.files.ca, Some(&rig.credentials("after", Role::Reader)), &[&TLS13]);
    loop {
        let stream = connect(rig.address, config.clone()).await.unwrap();
        if stream.get_ref().1.peer_certificates().unwrap()[0].as_ref() == renewed {
            break;
        }
    }
    unary(&client, GET_VERSION).await.unwrap();
}

#[tokio::test]
async fn unusable_files_change_nothing() {
    let rig = Rig::start().await;
    rig.files.write("server.crt", "garbage");
    rig.files.write("identity.json", "{}");
    log::line(|line| line["message"] == "old certificates stay in use").await;
    let client = rig.client("unmoved", Role::Reader).await;
    unary(&client, GET_VERSION).await.unwrap();
}

#[tokio::test]
async fn a_ca_that_is_no_longer_trusted_takes_its_connections_along() {
    let mut rig = Rig::start().await;
    let client = rig.client("outgoing", Role::Admin).await;
    let mut messages = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();

    let next = new_ca();
    let both: String = [rig.files.ca.bundle(), next.bundle()].map(Bundle::to_pem).concat();
    rig.files.write_cas(&Bundle::from_pem(&both).unwrap());
    rig.files.write_cas(next.bundle());
    assert!(messages.message().await.is_err());
    frames.closed().await;
    let line =
        log::line(|line| line["subject"] == "outgoing" && line["message"] == "connection closed").await;
    assert_eq!(line["refusal"], "the client certificate is not signed by a CA of this node");

    let old = rig.credentials("outgoing", Role::Admin);
    let refused = refusal(rig.address, tls(&rig.files.ca, Some(&old), &[&TLS13])).await;
    assert_eq!(refused, "received fatal alert: UnknownCA");
    let new = credentials(&next, "incoming", Role::Admin);
    let client = channel(rig.address, &rig.files.ca, &new).await.unwrap();
    unary(&client, GET_VERSION).await.unwrap();
}

#[tokio::test]
async fn a_revoked_client_is_cut_off_and_stays_out() {
    let mut rig = Rig::start().await;
    let stolen = rig.credentials("stolen", Role::Admin);
    let client = rig.channel(&stolen).await;
    let mut messages = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();
    let colleague = rig.client("colleague", Role::Reader).await;
    unary(&colleague, GET_VERSION).await.unwrap();

    let mut revoked = Revocations::default();
    revoked.revoke(stolen.certificate.hash()).unwrap();
    rig.files.write_revoked(&revoked);
    assert!(messages.message().await.is_err());
    frames.closed().await;
    let line = log::line(|line| line["subject"] == "stolen" && line["message"] == "connection closed").await;
    assert_eq!(line["refusal"], "the client certificate is revoked");
    unary(&colleague, GET_VERSION).await.unwrap();

    let refused = refusal(rig.address, tls(&rig.files.ca, Some(&stolen), &[&TLS13])).await;
    assert_eq!(refused, "received fatal alert: CertificateRevoked");
    let replacement = rig.client("stolen", Role::Admin).await;
    unary(&replacement, GET_VERSION).await.unwrap();
}

#[tokio::test]
async fn a_list_of_revocations_that_is_no_list_changes_nothing() {
    let rig = Rig::start().await;
    let stolen = rig.credentials("caught", Role::Reader);
    let mut revoked = Revocations::default();
    revoked.revoke(stolen.certificate.hash()).unwrap();
    rig.files.write_revoked(&revoked);
    let out = async || refusal(rig.address, tls(&rig.files.ca, Some(&stolen), &[&TLS13])).await;
    while out().await != "received fatal alert: CertificateRevoked" {}
    rig.files.write("revoked", "00\n");
    log::line(|line| line["error"] == "the list of revoked certificates is malformed: \"00\" is not the SHA-256 of a certificate: 64 hexadecimal digits").await;
    assert_eq!(out().await, "received fatal alert: CertificateRevoked");
}

#[tokio::test]
async fn a_stream_ends_when_its_certificate_does() {
    let mut rig = Rig::start().await;
    let hour = Validity::starting(FLOOR_S - 1, 3600);
    let client = rig.channel(&credentials_for(&rig.files.ca, "short", Role::Reader, hour)).await;
    let mut messages = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();
    let started = tokio::time::Instant::now();
    assert!(fast_forward(messages.message()).await.is_err());
    let elapsed_s = started.elapsed().as_secs();
    assert!((3599..=3601).contains(&elapsed_s), "{elapsed_s}");
    frames.closed().await;
    let line = log::line(|line| line["subject"] == "short" && line["message"] == "connection closed").await;
    assert!(line["refusal"].as_str().unwrap().contains("expired"), "{line}");
}

#[tokio::test]
async fn a_floor_that_rises_ends_connections() {
    let mut rig = Rig::start().await;
    let client = rig.client("overtaken", Role::Reader).await;
    let mut messages = stream(&client, WATCH).await.unwrap();
    let frames = rig.machined.next().await.frames.unwrap();
    rig.files.write_identity(FLOOR_S + 2 * DAY_S);
    assert!(messages.message().await.is_err());
    frames.closed().await;
    // A floor that falls is ignored.
    rig.files.write_identity(0);
    let expired = rig.credentials("overtaken", Role::Reader);
    let refused = refusal(rig.address, tls(&rig.files.ca, Some(&expired), &[&TLS13])).await;
    assert_eq!(refused, "received fatal alert: CertificateExpired");
}
