//! The kind Firewall and its fields.

use crate::{
    format::Format,
    kind_tables::ITEMS_MAX,
    table::{Default, Field, Kind, Multiplicity, Type},
};

const POLICIES: &[&str] = &["deny", "accept"];

const fn from() -> Field {
    Field::new(
        "from",
        Type::List { item: &Type::Text(Format::Source), min: 1, max: ITEMS_MAX },
        "Networks of the sender, IPv4 and IPv6. Without it, any.",
    )
}

const fn interfaces() -> Field {
    Field::new(
        "interfaces",
        Type::List { item: &Type::Text(Format::RuleInterface), min: 1, max: ITEMS_MAX },
        "Links that it comes in by: names of documents, or of links without one; never of ports. Without it, any.",
    )
}

const RULE: Type = Type::Object(&[
    Field::new("name", Type::Text(Format::Label), "Name of the rule; its counters have it.").required(),
    Field::new(
        "protocol",
        Type::Choice(&["tcp", "udp", "icmp"]),
        "Protocol; `icmp` means echo requests (ping) of IPv4 and IPv6.",
    )
    .required(),
    Field::new(
        "ports",
        Type::List { item: &Type::Port, min: 1, max: ITEMS_MAX },
        "Ports of the node. Required for `tcp` and `udp`; `icmp` has none.",
    ),
    from(),
    interfaces(),
]);

pub(crate) const FIREWALL: Kind = Kind {
    name: "Firewall",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Who reaches what listens on the node itself; what pods listen on is not asked about \
          ([networking.md](networking.md#firewall)). Without it, everybody reaches all of it.",
    fields: &[
        Field::new(
            "default",
            Type::Choice(POLICIES),
            "What becomes of what no rule lets through: it is dropped without an answer, or let through and counted.",
        )
        .default(Default::Text("deny")),
        Field::new(
            "api",
            Type::Object(&[from(), interfaces()]),
            "From where the API is reached, and from nowhere else, whatever `allow`, `pods` and `default` say. \
             Without it, from anywhere.",
        ),
        Field::new(
            "pods",
            Type::Choice(POLICIES),
            "Whether the node's own pods reach all that listens on it, but for the API, which follows `api`; \
             with `deny` they are asked like anybody.",
        )
        .default(Default::Text("accept")),
        Field::new("allow", Type::List { item: &RULE, min: 0, max: ITEMS_MAX }, "What is let through.")
            .default(Default::EmptyList),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Firewall
api:
  from: [192.0.2.0/24, \"2001:db8:10::/64\"]
allow:
  - name: ping
    protocol: icmp
  - name: metrics
    protocol: tcp
    ports: [9100, 9200-9210]
    from: [192.0.2.0/24]
",
};
