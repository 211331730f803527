//! The kinds of clusters and their fields.

use crate::{
    format::Format,
    kind_tables::ITEMS_MAX,
    table::{Default, Field, Kind, Multiplicity, Type},
};

/// resolv.conf(5) knows three.
const DNS_SERVERS_MAX: usize = 3;
/// More API servers than any cluster has.
const ENDPOINTS_MAX: usize = 16;

pub(crate) const CLUSTER: Kind = Kind {
    name: "Cluster",
    multiplicity: Multiplicity::AtMostOne,
    doc: "The Kubernetes cluster that the node belongs to. Without it, the kubelet has no API server and runs static pods \
          alone. The API servers must not be older than the node's kubelet, nor more than three minor versions newer.",
    fields: &[
        Field::new(
            "endpoints",
            Type::List { item: &Type::Text(Format::ApiEndpoint), min: 0, max: ENDPOINTS_MAX },
            "API servers, in no order: the node uses those that answer. A control plane needs to name none.",
        )
        .default(Default::EmptyList),
        Field::new(
            "certificateAuthorities",
            Type::List { item: &Type::Text(Format::Certificate), min: 1, max: ITEMS_MAX },
            "CAs of the cluster, each in PEM. A control plane issues certificates of the first.",
        )
        .required(),
        Field::new(
            "bootstrapToken",
            Type::Text(Format::BootstrapToken),
            "What the node identifies itself by until the cluster has given it a certificate, and again should that expire.",
        )
        .required()
        .secret(),
        Field::new(
            "nodeSubnets",
            Type::List { item: &Type::Text(Format::Source), min: 0, max: ITEMS_MAX },
            "Networks in one of which the node has its address in the cluster, in order of preference. Without one that fits, \
             it is the address of the default route.",
        )
        .default(Default::EmptyList),
        Field::new(
            "dns",
            Type::List { item: &Type::Text(Format::Ip), min: 1, max: DNS_SERVERS_MAX },
            "DNS servers of the cluster's pods.",
        )
        .default(Default::Node("the tenth address of `ControlPlane.serviceSubnet`, or of its default")),
        Field::new("domain", Type::Text(Format::DnsName), "DNS domain of the cluster's Services.")
            .default(Default::Text("cluster.local")),
        Field::new(
            "podNetwork",
            Type::Choice(&["cairn", "external"]),
            "Who connects the cluster's pods: `cairn` is the node itself, by a bridge, routes to the other nodes, which must be \
             on one link, and kube-proxy; `external` is a network that the cluster brings as pods, kube-proxy included.",
        )
        .default(Default::Text("cairn")),
        Field::new(
            "taints",
            Type::List { item: &Type::Text(Format::Taint), min: 0, max: ITEMS_MAX },
            "Taints that the node registers with. Later changes are the cluster's to make.",
        )
        .default(Default::EmptyList),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Cluster
endpoints:
  - 192.0.2.10:6443
certificateAuthorities:
  - |
    -----BEGIN CERTIFICATE-----
    MIIBXTCCAQOgAwIBAgIUB3qQ5W0rQ0c1pH4m0Y0mY2N0ZXh0MAoGCCqGSM49BAMC
    -----END CERTIFICATE-----
bootstrapToken: abcdef.0123456789abcdef
",
};

pub(crate) const CONTROL_PLANE: Kind = Kind {
    name: "ControlPlane",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Makes the node serve the cluster of its document of kind Cluster: API server, controllers, scheduler and data store. \
          `osctl gen cluster` writes it.",
    fields: &[
        Field::new(
            "certificateAuthorityKey",
            Type::Text(Format::PrivateKey),
            "Private key of the first of `Cluster.certificateAuthorities`, in PEM.",
        )
        .required()
        .secret(),
        Field::new(
            "serviceAccountKey",
            Type::Text(Format::PrivateKey),
            "Private key that signs the tokens of service accounts, in PEM.",
        )
        .required()
        .secret(),
        Field::new(
            "encryptionKey",
            Type::Text(Format::EncryptionKey),
            "Key that Secrets are encrypted with in the data store: 32 bytes in base64.",
        )
        .required()
        .secret(),
        Field::new(
            "alternativeNames",
            Type::List { item: &Type::Text(Format::Host), min: 0, max: ITEMS_MAX },
            "Names and addresses in the API server's certificate besides those that the node has.",
        )
        .default(Default::EmptyList),
        Field::new(
            "podSubnet",
            Type::Text(Format::PodSubnet),
            "Addresses of pods; each node gets 256 of them. Never change it in a cluster that has nodes.",
        )
        .default(Default::Text("10.244.0.0/16")),
        Field::new(
            "serviceSubnet",
            Type::Text(Format::ServiceSubnet),
            "Addresses of Services. Never change it in a cluster that has Services.",
        )
        .default(Default::Text("10.96.0.0/12")),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: ControlPlane
certificateAuthorityKey: |
  -----BEGIN PRIVATE KEY-----
  MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg
  -----END PRIVATE KEY-----
serviceAccountKey: |
  -----BEGIN PRIVATE KEY-----
  MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg
  -----END PRIVATE KEY-----
encryptionKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
---
apiVersion: cairn.dev/v1alpha1
kind: Cluster
certificateAuthorities:
  - |
    -----BEGIN CERTIFICATE-----
    MIIBXTCCAQOgAwIBAgIUB3qQ5W0rQ0c1pH4m0Y0mY2N0ZXh0MAoGCCqGSM49BAMC
    -----END CERTIFICATE-----
bootstrapToken: abcdef.0123456789abcdef
",
};

pub(crate) const MANIFESTS: Kind = Kind {
    name: "Manifests",
    multiplicity: Multiplicity::Named { field: "name" },
    doc: "Objects that a control plane applies to its cluster (server-side apply), and deletes once no document has them any \
          more. A change that somebody else makes to a field that stands here is undone.",
    fields: &[
        Field::new("name", Type::Text(Format::Label), "Name of the document.").required(),
        Field::new(
            "objects",
            Type::ApiObjects,
            "Objects of the Kubernetes API, each with `apiVersion`, `kind` and `metadata.name`.",
        )
        .required(),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Manifests
name: shop
objects:
  - apiVersion: v1
    kind: Namespace
    metadata:
      name: shop
---
apiVersion: cairn.dev/v1alpha1
kind: ControlPlane
certificateAuthorityKey: |
  -----BEGIN PRIVATE KEY-----
  MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg
  -----END PRIVATE KEY-----
serviceAccountKey: |
  -----BEGIN PRIVATE KEY-----
  MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg
  -----END PRIVATE KEY-----
encryptionKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
---
apiVersion: cairn.dev/v1alpha1
kind: Cluster
certificateAuthorities:
  - |
    -----BEGIN CERTIFICATE-----
    MIIBXTCCAQOgAwIBAgIUB3qQ5W0rQ0c1pH4m0Y0mY2N0ZXh0MAoGCCqGSM49BAMC
    -----END CERTIFICATE-----
bootstrapToken: abcdef.0123456789abcdef
",
};
