use proptest::prelude::*;

use super::{NOW_S, YEAR_S, ca, node_id, none, subject};
use crate::signed::{Base, Epoch, Expected, SignedRefusal, SignedRequest, Trusted, message, sign, verify};
use crate::{Ca, Credentials, Identity, Key, NodeId, Refusal, Revocations, Role, Validity};

const METHOD: &str = "/cairn.config.v1.ConfigService/Apply";
const GENERATION: u64 = 7;

/// What the node is at.
fn base() -> Base {
    Base { epoch: Epoch::from_bytes(&[9; 16]).unwrap(), generation: GENERATION }
}

/// A node, its CA and a client.
struct Rig {
    ca: Ca,
    node_id: NodeId,
    client: Credentials,
    revoked: Revocations,
    floor_s: u64,
}

impl Rig {
    fn new(role: Role) -> Self {
        let ca = ca();
        let client = ca.issue_client(&subject("alice"), role, Validity::starting(NOW_S, YEAR_S)).unwrap();
        Self { ca, node_id: node_id("n1"), client, revoked: none(), floor_s: NOW_S }
    }

    fn request(&self) -> SignedRequest {
        let Credentials { key, certificate } = &self.client;
        sign(key, certificate, METHOD, &self.node_id, base(), b"a change".to_vec()).unwrap()
    }

    fn verify(&self, request: &SignedRequest) -> Result<Identity, SignedRefusal> {
        self.verify_as(request, METHOD, Role::Admin)
    }

    fn verify_as(
        &self,
        request: &SignedRequest,
        method: &str,
        role: Role,
    ) -> Result<Identity, SignedRefusal> {
        let expected = Expected { method, node_id: &self.node_id, base: base(), role };
        verify(request, &expected, &self.trusted())
    }

    fn trusted(&self) -> Trusted<'_> {
        Trusted { cas: self.ca.bundle(), revoked: &self.revoked, floor_s: self.floor_s }
    }
}

#[test]
fn an_admins_request_is_obeyed() {
    let rig = Rig::new(Role::Admin);
    let identity = rig.verify(&rig.request()).unwrap();
    assert_eq!((identity.subject.as_str(), identity.role), ("alice", Role::Admin));
}

#[test]
fn what_is_signed_stays_what_it_is() {
    let request = Rig::new(Role::Admin).request();
    assert_eq!(
        message("/s/M", "n1", b"0123456789abcdef", 258, b"abc"),
        [
            b"cairn-request-v1\0/s/M\0n1\x000123456789abcdef\0\0\0\0\0\0\x01\x02".as_slice(),
            &hex::decode("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap(),
        ]
        .concat()
    );
    assert_eq!(request.chain.len(), 1);
}

#[test]
fn a_changed_request_is_refused() {
    let rig = Rig::new(Role::Admin);
    let changed = |change: fn(&mut SignedRequest)| {
        let mut request = rig.request();
        change(&mut request);
        rig.verify(&request)
    };
    assert_eq!(changed(|request| request.body.push(0)), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.body.clear()), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.node_id = "n2".into()), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.base_generation += 1), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.epoch[0] ^= 1), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.epoch.clear()), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.signature.clear()), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.signature.push(0)), Err(SignedRefusal::Signature));
    assert_eq!(changed(|request| request.signature = vec![0x30; 1 << 20]), Err(SignedRefusal::Signature));
}

#[test]
fn another_method_node_epoch_or_generation_is_refused() {
    let rig = Rig::new(Role::Admin);
    let request = rig.request();
    let reset = "/cairn.config.v1.ConfigService/Reset";
    assert_eq!(rig.verify_as(&request, reset, Role::Admin), Err(SignedRefusal::Signature));

    let other = node_id("n2");
    let expected = Expected { method: METHOD, node_id: &other, base: base(), role: Role::Admin };
    assert_eq!(verify(&request, &expected, &rig.trusted()), Err(SignedRefusal::Node));

    let at = |base| Expected { method: METHOD, node_id: &rig.node_id, base, role: Role::Admin };
    let restarted = Base { epoch: Epoch::random().unwrap(), ..base() };
    assert_eq!(verify(&request, &at(restarted), &rig.trusted()), Err(SignedRefusal::Epoch));
    for running in [GENERATION - 1, GENERATION + 1] {
        let expected = at(Base { generation: running, ..base() });
        let refusal = SignedRefusal::Generation { signed: GENERATION, running };
        assert_eq!(verify(&request, &expected, &rig.trusted()), Err(refusal));
    }
}

#[test]
fn a_strangers_request_is_refused() {
    let rig = Rig::new(Role::Admin);
    let stranger = Rig::new(Role::Admin);
    let refusal = |source| Err(SignedRefusal::Client { source });
    assert_eq!(rig.verify(&stranger.request()), refusal(Refusal::UnknownIssuer));

    // Another key's signature under a certificate that is let in.
    let Credentials { certificate, .. } = &rig.client;
    let key = Key::generate().unwrap();
    let forged = sign(&key, certificate, METHOD, &rig.node_id, base(), b"a change".to_vec()).unwrap();
    assert_eq!(rig.verify(&forged), Err(SignedRefusal::Signature));
}

#[test]
fn the_role_is_the_certificates() {
    for role in [Role::Reader, Role::Operator] {
        let rig = Rig::new(role);
        let request = rig.request();
        assert_eq!(rig.verify(&request), Err(SignedRefusal::Role { role, needed: Role::Admin }));
        assert_eq!(rig.verify_as(&request, METHOD, role).unwrap().role, role);
    }
}

#[test]
fn an_expired_or_revoked_client_is_refused() {
    let mut rig = Rig::new(Role::Admin);
    let not_after_s = NOW_S + YEAR_S;
    rig.floor_s = not_after_s;
    let request = rig.request();
    assert!(rig.verify(&request).is_ok(), "the last second counts");
    rig.floor_s += 1;
    let expired = Refusal::Expired { not_after_s, floor_s: rig.floor_s };
    assert_eq!(rig.verify(&request), Err(SignedRefusal::Client { source: expired }));
    rig.floor_s = 0;
    assert!(rig.verify(&request).is_ok(), "a clock at 1970 locks nobody out");

    rig.revoked.revoke(rig.client.certificate.hash()).unwrap();
    assert_eq!(rig.verify(&request), Err(SignedRefusal::Client { source: Refusal::Revoked }));
}

#[test]
fn a_chain_is_one_certificate() {
    let rig = Rig::new(Role::Admin);
    let leaf = rig.client.certificate.der().to_vec();
    let chain = |chain| rig.verify(&SignedRequest { chain, ..rig.request() });
    for count in [0, 2, 100_000] {
        assert_eq!(chain(vec![leaf.clone(); count]), Err(SignedRefusal::Chain { count }));
    }
    let malformed = Err(SignedRefusal::Client { source: Refusal::Malformed });
    assert_eq!(chain(vec![vec![]]), malformed);
    assert_eq!(chain(vec![vec![0x30; 1 << 20]]), malformed);
    assert_eq!(
        chain(vec![rig.ca.certificate().der().to_vec()]),
        Err(SignedRefusal::Client { source: Refusal::NotForClients })
    );
}

#[test]
fn debug_shows_no_body() {
    let shown =
        format!("{:?}", SignedRequest { body: b"hunter2".to_vec(), ..Rig::new(Role::Admin).request() });
    assert!(!shown.contains("hunter2") && !shown.contains(&format!("{:?}", b"hunter2")), "{shown}");
    assert!(shown.contains("n1"), "{shown}");
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(part in 0..6_usize, position: prop::sample::Index, bit in 0..8_u32) {
        let rig = Rig::new(Role::Admin);
        let mut request = rig.request();
        let flip = |bytes: &mut Vec<u8>| {
            let index = position.index(bytes.len());
            bytes[index] ^= 1 << bit;
        };
        match part {
            0 => flip(&mut request.body),
            1 => flip(&mut request.signature),
            2 => flip(&mut request.chain[0]),
            3 => flip(&mut request.epoch),
            4 => request.base_generation ^= 1 << position.index(64),
            _ => {
                let mut node_id = request.node_id.clone().into_bytes();
                flip(&mut node_id);
                request.node_id = String::from_utf8_lossy(&node_id).into_owned();
            }
        }
        prop_assert!(rig.verify(&request).is_err(), "{:?}", request);
    }

    #[test]
    fn requests_without_a_signature_never_pass(
        body in proptest::collection::vec(any::<u8>(), 0..64),
        signature in proptest::collection::vec(any::<u8>(), 0..80),
        chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..3),
        node_id in ".{0,8}",
        epoch in proptest::collection::vec(any::<u8>(), 0..20),
        base_generation: u64,
    ) {
        let rig = Rig::new(Role::Admin);
        let request = SignedRequest { body, signature, chain, node_id, epoch, base_generation };
        prop_assert!(rig.verify(&request).is_err());
        let genuine = SignedRequest { chain: rig.request().chain, ..request };
        prop_assert_eq!(rig.verify(&genuine), Err(SignedRefusal::Signature));
    }
}
