//! `osctl apply-config --insecure`, and the maintenance service of the fake node.

use pairing::{Code, KeyHash, Limiter, proof};
use pki::{Bundle, Ca, NodeId, Role, signed};
use proto::maintenance::v1 as api;
use tonic::{Request, Response, Status};

use crate::rig::{NODE, Ran, Rig, ca_of, other_ca};
use crate::services::{Services, State};

const CONFIGURE: &str = "/cairn.maintenance.v1.MaintenanceService/Configure";

/// A node without configuration.
pub struct Maintenance {
    code: Code,
    limiter: Limiter,
    medium: Option<Bundle>,
    refusal: String,
    /// Node id that it claims to have.
    claims: Option<String>,
}

impl Maintenance {
    fn with_code() -> Maintenance {
        let code = Code::parse("ABCD-EFGH-JKMN").unwrap();
        Maintenance { code, limiter: Limiter::default(), medium: None, refusal: String::new(), claims: None }
    }

    fn of_medium(medium: &Ca) -> Maintenance {
        Maintenance { medium: Some(medium.bundle().clone()), ..Maintenance::with_code() }
    }
}

impl State {
    /// CAs whose clients are let in.
    pub fn trusted(&self) -> &Bundle {
        self.maintenance.as_ref().and_then(|maintenance| maintenance.medium.as_ref()).unwrap_or(&self.cas)
    }

    /// Whether anybody may come.
    pub fn takes_strangers(&self) -> bool {
        self.maintenance.as_ref().is_some_and(|maintenance| maintenance.medium.is_none())
    }
}

fn over() -> Status {
    Status::unimplemented("this node has no such method")
}

#[tonic::async_trait]
impl api::maintenance_service_server::MaintenanceService for Services {
    async fn status(&self, _: Request<api::StatusRequest>) -> Result<Response<api::StatusResponse>, Status> {
        let state = self.state();
        let maintenance = state.maintenance.as_ref().ok_or_else(over)?;
        let authentication = match maintenance.medium {
            None => api::Authentication::PairingCode,
            Some(_) => api::Authentication::ClientCertificate,
        };
        Ok(Response::new(api::StatusResponse {
            node_id: maintenance.claims.clone().unwrap_or_else(|| state.node_id.to_string()),
            authentication: authentication.into(),
            code_valid_s: u32::try_from(maintenance.limiter.valid_ms(0) / 1000).unwrap(),
            tries_left: maintenance.limiter.tries_left(0),
            ..api::StatusResponse::default()
        }))
    }

    async fn prove(
        &self,
        request: Request<api::ProveRequest>,
    ) -> Result<Response<api::ProveResponse>, Status> {
        let mut state = self.state();
        let key = KeyHash::of(&state.key.public_key_der());
        state.done.push("prove".into());
        let maintenance = state.maintenance.as_mut().ok_or_else(over)?;
        maintenance.limiter.prove(0).map_err(|error| Status::failed_precondition(error.to_string()))?;
        let nonce = request.into_inner().nonce.try_into().unwrap();
        let tries_left = maintenance.limiter.tries_left(0);
        let proof = proof::node(&maintenance.code, &key, &nonce);
        Ok(Response::new(api::ProveResponse { proof, tries_left }))
    }

    async fn configure(
        &self,
        request: Request<api::ConfigureRequest>,
    ) -> Result<Response<api::ConfigureResponse>, Status> {
        let api::ConfigureRequest { text, proof, signed } = request.into_inner();
        let mut state = self.state();
        let (key, node_id) = (KeyHash::of(&state.key.public_key_der()), state.node_id.clone());
        state.done.push("configure".into());
        let maintenance = state.maintenance.as_mut().ok_or_else(over)?;
        match &maintenance.medium {
            None => {
                maintenance.limiter.judge(0).unwrap();
                assert!(proof::is_of_client(&proof, &maintenance.code, &key, &text));
                assert!(text.contains("clientCAs"));
            }
            Some(medium) => {
                let signed = signed.unwrap();
                let request = signed::SignedRequest::from(signed);
                let expected = signed::Expected {
                    method: CONFIGURE,
                    node_id: &node_id,
                    base: signed::Base::FIRST,
                    role: Role::Admin,
                };
                let revoked = pki::Revocations::default();
                let trusted = signed::Trusted { cas: medium, revoked: &revoked, floor_s: 0 };
                signed::verify(&request, &expected, &trusted).unwrap();
            }
        }
        let refusal = maintenance.refusal.clone();
        if refusal.is_empty() {
            state.maintenance = None;
        }
        Ok(Response::new(api::ConfigureResponse { node_id: node_id.to_string(), refusal }))
    }
}

/// A blank node, and its configuration in a file.
fn blank(maintenance: impl FnOnce(&Rig) -> Maintenance) -> Rig {
    let rig = Rig::new();
    let maintenance = maintenance(&rig);
    rig.node.state.lock().unwrap().maintenance = Some(maintenance);
    rig.run(&["gen", "config", "--secrets", "secrets.yaml", "--hostname", "edge-1", "-o", "machine.yaml"])
        .ok();
    rig
}

fn with_code() -> Rig {
    blank(|_| Maintenance::with_code())
}

fn apply(rig: &Rig, more: &[&str]) -> Ran {
    let endpoint = rig.endpoint();
    let arguments =
        ["apply-config", "--insecure", "-f", "machine.yaml", "--secrets", "secrets.yaml", "-n", &endpoint];
    rig.run(&[&arguments, more].concat())
}

#[test]
fn a_code_alone_configures_and_adopts() {
    let rig = with_code();
    let adopted = apply(&rig, &["--code", "abcd efgh jkmn", "-o", "json"]).ok();
    let adopted: serde_json::Value = serde_json::from_str(&adopted).unwrap();
    assert_eq!((&adopted["context"], &adopted["nodeId"]), (&"edge-1".into(), &NODE.into()));
    assert_eq!(rig.done()[..2], ["prove", "configure"]);
    let certificate = rig.node.state.lock().unwrap().certificate.clone();
    pki::check_server(certificate.der(), rig.ca.bundle(), &NodeId::parse(NODE).unwrap()).unwrap();
    assert!(rig.run(&["version"]).ok().contains(NODE), "the context works");
}

#[test]
fn the_fingerprint_counts_beside_the_code() {
    let rig = with_code();
    let (right, wrong) = (rig.node.fingerprint(), "0".repeat(64));
    apply(&rig, &["--code", "ABCD-EFGH-JKMN", "--fingerprint", &wrong]).fails(5, &[&right, "in between"]);
    apply(&rig, &["--fingerprint", &right]).fails(2, &["pairing code is missing", "--code"]);
    assert!(rig.done().is_empty(), "nothing was asked of it");
    apply(&rig, &["--code", "ABCD-EFGH-JKMN", "--fingerprint", &right]).ok();
}

#[test]
fn words_count_as_the_fingerprint() {
    let rig = with_code();
    let right = pairing::words(&rig.node.fingerprint()).collect::<Vec<_>>().join(" ");
    let wrong = pairing::words(&"0".repeat(64)).collect::<Vec<_>>().join(" ");
    apply(&rig, &["--code", "ABCD-EFGH-JKMN", "--fingerprint", &wrong]).fails(5, &["in between"]);
    apply(&rig, &["--code", "ABCD-EFGH-JKMN", "--fingerprint", "topmost Zulu"]).fails(2, &["16 words"]);
    assert!(rig.done().is_empty(), "nothing was asked of it");
    apply(&rig, &["--code", "ABCD-EFGH-JKMN", "--fingerprint", &right]).ok();
}

#[test]
fn the_url_of_the_qr_code_is_enough() {
    let rig = with_code();
    let arguments =
        ["apply-config", "--insecure", "-f", "machine.yaml", "--secrets", "secrets.yaml", "--url"];
    let apply = |url: &str, more: &[&str]| rig.run(&[&arguments[..], &[url], more].concat());
    let (endpoint, fingerprint) = (rig.endpoint(), rig.node.fingerprint());
    let url =
        |fingerprint: &str, code: &str| format!("CAIRN://{endpoint}/{}/{code}", fingerprint.to_uppercase());
    let right = url(&fingerprint, "ABCD-EFGH-JKMN");
    apply(&url(&"0".repeat(64), "ABCD-EFGH-JKMN"), &[]).fails(5, &["in between"]);
    apply(&url(&fingerprint, "ABCD"), &[]).fails(2, &["the code in the URL", "XXXX-XXXX-XXXX"]);
    apply(&url(&fingerprint, ""), &[]).fails(2, &["pairing code is missing", "--url"]);
    apply(&right, &["--code", "ABCD-EFGH-JKMN"]).fails(2, &["--code"]);
    assert!(rig.done().is_empty(), "nothing was asked of it");
    apply(&right.replace(&endpoint, "192.0.2.1"), &["-n", &endpoint]).ok();
    assert_eq!(rig.done()[..2], ["prove", "configure"]);
}

#[test]
fn to_whom_does_not_know_the_code_nothing_is_sent() {
    let rig = with_code();
    for left in (0..5).rev() {
        let left = if left == 0 { "no try is left".to_owned() } else { format!("{left} tries are left") };
        apply(&rig, &["--code", "0000-0000-0000"]).fails(5, &["code is wrong", "someone in between", &left]);
    }
    assert!(!rig.done().contains(&"configure".to_owned()));
    let fingerprint = rig.node.fingerprint();
    rig.node.state.lock().unwrap().maintenance = Some(Maintenance::with_code());
    apply(&rig, &["--code", "0000-0000-0000", "--fingerprint", &fingerprint])
        .fails(5, &["code is wrong", "the node has another one", "4 tries"]);
    assert!(!rig.config().exists());
}

#[test]
fn a_spent_code_says_that_it_takes_a_reboot() {
    let rig = with_code();
    {
        let mut state = rig.node.state.lock().unwrap();
        let limiter = &mut state.maintenance.as_mut().unwrap().limiter;
        while limiter.judge(0).is_ok() {}
    }
    apply(&rig, &["--code", "ABCD-EFGH-JKMN"]).fails(5, &["of no use any more", "reboot the node"]);
}

#[test]
fn what_the_node_refuses_is_shown_whole() {
    let rig =
        blank(|_| Maintenance { refusal: "line 3: no\nline 4: nor that".into(), ..Maintenance::with_code() });
    apply(&rig, &["--code", "ABCD-EFGH-JKMN"]).fails(1, &["line 3: no\nline 4: nor that"]);
    assert!(!rig.config().exists());
}

#[test]
fn nothing_is_sent_that_would_lock_the_admin_out_or_is_no_configuration() {
    let rig = with_code();
    rig.run(&["gen", "secrets", "-o", "other.yaml"]).ok();
    let endpoint = rig.endpoint();
    let arguments = ["apply-config", "--insecure", "-f", "machine.yaml", "--code", "ABCD-EFGH-JKMN"];
    rig.run(&[&arguments[..], &["--secrets", "other.yaml", "-n", &endpoint]].concat())
        .fails(1, &["does not name the CA of this secrets bundle"]);
    std::fs::write(rig.path("machine.yaml"), "kind: Nonsense\n").unwrap();
    apply(&rig, &["--code", "ABCD-EFGH-JKMN"]).fails(1, &["would refuse", "Nonsense"]);
    assert!(rig.done().is_empty());
}

#[test]
fn a_configured_node_is_left_alone() {
    let rig = with_code();
    rig.node.state.lock().unwrap().maintenance = None;
    apply(&rig, &["--code", "ABCD-EFGH-JKMN"]).fails(1, &["has a configuration already", "osctl reset"]);
    rig.node.state.lock().unwrap().cas = other_ca().bundle().clone();
    apply(&rig, &["--code", "ABCD-EFGH-JKMN"]).fails(5, &["does not know its CA", "another fleet"]);
}

#[test]
fn with_the_ca_on_the_medium_the_bundle_is_enough() {
    let rig = blank(|rig| Maintenance::of_medium(&rig.ca));
    let ran = apply(&rig, &[]);
    assert!(
        ran.err.contains("anybody could have answered") && ran.err.contains(&rig.node.fingerprint()),
        "{ran:?}"
    );
    assert!(ran.ok().contains("adopted"));
    assert!(!rig.done().contains(&"prove".to_owned()));
}

#[test]
fn secrets_go_to_a_node_of_the_medium_only_by_its_fingerprint() {
    let rig = blank(|rig| Maintenance::of_medium(&rig.ca));
    let mut text = std::fs::read_to_string(rig.path("machine.yaml")).unwrap();
    text.push_str("---\napiVersion: cairn.dev/v1alpha1\nkind: Registry\nhost: example.org\ncredentials: {username: u, password: p}\n");
    std::fs::write(rig.path("machine.yaml"), text).unwrap();
    let fingerprint = rig.node.fingerprint();
    apply(&rig, &[]).fails(5, &["holds secrets", &format!("--fingerprint {fingerprint}")]);
    assert!(rig.done().is_empty());
    let ran = apply(&rig, &["--fingerprint", &fingerprint]);
    assert!(!ran.err.contains("anybody"), "{ran:?}");
    ran.ok();
}

#[test]
fn whoever_claims_to_be_a_known_node_must_have_its_fingerprint() {
    let rig = Rig::adopted();
    let medium = ca_of(&rig.folder.path().join("secrets.yaml"));
    rig.run(&["gen", "config", "--secrets", "secrets.yaml", "-o", "machine.yaml"]).ok();
    let claims = Some(NODE.to_owned());
    rig.node.state.lock().unwrap().maintenance =
        Some(Maintenance { claims, ..Maintenance::of_medium(&medium) });
    apply(&rig, &[]).fails(5, &["knows this node already"]);
    assert!(!rig.done().contains(&"configure".to_owned()));
}

#[test]
fn the_address_is_needed() {
    let rig = with_code();
    let arguments = ["apply-config", "--insecure", "-f", "machine.yaml", "--secrets", "secrets.yaml"];
    rig.run(&arguments).fails(2, &["address is missing", "osctl discover"]);
    rig.run(&["apply-config", "--insecure", "-f", "machine.yaml"]).fails(2, &["--secrets"]);
    rig.run(&["apply-config", "-f", "machine.yaml", "--code", "ABCD-EFGH-JKMN"]).fails(2, &["--insecure"]);
    rig.run(&[&arguments[..], &["--dry-run"]].concat()).fails(2, &["--dry-run"]);
}

/// Others may have the port too.
fn shared_socket() -> std::net::UdpSocket {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd as _;

    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None).unwrap();
    setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    let group = std::net::SocketAddrV4::new(discovery::GROUP, discovery::PORT);
    bind(socket.as_raw_fd(), &SockaddrIn::from(group)).unwrap();
    socket.into()
}

/// Answers on the loopback link as a node does; other nodes may answer there too.
#[test]
fn nodes_on_the_link_are_listed() {
    use std::net::Ipv4Addr;

    let node = discovery::Node {
        id: format!("{:032x}", std::process::id()),
        name: "edge-7".into(),
        version: "0.1.0".into(),
        mode: "maintenance".into(),
        fingerprint: "ab".repeat(32),
        endpoint: Some((Ipv4Addr::new(192, 0, 2, 7), 50000)),
    };
    let socket = shared_socket();
    socket.join_multicast_v4(&discovery::GROUP, &Ipv4Addr::LOCALHOST).unwrap();
    let told = node.clone();
    std::thread::spawn(move || {
        let mut datagram = [0; discovery::MESSAGE_MAX_BYTES];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            if let Some(answer) = discovery::answer(&told, &datagram[..length], from.port()) {
                socket.send_to(&answer.bytes, from).unwrap();
            }
        }
    });
    let rig = Rig::new();
    let found = rig.json(&["discover", "--timeout", "2s", "-o", "json"]);
    let found = found.as_array().unwrap().iter().find(|found| found["nodeId"] == *node.id).unwrap();
    assert_eq!(
        (&found["name"], &found["address"], &found["mode"], &found["fingerprint"]),
        (&"edge-7".into(), &"192.0.2.7:50000".into(), &"maintenance".into(), &node.fingerprint.into())
    );
}
