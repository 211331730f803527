//! What two looks at a counter tell.

/// Percent of `interval` in which `busy` passed, both in the same unit; nothing without an interval.
#[must_use]
pub fn percent(busy: u64, interval: u64) -> Option<f64> {
    (interval > 0).then(|| busy as f64 * 100.0 / interval as f64)
}

/// How fast a counter rose; nothing where it fell, because then it is another one, and nothing without an interval.
#[must_use]
pub fn per_second(before: u64, after: u64, interval_ms: u64) -> Option<f64> {
    let risen = after.checked_sub(before)?;
    (interval_ms > 0).then(|| risen as f64 * 1000.0 / interval_ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates() {
        assert_eq!(percent(50, 200), Some(25.0));
        assert_eq!(percent(400, 200), Some(200.0));
        assert_eq!(percent(1, 0), None);
        assert_eq!(per_second(100, 1100, 500), Some(2000.0));
        assert_eq!(per_second(5, 4, 500), None);
        assert_eq!(per_second(4, 5, 0), None);
    }
}
