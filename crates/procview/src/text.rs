//! What the parsers share.

use std::borrow::Cow;

/// Text of the kernel; what is not UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The whole text as one number.
#[must_use]
pub fn first_number(bytes: &[u8]) -> Option<u64> {
    text(bytes).split_ascii_whitespace().next()?.parse().ok()
}

/// The number behind a name, as in `VmRSS:     1234 kB` and `oom_kill 3`.
pub(crate) fn named(bytes: &[u8], name: &str) -> Option<u64> {
    text(bytes).lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_named = words.next()?.trim_end_matches(':') == name;
        is_named.then(|| words.next()?.parse().ok()).flatten()
    })
}

/// The same for sizes that the kernel gives in kB, which are of 1024 bytes.
pub(crate) fn named_kib(bytes: &[u8], name: &str) -> Option<u64> {
    named(bytes, name)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_words() {
        let text = b"oom 1\noom_kill 3\nVmRSS:\t  12 kB\n";
        assert_eq!(named(text, "oom_kill"), Some(3));
        assert_eq!(named_kib(text, "VmRSS"), Some(12 * 1024));
        assert_eq!(named(text, "VmRS"), None);
        assert_eq!(named_kib(b"VmRSS: 99999999999999999999 kB", "VmRSS"), None);
    }

    #[test]
    fn a_number_alone() {
        assert_eq!(first_number(b"4096\n"), Some(4096));
        assert_eq!(first_number(b"max\n"), None);
        assert_eq!(first_number(b""), None);
    }
}
