//! When a certificate is valid.

use x509_parser::time::ASN1Time;

/// 9999-12-31T23:59:59Z: "no well-defined expiration date" (RFC 5280 section 4.1.2.5).
const LAST_S: u64 = 253_402_300_799;

/// The time in which a certificate is valid, in seconds since 1970, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before_s: u64,
    /// Last second.
    pub not_after_s: u64,
}

impl Validity {
    /// From 1970 to the end of 9999: for certificates that must not depend on a clock.
    pub const UNLIMITED: Self = Self { not_before_s: 0, not_after_s: LAST_S };

    /// `length_s` seconds from `not_before_s` on, cut at the end of 9999.
    #[must_use]
    pub fn starting(not_before_s: u64, length_s: u64) -> Self {
        let not_before_s = not_before_s.min(LAST_S);
        Self { not_before_s, not_after_s: not_before_s.saturating_add(length_s).min(LAST_S) }
    }

    /// Whether the validity ended before `time_s`.
    #[must_use]
    pub fn ended_before(&self, time_s: u64) -> bool {
        self.not_after_s < time_s
    }

    pub(crate) fn of(validity: &x509_parser::certificate::Validity) -> Self {
        Self { not_before_s: seconds(validity.not_before), not_after_s: seconds(validity.not_after) }
    }

    /// Both ends as rcgen wants them; `None` past the end of 9999.
    pub(crate) fn to_rcgen(self, params: &mut rcgen::CertificateParams) -> Option<()> {
        params.not_before = asn1_time(self.not_before_s)?.to_datetime();
        params.not_after = asn1_time(self.not_after_s)?.to_datetime();
        Some(())
    }
}

/// Times before 1970 count as 1970: no certificate of ours starts or ends there.
fn seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

fn asn1_time(time_s: u64) -> Option<ASN1Time> {
    ASN1Time::from_timestamp(i64::try_from(time_s).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn starting_never_exceeds_the_calendar(not_before_s: u64, length_s: u64) {
            let validity = Validity::starting(not_before_s, length_s);
            prop_assert!(validity.not_before_s <= validity.not_after_s);
            prop_assert!(validity.not_after_s <= LAST_S);
            prop_assert!(validity.to_rcgen(&mut rcgen::CertificateParams::default()).is_some());
        }

        #[test]
        fn ended_means_after_the_last_second(end_s in 0..LAST_S) {
            let validity = Validity { not_before_s: 0, not_after_s: end_s };
            prop_assert!(!validity.ended_before(end_s));
            prop_assert!(validity.ended_before(end_s + 1));
        }
    }
}
