//! The kind Update and its fields.

use crate::{
    format::Format,
    kind_tables::ITEMS_MAX,
    table::{Default, Field, Kind, Multiplicity, Type},
    update::{GATE_DEADLINE, Weekday},
};

/// More mirrors than that are not waited for.
const SOURCES_MAX: usize = 8;
/// Each is asked before an update begins, or while it proves healthy.
const PROBES_MAX: usize = 16;
/// Longer, and nobody who watches a roll-out knows whether a node failed or waits.
const DELAY_MAX_S: u32 = 7 * 24 * 3600;
/// Shorter, and an update may never find it open.
const WINDOW_MIN_S: u32 = 60;
const WINDOW_MAX_S: u32 = 24 * 3600;
/// Shorter, and a slow machine has not started its pods yet.
const DEADLINE_MIN_S: u32 = 60;
/// PID 1 ends a trial after ten minutes, whatever the rest does.
const DEADLINE_MAX_S: u32 = 9 * 60;

const PROBE_URLS: Type = Type::List { item: &Type::Text(Format::Url), min: 0, max: PROBES_MAX };

const WINDOW: Type = Type::Object(&[
    Field::new(
        "days",
        Type::List { item: &Type::Choice(&Weekday::NAMES), min: 1, max: Weekday::NAMES.len() },
        "Days of the week on which it begins.",
    )
    .default(Default::Node("every day")),
    Field::new("start", Type::Text(Format::TimeOfDay), "When it begins, in UTC.").required(),
    Field::new(
        "duration",
        Type::Text(Format::Duration { min: WINDOW_MIN_S, max: WINDOW_MAX_S }),
        "How long it is open.",
    )
    .required(),
]);

const GATE: Type = Type::Object(&[
    Field::new(
        "deadline",
        Type::Text(Format::Duration { min: DEADLINE_MIN_S, max: DEADLINE_MAX_S }),
        "Time that it has for all of that. A release that takes longer is taken back.",
    )
    .default(Default::Text(GATE_DEADLINE)),
    Field::new(
        "probes",
        Type::List { item: &Type::Text(Format::Probe), min: 0, max: PROBES_MAX },
        "What must answer besides: `tcp://` takes a connection, `http://` and `https://` answer with a status of 200 to 299.",
    )
    .default(Default::EmptyList),
]);

pub(crate) const UPDATE: Kind = Kind {
    name: "Update",
    multiplicity: Multiplicity::AtMostOne,
    doc: "Which releases the node follows, and when it installs them ([updates.md](updates.md)). \
          Without it, it installs what an admin tells it to, and nothing else.",
    fields: &[
        Field::new(
            "channel",
            Type::Text(Format::Channel),
            "Channel that the node follows. Its name ends in the Kubernetes minor version of its releases; a node follows \
             only one of the minor version that it runs, because a kubelet must never be newer than its API server.",
        ),
        Field::new(
            "sources",
            Type::List { item: &Type::Text(Format::Url), min: 0, max: SOURCES_MAX },
            "Where release repositories are, in the order in which they are tried. They need not be trusted: all that \
             comes from them is checked against the keys that the image holds.",
        )
        .default(Default::EmptyList),
        Field::new(
            "automatic",
            Type::Bool,
            "Whether the node installs by itself what the channel says. Needs `channel` and `sources`.",
        )
        .default(Default::False),
        Field::new(
            "windows",
            Type::List { item: &WINDOW, min: 0, max: ITEMS_MAX },
            "When the node may begin to install by itself; at any time where there is none.",
        )
        .default(Default::EmptyList),
        Field::new(
            "randomDelay",
            Type::Text(Format::Duration { min: 0, max: DELAY_MAX_S }),
            "Most that the node waits, by chance, once it could begin.",
        )
        .default(Default::Text("0s")),
        Field::new(
            "bandwidthLimit",
            Type::Text(Format::Rate),
            "Most that is fetched in a second. Without it, as much as comes.",
        ),
        Field::new("notWhile", PROBE_URLS, "Nothing is begun by itself while one of these answers with status 200.")
            .default(Default::EmptyList),
        Field::new("gate", GATE, "What a release must prove before it is kept, besides what every release must."),
        Field::new(
            "metadataExpiry",
            Type::Choice(&["enforce", "ignore"]),
            "Whether releases are refused whose metadata has expired. `ignore` is for a site without an uplink, where \
             nobody renews it in time; somebody who holds back newer releases is not noticed then.",
        )
        .default(Default::Text("enforce")),
    ],
    example: "\
apiVersion: cairn.dev/v1alpha1
kind: Update
channel: stable-k1.37
sources:
  - https://updates.example.org/cairn
automatic: true
windows:
  - days: [Sat, Sun]
    start: \"02:00\"
    duration: 4h
randomDelay: 30m
bandwidthLimit: 500KiB
gate:
  deadline: 5m
  probes:
    - tcp://192.0.2.1:443
",
};
