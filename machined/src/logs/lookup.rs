//! Which boot somebody means. Pure.

use logstore::{BootId, BootSpan};

/// Digits of an id that are enough when only one boot begins so.
const PREFIX_MIN_DIGITS: usize = 4;

/// Why it is not known which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownBoot {
    /// It is older than what is kept.
    #[error("logs of {kept} earlier boots are kept, so there is no boot {wanted}")]
    TooFar {
        /// As asked.
        wanted: String,
        /// How many there are.
        kept: usize,
    },
    /// No boot, or more than one, begins so.
    #[error("{matching} boots have an id that begins with {wanted:?}")]
    Id {
        /// As asked.
        wanted: String,
        /// How many do.
        matching: usize,
    },
    /// Neither a number nor an id.
    #[error("{0:?} is no boot: write 0 for this one, -1 for the one before, or the beginning of an id")]
    Text(String),
}

/// Finds a boot among those that are kept, the oldest first. `this` is the present one.
pub fn boot(wanted: &str, kept: &[BootSpan], this: BootId) -> Result<BootId, UnknownBoot> {
    if matches!(wanted, "" | "0" | "-0") {
        return Ok(this);
    }
    if let Some(back) = wanted.strip_prefix('-').and_then(|back| back.parse::<usize>().ok()) {
        let before: Vec<BootId> = kept.iter().map(|span| span.boot).filter(|boot| *boot != this).collect();
        let found = before.len().checked_sub(back).and_then(|index| before.get(index)).copied();
        return found.ok_or_else(|| UnknownBoot::TooFar { wanted: wanted.to_owned(), kept: before.len() });
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "");
    let digits = plain(wanted);
    if digits.len() < PREFIX_MIN_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(UnknownBoot::Text(wanted.to_owned()));
    }
    let known = kept.iter().map(|span| span.boot).chain([this]);
    let mut matching: Vec<BootId> =
        known.filter(|boot| plain(&boot.to_string()).starts_with(&digits)).collect();
    matching.sort();
    matching.dedup();
    match matching.as_slice() {
        [only] => Ok(*only),
        others => Err(UnknownBoot::Id { wanted: wanted.to_owned(), matching: others.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_are_counted_back_or_named() {
        let id = |number: u8| BootId([number; 16]);
        let span = |number| BootSpan {
            boot: id(number),
            first_sequence: 1,
            last_sequence: 2,
            earliest_us: 0,
            latest_us: 0,
            lines: 2,
        };
        let kept = [span(0x11), span(0x12), span(0x13)];
        let find = |wanted| boot(wanted, &kept, id(0x13));
        assert_eq!((find(""), find("0")), (Ok(id(0x13)), Ok(id(0x13))));
        assert_eq!((find("-1"), find("-2")), (Ok(id(0x12)), Ok(id(0x11))));
        assert_eq!(find("-3"), Err(UnknownBoot::TooFar { wanted: "-3".into(), kept: 2 }));
        assert_eq!(boot("-1", &kept, id(0x77)), Ok(id(0x13)), "this one has no lines yet");
        assert_eq!(find("12121212-1212"), Ok(id(0x12)));
        assert_eq!(find("11111111-1111-1111-1111-111111111111"), Ok(id(0x11)));
        assert_eq!(find("abcd"), Err(UnknownBoot::Id { wanted: "abcd".into(), matching: 0 }));
        for text in ["12", "yesterday", "--1", "-"] {
            assert_eq!(find(text), Err(UnknownBoot::Text(text.into())));
        }
    }
}
