//! What is wrong is refused at its place, with its path and what would be right.

use config::{ConfigError, parse};

const GOOD: &str = include_str!("good.yaml");

/// A change to the good configuration, and the error that it must bring about.
struct Case {
    from: &'static str,
    to: &'static str,
    /// Text that the error must point at, the first such of the changed document; empty for the whole text.
    at: &'static str,
    path: &'static str,
    message: &'static str,
}

const fn case(
    from: &'static str,
    to: &'static str,
    at: &'static str,
    path: &'static str,
    message: &'static str,
) -> Case {
    Case { from, to, at, path, message }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Versions and kinds.
    case("v1alpha1\nkind: Machine", "v2\nkind: Machine", "v2", "apiVersion", "\"cairn.dev/v2\" is not known to this release; it knows cairn.dev/v1alpha1"),
    case("kind: Machine", "kind: Machin", "kind: Machin", "kind", "did you mean Machine?"),
    case("kind: Swap", "kind: Gadget", "Gadget", "kind", "\"Gadget\" is not known to this release; it knows Machine, Api,"),
    case("kind: Swap\n", "", "apiVersion", "kind", "the field kind is missing"),
    case("apiVersion: cairn.dev/v1alpha1\nkind: Swap", "kind: Swap", "kind: Swap", "apiVersion", "the field apiVersion is missing"),
    case("kind: Swap", "kind: [Swap]", "[Swap]", "kind", "must be a text; this release knows"),
    // YAML.
    case("zramPercent: 75", "zramPercent: 75\n\tx: 1", "\tx", "", "tab"),
    case("hostname: shop-17", "hostname: a\nhostname: b", "hostname: b", "", "\"hostname\" stands twice in one mapping; first on line 5"),
    case("servers: [192.0.2.53, ", "servers: [192.0.2.53 ", "servers", "Resolver.servers[0]", "must be an IP address"),
    case("search: [example.com]", "search: [example.com", "search", "", "bracket"),
    case("mtu: 9000", "mtu: &a 9000", "&a 9000", "", "anchors are not allowed"),
    case("mtu: 9000", "mtu: *a", "*a", "", "aliases are not allowed"),
    case("mtu: 9000", "mtu: !!int 9000", "!!int", "", "tag"),
    case("mtu: 9000", "<<: {mtu: 9000}", "<<", "", "merge keys"),
    case("mtu: 9000", "mtu: 0900", "0900", "", "octal"),
    case("mtu: 9000", "? [a]\n: 1", "? [a]", "", "must be a text"),
    case("kind: Swap\nzramPercent: 75", "\"kind", "\"kind", "", "quote"),
    // Machine.
    case("shop-17", "Shop_17", "Shop_17", "Machine.hostname", "\"Shop_17\" must be one label of RFC 1123"),
    case("shop-17", "17", "hostname: 17", "Machine.hostname", "quote it: \"17\""),
    case("hostname: shop-17", "hostname:", "hostname", "Machine.hostname", "is empty; must be a text"),
    case("hostname:", "hostnam:", "hostnam", "Machine.hostnam", "unknown field \"hostnam\"; did you mean hostname?"),
    case("hostname:", "zzz:", "zzz", "Machine.zzz", "the fields here are hostname, labels, installDisk"),
    case("site: harbour", "\"a b\": x", "a b", "Machine.labels[\"a b\"]", "key of a label"),
    case("site: harbour", "x.kubernetes.io/role: x", "role", "Machine.labels[\"x.kubernetes.io/role\"]", "domain of your own"),
    case("site: harbour", "site: a b", "a b", "Machine.labels.site", "value of a label"),
    case("bus: nvme", "bus: nvm", "nvm,", "Machine.installDisk.bus", "one of ata, mmc, nvme, usb, virtio; did you mean nvme?"),
    case("64GiB", "64 Gi", "64 Gi", "Machine.installDisk.minSize", "with a unit, such as 8GiB"),
    case("64GiB", "3TB", "3TB", "Machine.installDisk", "minSize is larger than maxSize"),
    case("\"ACME*\"", "\"A*E\"", "A*E", "Machine.installDisk.model", "only at its end"),
    // Api.
    case("kind: Api", "kind: Apo", "", "", "a document of kind Api is missing"),
    case("    MIIBXTCCAQOgAwIBAgIUB3qQ5W0rQ0c1pH4m0Y0mY2N0ZXh0MAoGCCqGSM49BAMC\n    -----END CERTIFICATE-----\nrevoked", "    MI*B\n    -----END CERTIFICATE-----\nrevoked", "-----BEGIN", "Api.clientCAs[0]", "damaged"),
    case("    -----END CERTIFICATE-----\nrevoked", "revoked", "-----BEGIN", "Api.clientCAs[0]", "cut off"),
    case("- 0123456789abcdef", "- 01:23", "01:23", "Api.revokedCertificates[0]", "SHA-256"),
    case("addresses: [192.0.2.17, \"2001:db8::17\"]", "addresses: []", "addresses", "Api.addresses", "must hold 1 to 16 items, but it holds 0"),
    case("[192.0.2.17, \"2001", "[0.0.0.0, \"2001", "addresses", "Api.addresses[0]", "stands for all addresses; leave the field out"),
    case("\"2001:db8::17\"]", "eth0]", "addresses", "Api.addresses[1]", "must be an IP address"),
    // Interface.
    case("192.0.2.17/24", "192.0.2.0/24", "192.0.2.0/24", "Interface/eth0.addresses[0]", "subnet's own address"),
    case("192.0.2.17/24", "192.0.2.17", "- 192.0.2.17", "Interface/eth0.addresses[0]", "length of its prefix"),
    case("198.51.100.4/31", "192.0.2.17/28", "192.0.2.17/28", "Interface/eth0.addresses[1]", "already the address of Interface/eth0.addresses[0]"),
    case("198.51.100.4/31", "192.0.2.17/24", "- 192.0.2.17/24\ngateway", "Interface/eth0.addresses[1]", "the same as [0]"),
    case("198.51.100.4/31", "10.244.0.9/16", "10.244.0.9", "Interface/eth0.addresses[1]", "where the node's pods are"),
    case("gateway: 192.0.2.1", "gateway: 203.0.113.1", "203.0.113.1", "Interface/eth0.gateway", "lies in no subnet of the interface (192.0.2.17/24, 198.51.100.4/31)"),
    case("gateway: 192.0.2.1", "gateway: 192.0.2.17", "gateway", "Interface/eth0.gateway", "own address"),
    case("gateway: 192.0.2.1", "gateway: 224.0.0.1", "gateway", "Interface/eth0.gateway", "multicast"),
    case("mtu: 9000", "mtu: 90", "mtu", "Interface/eth0.mtu", "from 576 to 9216"),
    case("mtu: 9000", "dhcp: true", "dhcp: true\n---", "Interface/eth0.dhcp", "together with addresses"),
    case("dhcp: true", "dhcp: yes", "dhcp", "Interface/eth1.dhcp", "must be true or false, but it is a text"),
    case("dhcp: true", "gateway: 192.0.2.1", "eth1\ngateway", "Interface/eth1.gateway", "only one gateway"),
    case("dhcp: true", "addresses: [192.0.2.99/16]", "192.0.2.99", "Interface/eth1.addresses[0]", "overlaps that of 192.0.2.17/24 (Interface/eth0.addresses[0], document 3, line 26)"),
    case("name: eth1", "name: eth0", "name: eth0\ndhcp", "Interface/eth0", "Interface/eth0 stands twice; the other is document 3, line 24"),
    case("name: eth1", "name: lo", "lo", "Interface/lo.name", "loopback interface"),
    // Links in layers.
    case("name: lan", "name: bond0", "bond0", "Bridge/bond0.name", "is the name of Bond/bond0 already (document 16, line"),
    case("mac: \"52:54:00:12:34:56\"", "mac: \"52:54:00:12:34\"", "select", "Interface/trunk.select.mac", "hardware address"),
    case("mac: \"52:54:00:12:34:56\"", "mac: \"53:54:00:12:34:56\"", "select", "Interface/trunk.select.mac", "hardware address"),
    case("path: \"0000:02:00.0\"", "path: /sys/devices", "select", "Interface/trunk.select.path", "without white space and '/'"),
    case("select: {mac: \"52:54:00:12:34:56\", path: \"0000:02:00.0\", driver: igc}", "select: {}", "select", "Interface/trunk.select", "names nothing"),
    case("select: {mac: \"52:54:00:12:34:56\", path: \"0000:02:00.0\", driver: igc}\ndhcp: false", "select: {driver: igc}\ndhcp: false\n---\napiVersion: cairn.dev/v1alpha1\nkind: Interface\nname: other\nselect: {driver: igc}\ndhcp: false", "---\napiVersion: cairn.dev/v1alpha1\nkind: Interface\nname: other\nselect: {driver: igc}", "Interface/other.select", "selects the same interface as Interface/trunk"),
    case("parent: trunk", "parent: eth9", "parent", "Vlan/cameras.parent", "no document of a link is called eth9"),
    case("parent: trunk\n", "", "apiVersion", "Vlan/cameras", "the field parent is missing"),
    case("parent: trunk", "parent: cameras", "parent", "Vlan/cameras.parent", "would stand on itself"),
    case("parent: trunk", "parent: lan", "parent", "Vlan/cameras.parent", "would stand on itself"),
    case("id: 20", "id: 0", "id: 0", "Vlan/cameras.id", "from 1 to 4094"),
    case("id: 20", "id: 4095", "id: 4095", "Vlan/cameras.id", "from 1 to 4094"),
    case("mtu: 1400\n", "mtu: 1400\n---\napiVersion: cairn.dev/v1alpha1\nkind: Vlan\nname: again\nparent: trunk\nid: 20\n", "---\napiVersion: cairn.dev/v1alpha1\nkind: Vlan\nname: again\nparent: trunk\nid: 20", "Vlan/again.id", "is the VLAN 20 of trunk that Vlan/cameras is already"),
    case("mtu: 1400", "mtu: 9000", "mtu", "Vlan/cameras.mtu", "must be at most 8000, that of Interface/trunk below it"),
    case("parent: trunk\nid: 20\nmtu: 1400", "parent: bond0\nid: 20\nmtu: 1501", "mtu", "Vlan/cameras.mtu", "must be at most 1500, that of Bond/bond0"),
    case("[cameras, eth4]", "[cameras, eth2]", "ports", "Bridge/lan.ports[1]", "eth2 is a port of Bond/bond0 already"),
    case("[cameras, eth4]", "[cameras, cameras]", "ports", "Bridge/lan.ports[1]", "the same as [0]"),
    case("[cameras, eth4]", "[cameras, trunk]", "ports", "Bridge/lan.ports[1]", "trunk carries Vlan/cameras (document 17, line"),
    case("name: eth1", "name: eth4", "dhcp", "Interface/eth4.dhcp", "is a port of Bridge/lan, which asks in its place; set dhcp: false"),
    case("name: eth0", "name: eth4", "- 192.0.2.17/24", "Interface/eth4.addresses", "cannot be set of a port of Bridge/lan"),
    case("[eth2, eth3]", "[eth2, cameras]", "ports", "Bond/bond0.ports[1]", "cameras is a Vlan; the ports of a bond are interfaces"),
    case("[eth2, eth3]", "[eth2, lan]", "ports", "Bond/bond0.ports[1]", "lan is a Bridge; a bridge is never a port"),
    case("name: eth0", "name: eth2", "mtu", "Interface/eth2.mtu", "ports of a bond have the bond's"),
    case("mode: 802.3ad", "mode: balance-rr", "mode", "Bond/bond0.mode", "one of active-backup, 802.3ad"),
    case("mode: 802.3ad\n", "", "lacpRate", "Bond/bond0.lacpRate", "means nothing without mode: 802.3ad"),
    case("mode: 802.3ad\n", "", "hashPolicy", "Bond/bond0.hashPolicy", "means nothing without mode: 802.3ad"),
    case("monitorIntervalMs: 50", "monitorIntervalMs: 0", "monitorIntervalMs", "Bond/bond0.monitorIntervalMs", "from 10 to 10000"),
    case("stp: true\n", "", "forwardDelay", "Bridge/lan.forwardDelay", "means nothing without stp: true"),
    case("forwardDelay: 4s", "forwardDelay: 40s", "forwardDelay", "Bridge/lan.forwardDelay", "from 2s to 30s"),
    case("dhcp: true\n---\napiVersion: cairn.dev/v1alpha1\nkind: Dummy", "dhcp: true\naddresses: [10.9.0.1/24]\n---\napiVersion: cairn.dev/v1alpha1\nkind: Dummy", "dhcp", "Bridge/lan.dhcp", "together with addresses"),
    case("[203.0.113.129/32]", "[203.0.113.17/32]", "addresses", "Dummy/services.addresses[0]", "203.0.113.17 is already the address of Bond/bond0.addresses[0]"),
    case("[203.0.113.129/32]\nmtu: 1500", "[\"2001:db8:2::1/128\"]\nmtu: 1200", "mtu", "Dummy/services.mtu", "must be at least 1280 for IPv6"),
    case("\"2001:db8:1::17/64\"", "\"2001:db8:1::/64\"", "addresses", "Bond/bond0.addresses[1]", "subnet's own address"),
    case("to: 10.0.0.0/8", "to: 10.0.0.1/8", "- {to: 10", "Bond/bond0.routes[1].to", "beyond its prefix of 8"),
    case("via: 203.0.113.30", "via: 203.0.113.99", "- {to: 10", "Bond/bond0.routes[1]", "lies in no subnet of the interface"),
    case("via: 203.0.113.30", "via: fe80::1", "- {to: 10", "Bond/bond0.routes[1]", "of the other IP version"),
    case("via: 203.0.113.30, metric", "via: 203.0.113.17, metric", "- {to: 10", "Bond/bond0.routes[1]", "own address"),
    case("{to: 10.0.0.0/8, via: 203.0.113.30, metric: 50, table: 100}", "{to: \"::/0\", via: fe80::2}", "- {to: \"::/0\", via: fe80::2}", "Bond/bond0.routes[1]", "leads to the same place, with the same metric, as Bond/bond0.routes[0]"),
    case("{to: 10.0.0.0/8, via: 203.0.113.30, metric: 50, table: 100}", "{to: 0.0.0.0/0, via: 203.0.113.30}", "- {to: 0.0", "Bond/bond0.routes[1]", "which gateway says already (document 3, line"),
    case("table: 100", "table: 255", "- {to: 10", "Bond/bond0.routes[1].table", "from 1 to 254"),
    // Resolver.
    case("192.0.2.53", "dns.example.com", "servers", "Resolver.servers[0]", "must be an IP address"),
    case("[192.0.2.53, ", "[192.0.2.1, 192.0.2.2, 192.0.2.3, ", "servers", "Resolver.servers", "1 to 3 items, but it holds 4"),
    case("search: [example.com]", "search: example.com", "search", "Resolver.search", "must be a list"),
    // Kubelet.
    case("maxPods: 40", "maxPod: 40", "maxPod", "Kubelet.configuration.maxPod", "did you mean maxPods?"),
    case("maxPods: 40", "port: 10250", "port", "Kubelet.configuration.port", "set by Cairn"),
    case("maxPods: 40", "maxPods: many", "many", "Kubelet.configuration.maxPods", "must be a number, but it is a text"),
    case("1h30m", "soon", "soon", "Kubelet.configuration.imageMinimumGCAge", "duration"),
    // StaticPod.
    case("metadata: {name: web,", "metadata: {name: Web,", "Web", "StaticPod/shop/Web.pod.metadata.name", "RFC 1123"),
    case("image: registry.example.com/web:1.4\n        env:", "image: x\n        envFrom: [{secretRef: {name: s}}]\n        env:", "secretRef", "StaticPod/shop/web.pod.spec.containers[0].envFrom[0].secretRef", "API object"),
    case("  kind: Pod", "  kind: Deployment", "pod:\n  apiVersion", "StaticPod/shop/web.pod", "kind Pod"),
    case("pod:\n", "pods:\n", "pods", "StaticPod.pods", "did you mean pod?"),
    // Registry.
    case("host: docker.io", "host: https://docker.io", "host", "Registry/https://docker.io.host", "host[:port]"),
    case("host: docker.io", "host: _default", "username", "Registry/_default.credentials", "handed to every registry"),
    case("https://mirror.example.com:5000/v2", "https://a:b@mirror.example.com", "mirrors", "Registry/docker.io.mirrors[0]", "no user or password"),
    case("  password: hunter2\n", "", "username", "Registry/docker.io.credentials", "the field password is missing"),
    // Sysctl.
    case("net.core.somaxconn: 4096", "kernel.sysrq: 1", "sysrq", "Sysctl.values[\"kernel.sysrq\"]", "set by Cairn"),
    case("net.core.somaxconn: 4096", "net.ipv4.ip_forward: 0", "ip_forward", "Sysctl.values[\"net.ipv4.ip_forward\"]", "must stay 1"),
    case("net.core.somaxconn: 4096", "somaxconn: 4096", "somaxconn", "Sysctl.values.somaxconn", "name of a kernel setting"),
    case("net.core.somaxconn: 4096", "net.core.somaxconn: true", "true", "Sysctl.values[\"net.core.somaxconn\"]", "quote it: \"true\""),
    // Volume and Swap.
    case("disk:\n  bus: ata\n  minSize: 500GB", "disk: {}", "disk: {}", "Volume/recordings.disk", "every disk would match"),
    case("disk:\n  bus: ata\n  minSize: 500GB", "disk: {bus: nvme, model: \"ACME*\", serial: \"0012345\", minSize: 65536MiB, maxSize: 2TB}", "65536MiB", "Volume/recordings.disk", "the same disk as Machine.installDisk in document 1, line 9"),
    case("zramPercent: 75", "zramPercent: 900", "900", "Swap.zramPercent", "from 1 to 200"),
    case("zramPercent: 75", "zramPercent: 75\n---\napiVersion: cairn.dev/v1alpha1\nkind: Swap", "---\napiVersion: cairn.dev/v1alpha1\nkind: Swap", "Swap", "only one document of kind Swap; the other is document 12, line 92"),
    // Logging.
    case("tcp://logs.example.com:5514", "https://logs.example.com", "https:", "Logging.destinations[0].url", "begins with udp:// or tcp://"),
    case("tcp://logs.example.com:5514", "tcp://logs.example.com", "tcp:", "Logging.destinations[0].url", "a host and a port"),
    case("tcp://logs.example.com:5514", "udp://[2001:db8:0::9]:514", "{url", "Logging.destinations[1].url", "is the log server of [0]"),
    case("  - url: tcp://logs.example.com:5514", "  - uri: tcp://logs.example.com:5514", "uri", "Logging.destinations[0].uri", "did you mean url?"),
    case("  - url: tcp://logs.example.com:5514\n  - {url: \"udp://[2001:db8::9]:514\"}", "  []", "[]", "Logging.destinations", "must hold 1 to 4 items"),
    case("fields: {site: harbour}", "fields: {message: x}", "message", "Logging.fields.message", "the node fills in itself"),
    case("fields: {site: harbour}", "fields: {1st: x}", "1st", "Logging.fields.1st", "must be the name of a field"),
    // Time.
    case("nts://time.example.com", "https://time.example.com", "https:", "Time.servers[0]", "begins with nts:// or ntp://"),
    case("nts://time.example.com", "nts://time.example.com:0", "nts:", "Time.servers[0]", "a host, and a port"),
    case("nts://time.example.com", "\"ntp://[2001:db8:0::7]:123\"", "\"ntp://[2001:db8::7]", "Time.servers[1]", "is the time server of [0]"),
    case("servers: [nts://time.example.com, \"ntp://[2001:db8::7]\"]", "server: x", "server", "Time.server", "did you mean servers?"),
    // Firewall.
    case("default: deny", "default: reject", "default", "Firewall.default", "one of deny, accept"),
    case("api: {from: [192.0.2.0/24, \"2001:db8::/32\"], interfaces: [bond0]}", "api: {}", "api: {", "Firewall.api", "names nothing; leave the field out"),
    case("api: {from: [192.0.2.0/24, \"2001:db8::/32\"], interfaces: [bond0]}", "api: {from: []}", "api: {", "Firewall.api.from", "must hold 1 to 64 items, but it holds 0"),
    case("interfaces: [bond0]}", "interfaces: [eth2]}", "api: {", "Firewall.api.interfaces[0]", "is a port of bond0, by which its packets come in"),
    case("from: [10.0.0.0/8,", "from: [10.0.0.1/8,", "from: [10", "Firewall.allow[1].from[0]", "beyond its prefix of 8"),
    case("from: [10.0.0.0/8,", "from: [10.0.0.0,", "from: [10", "Firewall.allow[1].from[0]", "length of its prefix"),
    case("interfaces: [trunk, lan]", "interfaces: [trunk, eth4]", "interfaces: [trunk", "Firewall.allow[1].interfaces[1]", "is a port of lan"),
    case("interfaces: [trunk, lan]", "interfaces: ['trunk*']", "interfaces: ['", "Firewall.allow[1].interfaces[0]", "where a rule names it"),
    case("interfaces: [trunk, lan]", "interfaces: [trunk, trunk]", "interfaces: [trunk", "Firewall.allow[1].interfaces[1]", "the same as [0]"),
    case("ports: [80, 8000-8010]", "ports: [80, 8010-8000]", "ports: [80", "Firewall.allow[1].ports[1]", "first port is not the larger"),
    case("ports: [80, 8000-8010]", "ports: [80, 65536]", "ports: [80", "Firewall.allow[1].ports[1]", "a port from 1 to 65535"),
    case("ports: [80, 8000-8010]", "ports: [80, 50000]", "ports: [80", "Firewall.allow[1].ports[1]", "50000 is the API's"),
    case("ports: [80, 8000-8010]", "ports: [80, 80]", "ports: [80", "Firewall.allow[1].ports[1]", "the same as [0]"),
    case("protocol: udp, ports: [53]", "protocol: udp", "- {name: dns", "Firewall.allow[2]", "the field ports is missing"),
    case("{name: ping, protocol: icmp}", "{name: ping, protocol: icmp, ports: [8]}", "- {name: ping", "Firewall.allow[0].ports", "which has no ports"),
    case("{name: ping, protocol: icmp}", "{name: ping, protocol: sctp}", "- {name: ping", "Firewall.allow[0].protocol", "one of tcp, udp, icmp"),
    case("{name: ping, protocol: icmp}", "{name: default, protocol: icmp}", "- {name: default", "Firewall.allow[0].name", "a counter of its own"),
    case("{name: dns,", "{name: web,", "- {name: web", "Firewall.allow[2].name", "is the name of [1] already"),
    // Update.
    case("channel: stable-k1.37", "channel: stable", "channel", "Update.channel", "\"stable\" must end in the Kubernetes minor version"),
    case("channel: stable-k1.37\n", "", "automatic: true", "Update.automatic", "cannot be true without channel"),
    case("sources: [https://updates.example.org/cairn, \"http://192.0.2.80:8080\"]\n", "", "automatic: true", "Update.automatic", "cannot be true without sources"),
    case("[https://updates", "[ftp://updates", "sources", "Update.sources[0]", "begins with https:// or http://"),
    case("[https://updates.example", "[https://me:hunter2@updates.example", "sources", "Update.sources[0]", "no user or password"),
    case("days: [Sat, Sun]", "days: [Sat, Sat]", "days", "Update.windows[0].days[1]", "the same as [0]"),
    case("days: [Sat, Sun]", "days: [sat, Sun]", "days", "Update.windows[0].days[0]", "did you mean Sat?"),
    case("start: \"02:00\"", "start: \"2:00\"", "start", "Update.windows[0].start", "time of the day"),
    case("duration: 4h", "duration: 40h", "duration", "Update.windows[0].duration", "from 1m to 1d"),
    case("duration: 4h", "duration: 4", "duration", "Update.windows[0].duration", "quote it: \"4\""),
    case("{start: 23:30, duration: 1h30m}", "{days: [Sat, Sun], start: \"02:00\", duration: 4h}", "- {days: [Sat, Sun], start: \"02:00\", duration: 4h}\nrandom", "Update.windows[1]", "the same as [0]"),
    case("randomDelay: 30m", "randomDelay: half an hour", "randomDelay", "Update.randomDelay", "such as 90s, 30m"),
    case("bandwidthLimit: 500KiB", "bandwidthLimit: 500B", "bandwidthLimit", "Update.bandwidthLimit", "at least 4KiB"),
    case("notWhile: [http:", "notWhile: [tcp:", "notWhile", "Update.notWhile[0]", "begins with https:// or http://"),
    case("deadline: 6m", "deadline: 10m", "deadline", "Update.gate.deadline", "from 1m to 9m"),
    case("tcp://[2001:db8::1]:443", "tcp://[2001:db8::1]", "probes", "Update.gate.probes[0]", "a host and a port"),
    case("http://127.0.0.1:8080/healthz", "icmp://192.0.2.1", "probes", "Update.gate.probes[1]", "begins with tcp://, http:// or https://"),
    case("metadataExpiry: ignore", "metadataExpiry: never", "metadataExpiry", "Update.metadataExpiry", "one of enforce, ignore"),
    // Clusters.
    case("[k8s.example.com, ", "[\"https://k8s.example.com\", ", "https://k8s", "Cluster.endpoints[0]", "without a scheme"),
    case("abcdef.0123456789abcdef", "abcdef.0123456789", "abcdef.", "Cluster.bootstrapToken", "must be a bootstrap token"),
    case("podNetwork: external", "podNetwork: flannel", "flannel", "Cluster.podNetwork", "one of cairn, external"),
    case("role=camera:NoSchedule", "role=camera:Never", "\"role=", "Cluster.taints[0]", "must be a taint"),
    case("kind: Cluster\n", "kind: Clutter\n", "Clutter", "kind", "did you mean Cluster?"),
    case("certificateAuthorityKey: |\n  -----BEGIN PRIVATE KEY-----", "certificateAuthorityKey: |\n  -----BEGIN ENCRYPTED PRIVATE KEY-----", "|\n  -----BEGIN ENCRYPTED", "ControlPlane.certificateAuthorityKey", "is encrypted"),
    case("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "MDEy", "MDEy", "ControlPlane.encryptionKey", "must be 32 bytes in base64"),
    case("podSubnet: 10.32.0.0/16", "podSubnet: 10.32.0.0/24", "10.32.0.0/24", "ControlPlane.podSubnet", "prefix of /8 to /22"),
    case("podSubnet: 10.32.0.0/16", "podSubnet: 10.32.0.0/12", "10.33.0.0/20", "ControlPlane.serviceSubnet", "10.33.0.0/20 overlaps podSubnet, 10.32.0.0/12"),
    case("    kind: Namespace\n", "", "apiVersion: v1\n    metadata: {name: shop}", "Manifests/shop.objects[0].kind", "must say the kind"),
    case("metadata: {name: shop}", "metadata: {}", "metadata: {}", "Manifests/shop.objects[0].metadata.name", "must name the object"),
];

/// The lines, from 1, of the first occurrence of `part` in the document that begins before `change`.
fn lines_of(text: &str, change: usize, part: &str) -> std::ops::RangeInclusive<usize> {
    let document = text[..change].rfind("\n---\n").map_or(0, |at| at + 5);
    let at =
        document + text[document..].find(part).unwrap_or_else(|| panic!("{part:?} is not in the document"));
    let first = text[..at].matches('\n').count() + 1;
    first..=first + part.matches('\n').count()
}

fn errors(text: &str) -> Vec<ConfigError> {
    parse(text).err().map(|errors| errors.0).unwrap_or_default()
}

#[test]
fn each_fault_is_told_with_its_place() {
    assert!(CASES.len() >= 40);
    let failures: Vec<String> = CASES.iter().filter_map(failure).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// How a case went wrong.
fn failure(Case { from, to, at, path, message }: &Case) -> Option<String> {
    let text = GOOD.replacen(from, to, 1);
    assert_ne!(text, GOOD, "{from}");
    let errors = errors(&text);
    let fits = |error: &&ConfigError| error.path == *path && error.message.contains(message);
    let Some(error) = errors.iter().find(fits) else { return Some(format!("{to}: {errors:#?}")) };
    let (whole, lines) = match at.is_empty() {
        true => (true, 1..=1),
        false => (false, lines_of(&text, GOOD.find(from).unwrap(), at)),
    };
    let placed = (error.document == 0) == whole && lines.contains(&error.line);
    (!placed).then(|| format!("{to}: expected on {lines:?}: {error}"))
}

#[test]
fn the_faults_of_all_documents_come_at_once() {
    let text = GOOD
        .replace("hostname: shop-17", "hostnam: shop-17")
        .replace("search: [example.com]", "search: [example.com")
        .replace("mtu: 9000", "mtu: 9")
        .replace("gateway: 192.0.2.1", "gateway: 192.0.9.1")
        .replace("zramPercent: 75", "zramPercent: lots");
    let found: Vec<_> = errors(&text).iter().map(|error| (error.document, error.path.clone())).collect();
    let expected = [
        (1, "Machine.hostnam"),
        (3, "Interface/eth0.gateway"),
        (3, "Interface/eth0.mtu"),
        (5, ""),
        (12, "Swap.zramPercent"),
    ];
    assert_eq!(found, expected.map(|(document, path)| (document, path.to_owned())));
}

#[test]
fn an_error_is_shown_with_its_line() {
    let shown = parse(&GOOD.replace("zramPercent: 75", "zramPercent: lots")).unwrap_err().to_string();
    assert_eq!(
        shown,
        "document 12, line 93, column 14: Swap.zramPercent: must be a whole number from 1 to 200, but it is a text\n  \
         93 | zramPercent: lots\n     |              ^"
    );
}

#[test]
fn what_is_too_much_is_refused() {
    assert!(parse("").unwrap_err().to_string().contains("no document; the kinds are Machine, Api"));
    assert!(parse("# nothing\n---\n...\n").unwrap_err().to_string().contains("no document"));
    let long = "#".repeat(config::TEXT_MAX_BYTES + 1);
    assert!(parse(&long).unwrap_err().to_string().contains("allowed"));
    let many = "---\na: 1\n".repeat(config::DOCUMENTS_MAX + 1);
    assert!(parse(&many).unwrap_err().to_string().contains("documents are more than"));
    let deep = format!("{GOOD}---\na: {}\n", "[".repeat(5000));
    assert!(parse(&deep).unwrap_err().to_string().contains("deeper than"));
    let wide = format!("{GOOD}---\na: [{}]\n", "1,".repeat(60_000));
    assert!(parse(&wide).unwrap_err().to_string().contains("more than 50000 values"));
}

#[test]
fn a_hostile_text_gets_a_short_answer() {
    let item = "x".repeat(5000);
    let header = "apiVersion: cairn.dev/v1alpha1\nkind: ";
    let numbered = |text: &str| (0..45_000).map(|n| text.replace('N', &n.to_string())).collect::<String>();
    for text in [
        format!("{header}Machine\n{}", numbered("fN: 1\n")),
        format!("{header}Machine\n{}", "a: 1\n".repeat(20_000)),
        format!("{header}Kubelet\nconfiguration: {{{}}}", numbered("maxPodN,")),
        format!("{header}Interface\nname: {item}\naddresses: [{}]", "0.0.0.0,".repeat(40_000)),
        format!("{header}Interface\nname: eth0\naddresses: [{}]", "192.0.2.9/24,".repeat(40_000)),
        format!("{header}Machine\nlabels:\n  ? {}\n  : 1\n", "k".repeat(900_000)),
        format!("{header}Registry\nhost: {}\nmirrors: [{}]", "h".repeat(300_000), "x,".repeat(20_000)),
        format!("---\n{header}Registry\nhost: a\ncredentials: {item}\n").repeat(180),
        "&a [*a, *a]\n".repeat(20_000),
        "\"".repeat(900_000),
        "- ".repeat(400_000),
        "? ".repeat(400_000),
    ] {
        let errors = errors(&text);
        let bytes: usize = errors.iter().map(|error| error.to_string().len() + error.path.len()).sum();
        assert!(!errors.is_empty() && bytes < 128 << 10, "{bytes} bytes for {:.60}", text);
    }
}

#[test]
fn secrets_are_in_no_error() {
    for (from, to) in [
        ("    kind: Secret\n    metadata: {name: till, namespace: shop}", "    kind: Secret"),
        ("stringData: {token: marjoram}", "stringData: {token: marjoram, token: hunter2}"),
        ("encryptionKey: MDEy", "encryptionKey: hunter2"),
        ("password: hunter2", "password: [hunter2]"),
        ("password: hunter2", "passwort: hunter2"),
        ("password: hunter2", "password: \"hunter2"),
        ("password: hunter2", "password: hunter2: x"),
        ("password: hunter2", "password: \"hunter2\\n\""),
        ("  username: shop\n  password: hunter2", "  {username: [], password: hunter2}"),
        ("kind: Registry\n", "kind: Registri\n"),
        ("host: docker.io", "host: docker.io\nhost: {password: hunter2}"),
        ("https://mirror.example.com:5000/v2", "https://shop:hunter2@mirror.example.com"),
        ("name: TOKEN, value: sesame", "name: TOKEN, value: sesame, valueFrom: {secretKeyRef: {name: s}}"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        let errors = parse(&text).unwrap_err();
        let shown = format!("{errors}\n{errors:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("sesame"), "{to}: {shown}");
        assert!(!shown.contains("marjoram"), "{to}: {shown}");
    }
}
