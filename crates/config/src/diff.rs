//! What differs between two texts, line by line.

use similar::TextDiff;

/// Lines of context around each difference, as diff(1) shows.
const CONTEXT_LINES: usize = 3;

/// A unified diff; empty when nothing differs. Give it redacted texts: it shows what it is given.
#[must_use]
pub fn unified(old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(CONTEXT_LINES).header("running", "new").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_stand_in_their_context() {
        let old = "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n";
        let expected = "--- running\n+++ new\n@@ -2,5 +2,5 @@\n b: 2\n c: 3\n d: 4\n-e: 5\n+e: six\n f: 6\n";
        assert_eq!(unified(old, &old.replace("e: 5", "e: six")), expected);
        assert_eq!(unified(old, old), "");
        assert!(unified("a", "a\n").contains("No newline at end of file"));
    }

    /// Texts as large as a configuration may be, with nothing in common.
    #[test]
    fn the_worst_texts_end_in_time() {
        let lines = |offset: usize| (0..40_000).map(move |n| format!("{}\n", (n * 7919 + offset) % 100_003));
        let (old, new): (String, String) = (lines(0).collect(), lines(50_000).collect());
        assert!(unified(&old, &new).lines().count() > 40_000);
    }
}
