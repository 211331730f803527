//! The query part of a request's target.

use std::io;

/// Parsed `name=value&…`; values are taken as they are.
pub struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    /// Parses.
    pub fn new(text: &'a str) -> Self {
        Self(text.split('&').filter_map(|pair| pair.split_once('=')).collect())
    }

    /// A value.
    pub fn text(&self, name: &str) -> io::Result<&'a str> {
        let found = self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        found.ok_or_else(|| io::Error::other(format!("{name} is missing")))
    }

    /// A value as a number.
    pub fn number(&self, name: &str) -> io::Result<u32> {
        self.text(name)?.parse().map_err(|_| io::Error::other(format!("{name} is no number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_or_missed_by_name() {
        let query = Query::new("comm=apid&signal=9&x");
        assert_eq!(query.text("comm").unwrap(), "apid");
        assert_eq!(query.number("signal").unwrap(), 9);
        assert!(query.text("x").is_err() && query.number("comm").is_err());
    }
}
