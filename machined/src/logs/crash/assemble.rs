//! Puts the parts in which the kernel stores its last words together again. Pure.
//!
//! Each part begins with a line of its own (pstore_dump in the kernel's fs/pstore/platform.c): `Panic#1 Part3`. The parts of
//! one death have one reason and one count; part 1 is written first and holds what was said last.

use logstore::MESSAGE_MAX_BYTES;

/// Most of a crash's text: with a line of fields it is a record.
const TEXT_MAX_BYTES: usize = MESSAGE_MAX_BYTES - 256;

/// What lies in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// When it was written, microseconds since 1970.
    pub at_us: i64,
    /// Its content.
    pub text: String,
}

/// One crash of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The kernel's word for why, such as `Panic` or `Oops`.
    pub reason: String,
    /// When, microseconds since 1970, by the clock of that time.
    pub at_us: i64,
    /// Last words in order, the end of them if they are too many.
    pub text: String,
}

struct Headed {
    reason: String,
    count: u32,
    part: u32,
    at_us: i64,
    text: String,
}

/// The crashes that these parts are of, the oldest first.
pub fn assemble(parts: Vec<Part>) -> Vec<Death> {
    let mut headed: Vec<Headed> = parts.into_iter().map(head).collect();
    headed.sort_by_key(|part| (part.at_us, part.part));
    let mut groups: Vec<Vec<Headed>> = Vec::new();
    for part in headed {
        let is_next =
            |last: &Headed| part.reason == last.reason && part.count == last.count && part.part > last.part;
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(is_next) => group.push(part),
            Some(_) | None => groups.push(vec![part]),
        }
    }
    groups.into_iter().filter_map(death).collect()
}

fn head(part: Part) -> Headed {
    let Part { at_us, text } = part;
    let parsed = text.split_once('\n').and_then(|(line, rest)| {
        let (reason, numbers) = line.split_once('#')?;
        let (count, part) = numbers.split_once(" Part")?;
        let is_word = !reason.is_empty() && reason.bytes().all(|byte| byte.is_ascii_alphabetic());
        is_word.then_some(())?;
        Some((reason.to_owned(), count.parse().ok()?, part.trim().parse().ok()?, rest.to_owned()))
    });
    let (reason, count, part, text) = parsed.unwrap_or_else(|| ("Unknown".to_owned(), 0, 0, text));
    Headed { reason, count, part, at_us, text }
}

fn death(parts: Vec<Headed>) -> Option<Death> {
    let (reason, at_us) = parts.first().map(|first| (first.reason.clone(), first.at_us))?;
    let mut text = String::new();
    for part in parts.iter().rev() {
        text.push_str(&part.text);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    let begin = text.ceil_char_boundary(text.len().saturating_sub(TEXT_MAX_BYTES));
    Some(Death { reason, at_us, text: text.split_off(begin) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(at_us: i64, text: &str) -> Part {
        Part { at_us, text: text.into() }
    }

    #[test]
    fn parts_are_put_together_and_crashes_told_apart() {
        let parts = vec![
            part(90, "Panic#1 Part1\nlast of the second\n"),
            part(10, "Panic#1 Part2\nfirst\n"),
            part(10, "Panic#1 Part1\nlast"),
            part(11, "Panic#1 Part3\nbefore\n"),
            part(9, "Oops#1 Part1\nodd\n"),
            part(50, "no header"),
        ];
        let deaths = assemble(parts);
        let said: Vec<(&str, i64, &str)> =
            deaths.iter().map(|death| (death.reason.as_str(), death.at_us, death.text.as_str())).collect();
        assert_eq!(
            said,
            [
                ("Oops", 9, "odd\n"),
                ("Panic", 10, "before\nfirst\nlast\n"),
                ("Unknown", 50, "no header\n"),
                ("Panic", 90, "last of the second\n"),
            ]
        );
    }

    proptest! {
        #[test]
        fn whatever_lies_there_is_bounded_and_nothing_is_lost_silently(texts in prop::collection::vec(("(Panic|Oops)#[0-9] Part[0-9]\n|", ".{0,90}"), 0..20)) {
            let parts: Vec<Part> = texts.iter().map(|(head, text)| part(1, &format!("{head}{text}"))).collect();
            let deaths = assemble(parts);
            prop_assert_eq!(deaths.is_empty(), texts.is_empty());
            prop_assert!(deaths.iter().all(|death| death.text.len() <= TEXT_MAX_BYTES));
            for (_, text) in &texts {
                prop_assert!(deaths.iter().any(|death| death.text.contains(text.as_str())));
            }
        }
    }
}
