use proptest::prelude::*;

use super::{NOW_S, YEAR_S, ca, none, subject};
use crate::certificate::parse;
use crate::revocation::forms;
use crate::{CertificateHash, REVOCATIONS_MAX, Refusal, RevocationError, Revocations, Role, Validity, judge};

fn revoking(hash: CertificateHash) -> Revocations {
    let mut revocations = Revocations::default();
    assert_eq!(revocations.revoke(hash), Ok(true));
    assert_eq!(revocations.revoke(hash), Ok(false));
    revocations
}

/// Signatures differ in length: several of them meet leading zeros and sign bits.
#[test]
fn a_revoked_client_finds_no_other_way_to_write_its_certificate() {
    let ca = ca();
    for round in 0..64 {
        let issued = ca
            .issue_client(&subject("eve"), Role::Admin, Validity::starting(NOW_S, YEAR_S))
            .unwrap()
            .certificate;
        let [own, other] = forms(issued.der(), &parse(issued.der()).unwrap()).unwrap();
        assert_eq!(own, issued.der());
        assert_ne!(own, other);
        assert!(judge(&other, ca.bundle(), &none(), NOW_S).is_ok(), "round {round}: {}", hex::encode(&other));
        let back = forms(&other, &parse(&other).unwrap()).unwrap();
        assert_eq!(back, [other.clone(), own.clone()]);

        for revoked in [&own, &other] {
            let revocations = revoking(CertificateHash::of(revoked));
            for shown in [&own, &other] {
                assert_eq!(judge(shown, ca.bundle(), &revocations, NOW_S), Err(Refusal::Revoked), "{round}");
            }
        }
    }
}

#[test]
fn a_revocation_meets_one_certificate_only() {
    let ca = ca();
    let issue = || {
        let validity = Validity::starting(NOW_S, YEAR_S);
        ca.issue_client(&subject("eve"), Role::Admin, validity).unwrap().certificate
    };
    let (stolen, fresh) = (issue(), issue());
    let revocations = revoking(stolen.hash());
    assert_eq!(judge(stolen.der(), ca.bundle(), &revocations, NOW_S), Err(Refusal::Revoked));
    assert!(judge(fresh.der(), ca.bundle(), &revocations, NOW_S).is_ok());
}

#[test]
fn hashes_are_taken_as_openssl_prints_them() {
    let hash = CertificateHash::of(b"x");
    let colons: Vec<String> = hash
        .to_string()
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into())
        .collect();
    assert_eq!(colons.join(":").parse(), Ok(hash));
    for bad in ["", "00", &"0".repeat(63), &"g".repeat(64), &"00".repeat(33)] {
        assert_eq!(bad.parse::<CertificateHash>(), Err(RevocationError::Hash { text: bad.to_owned() }));
    }
}

#[test]
fn revocations_are_bounded() {
    let mut revocations = Revocations::default();
    for number in 0..REVOCATIONS_MAX {
        revocations.revoke(CertificateHash::of(&number.to_be_bytes())).unwrap();
    }
    assert_eq!(revocations.revoke(CertificateHash::of(b"one more")), Err(RevocationError::TooMany));
    assert_eq!(revocations.revoke(CertificateHash::of(&0_usize.to_be_bytes())), Ok(false));
    assert_eq!(Revocations::parse(&revocations.to_string()), Ok(revocations));
}

proptest! {
    #[test]
    fn the_text_round_trips(contents in proptest::collection::vec(any::<u64>(), 0..40)) {
        let mut revocations = Revocations::default();
        for content in contents {
            revocations.revoke(CertificateHash::of(&content.to_be_bytes())).unwrap();
        }
        prop_assert_eq!(Revocations::parse(&revocations.to_string()), Ok(revocations));
    }
}
