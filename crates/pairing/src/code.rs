//! The code: 60 bits as `XXXX-XXXX-XXXX` in Crockford's base 32, which knows no letters that look like digits.

use std::fmt;

use zeroize::Zeroizing;

/// Random bytes that a code is made of; four of their bits are not used.
pub const RANDOM_BYTES: usize = 8;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SYMBOLS: usize = 12;
const GROUP: usize = 4;
const SYMBOL_BITS: usize = 5;

/// A text is no pairing code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pairing code has {SYMBOLS} digits and letters, as in XXXX-XXXX-XXXX; the node's console shows it")]
pub struct CodeError;

/// A pairing code; wiped on drop and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<[u8; SYMBOLS]>);

impl Code {
    /// Makes a code of random bytes.
    #[must_use]
    pub fn from_random(random: [u8; RANDOM_BYTES]) -> Self {
        let bits = u64::from_be_bytes(random);
        let mut symbols = [0; SYMBOLS];
        for (index, symbol) in symbols.iter_mut().enumerate() {
            *symbol = symbol_of(bits >> (index * SYMBOL_BITS));
        }
        Self(Zeroizing::new(symbols))
    }

    /// Reads a code as people type it: any case, hyphens and spaces or none, O for 0, I and L for 1.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut typed = text.bytes().filter(|byte| !matches!(byte, b'-' | b' '));
        let mut symbols = Zeroizing::new([0; SYMBOLS]);
        for symbol in symbols.iter_mut() {
            *symbol = typed.next().and_then(read).ok_or(CodeError)?;
        }
        if typed.next().is_some() { Err(CodeError) } else { Ok(Self(symbols)) }
    }

    /// `XXXX-XXXX-XXXX`, for the console only.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SYMBOLS + SYMBOLS / GROUP));
        for (index, symbol) in self.0.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*symbol));
        }
        text
    }

    /// The symbols in upper case without hyphens: the key of all proofs.
    pub(crate) fn symbols(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Code(…)")
    }
}

fn symbol_of(bits: u64) -> u8 {
    let index = usize::try_from(bits & 0x1f).unwrap_or_default();
    ALPHABET.get(index).copied().unwrap_or(b'0')
}

fn read(typed: u8) -> Option<u8> {
    let symbol = match typed.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        symbol => symbol,
    };
    ALPHABET.contains(&symbol).then_some(symbol)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_code_is_read_as_it_is_written(random: [u8; RANDOM_BYTES]) {
            let code = Code::from_random(random);
            let text = code.to_text();
            prop_assert_eq!(text.len(), 14);
            prop_assert_eq!(Code::parse(&text), Ok(code.clone()));
            prop_assert_eq!(Code::parse(&text.to_lowercase().replace('-', " ")), Ok(code.clone()));
            let shown = format!("{code:?}");
            prop_assert!(!shown.contains(text.as_str()));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            if let Ok(code) = Code::parse(&text) {
                prop_assert_eq!(Code::parse(&code.to_text()), Ok(code));
            }
        }
    }

    #[test]
    fn letters_that_look_like_digits_are_taken_for_them() {
        assert_eq!(Code::parse("oO00-iIlL-1111"), Code::parse("000011111111"));
        assert_eq!(*Code::from_random([0xff; 8]).to_text(), "ZZZZ-ZZZZ-ZZZZ");
        for wrong in
            ["", "0000-0000-000", "0000-0000-00000", "000U-0000-0000", "0000_0000_0000", "é000-0000-000"]
        {
            assert_eq!(Code::parse(wrong), Err(CodeError), "{wrong}");
        }
    }

    #[test]
    fn sixty_bits_count() {
        let one = |bit: u32| Code::from_random((1u64 << bit).to_be_bytes());
        let none = Code::from_random([0; 8]);
        assert!((0..60).all(|bit| one(bit) != none));
        assert!((60..64).all(|bit| one(bit) == none));
    }
}
