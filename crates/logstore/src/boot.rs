//! Which boot a line is of.

use std::{fmt, str::FromStr};

/// The kernel's random id of a boot (/proc/sys/kernel/random/boot_id, RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

/// Not a boot id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a boot id has 32 hexadecimal digits, with or without hyphens")]
pub struct NoBootId;

const DIGITS: usize = 32;

impl FromStr for BootId {
    type Err = NoBootId;

    fn from_str(text: &str) -> Result<Self, NoBootId> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        if digits.len() != DIGITS {
            return Err(NoBootId);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return Err(NoBootId) };
            *byte = digit(*high).ok_or(NoBootId)? << 4 | digit(*low).ok_or(NoBootId)?;
        }
        Ok(Self(id))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_writes_it() {
        let text = "3f1c0a52-77a1-4b0e-9a55-0123456789ab";
        let id: BootId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.replace('-', "").parse(), Ok(id));
        for wrong in ["", "3f1c", "3f1c0a52-77a1-4b0e-9a55-0123456789ag", "é3f1c0a5277a14b0e9a550123456789ab"]
        {
            assert_eq!(wrong.parse::<BootId>(), Err(NoBootId), "{wrong}");
        }
    }
}
