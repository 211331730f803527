//! Temperatures.

/// Far outside of what a machine survives: a sensor that says so is not connected.
const BELIEVABLE_MILLIDEGREES: std::ops::RangeInclusive<i64> = -100_000..=250_000;

/// A temperature in thousandths of a degree, as hwmon and thermal zones give it.
#[must_use]
pub fn celsius(bytes: &[u8]) -> Option<f64> {
    let millidegrees: i64 = std::str::from_utf8(bytes).ok()?.trim().parse().ok()?;
    BELIEVABLE_MILLIDEGREES.contains(&millidegrees).then(|| millidegrees as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensors_that_are_not_connected_say_nothing() {
        assert_eq!(celsius(b"45250\n"), Some(45.25));
        assert_eq!(celsius(b"-5000\n"), Some(-5.0));
        for text in [&b""[..], b"hot", b"-273200\n", b"65261850\n", b"\xff"] {
            assert_eq!(celsius(text), None);
        }
    }
}
