//! Who is certified as an admin of the cluster, and by which nodes.

use ::config::{ApiEndpoint, BootstrapToken, Cluster, ControlPlane, NodeConfig, PodNetwork};
use netplan::Prefix;
use pki::{Ca, Certificate, Key, NodeId, Refusal, Revocations, SubjectName, Validity, judge};
use proto::cluster::v1::IssueAdminCertificateBody;
use tonic::Code;

use super::cluster::{describe, issue};

const NOW_S: u64 = 1_800_000_000;
const DAY_S: u64 = 24 * 3600;

fn ca() -> Ca {
    Ca::create(&SubjectName::parse("shop").unwrap(), Validity::UNLIMITED).unwrap()
}

fn cluster(ca: &Ca) -> Cluster {
    Cluster {
        endpoints: vec![ApiEndpoint { host: "2001:db8::5".into(), port: 6443 }],
        certificate_authorities: vec![ca.certificate().to_pem()],
        bootstrap_token: BootstrapToken { id: "abcdef".into(), secret: "0123456789abcdef".into() },
        node_subnets: Vec::new(),
        dns: vec!["10.96.0.10".parse().unwrap()],
        domain: "cluster.local".into(),
        taints: Vec::new(),
        pod_network: PodNetwork::Cairn,
    }
}

/// A node that serves the cluster of `ca` with the key of `signer`.
fn control_plane(ca: &Ca, signer: &Ca) -> NodeConfig {
    let prefix = |text: &str, length| Prefix::new(text.parse().unwrap(), length);
    let control_plane = ControlPlane {
        certificate_authority_key: signer.key().to_pem().to_string(),
        service_account_key: String::new(),
        encryption_key: String::new(),
        alternative_names: Vec::new(),
        pod_subnet: prefix("10.244.0.0", 16),
        service_subnet: prefix("10.96.0.0", 12),
    };
    NodeConfig { cluster: Some(cluster(ca)), control_plane: Some(control_plane), ..NodeConfig::default() }
}

fn request(key: &Key, lifetime_seconds: u64) -> IssueAdminCertificateBody {
    let csr_der = pki::node::signing_request(key, &NodeId::parse("laptop").unwrap()).unwrap();
    IssueAdminCertificateBody { csr_der, lifetime_seconds }
}

#[test]
fn a_control_plane_certifies_the_key_of_the_request_and_nothing_else_of_it() {
    let (ca, key) = (ca(), Key::generate().unwrap());
    let issued = issue(&control_plane(&ca, &ca), &request(&key, 7 * DAY_S), NOW_S).unwrap();
    assert_eq!(issued.certificate_authorities_pem, [ca.certificate().to_pem()]);
    assert_eq!(issued.endpoints, ["[2001:db8::5]:6443"]);
    let certificate = Certificate::from_pem(&issued.certificate_pem).unwrap();
    assert_eq!(certificate.public_key_der(), key.public_key_der());
    let validity = Validity { not_before_s: NOW_S - 3600, not_after_s: NOW_S + 7 * DAY_S };
    assert_eq!(certificate.validity(), validity);
    let holds = |bytes: &[u8]| certificate.der().windows(bytes.len()).any(|part| part == bytes);
    // As UTF8String, with its length.
    assert!(holds(b"\x0c\x0bcairn:admin") && holds(b"\x0c\x0ccairn:admins"));
    assert!(!holds(b"laptop"));
    // A client of this CA, but none that the node's own API knows: its organisation is no role.
    let refusal = judge(certificate.der(), ca.bundle(), &Revocations::default(), NOW_S).unwrap_err();
    assert_eq!(refusal, Refusal::Role);
}

#[test]
fn a_lifetime_is_thirty_days_unless_said_and_never_more_than_a_year() {
    let (ca, key) = (ca(), Key::generate().unwrap());
    let end_s = |lifetime_s| {
        let issued = issue(&control_plane(&ca, &ca), &request(&key, lifetime_s), NOW_S)?;
        let certificate = Certificate::from_pem(&issued.certificate_pem).unwrap();
        Ok::<_, tonic::Status>(certificate.validity().not_after_s - NOW_S)
    };
    assert_eq!(end_s(0).unwrap(), 30 * DAY_S);
    assert_eq!(end_s(365 * DAY_S).unwrap(), 365 * DAY_S);
    for too_long in [365 * DAY_S + 1, u64::MAX] {
        assert_eq!(end_s(too_long).unwrap_err().code(), Code::InvalidArgument);
    }
}

#[test]
fn a_node_that_serves_no_cluster_certifies_nobody() {
    let (ca, key) = (ca(), Key::generate().unwrap());
    let worker = NodeConfig { cluster: Some(cluster(&ca)), ..NodeConfig::default() };
    for config in [NodeConfig::default(), worker] {
        let status = issue(&config, &request(&key, 0), NOW_S).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("no ControlPlane"), "{status}");
    }
}

#[test]
fn what_cannot_sign_or_is_no_request_is_told_apart() {
    let (ours, other, key) = (ca(), ca(), Key::generate().unwrap());
    let status = issue(&control_plane(&ours, &other), &request(&key, 0), NOW_S).unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("do not belong together"), "{status}");
    let mut bent = request(&key, 0);
    let last = bent.csr_der.len() - 1;
    bent.csr_der[last] ^= 1;
    let status = issue(&control_plane(&ours, &ours), &bent, NOW_S).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[test]
fn a_node_tells_what_it_is_to_its_cluster() {
    let ca = ca();
    let told = |config: &NodeConfig| describe(config, "edge-1".into());
    let alone = told(&NodeConfig::default());
    assert!(!alone.member && !alone.control_plane && alone.node_name.is_empty());
    let worker = told(&NodeConfig { cluster: Some(cluster(&ca)), ..NodeConfig::default() });
    assert!(worker.member && !worker.control_plane);
    assert_eq!((worker.node_name.as_str(), worker.endpoints.len()), ("edge-1", 1));
    assert!(told(&control_plane(&ca, &ca)).control_plane);
}
