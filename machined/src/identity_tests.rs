use pki::{Ca, SubjectName, Validity};

use super::*;

#[test]
fn in_recovery_the_api_is_served_everywhere() {
    let state = tempfile::tempdir().unwrap();
    let ca = Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
    let config = NodeConfig {
        client_cas: vec![ca.bundle().to_pem()],
        api_addresses: [[192, 0, 2, 17].into()].into(),
        ..NodeConfig::default()
    };
    let trust = Arc::new(Trust::open(state.path(), 7).unwrap());
    let identity = Identity::open(state.path(), &config, trust).unwrap();
    assert_eq!(identity.addresses(&config), config.api_addresses);
    assert_eq!(identity.in_mode(Mode::Recovery).addresses(&config), BTreeSet::new());
}

#[test]
fn an_identity_stays_and_takes_only_its_own_certificate() {
    let state = tempfile::tempdir().unwrap();
    let ca = Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
    let config = NodeConfig { client_cas: vec![ca.bundle().to_pem()], ..NodeConfig::default() };
    let open = || {
        let trust = Arc::new(Trust::open(state.path(), 7).unwrap());
        Identity::open(state.path(), &config, trust).unwrap()
    };
    let (first, again) = (open(), open());
    assert_eq!(first.node_id(), again.node_id());
    assert_eq!(first.fingerprint(), again.fingerprint());
    assert_eq!(first.node_id().len(), 32);
    assert!(!first.is_adopted());
    let foreign = node::self_signed(&Key::generate().unwrap(), &NodeId::parse("x").unwrap()).unwrap();
    assert!(matches!(first.install(foreign.der()), Err(IdentityError::Refused(_))));
}

#[test]
fn a_request_fits_one_start_of_the_node() {
    let state = tempfile::tempdir().unwrap();
    let ca = Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
    let client = ca.issue_client(&SubjectName::parse("a").unwrap(), Role::Admin, Validity::UNLIMITED);
    let client = client.unwrap();
    let config = NodeConfig { client_cas: vec![ca.bundle().to_pem()], ..NodeConfig::default() };
    let open = || {
        let trust = Arc::new(Trust::open(state.path(), 7).unwrap());
        Identity::open(state.path(), &config, trust).unwrap()
    };
    let (first, again) = (open(), open());
    let base = Base { epoch: first.epoch(), generation: 1 };
    let request =
        signed::sign(&client.key, &client.certificate, "/s/M", &first.node_id, base, Vec::new()).unwrap();
    assert!(first.verify(&request, "/s/M", 1, Role::Admin).is_ok());
    assert_eq!(again.verify(&request, "/s/M", 1, Role::Admin), Err(SignedRefusal::Epoch));
}
