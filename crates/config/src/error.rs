//! What is wrong with a configuration, and where.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Document, from 1; 0 for the whole text.
    pub document: usize,
    /// What it is about, such as `Interface/eth0.addresses[0]`; empty where that is not known.
    pub path: String,
    /// Line of the text, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
    /// The line itself, secrets masked; empty where it could not be shown without one.
    pub snippet: String,
}

impl ConfigError {
    /// Where it is, as in "document 1, line 5, column 3".
    #[must_use]
    pub fn place(&self) -> String {
        match self.document {
            0 => "configuration".to_owned(),
            document => format!("document {document}, line {}, column {}", self.line, self.column),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place())?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if self.snippet.trim().is_empty() || self.document == 0 {
            return Ok(());
        }
        let number = self.line.to_string();
        write!(f, "\n  {number} | {}", self.snippet)?;
        if self.column > self.snippet.chars().count() + 1 {
            // A long line is cut off before the fault.
            return Ok(());
        }
        let before = self.snippet.chars().take(self.column.saturating_sub(1));
        // A tab in front moves the caret as it moves the text.
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "\n  {:width$} | {indent}^", "", width = number.len())
    }
}

/// All that is wrong, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// The errors.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line_and_points_at_the_fault() {
        let error = ConfigError {
            document: 2,
            path: "Machine.hostname".into(),
            line: 12,
            column: 4,
            message: "wrong".into(),
            snippet: "a: ß".into(),
        };
        assert_eq!(
            error.to_string(),
            "document 2, line 12, column 4: Machine.hostname: wrong\n  12 | a: ß\n     |    ^"
        );
        let whole = ConfigError { document: 0, path: String::new(), ..error };
        assert_eq!(whole.to_string(), "configuration: wrong");
    }
}
