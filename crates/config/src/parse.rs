//! From text to documents: every document is read and checked, whatever is wrong with the others.

use crate::{
    NodeConfig, check, convert, cross,
    documents::{Document, DocumentKey, Documents, key_of},
    error::ConfigErrors,
    report::{Report, nearest, quote, shorten},
    source::{Chunk, Source, split},
    table::{self, Kind},
    tree::{self, Content, Node},
};

/// The version of all documents.
pub const API_VERSION: &str = "cairn.dev/v1alpha1";
/// Longest configuration; a large one has some tens of KiB.
pub const TEXT_MAX_BYTES: usize = 1 << 20;
/// Most documents.
pub const DOCUMENTS_MAX: usize = 256;

/// Parses a configuration.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str) -> Result<NodeConfig, ConfigErrors> {
    documents(text).map(|documents| convert::node_config(&documents))
}

/// Reads a text as YAML documents without judging what they say: a patch is read so.
///
/// # Errors
/// What is wrong with the YAML, and documents that are no mapping.
pub fn read_unchecked(text: &str) -> Result<Vec<Document>, ConfigErrors> {
    let source = Source::new(text);
    let mut report = Report::new(&source);
    let chunks = chunks(text, &mut report);
    let read = trees(&chunks, &mut report);
    if report.is_empty() {
        return Ok(read.iter().map(|document| document.to_document(&chunks)).collect());
    }
    Err(report.into_errors())
}

/// A document that could be read.
pub(crate) struct Read {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) root: Node,
    pub(crate) key: DocumentKey,
    /// None when this release does not know the kind or the version.
    pub(crate) kind: Option<&'static Kind>,
}

impl Read {
    /// Its key, as paths begin with it.
    pub(crate) fn path(&self) -> String {
        match &self.key.name {
            Some(name) if !name.is_empty() && !name.ends_with('/') => {
                format!("{}/{}", self.key.kind, shorten(name))
            }
            Some(_) | None => self.key.kind.clone(),
        }
    }

    fn to_document(&self, chunks: &[Chunk<'_>]) -> Document {
        let source = chunks.get(self.number.saturating_sub(1)).map(|chunk| chunk.text).unwrap_or_default();
        let fields = self.root.entries().iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
        Document::with_source(fields.collect(), source)
    }
}

pub(crate) fn documents(text: &str) -> Result<Documents, ConfigErrors> {
    let source = Source::new(text);
    let mut report = Report::new(&source);
    let chunks = chunks(text, &mut report);
    if chunks.is_empty() && report.is_empty() {
        report.fault(0, "", 0, format!("it holds no document; the kinds are {}", kinds()));
    }
    if !report.is_empty() {
        return Err(report.into_errors());
    }
    let mut read = trees(&chunks, &mut report);
    let unread = read.len() < chunks.len();
    for document in &mut read {
        header(&mut report, document);
        if let Some(kind) = document.kind {
            check::document(&mut report, document.number, &document.path(), &document.root, kind);
        }
    }
    cross::documents(&mut report, &read, unread);
    if report.is_empty() {
        return Ok(read.iter().map(|document| document.to_document(&chunks)).collect());
    }
    Err(report.into_errors())
}

fn chunks<'a>(text: &'a str, report: &mut Report<'_>) -> Vec<Chunk<'a>> {
    if text.len() > TEXT_MAX_BYTES {
        let message = format!("{} bytes are more than the {TEXT_MAX_BYTES} allowed", text.len());
        report.fault(0, "", 0, message);
        return Vec::new();
    }
    let chunks = split(text);
    if chunks.len() > DOCUMENTS_MAX {
        let message = format!("{} documents are more than the {DOCUMENTS_MAX} allowed", chunks.len());
        report.fault(0, "", 0, message);
        return Vec::new();
    }
    chunks
}

fn trees(chunks: &[Chunk<'_>], report: &mut Report<'_>) -> Vec<Read> {
    let mut nodes_left = tree::NODES_MAX;
    let mut read = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let number = index + 1;
        let start = chunk.first_content().unwrap_or(chunk.offset);
        let (root, faults) = tree::read(chunk, &mut nodes_left);
        if !faults.is_empty() {
            mask_from_first_secret(chunk, report);
        }
        for fault in faults {
            let first = fault.other.map(|at| format!("; first on line {}", report.line(at)));
            report.fault(number, "", fault.at.max(start), fault.message + &first.unwrap_or_default());
        }
        let Some(root) = root else { continue };
        if !matches!(root.content, Content::Map(_)) {
            report.mask(&root.bytes);
            let what = check::describe(&root.content);
            report.fault(
                number,
                "",
                start,
                format!("a document must be a mapping (lines of name: value), but it is {what}"),
            );
            continue;
        }
        let key = key_of_root(&root);
        read.push(Read { number, root, key, kind: None });
    }
    read
}

/// Where the structure of a document is not sure, nothing that follows the name of a secret is shown.
fn mask_from_first_secret(chunk: &Chunk<'_>, report: &mut Report<'_>) {
    let end = chunk.offset + chunk.text.len();
    let first = table::secret_names().filter_map(|name| chunk.text.find(name)).min();
    if let Some(first) = first {
        report.mask(&(chunk.offset + first..end));
    }
}

/// The key, made from those fields alone that it is made of.
fn key_of_root(root: &Node) -> DocumentKey {
    let fields = root.entries().iter().filter(|entry| !matches!(entry.value.content, Content::List(_)));
    key_of(&fields.map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
}

/// Finds the table of a document's kind, where this release knows its version and kind.
fn header(report: &mut Report<'_>, document: &mut Read) {
    let start = document.root.bytes.start;
    let version = document.root.get("apiVersion");
    let kind = document.root.get("kind");
    let mut known = true;
    match version.map(|node| (node, node.text())) {
        Some((_, Some(API_VERSION))) => {}
        Some((node, _)) => {
            known = false;
            let given = quote(report.source().slice(&node.bytes));
            let message = format!("{given} is not known to this release; it knows {API_VERSION} alone");
            report.fault(document.number, "apiVersion", node.bytes.start, message);
        }
        None => {
            let message = format!("the field apiVersion is missing; it must be {API_VERSION}");
            report.fault(document.number, "apiVersion", start, message);
        }
    }
    match kind.map(|node| (node, node.text())) {
        Some((node, Some(name))) => match table::kind(name) {
            Some(kind) if known => document.kind = Some(kind),
            Some(_) => {}
            None => {
                report.fault(document.number, "kind", node.bytes.start, unknown_kind(name));
            }
        },
        Some((node, None)) => {
            let message = format!("must be a text; this release knows {}", kinds());
            report.fault(document.number, "kind", node.bytes.start, message);
        }
        None => {
            let message = format!("the field kind is missing; this release knows {}", kinds());
            report.fault(document.number, "kind", start, message);
        }
    }
    if document.kind.is_none() {
        // Which of its fields are secret is not known.
        let others = document
            .root
            .entries()
            .iter()
            .filter(|entry| !matches!(entry.key.as_str(), "apiVersion" | "kind"));
        others.for_each(|entry| report.mask(&entry.value.bytes));
    }
}

fn unknown_kind(name: &str) -> String {
    let known = table::kinds().map(|kind| kind.name);
    match nearest(name, known) {
        Some(meant) => format!("{} is not known to this release; did you mean {meant}?", quote(name)),
        None => format!("{} is not known to this release; it knows {}", quote(name), kinds()),
    }
}

fn kinds() -> String {
    table::kinds().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}
