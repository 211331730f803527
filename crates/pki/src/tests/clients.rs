use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa};

use super::{NOW_S, YEAR_S, ca, node_id, none, subject};
use crate::{
    Bundle, BundleError, CAS_MAX, Ca, CaError, Key, Refusal, Role, Template, Usage, Validity, judge,
};

fn validity() -> Validity {
    Validity::starting(NOW_S, YEAR_S)
}

#[test]
fn an_issued_client_is_who_it_was_issued_for() {
    let ca = ca();
    for role in Role::ALL {
        let issued = ca.issue_client(&subject("alice"), role, validity()).unwrap();
        let identity = judge(issued.certificate.der(), ca.bundle(), &none(), NOW_S).unwrap();
        assert_eq!(identity.subject.as_str(), "alice");
        assert_eq!(identity.role, role);
        assert_eq!(identity.validity, validity());
        assert_eq!(identity.serial.len(), 32);
        assert_eq!(issued.certificate.public_key_der(), issued.key.public_key_der());
    }
}

#[test]
fn serial_numbers_differ() {
    let ca = ca();
    let serial = || {
        let issued = ca.issue_client(&subject("alice"), Role::Reader, validity()).unwrap();
        judge(issued.certificate.der(), ca.bundle(), &none(), NOW_S).unwrap().serial
    };
    assert_ne!(serial(), serial());
}

#[test]
fn another_ca_of_the_same_name_is_unknown() {
    let (ours, theirs) = (ca(), ca());
    let issued = theirs.issue_client(&subject("mallory"), Role::Admin, validity()).unwrap();
    assert_eq!(judge(issued.certificate.der(), ours.bundle(), &none(), NOW_S), Err(Refusal::UnknownIssuer));
    let both = Bundle::from_pem(&(ours.bundle().to_pem() + &theirs.bundle().to_pem())).unwrap();
    assert!(judge(issued.certificate.der(), &both, &none(), NOW_S).is_ok());
}

#[test]
fn a_server_certificate_is_no_client() {
    let ca = ca();
    let template = Template {
        common_name: "alice".into(),
        organisation: Some("os:admin".into()),
        dns_names: vec![],
        addresses: vec![],
        usage: Usage::Server,
        validity: validity(),
    };
    let issued = ca.issue_with_new_key(&template).unwrap();
    assert_eq!(judge(issued.certificate.der(), ca.bundle(), &none(), NOW_S), Err(Refusal::NotForClients));
    assert_eq!(judge(ca.certificate().der(), ca.bundle(), &none(), NOW_S), Err(Refusal::NotForClients));
}

/// A client's parameters, bent by `change`, signed by the CA.
fn judged(change: impl FnOnce(&mut CertificateParams)) -> Result<crate::Identity, Refusal> {
    let ca = ca();
    let template = Template {
        common_name: "alice".into(),
        organisation: Some("os:admin".into()),
        dns_names: vec![],
        addresses: vec![],
        usage: Usage::Client,
        validity: validity(),
    };
    let mut params = template.to_params().unwrap();
    change(&mut params);
    let issued = ca.sign(params, &Key::generate().unwrap().public_key_der()).unwrap();
    judge(issued.der(), ca.bundle(), &none(), NOW_S)
}

#[test]
fn bent_certificates_are_refused() {
    assert!(judged(|_| ()).is_ok());
    let organisation = || DnType::CustomDnType(vec![2, 5, 4, 10]);
    let common_name = || DnType::CustomDnType(vec![2, 5, 4, 3]);
    assert_eq!(judged(|p| p.distinguished_name.push(organisation(), "os:reader")), Err(Refusal::Role));
    assert_eq!(judged(|p| p.distinguished_name.push(organisation(), "system:masters")), Err(Refusal::Role));
    assert_eq!(
        judged(|p| p.distinguished_name.push(DnType::OrganizationName, "os:Admin")),
        Err(Refusal::Role)
    );
    assert_eq!(
        judged(|p| assert!(p.distinguished_name.remove(DnType::OrganizationName))),
        Err(Refusal::Role)
    );
    assert_eq!(judged(|p| p.distinguished_name.push(common_name(), "bob")), Err(Refusal::Subject));
    assert_eq!(judged(|p| p.distinguished_name.push(DnType::CommonName, "a\nb")), Err(Refusal::Subject));
    assert_eq!(
        judged(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        Err(Refusal::NotForClients)
    );
    assert_eq!(judged(|p| p.extended_key_usages.clear()), Err(Refusal::NotForClients));
    assert_eq!(
        judged(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        Err(Refusal::NotForClients)
    );
    assert_eq!(
        judged(|p| p.key_usages = vec![rcgen::KeyUsagePurpose::KeyAgreement]),
        Err(Refusal::NotForClients)
    );
    assert_eq!(
        judged(|p| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(true);
            p.custom_extensions.push(extension);
        }),
        Err(Refusal::NotForClients)
    );
    assert_eq!(judged(|p| std::mem::swap(&mut p.not_before, &mut p.not_after)), Err(Refusal::NeverValid));
}

#[test]
fn damaged_certificates_are_refused() {
    let ca = ca();
    let der = ca.issue_client(&subject("alice"), Role::Admin, validity()).unwrap().certificate.der().to_vec();
    assert_eq!(judge(&[], ca.bundle(), &none(), NOW_S), Err(Refusal::Malformed));
    assert_eq!(judge(&[&der[..], &[0]].concat(), ca.bundle(), &none(), NOW_S), Err(Refusal::Malformed));
    for bit in 0..der.len() * 8 {
        let mut flipped = der.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let verdict = judge(&flipped, ca.bundle(), &none(), NOW_S);
        assert!(verdict.is_err(), "bit {bit} of {}", hex::encode(&der));
    }
}

#[test]
fn bundles_hold_cas_only() {
    let ca = ca();
    let leaf = ca.issue_client(&subject("alice"), Role::Admin, validity()).unwrap();
    assert!(matches!(Bundle::from_pem(""), Err(BundleError::Empty)));
    let mixed = ca.bundle().to_pem() + &leaf.certificate.to_pem();
    assert!(matches!(Bundle::from_pem(&mixed), Err(BundleError::NotCa { number: 2 })));
    let cut = ca.bundle().to_pem().replace("-----END", "----END");
    assert!(matches!(Bundle::from_pem(&cut), Err(BundleError::Certificate { number: 1, .. })));
    let many = ca.bundle().to_pem().repeat(CAS_MAX + 1);
    assert!(matches!(Bundle::from_pem(&many), Err(BundleError::TooMany)));
    assert!(Bundle::from_pem(&ca.bundle().to_pem().repeat(CAS_MAX)).is_ok());
}

#[test]
fn a_ca_of_another_algorithm_is_refused_at_once() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let other = params.self_signed(&key).unwrap().pem();
    let bundle = Bundle::from_pem(&(ca().bundle().to_pem() + &other));
    assert!(matches!(bundle, Err(BundleError::KeyType { number: 2 })), "{bundle:?}");
}

#[test]
fn a_ca_survives_its_files() {
    let ca = ca();
    let read = Ca::from_pem(&ca.certificate().to_pem(), &ca.key().to_pem()).unwrap();
    let issued = read.issue_client(&subject("alice"), Role::Reader, validity()).unwrap();
    assert!(judge(issued.certificate.der(), ca.bundle(), &none(), NOW_S).is_ok());

    let other = Key::generate().unwrap();
    assert!(matches!(Ca::from_pem(&ca.certificate().to_pem(), &other.to_pem()), Err(CaError::Mismatch)));
    assert!(matches!(
        Ca::from_pem(&issued.certificate.to_pem(), &issued.key.to_pem()),
        Err(CaError::NotCa { .. })
    ));
    assert!(matches!(Ca::from_pem("", &other.to_pem()), Err(CaError::Certificate { .. })));
    let signed = crate::node::self_signed(&other, &node_id("n1")).unwrap();
    assert!(matches!(Ca::from_pem(&signed.to_pem(), &other.to_pem()), Err(CaError::NotCa { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// DESIGN: judged at max(floor, notBefore). Only an end before the floor refuses, never a start after it.
    #[test]
    fn only_the_floor_expires(start_s in 0..4_000_000_000u64, length_s in 0..YEAR_S, floor_s in 0..5_000_000_000u64) {
        let ca = ca();
        let validity = Validity::starting(start_s, length_s);
        let issued = ca.issue_client(&subject("alice"), Role::Reader, validity).unwrap();
        let verdict = judge(issued.certificate.der(), ca.bundle(), &none(), floor_s);
        if start_s + length_s < floor_s {
            prop_assert_eq!(verdict, Err(Refusal::Expired { not_after_s: start_s + length_s, floor_s }));
        } else {
            prop_assert_eq!(verdict.map(|identity| identity.validity), Ok(validity));
        }
    }

    #[test]
    fn judging_noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
        let ca = ca();
        prop_assert!(judge(&noise, ca.bundle(), &none(), NOW_S).is_err());
    }
}
