//! Checks a document against the table of its kind, and finds all that is wrong with it.

use std::ops::Range;

use crate::{
    api_object, denied,
    format::Format,
    kubelet,
    pod::StaticPod,
    port,
    report::{Report, nearest, quote, shorten},
    table::{Field, Kind, Type},
    tree::{Content, Entry, Node},
};

/// Fields of every document.
const HEADER: [&str; 2] = ["apiVersion", "kind"];

/// Checks the fields of a document; `path` is its key.
pub(crate) fn document(report: &mut Report<'_>, number: usize, path: &str, root: &Node, kind: &Kind) {
    let mut walk = Walk { report, number, path: path.to_owned() };
    walk.fields(root, kind.fields, &HEADER);
}

struct Walk<'r, 'a> {
    report: &'r mut Report<'a>,
    number: usize,
    path: String,
}

impl Walk<'_, '_> {
    fn fault(&mut self, at: usize, message: impl Into<String>) {
        self.report.fault(self.number, &self.path, at, message);
    }

    /// Does something one level deeper.
    fn within<T>(&mut self, segment: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !segment.starts_with('[') && !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(segment);
        let result = work(self);
        self.path.truncate(length);
        result
    }

    fn fields(&mut self, node: &Node, fields: &[Field], others: &[&str]) {
        for entry in node.entries().iter().filter(|entry| !others.contains(&entry.key.as_str())) {
            let Some(field) = fields.iter().find(|field| field.name == entry.key) else {
                self.unknown(
                    &entry.key,
                    &entry.key_bytes,
                    &entry.value,
                    fields.iter().map(|field| field.name),
                );
                continue;
            };
            self.within(field.name, |walk| walk.value(&entry.value, &field.kind, field.secret));
        }
        for field in fields.iter().filter(|field| field.required && node.get(field.name).is_none()) {
            let at = node.bytes.start;
            self.fault(at, format!("the field {} is missing: {}", field.name, plain(field.doc)));
        }
    }

    fn unknown<'k>(
        &mut self,
        key: &str,
        key_bytes: &Range<usize>,
        value: &Node,
        known: impl Iterator<Item = &'k str> + Clone,
    ) {
        // It may be a secret under a wrong name.
        self.report.mask(&value.bytes);
        let meant = (!self.report.is_full()).then(|| nearest(key, known.clone())).flatten();
        let hint = match meant {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("the fields here are {}", known.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("unknown field {}; {hint}", quote(key));
        self.within(key_segment(key).as_str(), |walk| walk.fault(key_bytes.start, message));
    }

    fn value(&mut self, node: &Node, kind: &Type, secret: bool) {
        if secret {
            self.report.mask(&node.bytes);
        }
        match (kind, &node.content) {
            (_, Content::Null) => {
                self.fault(node.bytes.start, format!("is empty; {}, or leave the field out", expected(kind)));
            }
            (Type::Bool, Content::Bool(_)) => {}
            (Type::Integer { min, max }, Content::Number(number)) => {
                let fits = number.as_u64().is_some_and(|n| (u64::from(*min)..=u64::from(*max)).contains(&n));
                if !fits {
                    self.fault(
                        node.bytes.start,
                        format!("{number} must be a whole number from {min} to {max}"),
                    );
                }
            }
            (Type::Text(format), Content::Text(text)) => self.text(node, text, *format, secret),
            (Type::Choice(choices), Content::Text(text)) => self.choice(node, text, choices),
            (Type::List { item, min, max }, Content::List(items)) => {
                self.list(node, items, item, (*min, *max))
            }
            (Type::Map { key, value, max }, Content::Map(_)) => self.map(node, *key, value, *max),
            (Type::Object(fields), Content::Map(_)) => self.fields(node, fields, &[]),
            (Type::Setting, Content::Text(text)) => self.text(node, text, Format::Line, secret),
            (Type::Setting, Content::Number(number)) if number.is_i64() || number.is_u64() => {}
            (Type::Port, Content::Text(_) | Content::Number(_)) => {
                if let Err(message) = port::parse(&node.to_json()) {
                    self.fault(node.bytes.start, message);
                }
            }
            (Type::Pod, Content::Map(_)) => self.pod(node),
            (Type::ApiObjects, Content::List(items)) => self.objects(node, items),
            (Type::Kubelet, Content::Map(_)) => self.kubelet(node),
            _ => self.mismatch(node, kind, secret),
        }
    }

    fn mismatch(&mut self, node: &Node, kind: &Type, secret: bool) {
        let mut message = format!("{}, but it is {}", expected(kind), describe(&node.content));
        let is_text = matches!(kind, Type::Text(_) | Type::Choice(_) | Type::Setting);
        if is_text && !secret && matches!(node.content, Content::Bool(_) | Content::Number(_)) {
            let spelled = self.report.source().slice(&node.bytes);
            message.push_str(&format!("; quote it: {}", quote(spelled)));
        }
        self.fault(node.bytes.start, message);
    }

    fn text(&mut self, node: &Node, text: &str, format: Format, secret: bool) {
        let Err(message) = format.check(text) else { return };
        let is_long = matches!(
            format,
            Format::Certificate
                | Format::PrivateKey
                | Format::Url
                | Format::LogUrl
                | Format::Probe
                | Format::TimeUrl
        );
        let quoted = !secret && !is_long;
        // A password in a URL, or a private key pasted for a certificate.
        if text.contains('@') || text.contains("PRIVATE KEY") {
            self.report.mask(&node.bytes);
        }
        let message = if quoted { format!("{} {message}", quote(text)) } else { message };
        self.fault(node.bytes.start, message);
    }

    fn choice(&mut self, node: &Node, text: &str, choices: &[&str]) {
        if !choices.contains(&text) {
            let hint = nearest(text, choices.iter().copied()).map(|meant| format!("; did you mean {meant}?"));
            let message =
                format!("{} must be one of {}{}", quote(text), choices.join(", "), hint.unwrap_or_default());
            self.fault(node.bytes.start, message);
        }
    }

    fn list(&mut self, node: &Node, items: &[Node], item: &Type, (min, max): (usize, usize)) {
        if !(min..=max).contains(&items.len()) {
            let message = format!("must hold {min} to {max} items, but it holds {}", items.len());
            self.fault(node.bytes.start, message);
        }
        for (index, value) in items.iter().take(max).enumerate() {
            self.within(&format!("[{index}]"), |walk| walk.value(value, item, false));
        }
        if matches!(item, Type::Text(_) | Type::Choice(_) | Type::Object(_) | Type::Port) {
            self.repeated(items);
        }
    }

    fn repeated(&mut self, items: &[Node]) {
        let mut seen = std::collections::HashMap::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(first) = seen.insert(item.to_json().to_string(), index) {
                let message = format!("is the same as [{first}]; leave one out");
                self.within(&format!("[{index}]"), |walk| walk.fault(item.bytes.start, message));
            }
        }
    }

    fn map(&mut self, node: &Node, key: Format, value: &Type, max: usize) {
        if node.entries().len() > max {
            self.fault(node.bytes.start, format!("must hold at most {max} fields"));
        }
        for entry in node.entries().iter().take(max) {
            self.within(&key_segment(&entry.key), |walk| {
                let wrong = key.check(&entry.key).err();
                let spelled = walk.report.source().slice(&entry.value.bytes);
                let setting = entry.value.text().unwrap_or(spelled);
                let refused =
                    (key == Format::SysctlName).then(|| denied::sysctl(&entry.key, setting)).flatten();
                if let Some(message) = wrong.or(refused) {
                    walk.fault(entry.key_bytes.start, format!("{} {message}", quote(&entry.key)));
                }
                walk.value(&entry.value, value, false);
            });
        }
    }

    fn pod(&mut self, node: &Node) {
        mask_environment(self.report, node);
        if let Err(error) = StaticPod::from_manifest(node.to_json()) {
            let place = error.path();
            let at = find(node, &place);
            let path = if place.is_empty() { self.path.clone() } else { format!("{}.{place}", self.path) };
            self.report.fault(self.number, &path, at, error.to_string());
        }
    }

    fn objects(&mut self, node: &Node, items: &[Node]) {
        if items.len() > api_object::OBJECTS_MAX {
            let message =
                format!("must hold at most {} objects; use another document", api_object::OBJECTS_MAX);
            self.fault(node.bytes.start, message);
        }
        for (index, item) in items.iter().take(api_object::OBJECTS_MAX).enumerate() {
            self.within(&format!("[{index}]"), |walk| {
                if item.get("kind").and_then(Node::text) == Some("Secret") {
                    walk.report.mask(&item.bytes);
                }
                for fault in api_object::faults(&item.to_json()) {
                    let at = find(item, fault.place);
                    let path = format!("{}.{}", walk.path, fault.place);
                    let path = path.trim_end_matches('.');
                    walk.report.fault(walk.number, path, at, fault.message);
                }
            });
        }
    }

    fn kubelet(&mut self, node: &Node) {
        for entry in node.entries() {
            self.within(&key_segment(&entry.key), |walk| {
                let (key, value) = (entry.key_bytes.start, &entry.value);
                match (denied::kubelet_field(&entry.key), kubelet::field(&entry.key)) {
                    (Some(message), _) => walk.fault(key, message),
                    (None, Some(shape)) if !shape.fits(&value.content) => {
                        let message =
                            format!("must be {}, but it is {}", shape.words(), describe(&value.content));
                        walk.fault(value.bytes.start, message);
                    }
                    (None, Some(_)) => {}
                    (None, None) => walk.unknown_setting(entry),
                }
            });
        }
    }

    fn unknown_setting(&mut self, entry: &Entry) {
        self.report.mask(&entry.value.bytes);
        let meant = (!self.report.is_full()).then(|| nearest(&entry.key, kubelet::names())).flatten();
        let hint = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        let message = format!("this release's kubelet has no setting {}{hint}", quote(&entry.key));
        self.fault(entry.key_bytes.start, message);
    }
}

/// Hides values of pods' environment from the lines shown: they may be secrets.
fn mask_environment(report: &mut Report<'_>, node: &Node) {
    for entry in node.entries() {
        if entry.key == "value" {
            report.mask(&entry.value.bytes);
        }
        mask_environment(report, &entry.value);
    }
    for item in node.items() {
        mask_environment(report, item);
    }
}

/// Where a path such as `spec.volumes[0].secret` stands: of what is not there, where it would be.
fn find(root: &Node, path: &str) -> usize {
    let mut node = root;
    let mut at = root.bytes.start;
    for segment in path.split('.').flat_map(|part| part.split_inclusive('[')) {
        let segment = segment.trim_end_matches('[');
        let next = match segment.strip_suffix(']') {
            Some(index) => {
                let item = index.parse::<usize>().ok().and_then(|index| node.items().get(index));
                item.map(|item| (item.bytes.start, item))
            }
            None => {
                let entry = node.entries().iter().find(|entry| entry.key == segment);
                entry.map(|entry| (entry.key_bytes.start, &entry.value))
            }
        };
        let Some((start, value)) = next else { break };
        (at, node) = (start, value);
    }
    at
}

/// A key as paths show it.
fn key_segment(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "-_/".contains(c));
    if plain { shorten(key) } else { format!("[{}]", quote(key)) }
}

fn expected(kind: &Type) -> String {
    match kind {
        Type::Bool => "must be true or false".into(),
        Type::Integer { min, max } => format!("must be a whole number from {min} to {max}"),
        Type::Text(_) => "must be a text".into(),
        Type::Choice(choices) => format!("must be one of {}", choices.join(", ")),
        Type::List { .. } => "must be a list (lines that begin with -)".into(),
        Type::Map { .. } | Type::Object(_) | Type::Kubelet => {
            "must be a mapping (lines of name: value)".into()
        }
        Type::Setting => "must be a text or a whole number".into(),
        Type::Port => "must be a port, or a range of ports such as 8000-8010".into(),
        Type::Pod => "must be a Pod (lines of name: value)".into(),
        Type::ApiObjects => "must be a list of API objects (lines that begin with -)".into(),
    }
}

pub(crate) fn describe(content: &Content) -> &'static str {
    match content {
        Content::Null => "empty",
        Content::Bool(_) => "true or false",
        Content::Number(_) => "a number",
        Content::Text(_) => "a text",
        Content::List(_) => "a list",
        Content::Map(_) => "a mapping",
    }
}

/// The first sentence of documentation, without its Markdown.
fn plain(doc: &str) -> String {
    let sentence = doc.split(". ").next().unwrap_or_default();
    sentence.replace('`', "").trim_end_matches('.').to_owned()
}
