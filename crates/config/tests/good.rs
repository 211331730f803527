//! A configuration that says everything is read, written and shown as it is.

use config::{Bus, Documents, Subnet, effective, parse, redact};
use serde_json::json;

const GOOD: &str = include_str!("good.yaml");

fn keys(documents: &Documents) -> Vec<String> {
    documents.iter().map(|document| document.key().to_string()).collect()
}

#[test]
fn every_field_reaches_the_controllers() {
    let config = parse(GOOD).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.hostname.as_deref(), Some("shop-17"));
    assert_eq!(config.labels["example.com/shelf"], "3");
    let disk = config.install_disk.unwrap();
    assert_eq!((disk.bus, disk.serial.as_deref()), (Some(Bus::Nvme), Some("0012345")));
    assert_eq!((disk.min_bytes, disk.max_bytes), (Some(64 << 30), Some(2_000_000_000_000)));
    assert_eq!((config.client_cas.len(), config.revoked.len()), (1, 1));
    assert_eq!(config.api_addresses, ["192.0.2.17", "2001:db8::17"].map(|ip| ip.parse().unwrap()).into());
    let [eth0, eth1] = config.interfaces.as_slice() else { panic!("{:?}", config.interfaces) };
    let first = Subnet { address: [192, 0, 2, 17].into(), prefix_length: 24 };
    assert_eq!((eth0.dhcp, eth0.addresses[0], eth0.mtu_bytes), (false, first, Some(9000)));
    assert_eq!(eth0.gateway, Some([192, 0, 2, 1].into()));
    assert!(eth1.dhcp && eth1.addresses.is_empty());
    let resolver = config.resolver.unwrap();
    assert_eq!((resolver.servers.len(), resolver.search), (2, vec!["example.com".to_owned()]));
    assert_eq!(config.kubelet["maxPods"], 40);
    assert_eq!(
        (config.static_pods[0].namespace.as_str(), config.static_pods[0].name.as_str()),
        ("shop", "web")
    );
    assert_eq!(config.registries[0].credentials.as_ref().unwrap().password, "hunter2");
    assert_eq!(config.registries[0].mirrors.len(), 2);
    assert_eq!(config.trusted_certificates.len(), 1);
    assert_eq!(config.sysctls["net.core.somaxconn"], "4096");
    assert_eq!(config.volumes[0].name, "recordings");
    assert_eq!(config.swap.unwrap().zram_percent, 75);
    let logging = config.logging.unwrap();
    let urls: Vec<String> = logging.destinations.iter().map(ToString::to_string).collect();
    assert_eq!(urls, ["tcp://logs.example.com:5514", "udp://[2001:db8::9]:514"]);
    assert_eq!(logging.fields["site"], "harbour");
}

#[test]
fn documents_are_written_as_they_were_read() {
    let documents = Documents::parse(GOOD).unwrap();
    assert_eq!(
        keys(&documents),
        [
            "Machine",
            "Api",
            "Interface/eth0",
            "Interface/eth1",
            "Resolver",
            "Kubelet",
            "StaticPod/shop/web",
            "Registry/docker.io",
            "TrustedCertificates",
            "Sysctl",
            "Volume/recordings",
            "Swap",
            "Logging"
        ]
    );
    assert_eq!(documents.to_yaml().unwrap(), GOOD);
    assert_eq!(Documents::parse(&documents.to_yaml().unwrap()).unwrap(), documents);
}

#[test]
fn documents_without_their_text_are_written_with_the_same_meaning() {
    let documents = Documents::parse(GOOD).unwrap();
    let made: Documents =
        documents.iter().map(|document| config::Document::new(document.fields().clone())).collect();
    let text = made.to_yaml().unwrap();
    assert!(text.starts_with("apiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: shop-17\n"), "{text}");
    assert!(text.contains("- |\n  -----BEGIN CERTIFICATE-----\n"), "{text}");
    let again = Documents::parse(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let fields = |documents: &Documents| documents.iter().map(|d| d.fields().clone()).collect::<Vec<_>>();
    assert_eq!(fields(&again), fields(&documents));
}

#[test]
fn defaults_are_filled_in_once() {
    let text = "apiVersion: cairn.dev/v1alpha1\nkind: Interface\nname: eth0\n---\n\
                apiVersion: cairn.dev/v1alpha1\nkind: Swap\n---\n"
        .to_owned()
        + GOOD.split("\n---\n").nth(1).unwrap();
    let once = effective(&Documents::parse(&text).unwrap());
    let interface = once.iter().next().unwrap().fields();
    assert_eq!((&interface["dhcp"], &interface["addresses"]), (&json!(true), &json!([])));
    assert_eq!(once.iter().nth(1).unwrap().fields()["zramPercent"], 50);
    assert_eq!(effective(&once), once);
    assert_eq!(parse(&once.to_yaml().unwrap()), parse(&text));
}

#[test]
fn secrets_are_shown_nowhere() {
    let documents = Documents::parse(GOOD).unwrap();
    let shown = redact(&documents).to_yaml().unwrap();
    let config = parse(GOOD).unwrap();
    for text in [shown.clone(), format!("{documents:?}"), format!("{config:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("sesame"), "{text}");
    }
    assert!(shown.contains("username: shop") && shown.contains("# The other port."), "{shown}");
}
