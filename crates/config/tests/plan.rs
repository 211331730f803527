//! A plan names everything that differs, in words that hold no secret.

use std::collections::{BTreeMap, BTreeSet};

use config::{
    ApiEndpoint, BootstrapToken, Cluster, ControlPlane, Credentials, DiskSelector, Interface, LogDestination,
    Logging, Manifests, NodeConfig, PodNetwork, Registry, Resolver, Seconds, StaticPod, Subnet, Swap,
    TimeServer, Transport, Update, Volume, parse,
    plan::{Condition, Effect, Plan, Subject, plan},
};
use firewall::{Firewall, Policy, Ports, Protocol, Rule, Source};
use netplan::Prefix;
use proptest::prelude::*;
use serde_json::{Value, json};

const GOOD: &str = include_str!("good.yaml");

fn change(from: &str, to: &str) -> Plan {
    assert!(GOOD.contains(from), "{from}");
    plan(&parse(GOOD).unwrap(), &parse(&GOOD.replace(from, to)).unwrap())
}

#[test]
fn reasons_say_what_changes() {
    for (from, to, expected) in [
        ("maxPods: 40", "maxPods: 50", "restart kubelet: Kubelet.maxPods changes from 40 to 50\n"),
        (
            "  imageMinimumGCAge: 1h30m\n",
            "",
            "restart kubelet: Kubelet.imageMinimumGCAge is no longer set to \"1h30m\"\n",
        ),
        ("shop-17", "shop-18", "restart kubelet: Machine.hostname changes from shop-17 to shop-18\n"),
        ("mtu: 9000", "mtu: 1500", "live link eth0: Interface/eth0.mtu changes from 9000 to 1500\n"),
        (
            "192.0.2.17/24",
            "192.0.2.18/24",
            "live link eth0: Interface/eth0.addresses changes from [192.0.2.17/24, 198.51.100.4/31] to [192.0.2.18/24, 198.51.100.4/31]\n",
        ),
        ("search: [example.com]\n", "", "live resolver: Resolver.search is no longer set to [example.com]\n"),
        ("web:1.4", "web:1.5", "live pod shop/web: StaticPod/shop/web changes at spec.containers[0].image\n"),
        (
            "sesame",
            "barley",
            "live pod shop/web: StaticPod/shop/web changes at spec.containers[0].env[0].value\n",
        ),
        ("hunter2", "hunter3", "live registry docker.io: Registry/docker.io.credentials change\n"),
        (
            "somaxconn: 4096",
            "somaxconn: 8192",
            "live sysctl net.core.somaxconn: Sysctl.net.core.somaxconn changes from 4096 to 8192\n",
        ),
        (
            "  net.core.somaxconn: 4096\n",
            "",
            "live sysctl net.core.somaxconn: Sysctl.net.core.somaxconn is no longer set to 4096\n",
        ),
        (
            "bus: ata",
            "bus: usb",
            "live volume recordings: Volume/recordings.disk changes from bus ata, at least 500000000000 bytes to bus usb, at least 500000000000 bytes\n",
        ),
        ("zramPercent: 75", "zramPercent: 50", "live swap: Swap.zramPercent changes from 75 to 50\n"),
        (
            "tcp://logs.example.com:5514",
            "tcp://logs.example.com:5515",
            "live logging: Logging.destinations changes from [tcp://logs.example.com:5514, udp://[2001:db8::9]:514] to [tcp://logs.example.com:5515, udp://[2001:db8::9]:514]\n",
        ),
        (
            "fields: {site: harbour}",
            "fields: {site: mill}",
            "live logging: Logging.fields.site changes from harbour to mill\n",
        ),
        (
            "automatic: true\nwindows:\n  - {days: [Sat, Sun], start: \"02:00\", duration: 4h}\n",
            "windows:\n",
            "live updates: Update.automatic changes from true to false; Update.windows changes from [Sat Sun 02:00 for 4h, daily 23:30 for 1h30m] to [daily 23:30 for 1h30m]\n",
        ),
        ("[https://updates.example.org/cairn, ", "[", "live updates: Update.sources changes\n"),
        (
            "ports: [80, 8000-8010]",
            "ports: [80]",
            "live firewall: Firewall.allow.web changes from tcp 80, 8000-8010 from 10.0.0.0/8, fd00::/8 in by trunk, lan to tcp 80 from 10.0.0.0/8, fd00::/8 in by trunk, lan\n",
        ),
        (
            "  - {name: dns, protocol: udp, ports: [53]}\n",
            "",
            "live firewall: Firewall.allow.dns is no longer set to udp 53 from anywhere\n",
        ),
        (
            "api: {from: [192.0.2.0/24, \"2001:db8::/32\"], interfaces: [bond0]}\npods: deny\n",
            "",
            "live firewall: Firewall.api is no longer set to from 192.0.2.0/24, 2001:db8::/32 in by bond0; Firewall.pods changes from deny to accept\n",
        ),
        (
            "\n  site: harbour",
            "\n  site: mill",
            "live labels: Machine.labels.site changes from harbour to mill\n",
        ),
        (
            "---\napiVersion: cairn.dev/v1alpha1\nkind: Volume\nname: recordings\ndisk:\n  bus: ata\n  minSize: 500GB\n",
            "",
            "live volume recordings: Volume/recordings is removed\n",
        ),
        (
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "live trust: Api.revokedCertificates: 1 added, 1 removed\n",
        ),
        (
            "addresses: [192.0.2.17, \"2001:db8::17\"]\n",
            "addresses: [198.51.100.4]\n",
            "restart apid: Api.addresses changes from [192.0.2.17, 2001:db8::17] to [198.51.100.4]\n",
        ),
        (
            "endpoints: [k8s.example.com, ",
            "endpoints: [",
            "live cluster: Cluster.endpoints changes from [k8s.example.com:6443, [2001:db8::10]:7443] to [[2001:db8::10]:7443]\n",
        ),
        (
            "abcdef.0123456789abcdef",
            "abcdef.1123456789abcdef",
            "reboot cluster: Cluster.bootstrapToken changes\n",
        ),
        (
            "alternativeNames: [k8s.example.com, 192.0.2.99]",
            "alternativeNames: [k8s.example.com]",
            "reboot control plane: ControlPlane.alternativeNames changes from [k8s.example.com, 192.0.2.99] to [k8s.example.com]\n",
        ),
        (
            "stringData: {token: marjoram}",
            "stringData: {token: thyme}",
            "live manifests shop: Manifests/shop.objects: 1 new or changed, 1 removed or changed\n",
        ),
    ] {
        assert_eq!(change(from, to).to_string(), expected);
    }
}

#[test]
fn only_what_could_cut_the_admin_off_must_be_confirmed() {
    for (from, to, confirmation, reboot) in [
        ("maxPods: 40", "maxPods: 50", false, false),
        ("shop-17", "shop-18", true, false),
        ("mtu: 9000", "mtu: 1500", true, false),
        ("2001:db8::53", "2001:db8::54", true, false),
        (
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            true,
            false,
        ),
        ("addresses: [192.0.2.17, \"2001:db8::17\"]\n", "", true, false),
        ("ports: [53]", "ports: [54]", true, false),
        ("  net.core.somaxconn: 4096\n", "", false, false),
    ] {
        let plan = change(from, to);
        assert_eq!((plan.needs_confirmation(), plan.needs_reboot()), (confirmation, reboot), "{plan}");
    }
}

#[test]
fn the_gate_watches_what_was_touched_and_is_still_there() {
    let (old, mut new) = (parse(GOOD).unwrap(), parse(GOOD).unwrap());
    new.hostname = None;
    new.interfaces.remove(1);
    new.interfaces[0].mtu_bytes = None;
    new.volumes.clear();
    new.trusted_certificates.clear();
    new.firewall = None;
    let gate: Vec<Condition> = plan(&old, &new).gate(&new).into_iter().collect();
    assert_eq!(
        gate,
        [
            Condition::Api,
            Condition::Link("eth0".to_owned()),
            Condition::Firewall,
            Condition::Containerd,
            Condition::Kubelet
        ]
    );
}

#[test]
fn users_go_before_what_they_use_and_come_after_it() {
    let full = parse(GOOD).unwrap();
    let order = |old: &NodeConfig, new: &NodeConfig| {
        let plan = plan(old, new);
        let at = |wanted: &str| {
            plan.operations.iter().position(|operation| operation.subject.to_string() == wanted)
        };
        (at("pod shop/web").unwrap(), at("volume recordings").unwrap())
    };
    let (pod, volume) = order(&NodeConfig::default(), &full);
    assert!(volume < pod);
    let (pod, volume) = order(&full, &NodeConfig::default());
    assert!(pod < volume);
}

fn subnet() -> impl Strategy<Value = Subnet> {
    (any::<u8>(), 8_u8..30)
        .prop_map(|(last, prefix_length)| Subnet { address: [192, 0, 2, last].into(), prefix_length })
}

fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    let settings = (any::<bool>(), prop::collection::vec(subnet(), 0..2), prop::option::of(576_u32..580));
    prop::collection::btree_map("eth[0-2]", settings, 0..3).prop_map(|map| {
        let link = |(name, (dhcp, addresses, mtu_bytes)): (_, (_, _, Option<u32>))| {
            let gateway = mtu_bytes.filter(|mtu| mtu % 2 == 0).map(|_| [192, 0, 2, 1].into());
            Interface { name, dhcp, addresses, gateway, mtu_bytes, ..Interface::default() }
        };
        map.into_iter().map(link).collect()
    })
}

const PASSWORD: &str = "hunter";

fn registries() -> impl Strategy<Value = Vec<Registry>> {
    let settings = (prop::collection::vec("https://[ab]", 0..2), prop::option::of("[ab]"));
    prop::collection::btree_map("[ab].example", settings, 0..3).prop_map(|map| {
        let registry = |(host, (mirrors, user)): (String, (_, Option<String>))| {
            let credentials =
                user.map(|user| Credentials { password: format!("{PASSWORD}{user}"), username: user });
            Registry { host, mirrors, credentials }
        };
        map.into_iter().map(registry).collect()
    })
}

fn pods() -> impl Strategy<Value = Vec<StaticPod>> {
    prop::collection::btree_map(("[ab]", "[ab]"), 0_u8..3, 0..3).prop_map(|map| {
        let pod = |((namespace, name), value)| StaticPod {
            namespace,
            name,
            manifest: json!({"spec": {"containers": [{"env": [{"value": format!("{PASSWORD}{value}")}]}]}}),
        };
        map.into_iter().map(pod).collect()
    })
}

fn selector() -> impl Strategy<Value = DiskSelector> {
    (prop::option::of("[ab]"), prop::option::of(1_u64..3)).prop_map(|(model, min_bytes)| DiskSelector {
        model,
        min_bytes,
        ..DiskSelector::default()
    })
}

fn logging() -> impl Strategy<Value = Option<Logging>> {
    let destinations = prop::collection::vec((1_u16..4).prop_map(destination), 0..3);
    prop::option::of(
        (destinations, words()).prop_map(|(destinations, fields)| Logging { destinations, fields }),
    )
}

fn update() -> impl Strategy<Value = Update> {
    let settings =
        (prop::option::of("[ab]-k1.37"), list(), any::<bool>(), 0_u64..3, prop::option::of(1_u64..3));
    settings.prop_map(|(channel, sources, automatic, delay, bandwidth_limit_bytes)| Update {
        channel,
        sources,
        automatic,
        random_delay: Seconds(delay),
        bandwidth_limit_bytes,
        ..Update::default()
    })
}

fn firewall() -> impl Strategy<Value = Option<Firewall>> {
    let policy = || prop::sample::select(vec![Policy::Deny, Policy::Accept]);
    let source = || list().prop_map(|interfaces| Source { subnets: Vec::new(), interfaces });
    let rule = (1_u16..4, source()).prop_map(|(port, source)| Rule {
        name: String::new(),
        protocol: Protocol::Tcp,
        ports: vec![Ports::one(port)],
        source,
    });
    let rules = prop::collection::vec(("[a-c]", rule), 0..3).prop_map(|rules| {
        let mut seen = BTreeSet::new();
        let fresh = rules.into_iter().filter(|(name, _)| seen.insert(name.clone()));
        fresh.map(|(name, rule)| Rule { name, ..rule }).collect::<Vec<_>>()
    });
    let parts = (policy(), prop::option::of(source()), policy(), rules);
    prop::option::of(parts.prop_map(|(default, api, pods, allow)| Firewall { default, api, pods, allow }))
}

fn clusters() -> impl Strategy<Value = (Option<Cluster>, Option<ControlPlane>, Vec<Manifests>)> {
    let cluster = (1_u16..3, list(), "[ab]", list(), any::<bool>()).prop_map(
        |(port, authorities, secret, taints, external)| Cluster {
            endpoints: vec![ApiEndpoint { host: "a.example".into(), port }],
            certificate_authorities: authorities,
            bootstrap_token: BootstrapToken { id: "id".into(), secret: format!("{PASSWORD}{secret}") },
            node_subnets: Vec::new(),
            dns: Vec::new(),
            domain: "cluster.local".into(),
            taints,
            pod_network: if external { PodNetwork::External } else { PodNetwork::Cairn },
        },
    );
    let plane = ("[ab]", "[ab]", list()).prop_map(|(key, other, alternative_names)| ControlPlane {
        certificate_authority_key: format!("{PASSWORD}{key}"),
        service_account_key: format!("{PASSWORD}{other}"),
        encryption_key: format!("{PASSWORD}{other}"),
        alternative_names,
        pod_subnet: Prefix::new([10, 244, 0, 0].into(), 16),
        service_subnet: Prefix::new([10, 96, 0, 0].into(), 12),
    });
    let object = (0_u8..3).prop_map(|value| json!({"kind": "Secret", "data": format!("{PASSWORD}{value}")}));
    let manifests = prop::collection::btree_map("[ab]", prop::collection::vec(object, 0..3), 0..3);
    let manifests = manifests.prop_map(|documents| {
        documents.into_iter().map(|(name, objects)| Manifests { name, objects }).collect()
    });
    (prop::option::of(cluster), prop::option::of(plane), manifests)
}

fn destination(port: u16) -> LogDestination {
    LogDestination { transport: Transport::Tcp, host: "a.example".into(), port }
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-c]", "[xy]", 0..3)
}

fn list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[a-c]", 0..3).prop_map(|set| set.into_iter().collect())
}

fn node() -> impl Strategy<Value = NodeConfig> {
    let addresses = prop::collection::btree_set((0_u8..3).prop_map(|last| [192, 0, 2, last].into()), 0..3);
    let first = (prop::option::of("[ab]"), words(), prop::option::of(selector()), list(), list(), addresses);
    let second = ((interfaces(), firewall()), prop::option::of(list()), words(), pods(), registries());
    let volumes = prop::collection::btree_map("[ab]", selector(), 0..3);
    let time = prop::option::of(list().prop_map(|hosts| hosts.iter().map(TimeServer::plain).collect()));
    let third =
        (list(), words(), volumes, prop::option::of(1_u32..3), logging(), (time, update(), clusters()));
    (first, second, third).prop_map(|(first, second, third)| {
        let kubelet = second.2.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let resolver = second.1.map(|search| Resolver { servers: vec![[192, 0, 2, 53].into()], search });
        NodeConfig {
            hostname: first.0,
            labels: first.1,
            install_disk: first.2,
            client_cas: first.3,
            revoked: first.4,
            api_addresses: first.5,
            interfaces: second.0.0,
            firewall: second.0.1,
            resolver,
            kubelet,
            static_pods: second.3,
            registries: second.4,
            trusted_certificates: third.0,
            sysctls: third.1,
            volumes: third.2.into_iter().map(|(name, disk)| Volume { name, disk }).collect(),
            swap: third.3.map(|zram_percent| Swap { zram_percent }),
            logging: third.4,
            time: third.5.0,
            update: third.5.1,
            cluster: third.5.2.0,
            control_plane: third.5.2.1,
            manifests: third.5.2.2,
        }
    })
}

/// Brings one subject of a node to what the new configuration says, and touches no other.
fn execute(node: &mut NodeConfig, new: &NodeConfig, subject: &Subject) {
    fn replace<T: Clone>(items: &mut Vec<T>, new: &[T], is_it: impl Fn(&T) -> bool) {
        items.retain(|item| !is_it(item));
        items.extend(new.iter().filter(|item| is_it(item)).cloned());
    }
    match subject {
        Subject::HostName => node.hostname = new.hostname.clone(),
        Subject::Cluster => node.cluster = new.cluster.clone(),
        Subject::ControlPlane => node.control_plane = new.control_plane.clone(),
        Subject::Manifests(name) => {
            replace(&mut node.manifests, &new.manifests, |document| document.name == *name);
        }
        Subject::Labels => node.labels = new.labels.clone(),
        Subject::Trust => {
            node.client_cas = new.client_cas.clone();
            node.revoked = new.revoked.clone();
        }
        Subject::ApiAddresses => node.api_addresses = new.api_addresses.clone(),
        Subject::Interface(name) => replace(&mut node.interfaces, &new.interfaces, |link| link.name == *name),
        Subject::Firewall => node.firewall = new.firewall.clone(),
        Subject::Resolver => node.resolver = new.resolver.clone(),
        Subject::Kubelet => node.kubelet = new.kubelet.clone(),
        Subject::StaticPod { namespace, name } => {
            replace(&mut node.static_pods, &new.static_pods, |pod| {
                pod.namespace == *namespace && pod.name == *name
            });
        }
        Subject::Registry(host) => {
            replace(&mut node.registries, &new.registries, |registry| registry.host == *host)
        }
        Subject::TrustedCertificates => node.trusted_certificates = new.trusted_certificates.clone(),
        Subject::Sysctl(name) => {
            node.sysctls.remove(name);
            node.sysctls.extend(new.sysctls.get(name).map(|value| (name.clone(), value.clone())));
        }
        Subject::Volume(name) => replace(&mut node.volumes, &new.volumes, |volume| volume.name == *name),
        Subject::Swap => node.swap = new.swap,
        Subject::Logging => node.logging = new.logging.clone(),
        Subject::Time => node.time = new.time.clone(),
        Subject::Updates => node.update = new.update.clone(),
        Subject::InstallDisk => node.install_disk = new.install_disk.clone(),
    }
    node.interfaces.sort_by(|one, other| one.name.cmp(&other.name));
    node.static_pods.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    node.registries.sort_by(|one, other| one.host.cmp(&other.host));
    node.volumes.sort_by(|one, other| one.name.cmp(&other.name));
    node.manifests.sort_by(|one, other| one.name.cmp(&other.name));
}

proptest! {
    #[test]
    fn executing_a_plan_leads_to_the_new_configuration(old in node(), new in node()) {
        let plan = plan(&old, &new);
        let mut node = old.clone();
        for operation in &plan.operations {
            let before = node.clone();
            execute(&mut node, &new, &operation.subject);
            prop_assert_ne!(&before, &node, "an operation that does nothing: {:?}", operation);
            prop_assert!(!operation.reason.contains(PASSWORD), "{}", operation.reason);
        }
        prop_assert_eq!(node, new);
    }

    #[test]
    fn nothing_is_planned_where_nothing_differs(config in node()) {
        prop_assert!(plan(&config, &config).is_empty());
    }

    #[test]
    fn only_the_cluster_and_how_the_kubelet_assigns_need_a_reboot(old in node(), new in node()) {
        let of_a_cluster = |subject: &Subject| matches!(subject, Subject::Cluster | Subject::ControlPlane);
        for operation in plan(&old, &new).operations {
            prop_assert!(operation.effect != Effect::Reboot || of_a_cluster(&operation.subject));
        }
        let mut pinned = NodeConfig { cluster: old.cluster.clone(), control_plane: old.control_plane.clone(), ..new };
        pinned.kubelet.insert("cpuManagerPolicy".into(), "static".into());
        for plan in [plan(&old, &pinned), plan(&pinned, &old)] {
            let reboots = plan.operations.iter().filter(|operation| operation.effect == Effect::Reboot);
            let subjects: Vec<&Subject> = reboots.map(|operation| &operation.subject).collect();
            prop_assert_eq!(subjects, [&Subject::Kubelet]);
        }
    }
}
