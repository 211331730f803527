//! The text: its lines, and its documents.

use std::ops::Range;

/// Widest line shown beside an error, in characters.
const SNIPPET_MAX_CHARS: usize = 160;
const MARKER_BYTES: usize = 3;

/// A text whose byte offsets can be told as lines and columns.
pub(crate) struct Source<'a> {
    text: &'a str,
    /// Offset of each line's first byte.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        // A line feed at the end ends the last line; it begins none.
        let lines = std::iter::once(0).chain(starts.filter(|start| *start < text.len())).collect();
        Self { text, lines }
    }

    /// Line, from 1, of an offset; one beyond the text is on its last line.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    /// Line and column, both from 1, of an offset.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.line(offset);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The text of a line, with `masked` parts of the text blotted out and its end cut off when it is long.
    pub(crate) fn snippet(&self, line: usize, masked: &[Range<usize>]) -> String {
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let here = start..start + text.len();
        let masked: Vec<_> =
            masked.iter().filter(|range| range.start < here.end && here.start < range.end).collect();
        let hidden = |at: usize| masked.iter().any(|range| range.contains(&at));
        let mut shown = String::new();
        let mut hiding = false;
        for (at, c) in text.char_indices().take(SNIPPET_MAX_CHARS) {
            let hide = hidden(start + at);
            match (hide, hiding) {
                (false, _) => shown.push(if c.is_control() && c != '\t' { ' ' } else { c }),
                (true, false) => shown.push('…'),
                (true, true) => {}
            }
            hiding = hide;
        }
        shown
    }

    pub(crate) fn slice(&self, range: &Range<usize>) -> &'a str {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

/// A document's place in the text. It begins with its `---`, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub(crate) offset: usize,
    pub(crate) text: &'a str,
}

impl Chunk<'_> {
    /// Offset in the whole text of the first line that says something.
    pub(crate) fn first_content(&self) -> Option<usize> {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let rest = line.strip_prefix("---").filter(|_| at == 0).unwrap_or(line);
            let content = rest.trim();
            if !content.is_empty() && !content.starts_with('#') {
                let blank = line.len() - rest.len() + (rest.len() - rest.trim_start().len());
                return Some(self.offset + at + blank);
            }
            at += line.len();
        }
        None
    }
}

/// The documents of a text. What follows a marker on its line belongs to the document that it begins.
pub(crate) fn split(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut end) = (text.len() - text.trim_start_matches('\u{feff}').len(), 0);
    for line in text.split_inclusive('\n') {
        if is_marker(line) {
            chunks.push(Chunk { offset: start, text: text.get(start..end).unwrap_or_default() });
            start = if line.starts_with('.') { end + MARKER_BYTES } else { end };
        }
        end += line.len();
    }
    chunks.push(Chunk { offset: start, text: text.get(start..end).unwrap_or_default() });
    chunks.retain(|chunk| chunk.first_content().is_some());
    chunks
}

/// `---` or `...` in the first column, alone or before white space (YAML 1.2, 9.1.2).
fn is_marker(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_place() {
        let text = "a\n---\n\n# no\n--- b\nc\n---d\n...\n---\n... e\n";
        let chunks: Vec<_> = split(text).into_iter().map(|chunk| (chunk.offset, chunk.text)).collect();
        assert_eq!(chunks, [(0, "a\n"), (12, "--- b\nc\n---d\n"), (36, " e\n")]);
        assert_eq!(split(text)[1].first_content(), Some(16));
        assert_eq!(split("\u{feff}a: 1")[0], Chunk { offset: 3, text: "a: 1" });
    }

    #[test]
    fn offsets_are_told_as_lines_and_columns() {
        let source = Source::new("aß\nbc\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(3), (1, 3));
        assert_eq!(source.position(4), (2, 1));
        assert_eq!(source.position(7), (2, 4), "the end is on the last line");
        assert_eq!(source.position(900), (2, 4));
        assert_eq!(Source::new("").position(0), (1, 1));
    }

    #[test]
    fn masked_parts_are_not_shown() {
        let text = "a\nuser: x, password: hunter2, b: c\r\n";
        let source = Source::new(text);
        let password = text.find("hunter2").map(|at| at..at + 7);
        assert_eq!(source.snippet(2, &Vec::from_iter(password)), "user: x, password: …, b: c");
        assert_eq!(source.snippet(2, &[]), "user: x, password: hunter2, b: c");
    }
}
