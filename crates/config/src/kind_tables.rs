//! The kinds and their fields. A kind is here only once its controller is.

use crate::{
    cluster_table::{CLUSTER, CONTROL_PLANE, MANIFESTS},
    firewall_table::FIREWALL,
    format::Format,
    link_tables::{BOND, BRIDGE, DUMMY, INTERFACE, VLAN},
    table::{Default, Field, Kind, Multiplicity, Type},
    update_table::UPDATE,
};

/// Most items of most lists; a node has a handful of each.
pub(crate) const ITEMS_MAX: usize = 64;
/// Certificates and labels come in larger numbers.
const MANY_MAX: usize = 1024;
/// Each address of the API is a socket of its own.
const API_ADDRESSES_MAX: usize = 16;
/// Each log server has memory of its own on the node.
const LOG_DESTINATIONS_MAX: usize = 4;
/// Four find a server that is wrong; more than eight help nobody.
const TIME_SERVERS_MAX: usize = 8;
/// Each is in every line.
const LOG_FIELDS_MAX: usize = 16;

pub(crate) const KINDS: &[Kind] = &[
    MACHINE,
    API,
    INTERFACE,
    VLAN,
    BOND,
    BRIDGE,
    DUMMY,
    FIREWALL,
    RESOLVER,
    KUBELET,
    STATIC_POD,
    REGISTRY,
    TRUSTED_CERTIFICATES,
    SYSCTL,
    VOLUME,
    SWAP,
    LOGGING,
    TIME,
    UPDATE,
    CLUSTER,
    CONTROL_PLANE,
    MANIFESTS,
];

const CERTIFICATES: Type = Type::List { item: &Type::Text(Format::Certificate), min: 1, max: MANY_MAX };

const DISK_SELECTOR: Type = Type::Object(&[
    Field::new(
        "bus",
        Type::Choice(&["ata", "mmc", "nvme", "usb", "virtio"]),
        "How the disk is attached; `ata` is SATA and SAS, `mmc` SD cards and eMMC.",
    ),
    Field::new(
        "model",
        Type::Text(Format::Pattern),
        "Model, as the disk says it; a `*` at the end stands for anything.",
    ),
    Field::new(
        "serial",
        Type::Text(Format::Pattern),
        "Serial number, as the disk says it; a `*` at the end stands for anything.",
    ),
    Field::new("minSize", Type::Text(Format::Size), "Smallest size."),
    Field::new("maxSize", Type::Text(Format::Size), "Largest size."),
]);

const MACHINE: Kind = Kind {
    name: "Machine",
    multiplicity: Multiplicity::AtMostOne,
    doc: "What the node is called, and which disk an installer may write.",
    fields: &[
        Field::new("hostname", Type::Text(Format::Label), "Host name.")
            .default(Default::Node("`cairn-` and the first digits of the node id")),
        Field::new(
            "labels",
            Type::Map { key: Format::LabelKey, value: &Type::Text(Format::LabelValue), max: MANY_MAX },
            "Labels of the node, as Kubernetes labels.",
        )
        .default(Default::EmptyMap),
        Field::new(
            "installDisk",
            DISK_SELECTOR,
            "The disk that an installer writes, and all that it must say of itself; exactly one disk must match. \
             Without it no installer writes any.",
        ),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Machine
hostname: shop-17
labels:
  example.com/site: harbour
installDisk:
  bus: nvme
  minSize: 64GiB
",
};

const API: Kind = Kind {
    name: "Api",
    multiplicity: Multiplicity::One,
    doc: "Who may speak to the node's API, and where.",
    fields: &[
        Field::new("clientCAs", CERTIFICATES, "CAs whose client certificates are let in, each in PEM.").required(),
        Field::new(
            "revokedCertificates",
            Type::List { item: &Type::Text(Format::Sha256), min: 0, max: MANY_MAX },
            "Client certificates that are let in no more: SHA-256 of each, over its DER. A node never forgets one that it \
             was told, whatever happens to its configuration.",
        )
        .default(Default::EmptyList),
        Field::new(
            "addresses",
            Type::List { item: &Type::Text(Format::OwnIp), min: 1, max: API_ADDRESSES_MAX },
            "Addresses of the node at which the API is served, and no others. One that the node does not have, or not yet, \
             is no error. Without this field, and in maintenance and recovery, it is served at all.",
        ),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Api
clientCAs:
  - |
    -----BEGIN CERTIFICATE-----
    MIIBXTCCAQOgAwIBAgIUB3qQ5W0rQ0c1pH4m0Y0mY2N0ZXh0MAoGCCqGSM49BAMC
    -----END CERTIFICATE-----
",
};

const RESOLVER: Kind = Kind {
    name: "Resolver",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Who resolves names. Without it, what DHCP says.",
    fields: &[
        Field::new(
            "servers",
            Type::List { item: &Type::Text(Format::Ip), min: 1, max: 3 },
            "DNS servers in order of preference; resolv.conf(5) knows three.",
        )
        .required(),
        Field::new(
            "search",
            Type::List { item: &Type::Text(Format::DnsName), min: 0, max: 6 },
            "Domains that names without a dot are looked for in.",
        )
        .default(Default::EmptyList),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Resolver
servers:
  - 192.0.2.53
search:
  - example.com
",
};

const KUBELET: Kind = Kind {
    name: "Kubelet",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Settings of the kubelet.",
    fields: &[Field::new(
        "configuration",
        Type::Kubelet,
        "Fields of KubeletConfiguration (kubelet.config.k8s.io/v1beta1), laid over Cairn's own. Those that Cairn owns are refused.",
    )
    .default(Default::EmptyMap)],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Kubelet
configuration:
  maxPods: 40
  evictionHard:
    memory.available: 100Mi
",
};

const STATIC_POD: Kind = Kind {
    name: "StaticPod",
    multiplicity: Multiplicity::Pod,
    doc: "A pod that the kubelet runs without an API server. Its namespace and name are its document's name.",
    fields: &[Field::new(
        "pod",
        Type::Pod,
        "A v1 Pod. What needs an API server, such as a ConfigMap, is refused.",
    )
    .required()],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: StaticPod
pod:
  apiVersion: v1
  kind: Pod
  metadata:
    name: web
  spec:
    containers:
      - name: web
        image: registry.example.com/web:1.4
",
};

const REGISTRY: Kind = Kind {
    name: "Registry",
    multiplicity: Multiplicity::Named { field: "host" },
    doc: "How images of a registry are pulled.",
    fields: &[
        Field::new(
            "host",
            Type::Text(Format::RegistryHost),
            "Host, with its port where it has one, as it stands in names of images, such as `docker.io`; `_default` is every registry that has no document.",
        )
        .required(),
        Field::new(
            "mirrors",
            Type::List { item: &Type::Text(Format::Url), min: 0, max: ITEMS_MAX },
            "URLs that are tried in order before the registry itself.",
        )
        .default(Default::EmptyList),
        Field::new(
            "credentials",
            Type::Object(&[
                Field::new("username", Type::Text(Format::Line), "User's name.").required(),
                Field::new("password", Type::Text(Format::Line), "Password or token.").required().secret(),
            ]),
            "Whom the node is to the registry and its mirrors. Not for `_default`.",
        ),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Registry
host: docker.io
mirrors:
  - https://mirror.example.com
credentials:
  username: shop
  password: correct horse
",
};

const TRUSTED_CERTIFICATES: Kind = Kind {
    name: "TrustedCertificates",
    multiplicity: Multiplicity::AtMostOne,
    doc: "CAs that pulls of images and other outgoing TLS trust, besides those of the OS image.",
    fields: &[Field::new("certificates", CERTIFICATES, "CAs, each in PEM.").required()],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: TrustedCertificates
certificates:
  - |
    -----BEGIN CERTIFICATE-----
    MIIBXTCCAQOgAwIBAgIUB3qQ5W0rQ0c1pH4m0Y0mY2N0ZXh0MAoGCCqGSM49BAMC
    -----END CERTIFICATE-----
",
};

const SYSCTL: Kind = Kind {
    name: "Sysctl",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Settings of the kernel.",
    fields: &[Field::new(
        "values",
        Type::Map { key: Format::SysctlName, value: &Type::Setting, max: MANY_MAX },
        "Values by name. Those that Cairn's own safety rests on are refused.",
    )
    .required()],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Sysctl
values:
  net.core.somaxconn: 4096
  net.ipv4.tcp_rmem: 4096 131072 16777216
",
};

const VOLUME: Kind = Kind {
    name: "Volume",
    multiplicity: Multiplicity::Named { field: "name" },
    doc: "A disk besides the system's, formatted with ext4 once, when it is blank, and mounted at `/var/mnt/<name>`. \
          A disk that holds anything else is left alone.",
    fields: &[
        Field::new("name", Type::Text(Format::Label), "Name, and the directory below `/var/mnt`.").required(),
        Field::new(
            "disk",
            DISK_SELECTOR,
            "All that the disk must say of itself; exactly one disk must match.",
        )
        .required(),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Volume
name: recordings
disk:
  bus: ata
  minSize: 500GB
",
};

const SWAP: Kind = Kind {
    name: "Swap",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Compressed swap in memory (zram). Without it, no swap.",
    fields: &[Field::new(
        "zramPercent",
        Type::Integer { min: 1, max: 200 },
        "Share of the memory that zram may hold, before compression, in percent.",
    )
    .default(Default::Integer(50))],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Swap
zramPercent: 50
",
};

const LOGGING: Kind = Kind {
    name: "Logging",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Log servers to which the node sends every line of its services' logs and of the kernel's, as JSON. \
          Without it, none leave the node but by the API.",
    fields: &[
        Field::new(
            "destinations",
            Type::List {
                item: &Type::Object(&[Field::new(
                    "url",
                    Type::Text(Format::LogUrl),
                    "Where it is. With `udp` each line is a datagram; with `tcp` lines end with a line feed.",
                )
                .required()]),
                min: 1,
                max: LOG_DESTINATIONS_MAX,
            },
            "Log servers. Each gets every line; one that cannot be reached holds up none of the others.",
        )
        .required(),
        Field::new(
            "fields",
            Type::Map { key: Format::LogField, value: &Type::Text(Format::LogValue), max: LOG_FIELDS_MAX },
            "Added to every line.",
        )
        .default(Default::EmptyMap),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Logging
destinations:
  - url: tcp://logs.example.com:5514
fields:
  site: harbour
",
};

const TIME: Kind = Kind {
    name: "Time",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Servers that the node asks for the time. Without it, those that DHCP names.",
    fields: &[Field::new(
        "servers",
        Type::List { item: &Type::Text(Format::TimeUrl), min: 0, max: TIME_SERVERS_MAX },
        "Servers. Those of `nts` prove who they are by a certificate; nobody vouches for the time of `ntp`, so that the \
         node does not judge certificates by it. Of three and more, most must agree. An empty list asks nobody.",
    )
    .required()],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Time
servers:
  - nts://time.example.com
  - ntp://192.0.2.1
",
};
