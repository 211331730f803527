//! Numbers as people read them; a dash is what is not known.

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// A size, such as "1.5 MiB".
pub fn bytes(bytes: Option<u64>) -> String {
    bytes.map(|bytes| size(bytes as f64)).unwrap_or_default()
}

/// A rate, such as "1.5 MiB/s".
pub fn rate(per_second: Option<f64>) -> String {
    per_second.map(|per_second| format!("{}/s", size(per_second))).unwrap_or_default()
}

/// With one digit behind the point.
pub fn percent(percent: Option<f64>) -> String {
    percent.map(|percent| format!("{percent:.1}")).unwrap_or_default()
}

/// How much of a whole, in percent.
pub fn part(part: Option<u64>, whole: Option<u64>) -> String {
    let (Some(part), Some(whole @ 1..)) = (part, whole) else { return String::new() };
    format!("{:.0}", part as f64 * 100.0 / whole as f64)
}

/// A number as it is.
pub fn count(count: Option<u64>) -> String {
    count.map(|count| count.to_string()).unwrap_or_default()
}

/// Three digits at most.
fn size(bytes: f64) -> String {
    let mut number = bytes;
    let mut unit = "B";
    for next in UNITS {
        // Not 1024: "1000 KiB" is no better to read than "1.0 MiB".
        if number < 999.5 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    if unit == "B" || number >= 9.95 { format!("{number:.0} {unit}") } else { format!("{number:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 * 1024, "10 KiB"),
            (1023 * 1024, "1.0 MiB"),
            (256 << 20, "256 MiB"),
            (8 << 30, "8.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(Some(number)), text);
        }
        assert_eq!(rate(Some(2048.0)), "2.0 KiB/s");
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        assert_eq!([bytes(None), rate(None), percent(None), count(None)], ["", "", "", ""]);
        assert_eq!([part(Some(1), None), part(None, Some(2)), part(Some(1), Some(0))], ["", "", ""]);
        assert_eq!(
            (part(Some(1), Some(3)), percent(Some(12.34)), count(Some(7))),
            ("33".into(), "12.3".into(), "7".into())
        );
    }
}
