//! The kinds of links and their fields.

use crate::{
    format::Format,
    kind_tables::ITEMS_MAX,
    table::{Default, Field, Kind, Multiplicity, Type},
};

/// A bond has at most so many ports here; switches group no more (IEEE 802.1AX systems commonly stop at 8 active).
const BOND_PORTS_MAX: usize = 8;

const ROUTE: Type = Type::Object(&[
    Field::new("to", Type::Text(Format::Destination), "Where it leads; `::/0` is the IPv6 default route.")
        .required(),
    Field::new(
        "via",
        Type::Text(Format::NextHop),
        "Next hop; in the subnet of one of `addresses`, or link-local. Without it, what `to` names is on the link itself.",
    ),
    Field::new(
        "metric",
        Type::Integer { min: 1, max: u32::MAX },
        "Of several routes to one place the one with the least counts.",
    )
    .default(Default::Node("`1024`; for IPv6 `512`, before those of router advertisements")),
    Field::new(
        "table",
        Type::Integer { min: 1, max: 254 },
        "Routing table; 254 is the main one. Which packets ask another one, others must say.",
    )
    .default(Default::Node("`254`")),
]);

const fn addresses() -> Field {
    Field::new(
        "addresses",
        Type::List { item: &Type::Text(Format::Subnet), min: 0, max: ITEMS_MAX },
        "Static IPv4 and IPv6 addresses, each with the length of its prefix.",
    )
    .default(Default::EmptyList)
}

const fn gateway() -> Field {
    Field::new(
        "gateway",
        Type::Text(Format::Ipv4),
        "Next hop of the IPv4 default route; in the subnet of one of `addresses`.",
    )
}

const fn routes() -> Field {
    Field::new("routes", Type::List { item: &ROUTE, min: 0, max: ITEMS_MAX }, "Static routes.")
        .default(Default::EmptyList)
}

const fn mtu(doc: &'static str) -> Field {
    Field::new("mtu", Type::Integer { min: 576, max: 9216 }, doc)
}

const fn dhcp() -> Field {
    Field::new("dhcp", Type::Bool, "Whether it asks DHCPv4. Not together with `addresses`.")
        .default(Default::False)
}

const fn name() -> Field {
    Field::new(
        "name",
        Type::Text(Format::InterfaceName),
        "Name of the link. Links of all kinds share their names.",
    )
    .required()
}

const fn ports(max: usize) -> Field {
    Field::new(
        "ports",
        Type::List { item: &Type::Text(Format::InterfaceName), min: 0, max },
        "Names of documents of links, or of interfaces without one. A port has no addresses, and belongs to nothing else. \
         One that is not there is used once it comes.",
    )
    .default(Default::EmptyList)
}

pub(crate) const INTERFACE: Kind = Kind {
    name: "Interface",
    multiplicity: Multiplicity::Named { field: "name" },
    doc: "A network interface, and how it gets its addresses. Without any document of this kind, Vlan, Bond, Bridge or Dummy, the \
          first Ethernet interface with a cable asks DHCP.",
    fields: &[
        Field::new(
            "name",
            Type::Text(Format::InterfaceName),
            "Name of the interface; with `select`, what other documents call it.",
        )
        .required(),
        Field::new(
            "select",
            Type::Object(&[
                Field::new("mac", Type::Text(Format::Mac), "Hardware address that it was made with."),
                Field::new(
                    "path",
                    Type::Text(Format::Word),
                    "Address on its bus: a part of its path below `/sys/devices`, such as `0000:02:00.0` (PCI) or `1-1.2` (USB).",
                ),
                Field::new("driver", Type::Text(Format::Word), "Name of its driver."),
            ]),
            "All that the interface must say of itself; exactly one must match. Without it, `name` says which is meant.",
        ),
        Field::new(
            "dhcp",
            Type::Bool,
            "Whether it asks DHCPv4. Not together with `addresses`; `false` for a port, and for one that carries VLANs alone.",
        )
        .default(Default::TrueUnless { field: "addresses" }),
        addresses(),
        gateway(),
        routes(),
        mtu("Largest packet in bytes. Without it, what the interface has. A port of a bond has the bond's."),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Interface
name: eth0
addresses:
  - 192.0.2.17/24
gateway: 192.0.2.1
",
};

pub(crate) const VLAN: Kind = Kind {
    name: "Vlan",
    multiplicity: Multiplicity::Named { field: "name" },
    doc: "A VLAN (IEEE 802.1Q) above another link, and how it gets its addresses.",
    fields: &[
        name(),
        Field::new(
            "parent",
            Type::Text(Format::InterfaceName),
            "Name of the document of the link below; no port.",
        )
        .required(),
        Field::new("id", Type::Integer { min: 1, max: 4094 }, "Its number on the wire.").required(),
        dhcp(),
        addresses(),
        gateway(),
        routes(),
        mtu("Largest packet in bytes, at most the parent's. Without it, the parent's."),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Interface
name: eth0
dhcp: false
---
apiVersion: cairn.dev/v1alpha1
kind: Vlan
name: cameras
parent: eth0
id: 20
addresses:
  - 198.51.100.17/24
",
};

pub(crate) const BOND: Kind = Kind {
    name: "Bond",
    multiplicity: Multiplicity::Named { field: "name" },
    doc: "Several interfaces as one, and how that gets its addresses. Its hardware address is that of its first port.",
    fields: &[
        name(),
        Field::new(
            "mode",
            Type::Choice(&["active-backup", "802.3ad"]),
            "How its ports share the traffic: one carries all while the others wait, or LACP, in which the switch takes part.",
        )
        .default(Default::Text("active-backup")),
        ports(BOND_PORTS_MAX),
        Field::new(
            "monitorIntervalMs",
            Type::Integer { min: 10, max: 10_000 },
            "Between looks at the carriers of its ports, in milliseconds (`miimon`).",
        )
        .default(Default::Integer(100)),
        Field::new(
            "lacpRate",
            Type::Choice(&["slow", "fast"]),
            "How often the switch is asked to speak: every 30 s or every second. With `802.3ad` only; without it, `slow`.",
        ),
        Field::new(
            "hashPolicy",
            Type::Choice(&["layer2", "layer2+3", "layer3+4"]),
            "What decides which port a packet leaves by: hardware addresses, those and IP addresses, or IP addresses and ports. \
             With `802.3ad` only; without it, `layer2+3`.",
        ),
        dhcp(),
        addresses(),
        gateway(),
        routes(),
        mtu("Largest packet in bytes, of its ports too. Without it, 1500."),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Bond
name: uplink
mode: 802.3ad
ports: [eth0, eth1]
lacpRate: fast
dhcp: true
",
};

pub(crate) const BRIDGE: Kind = Kind {
    name: "Bridge",
    multiplicity: Multiplicity::Named { field: "name" },
    doc: "A switch in software, and how the node gets its addresses on it.",
    fields: &[
        name(),
        ports(ITEMS_MAX),
        Field::new("stp", Type::Bool, "Whether it speaks the spanning tree protocol.")
            .default(Default::False),
        Field::new(
            "forwardDelay",
            Type::Text(Format::Duration { min: 2, max: 30 }),
            "How long a new port listens, and again learns, before it forwards. With `stp` only; without it, 15s.",
        ),
        dhcp(),
        addresses(),
        gateway(),
        routes(),
        mtu("Largest packet in bytes. Without it, the least of its ports'."),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Bridge
name: lan
ports: [eth1, eth2]
addresses:
  - 192.0.2.1/24
",
};

pub(crate) const DUMMY: Kind = Kind {
    name: "Dummy",
    multiplicity: Multiplicity::Named { field: "name" },
    doc: "A link that leads nowhere and is always up, for addresses that are the node's own whatever its cables do.",
    fields: &[name(), addresses(), mtu("Largest packet in bytes. Without it, 1500.")],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Dummy
name: services
addresses:
  - 203.0.113.1/32
",
};
