//! How much one connection may ask a second: a token bucket that may be overdrawn by one request.
//!
//! What a request costs is known once it is read, so it is let in while anything is left and then paid for; who has
//! overdrawn waits until that is repaid. A second's worth may be saved up.

use std::time::{Duration, Instant};

/// The bucket of one connection.
#[derive(Debug)]
pub(super) struct Quota {
    a_second: f64,
    left: f64,
    filled: Instant,
}

impl Quota {
    /// A full bucket; `a_second` 0: no limit.
    pub(super) fn new(a_second: u32, now: Instant) -> Self {
        let a_second = f64::from(a_second);
        Self { a_second, left: a_second, filled: now }
    }

    /// Lets a request in, or says how long to wait.
    ///
    /// # Errors
    /// The time until what was overdrawn is repaid.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        if self.a_second <= 0.0 {
            return Ok(());
        }
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + passed * self.a_second).min(self.a_second);
        if self.left > 0.0 { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - self.left) / self.a_second)) }
    }

    /// Takes what a request cost.
    pub(super) fn pay(&mut self, units: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a request costs far less than 2^52")]
        let units = units as f64;
        self.left -= units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lets_through_what_is_allowed_and_no_more() {
        let began = Instant::now();
        let mut quota = Quota::new(1_000, began);
        let (mut let_in, mut refused) = (0, 0);
        for tenth_ms in 0..100_000 {
            // 10 units every tenth of a millisecond: a hundred times what is allowed, for ten seconds.
            match quota.admit(began + Duration::from_micros(100 * tenth_ms)) {
                Ok(()) => {
                    quota.pay(10);
                    let_in += 10;
                }
                Err(wait) => {
                    assert!(wait <= Duration::from_millis(11), "{wait:?}");
                    refused += 1;
                }
            }
        }
        assert!((10_990..=11_020).contains(&let_in), "ten seconds, and one saved up: {let_in}");
        assert!(refused > 98_000, "{refused}");
    }

    #[test]
    fn a_large_request_is_let_in_and_repaid() {
        let began = Instant::now();
        let mut quota = Quota::new(100, began);
        assert_eq!(quota.admit(began), Ok(()));
        quota.pay(4_096);
        let wait = quota.admit(began).unwrap_err();
        assert!((39.9..40.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(quota.admit(began + wait - Duration::from_millis(50)).is_err());
        assert_eq!(quota.admit(began + wait + Duration::from_millis(1)), Ok(()));
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let began = Instant::now();
        let mut quota = Quota::new(0, began);
        quota.pay(usize::MAX);
        assert_eq!(quota.admit(began), Ok(()));
    }
}
