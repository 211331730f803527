//! The fingerprint of a node's key as people pass it on: 64 hexadecimal digits, or words for its first half.
//!
//! The words are the PGP word list (Juola and Zimmermann, 1995): one for each byte, in turn of two and of three
//! syllables, so that a word which is left out or swapped is noticed.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// Words of a fingerprint: 16 bytes. Whoever wants to pass for a node needs another key whose SHA-256 begins with the
/// same 128 bits. That takes 2^128 tries, as many as it takes to break a P-256 key: the other half adds nothing.
pub const WORDS: usize = 16;
const DIGITS: usize = 64;
const DIGITS_A_WORD: usize = 2;
/// A line for each byte: the word for an even place, then that for an odd one.
const LIST: &str = include_str!("words.txt");

/// Why a text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Neither the one nor the other.
    #[error(
        "a fingerprint has {DIGITS} hexadecimal digits or {WORDS} words; copy it from the node's console"
    )]
    Form,
    /// One word is not of the list.
    #[error("word {place}, {word:?}, is none that can stand there; compare it with the node's console")]
    Word {
        /// From 1.
        place: usize,
        /// As given.
        word: String,
    },
}

/// What somebody knows of a fingerprint: all of it, or the half that its words say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The whole fingerprint of a subjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of(public_key_der: &[u8]) -> Self {
        Self(digest(&SHA256, public_key_der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads a fingerprint as people copy or type it: digits with or without colons, or words, in any case.
    ///
    /// # Errors
    /// [`FingerprintError`].
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let digits: String = text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
        if digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(digits));
        }
        let given: Vec<&str> = text.split([' ', '-', '\t', '\n']).filter(|word| !word.is_empty()).collect();
        if given.len() != WORDS {
            return Err(FingerprintError::Form);
        }
        given
            .into_iter()
            .enumerate()
            .map(|(place, word)| byte_of(place, word))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a key with this fingerprint (64 lower-case hexadecimal digits) is meant.
    #[must_use]
    pub fn fits(&self, fingerprint: &str) -> bool {
        fingerprint.len() == DIGITS && fingerprint.starts_with(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The words for a fingerprint of 64 hexadecimal digits; fewer when it is none.
pub fn words(fingerprint: &str) -> impl Iterator<Item = &'static str> {
    let byte_at = |place: usize| {
        let at = place * DIGITS_A_WORD;
        u8::from_str_radix(fingerprint.get(at..at + DIGITS_A_WORD)?, 16).ok()
    };
    (0..WORDS)
        .filter_map(move |place| LIST.lines().nth(byte_at(place)?.into()).and_then(|line| pick(line, place)))
}

/// Two hexadecimal digits.
fn byte_of(place: usize, word: &str) -> Result<String, FingerprintError> {
    let is_it = |line| pick(line, place).is_some_and(|listed| listed.eq_ignore_ascii_case(word));
    let byte = LIST.lines().position(is_it);
    let byte = byte.ok_or_else(|| FingerprintError::Word { place: place + 1, word: word.to_owned() })?;
    Ok(format!("{byte:02x}"))
}

fn pick(line: &'static str, place: usize) -> Option<&'static str> {
    line.split(' ').nth(place % 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_stand_for_the_first_half(bytes: [u8; 32], other: u8, place in 0..WORDS) {
            let fingerprint = bytes.map(|byte| format!("{byte:02x}")).concat();
            let spoken: Vec<_> = words(&fingerprint).collect();
            prop_assert_eq!(spoken.len(), WORDS);
            let known = Fingerprint::parse(&spoken.join(" ").to_uppercase()).unwrap();
            prop_assert!(known.fits(&fingerprint));
            prop_assert_eq!(known.to_string(), &fingerprint[..32]);
            let mut changed = bytes;
            changed[place] = other;
            let changed = changed.map(|byte| format!("{byte:02x}")).concat();
            prop_assert_eq!(known.fits(&changed), other == bytes[place]);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            Fingerprint::parse(&text).ok();
            words(&text).count();
        }
    }

    /// Both columns of the published list are in alphabetical order, but for Apollo, and no word says two things.
    #[test]
    fn the_list_is_whole() {
        assert_eq!(LIST.lines().count(), 256);
        for place in 0..2 {
            let column: Vec<_> = LIST.lines().map(|line| pick(line, place).unwrap().to_lowercase()).collect();
            assert!(column.is_sorted_by(|a, b| a < b || b == "apollo"), "{column:?}");
        }
        let all: std::collections::BTreeSet<_> = LIST.split_whitespace().collect();
        assert_eq!(all.len(), 512);
        // The example of the list's authors.
        let fingerprint = format!("e58294f2e9a227486e8b061b31cc528f{}", "0".repeat(32));
        let spoken: Vec<_> = words(&fingerprint).collect();
        let expected = "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa afflict \
                        bravado chatter revolver Dupont midsummer";
        assert_eq!(spoken.join(" "), expected);
    }

    #[test]
    fn digits_are_taken_as_copied() {
        let plain = "ab".repeat(32);
        let known = Fingerprint::parse(&vec!["AB"; 32].join(":")).unwrap();
        assert_eq!(known, Fingerprint::parse(&plain).unwrap());
        assert!(known.fits(&plain) && !known.fits(&"ac".repeat(32)) && !known.fits("ab") && !known.fits(""));
        for wrong in ["", "12ab", &"zz".repeat(32), &"ab".repeat(16), "topmost Istanbul Pluto"] {
            assert_eq!(Fingerprint::parse(wrong), Err(FingerprintError::Form), "{wrong}");
        }
    }

    #[test]
    fn it_is_the_hash_of_the_key() {
        // SHA-256 of "abc" (FIPS 180-2, B.1).
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Fingerprint::of(b"abc").to_string(), hash);
    }

    #[test]
    fn a_swapped_word_is_noticed() {
        let right: Vec<_> = words(&"0102".repeat(16)).collect();
        let mut swapped = right.clone();
        swapped.swap(2, 3);
        let noticed = FingerprintError::Word { place: 3, word: "aftermath".into() };
        assert_eq!(Fingerprint::parse(&swapped.join("-")), Err(noticed));
        assert!(Fingerprint::parse(&right.join("-")).is_ok());
    }
}
