//! The tables as a page of reference.

use std::fmt::Write as _;

use crate::{
    denied, kubelet,
    parse::{DOCUMENTS_MAX, TEXT_MAX_BYTES},
    table::{self, Default, Field, Kind, Multiplicity, Type},
    tree::{DEPTH_MAX, NODES_MAX},
};

/// What stands before the kinds.
const INTRODUCTION: &str = include_str!("reference.md");

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION
        .replace("{text_max_mib}", &(TEXT_MAX_BYTES >> 20).to_string())
        .replace("{documents_max}", &DOCUMENTS_MAX.to_string())
        .replace("{nodes_max}", &NODES_MAX.to_string())
        .replace("{depth_max}", &DEPTH_MAX.to_string());
    page.push_str("\n## Kinds\n\n| Kind | How many | Name |\n|---|---|---|\n");
    for kind in table::kinds() {
        let (many, name) = multiplicity(kind.multiplicity);
        line(
            &mut page,
            format_args!("| [{0}](#{1}) | {many} | {name} |", kind.name, kind.name.to_lowercase()),
        );
    }
    table::kinds().for_each(|kind| section(&mut page, kind));
    page
}

fn multiplicity(multiplicity: Multiplicity) -> (&'static str, String) {
    match multiplicity {
        Multiplicity::AtMostOne => ("at most one", String::new()),
        Multiplicity::One => ("exactly one", String::new()),
        Multiplicity::Named { field } => ("any number", format!("`{field}`")),
        Multiplicity::Pod => ("any number", "`pod.metadata.namespace`/`pod.metadata.name`".into()),
    }
}

fn section(page: &mut String, kind: &Kind) {
    let (name, doc, example) = (kind.name, kind.doc, kind.example);
    line(page, format_args!("\n## {name}\n\n{doc}\n"));
    line(page, format_args!("| Field | Holds | Default | Meaning |\n|---|---|---|---|"));
    rows(page, "", kind.fields);
    match name {
        "Kubelet" => kubelet_settings(page),
        "Sysctl" => refused_sysctls(page),
        _ => {}
    }
    line(page, format_args!("\n```yaml\n{example}```"));
}

fn rows(page: &mut String, prefix: &str, fields: &[Field]) {
    for field in fields {
        let path = format!("{prefix}{}", field.name);
        let secret = if field.secret { " Secret." } else { "" };
        let (holds, default, doc) = (holds(&field.kind), default(field), field.doc);
        line(page, format_args!("| `{path}` | {holds} | {default} | {doc}{secret} |"));
        match &field.kind {
            Type::Object(fields) => rows(page, &format!("{path}."), fields),
            Type::List { item: Type::Object(fields), .. } => rows(page, &format!("{path}[]."), fields),
            _ => {}
        }
    }
}

fn holds(kind: &Type) -> String {
    match kind {
        Type::Bool => "`true` or `false`".into(),
        Type::Integer { min, max } => format!("number from {min} to {max}"),
        Type::Text(format) => format.words().into(),
        Type::Choice(choices) => {
            choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
        }
        Type::List { item, min, max } => format!("list of {min} to {max}: {}", holds(item)),
        Type::Map { key, value, .. } => format!("mapping: {} to {}", key.words(), holds(value)),
        Type::Object(_) => "mapping".into(),
        Type::Setting => "text or whole number".into(),
        Type::Port => "port, or range such as `8000-8010`".into(),
        Type::Pod => "Pod".into(),
        Type::ApiObjects => "list of API objects".into(),
        Type::Kubelet => "mapping".into(),
    }
}

fn default(field: &Field) -> String {
    match field.default {
        _ if field.required => "required".into(),
        Default::Absent => "none".into(),
        Default::False => "`false`".into(),
        Default::Integer(number) => format!("`{number}`"),
        Default::Text(text) => format!("`{text}`"),
        Default::EmptyList => "`[]`".into(),
        Default::EmptyMap => "`{}`".into(),
        Default::TrueUnless { field } => format!("`true` without `{field}`, else `false`"),
        Default::Node(words) => words.into(),
    }
}

fn kubelet_settings(page: &mut String) {
    let mut names: Vec<&str> = kubelet::names().collect();
    names.sort_unstable();
    line(page, format_args!("\nFields of `configuration`: {}.\n", code(&names)));
    line(page, format_args!("| Refused | Because |\n|---|---|"));
    for (names, reason) in denied::kubelet_fields() {
        line(page, format_args!("| {} | {reason} |", code(names)));
    }
}

fn refused_sysctls(page: &mut String) {
    line(page, format_args!("\n| Refused | Because |\n|---|---|"));
    for (name, reason) in denied::sysctls() {
        line(page, format_args!("| `{name}` | {reason} |"));
    }
    line(
        page,
        format_args!("| {} | pods are reached through it, so it must stay 1 |", code(&denied::FORWARDING)),
    );
    line(
        page,
        format_args!("| redirects and source routes below `net.ipv4` and `net.ipv6` | it hardens the node |"),
    );
}

fn code(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
    page.push('\n');
}
