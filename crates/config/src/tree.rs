//! A document as a tree whose every key and value knows its place in the text.

use std::{collections::HashMap, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Number, Value};

use crate::{scalar, source::Chunk};

/// Deepest nesting; a pod has about ten levels.
pub(crate) const DEPTH_MAX: usize = 48;
/// Most values of all documents; a large configuration has some thousands.
pub(crate) const NODES_MAX: usize = 50_000;

/// A value and where it stands in the text.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) bytes: Range<usize>,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A field of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_bytes: Range<usize>,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => {
                &[]
            }
        }
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::Map(_) => &[],
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::List(_) | Content::Map(_) => {
                None
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => {
                let fields = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

/// What is wrong with the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxFault {
    pub(crate) at: usize,
    pub(crate) message: String,
    /// The other place that it is about.
    pub(crate) other: Option<usize>,
}

impl SyntaxFault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), other: None }
    }
}

/// Reads one document. Faults that leave the structure whole, such as a key that stands twice, come beside the
/// tree; others come without it. `nodes_left` bounds all documents together.
pub(crate) fn read(chunk: &Chunk<'_>, nodes_left: &mut usize) -> (Option<Node>, Vec<SyntaxFault>) {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut builder =
        Builder { text: chunk.text, offset: chunk.offset, open: Vec::new(), root: None, faults: Vec::new() };
    let mut parser = Parser::new_from_str_with_options(chunk.text, options);
    let fatal = builder.run(&mut parser, nodes_left).err();
    let root = builder.root.take().filter(|_| fatal.is_none());
    builder.faults.extend(fatal);
    (root, builder.faults)
}

type YamlParser<'a> = Parser<'a, StrInput<'a>>;

struct Builder<'a> {
    text: &'a str,
    offset: usize,
    open: Vec<Open>,
    root: Option<Node>,
    faults: Vec<SyntaxFault>,
}

/// A collection that has not ended yet.
struct Open {
    start: usize,
    body: Body,
}

enum Body {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, usize>, key: Option<Key> },
}

/// A key whose value has not ended yet.
struct Key {
    name: String,
    bytes: Range<usize>,
    /// Whether its value is left out, for it is wrong.
    dropped: bool,
}

impl Builder<'_> {
    fn run(&mut self, parser: &mut YamlParser<'_>, nodes_left: &mut usize) -> Result<(), SyntaxFault> {
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| self.scan_fault(&error))?;
            let bytes = self.bytes(&span);
            if event.is_node() {
                *nodes_left = nodes_left.checked_sub(1).ok_or_else(|| {
                    SyntaxFault::new(
                        bytes.start,
                        format!("more than {NODES_MAX} values stand before this one"),
                    )
                })?;
                self.properties(&event, &bytes);
            }
            self.event(event, bytes)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, bytes: Range<usize>) -> Result<(), SyntaxFault> {
        match event {
            Event::Scalar(text, style, _, _) => self.scalar(&text, style, bytes),
            Event::SequenceStart(..) => self.begin(bytes, Body::List(Vec::new()))?,
            Event::MappingStart(..) => {
                self.begin(bytes, Body::Map { entries: Vec::new(), seen: HashMap::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(bytes.end),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.fault(bytes.start, "aliases are not allowed here; write the value out");
                self.scalar("", ScalarStyle::Plain, bytes);
            }
            // The parser's other events carry no value.
            _ => {}
        }
        Ok(())
    }

    /// Refuses what would make a value depend on more than its own text.
    fn properties(&mut self, event: &Event<'_>, bytes: &Range<usize>) {
        if event.anchor_id().is_some() {
            self.fault(bytes.start, "anchors are not allowed here; write the value out where it is needed");
        }
        if let Some(tag) = event.tag() {
            let message =
                format!("the tag {:?} is not allowed here; quote the value if it is a text", tag.original());
            self.fault(bytes.start, message);
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, bytes: Range<usize>) {
        let plain = style == ScalarStyle::Plain;
        if let Some(Open { body: Body::Map { seen, key: key @ None, .. }, .. }) = self.open.last_mut() {
            let merge = plain && text == "<<";
            let first = seen.get(text).copied();
            seen.entry(text.to_owned()).or_insert(bytes.start);
            *key =
                Some(Key { name: text.to_owned(), bytes: bytes.clone(), dropped: merge || first.is_some() });
            if merge {
                self.fault(bytes.start, "merge keys are not allowed here; write the fields out");
            } else if let Some(first) = first {
                let message = format!("the field {text:?} stands twice in one mapping");
                self.faults.push(SyntaxFault { at: bytes.start, message, other: Some(first) });
            }
            return;
        }
        let content = if plain { scalar::resolve(text) } else { Ok(Content::Text(text.to_owned())) };
        let content = content.unwrap_or_else(|message| {
            self.fault(bytes.start, message);
            Content::Null
        });
        self.add(Node { bytes, content });
    }

    fn begin(&mut self, bytes: Range<usize>, body: Body) -> Result<(), SyntaxFault> {
        if self.open.len() >= DEPTH_MAX {
            let message = format!("the nesting is deeper than {DEPTH_MAX} levels");
            return Err(SyntaxFault::new(bytes.start, message));
        }
        if let Some(Open { body: Body::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(SyntaxFault::new(bytes.start, "the name of a field must be a text"));
        }
        self.open.push(Open { start: bytes.start, body });
        Ok(())
    }

    fn end(&mut self, end: usize) {
        let Some(Open { start, body }) = self.open.pop() else { return };
        let content = match body {
            Body::List(items) => Content::List(items),
            Body::Map { entries, .. } => Content::Map(entries),
        };
        self.add(Node { bytes: start..end.max(start), content });
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.body) {
            Some(Body::List(items)) => items.push(node),
            Some(Body::Map { entries, key, .. }) => {
                if let Some(Key { name, bytes, dropped: false }) = key.take() {
                    entries.push(Entry { key: name, key_bytes: bytes, value: node });
                }
            }
            None if self.root.is_none() => self.root = Some(node),
            None => self.fault(node.bytes.start, "a second value begins here; put --- before a new document"),
        }
    }

    fn fault(&mut self, at: usize, message: impl Into<String>) {
        self.faults.push(SyntaxFault::new(at, message));
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        self.offset + range.start..self.offset + range.end
    }

    fn scan_fault(&self, error: &granit_parser::ScanError) -> SyntaxFault {
        let found = error.marker().byte_offset().unwrap_or_default();
        // The parser tells where the value in front of a tab begins.
        let tab = scalar::is_tab(error.kind()).then(|| self.text.get(found..)?.find('\t')).flatten();
        SyntaxFault::new(self.offset + found + tab.unwrap_or_default(), scalar::explain(error.kind()))
    }
}
