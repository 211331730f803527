//! How often and how long a code may be tried. What is spent comes back with a reboot only, which also makes a new code.

use serde::{Deserialize, Serialize};

/// Tries in all.
pub const TRIES: u32 = 5;
/// Milliseconds after boot for which the code is valid.
pub const VALID_MS: u64 = 30 * 60 * 1000;

/// Why a try is refused unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// Too many were made.
    #[error("all {TRIES} tries of the pairing code are spent; reboot the node for a new one")]
    Spent,
    /// Too late.
    #[error("the pairing code was valid for {} minutes after boot; reboot the node for a new one", VALID_MS / 60_000)]
    Expired,
}

/// Counts tries. At most [`TRIES`] guesses are ever judged, whatever the order of calls.
///
/// A client first lets the node prove itself, which costs a try, because from then on it may guess offline; the
/// configuration that it then sends is part of that same try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limiter {
    tries_left: u32,
    /// Configurations that proofs of the node have paid for.
    paid: u32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { tries_left: TRIES, paid: 0 }
    }
}

impl Limiter {
    /// The node is about to prove itself. Times are in milliseconds since boot.
    ///
    /// # Errors
    /// [`Exhausted`]: it must not.
    pub fn prove(&mut self, now_ms: u64) -> Result<(), Exhausted> {
        in_time(now_ms)?;
        self.take()?;
        self.paid = self.paid.saturating_add(1);
        Ok(())
    }

    /// A client's proof is about to be judged.
    ///
    /// # Errors
    /// [`Exhausted`]: it must not be looked at.
    pub fn judge(&mut self, now_ms: u64) -> Result<(), Exhausted> {
        in_time(now_ms)?;
        match self.paid.checked_sub(1) {
            Some(paid) => self.paid = paid,
            None => self.take()?,
        }
        Ok(())
    }

    /// The client's proof was right: that it may be judged again costs nothing, should its configuration have been
    /// of no use.
    pub fn was_right(&mut self) {
        self.paid = self.paid.saturating_add(1);
    }

    /// Tries that are left; none when it is too late.
    #[must_use]
    pub fn tries_left(&self, now_ms: u64) -> u32 {
        in_time(now_ms).map_or(0, |()| self.tries_left)
    }

    /// Milliseconds for which a code is still of use.
    #[must_use]
    pub fn valid_ms(&self, now_ms: u64) -> u64 {
        if self.tries_left == 0 && self.paid == 0 { 0 } else { VALID_MS.saturating_sub(now_ms) }
    }

    fn take(&mut self) -> Result<(), Exhausted> {
        self.tries_left = self.tries_left.checked_sub(1).ok_or(Exhausted::Spent)?;
        Ok(())
    }
}

fn in_time(now_ms: u64) -> Result<(), Exhausted> {
    if now_ms < VALID_MS { Ok(()) } else { Err(Exhausted::Expired) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fifth_try_is_whole() {
        let mut limiter = Limiter::default();
        for left in (0..TRIES).rev() {
            limiter.prove(0).unwrap();
            assert_eq!(limiter.tries_left(0), left);
        }
        limiter.judge(0).unwrap();
        limiter.was_right();
        assert_eq!(limiter.prove(0), Err(Exhausted::Spent));
        limiter.judge(0).unwrap();
    }

    #[test]
    fn a_spent_code_is_of_no_use() {
        let mut limiter = Limiter::default();
        for _ in 0..TRIES {
            limiter.judge(0).unwrap();
        }
        assert_eq!(limiter.judge(0), Err(Exhausted::Spent));
        assert_eq!((limiter.prove(0), limiter.valid_ms(0)), (Err(Exhausted::Spent), 0));
    }

    #[test]
    fn it_ends_after_half_an_hour() {
        let mut limiter = Limiter::default();
        limiter.prove(VALID_MS - 1).unwrap();
        assert_eq!(limiter.valid_ms(VALID_MS - 1), 1);
        assert_eq!(limiter.prove(VALID_MS), Err(Exhausted::Expired));
        assert_eq!(limiter.judge(VALID_MS), Err(Exhausted::Expired));
        assert_eq!((limiter.tries_left(VALID_MS), limiter.valid_ms(u64::MAX)), (0, 0));
    }

    #[test]
    fn what_is_spent_stays_spent_when_it_is_kept() {
        let mut limiter = Limiter::default();
        limiter.prove(0).unwrap();
        let kept = serde_json::to_string(&limiter).unwrap();
        assert_eq!(serde_json::from_str::<Limiter>(&kept).unwrap(), limiter);
    }

    proptest! {
        /// Wrong guesses only: however proofs and guesses are mixed, no more than the tries are judged.
        #[test]
        fn no_order_of_calls_gives_more_guesses(calls: Vec<bool>) {
            let mut limiter = Limiter::default();
            let mut judged = 0;
            for judge in calls {
                if judge {
                    judged += u32::from(limiter.judge(0).is_ok());
                } else {
                    limiter.prove(0).ok();
                }
            }
            prop_assert!(judged <= TRIES);
        }
    }
}
