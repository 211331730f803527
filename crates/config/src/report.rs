//! Faults as they are found, and how they become errors.

use std::ops::Range;

use crate::{
    error::{ConfigError, ConfigErrors},
    source::Source,
};

/// Most errors told at once: whoever makes more has another problem.
pub(crate) const ERRORS_MAX: usize = 100;
/// Longest text quoted in a message, in characters.
const QUOTE_MAX_CHARS: usize = 60;

/// What is wrong at an offset of the text.
#[derive(Debug)]
struct Fault {
    document: usize,
    path: String,
    at: usize,
    message: String,
}

/// Collects what is wrong with a text.
pub(crate) struct Report<'a> {
    source: &'a Source<'a>,
    faults: Vec<Fault>,
    left_out: usize,
    /// Parts of the text that are shown to nobody.
    masked: Vec<Range<usize>>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: &'a Source<'a>) -> Self {
        Self { source, faults: Vec::new(), left_out: 0, masked: Vec::new() }
    }

    /// Something is wrong in a document; 0 is the whole text.
    pub(crate) fn fault(&mut self, document: usize, path: &str, at: usize, message: impl Into<String>) {
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        self.faults.push(Fault { document, path: path.to_owned(), at, message: message.into() });
    }

    pub(crate) fn mask(&mut self, bytes: &Range<usize>) {
        self.masked.push(bytes.clone());
    }

    pub(crate) fn source(&self) -> &'a Source<'a> {
        self.source
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        self.source.line(at)
    }

    /// Whether more errors would only be counted.
    pub(crate) fn is_full(&self) -> bool {
        self.faults.len() >= ERRORS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The errors in the order of the text; those of the whole text come last.
    pub(crate) fn into_errors(mut self) -> ConfigErrors {
        self.faults.sort_by_key(|fault| (fault.document == 0, fault.document, fault.at));
        let left_out = self.left_out;
        let mut errors: Vec<_> = self.faults.iter().map(|fault| self.error(fault)).collect();
        if left_out > 0 {
            let message = format!("{left_out} more errors are not shown");
            errors.push(ConfigError {
                document: 0,
                path: String::new(),
                line: 1,
                column: 1,
                message,
                snippet: String::new(),
            });
        }
        ConfigErrors(errors)
    }

    fn error(&self, fault: &Fault) -> ConfigError {
        let (line, column) = self.source.position(fault.at);
        ConfigError {
            document: fault.document,
            path: fault.path.clone(),
            line,
            column,
            message: fault.message.clone(),
            snippet: self.source.snippet(line, &self.masked),
        }
    }
}

/// A text as messages show it.
pub(crate) fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTE_MAX_CHARS {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTE_MAX_CHARS).collect();
    format!("{start:?}…")
}

/// A text as paths show it.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTE_MAX_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The known word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    let distances = known.into_iter().map(|known| (distance(word, known), known));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

/// Edits between two words, whatever their case: one for a case alone.
fn distance(a: &str, b: &str) -> usize {
    let fold =
        |word: &str| word.chars().take(QUOTE_MAX_CHARS).flat_map(char::to_lowercase).collect::<Vec<_>>();
    if a == b {
        return 0;
    }
    let (a, b) = (fold(a), fold(b));
    if a == b {
        return 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (pair, to) in row.windows(2).zip(&b) {
            let [diagonal, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            let replaced = diagonal + usize::from(from != to);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_recognised_through_its_typos() {
        let known = ["hostname", "labels", "installDisk"];
        for (word, expected) in [
            ("hostnam", "hostname"),
            ("Hostname", "hostname"),
            ("lables", "labels"),
            ("installdisk", "installDisk"),
        ] {
            assert_eq!(nearest(word, known), Some(expected), "{word}");
        }
        assert_eq!(nearest("mtu", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn more_errors_than_anyone_reads_are_counted() {
        let source = Source::new("a\n");
        let mut report = Report::new(&source);
        for _ in 0..ERRORS_MAX + 7 {
            report.fault(1, "", 0, "wrong");
        }
        let errors = report.into_errors().0;
        assert_eq!(errors.len(), ERRORS_MAX + 1);
        assert_eq!(errors[ERRORS_MAX].message, "7 more errors are not shown");
    }
}
