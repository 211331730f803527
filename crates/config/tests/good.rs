//! A configuration that says everything is read, written and shown as it is.

use std::net::IpAddr;

use config::{Bus, Documents, Expiry, PodNetwork, Seconds, Subnet, Weekday, effective, parse, redact};
use firewall::{Firewall, Policy};
use netplan::{Bond, BondMode, Bridge, Device, HashPolicy, Kind, LacpRate};
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
    let [eth0, eth1, ..] = config.interfaces.as_slice() else { panic!("{:?}", config.interfaces) };
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
fn a_cluster_is_joined_and_served() {
    let config = parse(GOOD).unwrap();
    let cluster = config.cluster.unwrap();
    let endpoints: Vec<String> = cluster.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["k8s.example.com:6443", "[2001:db8::10]:7443"]);
    assert_eq!((cluster.certificate_authorities.len(), cluster.domain.as_str()), (1, "shop.local"));
    assert_eq!((cluster.bootstrap_token.id.as_str(), cluster.pod_network), ("abcdef", PodNetwork::External));
    assert_eq!(cluster.bootstrap_token.secret, "0123456789abcdef");
    assert_eq!(cluster.dns, [IpAddr::from([10, 33, 0, 10])], "the tenth of the Services' addresses");
    assert_eq!(cluster.node_subnets[0].to_string(), "10.0.0.0/8");
    assert_eq!(cluster.taints, ["role=camera:NoSchedule"]);
    let plane = config.control_plane.unwrap();
    assert_eq!(
        (plane.pod_subnet.to_string(), plane.service_subnet.to_string()),
        ("10.32.0.0/16".into(), "10.33.0.0/20".into())
    );
    assert_eq!(plane.alternative_names, ["k8s.example.com", "192.0.2.99"]);
    assert!(plane.certificate_authority_key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!((config.manifests[0].name.as_str(), config.manifests[0].objects.len()), ("shop", 2));
}

#[test]
fn links_stand_on_each_other() {
    let config = parse(GOOD).unwrap();
    let [_, _, trunk, bond, vlan, bridge, dummy] = config.interfaces.as_slice() else { panic!() };
    let selector = trunk.selector.clone().unwrap();
    assert_eq!(
        (selector.mac, selector.driver.as_deref()),
        (Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]), Some("igc"))
    );
    assert_eq!((trunk.device.clone(), trunk.dhcp), (Device::Hardware, false));
    let mode = BondMode::Lacp { rate: LacpRate::Fast, hash: HashPolicy::Layer34 };
    let settings = Bond { mode, monitor_interval_ms: 50 };
    assert_eq!(bond.device, Device::Bond { settings, ports: vec!["eth2".into(), "eth3".into()] });
    let routes: Vec<String> = bond.routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["::/0 via fe80::1 metric 512", "10.0.0.0/8 via 203.0.113.30 metric 50 table 100"]);
    assert_eq!(bond.addresses[1].to_string(), "2001:db8:1::17/64");
    assert_eq!(vlan.device, Device::Vlan { parent: "trunk".into(), id: 20 });
    assert!(!vlan.dhcp && vlan.addresses.is_empty(), "it is a port");
    let settings = Bridge { spanning_tree: Some(400) };
    assert_eq!(bridge.device, Device::Bridge { settings, ports: vec!["cameras".into(), "eth4".into()] });
    assert!(bridge.dhcp);
    assert_eq!((dummy.device.clone(), dummy.mtu_bytes), (Device::Dummy, Some(1500)));

    let plain = "apiVersion: cairn.dev/v1alpha1\nkind: Bond\nname: b\n---\n\
                 apiVersion: cairn.dev/v1alpha1\nkind: Bridge\nname: s\nstp: true\n---\n"
        .to_owned()
        + GOOD.split("\n---\n").nth(1).unwrap();
    let plain = parse(&plain).unwrap().interfaces;
    let settings = Bond { mode: BondMode::ActiveBackup, monitor_interval_ms: 100 };
    assert_eq!(plain[0].device, Device::Bond { settings, ports: vec![] });
    assert_eq!(plain[1].device.kind(), Some(Kind::Bridge(Bridge { spanning_tree: Some(1500) })));
}

#[test]
fn a_firewall_says_who_is_let_in() {
    let firewall = parse(GOOD).unwrap().firewall.unwrap();
    assert_eq!((firewall.default, firewall.pods), (Policy::Deny, Policy::Deny));
    assert_eq!(firewall.api.unwrap().to_string(), "from 192.0.2.0/24, 2001:db8::/32 in by bond0");
    let rules: Vec<String> = firewall.allow.iter().map(|rule| format!("{}: {rule}", rule.name)).collect();
    assert_eq!(
        rules,
        [
            "ping: icmp from anywhere",
            "web: tcp 80, 8000-8010 from 10.0.0.0/8, fd00::/8 in by trunk, lan",
            "dns: udp 53 from anywhere"
        ]
    );
    let api = GOOD.split("\n---\n").nth(1).unwrap();
    assert_eq!(parse(api).unwrap().firewall, None);
    let bare = parse(&format!("{api}\n---\napiVersion: cairn.dev/v1alpha1\nkind: Firewall\n")).unwrap();
    assert_eq!(bare.firewall, Some(Firewall::default()));
}

#[test]
fn the_example_of_the_documentation_is_right() {
    let page = include_str!("../../../docs/networking.md");
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let api = GOOD.split("\n---\n").nth(1).unwrap();
    let config = parse(&format!("{example}---\n{api}\n")).unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<&str> = config.interfaces.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["trunk", "office", "cameras", "shelf"]);
}

#[test]
fn updates_are_read_and_have_defaults() {
    let update = parse(GOOD).unwrap().update;
    assert_eq!((update.channel.as_deref(), update.automatic), (Some("stable-k1.37"), true));
    assert_eq!(update.sources, ["https://updates.example.org/cairn", "http://192.0.2.80:8080"]);
    let windows: Vec<String> = update.windows.iter().map(ToString::to_string).collect();
    assert_eq!(windows, ["Sat Sun 02:00 for 4h", "daily 23:30 for 1h30m"]);
    assert_eq!((update.windows[0].start_minute, update.windows[1].start_minute), (120, 1410));
    assert!(update.windows[0].days.iter().eq(&[Weekday::Sat, Weekday::Sun]));
    assert_eq!((update.random_delay, update.bandwidth_limit_bytes), (Seconds(1800), Some(500 << 10)));
    assert_eq!(update.not_while, ["http://127.0.0.1:8080/busy"]);
    let probes: Vec<String> = update.gate.probes.iter().map(ToString::to_string).collect();
    assert_eq!(probes, ["tcp://[2001:db8::1]:443", "http://127.0.0.1:8080/healthz"]);
    assert_eq!((update.gate.deadline, update.metadata_expiry), (Seconds(360), Expiry::Ignore));

    let api = GOOD.split("\n---\n").nth(1).unwrap();
    let none = parse(api).unwrap().update;
    assert!(!none.automatic && none.channel.is_none() && none.windows.is_empty());
    assert_eq!((none.gate.deadline, none.metadata_expiry), (Seconds(300), Expiry::Enforce));
    let empty = parse(&format!("{api}\n---\napiVersion: cairn.dev/v1alpha1\nkind: Update\ngate: {{}}\n"));
    assert_eq!(empty.unwrap().update, none);
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
            "Logging",
            "Update",
            "Interface/trunk",
            "Bond/bond0",
            "Vlan/cameras",
            "Bridge/lan",
            "Dummy/services",
            "Time",
            "Firewall",
            "Cluster",
            "ControlPlane",
            "Manifests/shop"
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
        for secret in ["abcdef.0123456789abcdef", "c2FnZQ==", "MDEyMzQ1", "marjoram"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    assert!(shown.contains("username: shop") && shown.contains("# The other port."), "{shown}");
}
