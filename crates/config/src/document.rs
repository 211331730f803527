//! Documents: parsing, and errors with their place.

use std::fmt;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    NodeConfig,
    pod::{StaticPod, is_name},
};

/// The version of all documents.
pub const API_VERSION: &str = "cairn.dev/v1alpha1";
/// Longest configuration; a large one has some tens of KiB.
pub const TEXT_MAX_BYTES: usize = 1 << 20;
/// Most documents.
pub const DOCUMENTS_MAX: usize = 256;
const KINDS: &str = "Machine, Api, StaticPod";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Document, from 1; 0 for the whole text.
    pub document: usize,
    /// Line, from 1: of the fault, or where its document begins.
    pub line: Option<u64>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.document, self.line) {
            (0, _) => write!(f, "configuration: {}", self.message),
            (document, Some(line)) => write!(f, "document {document}, line {line}: {}", self.message),
            (document, None) => write!(f, "document {document}: {}", self.message),
        }
    }
}

/// All that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Parses a configuration.
pub fn parse(text: &str) -> Result<NodeConfig, ConfigErrors> {
    let whole = |message: String| ConfigErrors(vec![ConfigError { document: 0, line: None, message }]);
    if text.len() > TEXT_MAX_BYTES {
        return Err(whole(format!("{} bytes are more than the {TEXT_MAX_BYTES} allowed", text.len())));
    }
    let documents = split(text);
    if documents.is_empty() {
        return Err(whole(format!("it holds no document; the kinds are {KINDS}")));
    }
    if documents.len() > DOCUMENTS_MAX {
        return Err(whole(format!(
            "{} documents are more than the {DOCUMENTS_MAX} allowed",
            documents.len()
        )));
    }
    let mut reader = Reader::default();
    for (index, document) in documents.iter().enumerate() {
        reader.number = index + 1;
        if let Err((line, message)) = reader.take(&document.placed()) {
            let line = line.or_else(|| document.first_line());
            reader.errors.push(ConfigError { document: reader.number, line, message });
        }
    }
    if reader.seen_api == 0 {
        reader.errors.push(ConfigError {
            document: 0,
            line: None,
            message: "a document of kind Api is missing".into(),
        });
    }
    if reader.errors.is_empty() { Ok(reader.config) } else { Err(ConfigErrors(reader.errors)) }
}

type Fault = (Option<u64>, String);

#[derive(Default)]
struct Reader {
    config: NodeConfig,
    errors: Vec<ConfigError>,
    number: usize,
    seen_machine: usize,
    seen_api: usize,
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    hostname: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Api {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "clientCAs")]
    client_cas: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pod {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pod: Value,
}

impl Reader {
    fn take(&mut self, document: &str) -> Result<(), Fault> {
        let header: Header = read(document)?;
        if header.api_version != API_VERSION {
            return Err((
                None,
                format!("apiVersion {:?} is not known here; it must be {API_VERSION}", header.api_version),
            ));
        }
        match header.kind.as_str() {
            "Machine" => self.machine(read(document)?),
            "Api" => self.api(read(document)?),
            "StaticPod" => self.pod(read(document)?),
            other => Err((None, format!("kind {other:?} is not known to this release; it knows {KINDS}"))),
        }
    }

    fn machine(&mut self, machine: Machine) -> Result<(), Fault> {
        only_once(&mut self.seen_machine, "Machine")?;
        if let Some(hostname) = &machine.hostname
            && (!is_name(hostname) || hostname.len() > 63 || hostname.contains('.'))
        {
            return Err((
                None,
                format!("hostname {hostname:?} must be one RFC 1123 label of at most 63 characters"),
            ));
        }
        self.config.hostname = machine.hostname;
        Ok(())
    }

    fn api(&mut self, api: Api) -> Result<(), Fault> {
        only_once(&mut self.seen_api, "Api")?;
        if api.client_cas.is_empty() {
            return Err((
                None,
                "clientCAs must hold at least one certificate: without one nobody could get in".into(),
            ));
        }
        if let Some(index) = api.client_cas.iter().position(|ca| !ca.contains("-----BEGIN CERTIFICATE-----"))
        {
            return Err((None, format!("clientCAs[{index}] is no PEM certificate")));
        }
        self.config.client_cas = api.client_cas;
        Ok(())
    }

    fn pod(&mut self, document: Pod) -> Result<(), Fault> {
        let pod = StaticPod::from_manifest(document.pod).map_err(|error| (None, error.to_string()))?;
        let same = |other: &StaticPod| other.name == pod.name && other.namespace == pod.namespace;
        if self.config.static_pods.iter().any(same) {
            return Err((None, format!("pod {}/{} stands twice", pod.namespace, pod.name)));
        }
        self.config.static_pods.push(pod);
        Ok(())
    }
}

fn only_once(seen: &mut usize, kind: &str) -> Result<(), Fault> {
    *seen += 1;
    if *seen == 1 { Ok(()) } else { Err((None, format!("there may be only one document of kind {kind}"))) }
}

fn read<T: DeserializeOwned>(document: &str) -> Result<T, Fault> {
    serde_saphyr::from_str(document).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let text = error.to_string();
        let text = text.lines().next().unwrap_or_default();
        let text = text.strip_prefix("error: ").unwrap_or(text);
        // The place is told once, by whoever shows the error.
        let message = match text.split_once(": ") {
            Some((place, message)) if place.starts_with("line ") => message,
            Some(_) | None => text,
        };
        (line, message.to_owned())
    })
}

/// A document's text and how many lines stand before it.
#[derive(Debug, PartialEq, Eq)]
struct Document<'a> {
    lines_before: usize,
    text: &'a str,
}

impl Document<'_> {
    /// With as many empty lines before it, so that positions are those of the whole text. Made for one document at
    /// a time: for all together they would be many times the text.
    fn placed(&self) -> String {
        "\n".repeat(self.lines_before) + self.text
    }

    /// Of the whole text, from 1: the first that says something.
    fn first_line(&self) -> Option<u64> {
        let says_something = |line: &str| !line.is_empty() && !line.starts_with('#');
        let index = self.text.lines().position(|line| says_something(line.trim()))?;
        u64::try_from(self.lines_before + index + 1).ok()
    }
}

/// The documents of a text. What follows a marker on its line belongs to the document that it begins.
fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut lines_before, mut start, mut end) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) {
            documents.push(Document { lines_before, text: text.get(start..end).unwrap_or_default() });
            (lines_before, start) = (number, end + MARKER_BYTES);
        }
        end += line.len();
    }
    documents.push(Document { lines_before, text: text.get(start..end).unwrap_or_default() });
    documents.retain(|document| document.first_line().is_some());
    documents
}

const MARKER_BYTES: usize = 3;

/// `---` or `...` in the first column, alone or before white space (YAML 1.2, 9.1.2).
fn is_marker(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "# a comment\n---\napiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: shop-17\n---\n\
                        apiVersion: cairn.dev/v1alpha1\nkind: Api\nclientCAs:\n  - |\n    -----BEGIN CERTIFICATE-----\n    x\n\
                        ---\napiVersion: cairn.dev/v1alpha1\nkind: StaticPod\npod:\n  apiVersion: v1\n  kind: Pod\n  \
                        metadata: {name: web}\n  spec: {containers: [{name: web, image: x}]}\n";

    #[test]
    fn a_good_configuration_is_read() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.hostname.as_deref(), Some("shop-17"));
        assert_eq!(config.client_cas.len(), 1);
        assert_eq!(config.static_pods[0].name, "web");
    }

    #[test]
    fn the_errors_of_all_documents_come_at_once_with_their_lines() {
        let text = GOOD
            .replace("hostname: shop-17", "hostnam: shop-17")
            .replace("metadata: {name: web}", "metadata: {name: W}");
        let errors = parse(&text).unwrap_err().0;
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!((errors[0].document, errors[0].line), (1, Some(5)), "{errors:?}");
        assert!(
            errors[0].to_string().starts_with("document 1, line 5: unknown field `hostnam`"),
            "{errors:?}"
        );
        assert_eq!((errors[1].document, errors[1].line), (3, Some(14)), "{errors:?}");
    }

    #[test]
    fn what_is_unknown_double_or_missing_is_refused() {
        for (from, to, expected) in [
            ("kind: Machine", "kind: Machin", "not known to this release"),
            ("v1alpha1\nkind: Machine", "v2\nkind: Machine", "must be cairn.dev/v1alpha1"),
            ("kind: Api", "kind: Other", "kind Api is missing"),
            ("shop-17", "Shop_17", "RFC 1123"),
            ("hostname: shop-17", "hostname: a\nhostname: b", "duplicate"),
            ("-----BEGIN CERTIFICATE-----", "nothing", "no PEM"),
        ] {
            let errors = parse(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(errors.contains(expected), "{to}: {errors}");
        }
        assert!(parse("").unwrap_err().to_string().contains("no document"));
        let twice = format!("{GOOD}---\napiVersion: cairn.dev/v1alpha1\nkind: Machine\n");
        assert!(parse(&twice).unwrap_err().to_string().contains("only one"));
        let long = "#".repeat(TEXT_MAX_BYTES + 1);
        assert!(parse(&long).unwrap_err().to_string().contains("allowed"));
    }

    #[test]
    fn what_follows_a_marker_on_its_line_is_read() {
        let config = parse(&GOOD.replace(
            "---\napiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: shop-17\n",
            "--- {apiVersion: cairn.dev/v1alpha1, kind: Machine, hostname: shop-18}\n...\n",
        ))
        .unwrap();
        assert_eq!(config.hostname.as_deref(), Some("shop-18"));
        let errors =
            parse(&GOOD.replace("# a comment\n---\n", "# a comment\n--- {}\n--- # one\n")).unwrap_err().0;
        assert_eq!((errors.len(), errors[0].document), (1, 1), "{errors:?}");
        assert!(parse(&GOOD.replace('\n', "\r\n")).is_ok());
    }

    #[test]
    fn a_document_keeps_the_line_it_begins_on() {
        let documents = split("a\n---\n\n# no\n--- b\nc\n---d\n...\n---\n");
        let expected =
            [Document { lines_before: 0, text: "a\n" }, Document { lines_before: 4, text: " b\nc\n---d\n" }];
        assert_eq!(documents, expected);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-a-z:#{}\\[\\]\\n \"'|>&*!%]{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_cut_configuration_is_read_or_refused(cut in 0..GOOD.len()) {
            if let Some(text) = GOOD.get(..cut)
                && let Err(errors) = parse(text)
            {
                prop_assert!(!errors.0.is_empty());
            }
        }
    }
}
