use std::net::{IpAddr, Ipv4Addr};

use super::{NOW_S, YEAR_S, ca, node_id};
use crate::node::{RequestError, ServerRefusal, self_signed, signing_request};
use crate::{
    Certificate, IssueError, Key, SigningRequest, Template, Usage, Validity, check_issued, check_server,
};

fn validity() -> Validity {
    Validity::starting(NOW_S, YEAR_S)
}

#[test]
fn a_self_signed_node_is_known_by_its_fingerprint() {
    let key = Key::generate().unwrap();
    let certificate = self_signed(&key, &node_id("n1")).unwrap();
    assert_eq!(certificate.fingerprint(), key.fingerprint());
    assert_eq!(certificate.validity(), Validity::UNLIMITED);
    let refusal = check_server(certificate.der(), ca().bundle(), &node_id("n1"));
    assert_eq!(refusal, Err(ServerRefusal::UnknownIssuer));
}

#[test]
fn adoption() {
    let (ca, key, id) = (ca(), Key::generate().unwrap(), node_id("n1"));
    let request = SigningRequest::from_der(&signing_request(&key, &id).unwrap()).unwrap();
    assert_eq!(request.fingerprint(), key.fingerprint());
    let issued = ca.issue_server(&request, &id, validity()).unwrap();
    assert_eq!(check_issued(issued.der(), &key.public_key_der(), ca.bundle(), &id), Ok(validity()));
    assert_eq!(check_server(issued.der(), ca.bundle(), &id), Ok(validity()));

    let other = Key::generate().unwrap().public_key_der();
    let refused =
        |spki: &[u8], cas, id: &str| check_issued(issued.der(), spki, cas, &node_id(id)).unwrap_err();
    assert_eq!(refused(&other, ca.bundle(), "n1"), ServerRefusal::WrongKey);
    assert_eq!(refused(&key.public_key_der(), ca.bundle(), "n2"), ServerRefusal::WrongName);
    assert_eq!(refused(&key.public_key_der(), super::ca().bundle(), "n1"), ServerRefusal::UnknownIssuer);
}

#[test]
fn only_the_key_is_taken_from_a_request() {
    let (ca, key) = (ca(), Key::generate().unwrap());
    let request = SigningRequest::from_der(&signing_request(&key, &node_id("evil")).unwrap()).unwrap();
    let issued = ca.issue_server(&request, &node_id("n1"), validity()).unwrap();
    let shown = format!("{:?}", crate::certificate::parse(issued.der()).unwrap());
    assert!(shown.contains("n1.node.cairn.internal"));
    assert!(!shown.contains("evil"));
}

#[test]
fn damaged_requests_never_change_the_key() {
    let der = signing_request(&Key::generate().unwrap(), &node_id("n1")).unwrap();
    let request = SigningRequest::from_der(&der);
    assert_eq!(SigningRequest::from_der(&[]), Err(RequestError::Malformed));
    assert_eq!(SigningRequest::from_der(&[&der[..], &[0]].concat()), Err(RequestError::Malformed));
    let mut accepted = 0;
    for index in 0..der.len() {
        let mut flipped = der.clone();
        flipped[index] ^= 1;
        let read = SigningRequest::from_der(&flipped);
        accepted += usize::from(read.is_ok());
        assert!(read.is_err() || read == request, "byte {index} of {}", hex::encode(&der));
    }
    // The tag of the unsigned algorithm's OID and the count of unused bits, which the parser does not look at.
    assert!(accepted <= 2, "{accepted} of {}", hex::encode(&der));
}

#[test]
fn certificates_of_other_use_are_refused() {
    let (ca, key, id) = (ca(), Key::generate().unwrap(), node_id("n1"));
    let check = |change: &dyn Fn(&mut Template)| {
        let mut template = Template::server(&id, validity());
        change(&mut template);
        let issued: Certificate = ca.issue(&template, &key.public_key_der()).unwrap();
        check_issued(issued.der(), &key.public_key_der(), ca.bundle(), &id)
    };
    assert_eq!(check(&|_| ()), Ok(validity()));
    assert_eq!(check(&|template| template.usage = Usage::Client), Err(ServerRefusal::NotServerOnly));
    assert_eq!(check(&|template| template.dns_names.clear()), Err(ServerRefusal::WrongName));
    assert_eq!(check(&|t| t.dns_names.push("n2.node.cairn.internal".into())), Err(ServerRefusal::WrongName));
    assert_eq!(
        check(&|template| template.addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        Err(ServerRefusal::WrongName)
    );
    let both = {
        let mut params = Template::server(&id, validity()).to_params().unwrap();
        params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
        ca.sign(params, &key.public_key_der()).unwrap()
    };
    assert_eq!(check_server(both.der(), ca.bundle(), &id), Err(ServerRefusal::NotServerOnly));
    assert_eq!(check_server(&[1], ca.bundle(), &id), Err(ServerRefusal::Malformed));
}

#[test]
fn only_p256_keys_are_signed() {
    let (ca, id) = (ca(), node_id("n1"));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params.serialize_request(&p384).unwrap();
    let request = SigningRequest::from_der(request.der()).unwrap();
    assert!(matches!(ca.issue_server(&request, &id, validity()), Err(IssueError::PublicKey)));
}

#[test]
fn a_certificate_for_an_address_without_end() {
    let ca = ca();
    let template = Template {
        common_name: "kubelet".into(),
        organisation: None,
        dns_names: vec!["localhost".into()],
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        usage: Usage::Server,
        validity: Validity::UNLIMITED,
    };
    let issued = ca.issue_with_new_key(&template).unwrap();
    assert_eq!(issued.certificate.validity(), Validity { not_before_s: 0, not_after_s: 253_402_300_799 });
    let parsed = crate::certificate::parse(issued.certificate.der()).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    assert_eq!(format!("{names:?}"), r#"[DNSName("localhost"), IPAddress([127, 0, 0, 1])]"#);
    assert!(
        parsed
            .verify_signature(Some(crate::certificate::parse(ca.certificate().der()).unwrap().public_key()))
            .is_ok()
    );

    let mut endless = template;
    endless.validity.not_after_s += 1;
    assert!(matches!(ca.issue_with_new_key(&endless), Err(IssueError::Validity)));
    endless.validity = Validity::UNLIMITED;
    endless.dns_names = vec!["ä".into()];
    assert!(matches!(ca.issue_with_new_key(&endless), Err(IssueError::Name { .. })));
}
