//! Count, mean and variance as exact sums: any order of arrival gives the same bits, and taking a value away undoes it.
//!
//! Values are rounded to multiples of 2^-16 and summed as integers. A value of at most 10^9 takes 46 bits, its square 92,
//! so 2^35 values fit 127 bits.

use super::cursor::{CursorError, Reader, Writer};

/// Steps of a value's grid in 1.
const STEPS: f64 = 65_536.0;

/// Sums of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    count: u64,
    sum: i128,
    squares: i128,
}

impl Moments {
    /// Adds a finite value (`by` 1) or takes it away again (`by` -1).
    pub fn count(&mut self, value: f64, by: i64) {
        let (steps, by_wide) = (i128::from((value * STEPS).round_ties_even() as i64), i128::from(by));
        self.count = self.count.saturating_add_signed(by);
        self.sum += by_wide * steps;
        self.squares += by_wide * steps * steps;
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Number of values.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a sum, told as a double")]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / STEPS
    }

    /// Their mean; NaN without any.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    pub fn mean(&self) -> f64 {
        self.sum() / self.count as f64
    }

    /// Their variance around the mean, over `count - 1`; 0 for fewer than two.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the difference of two exact integers, told as a double")]
    pub fn variance(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let mean = self.mean();
        // Squares around a grid point near the mean: what cancels is exact.
        let at = (mean * STEPS).round_ties_even() as i128;
        let around = self.squares - 2 * at * self.sum + i128::from(self.count) * at * at;
        let off = (self.sum - i128::from(self.count) * at) as f64;
        ((around as f64 - off * off / self.count as f64) / (STEPS * STEPS) / (self.count - 1) as f64).max(0.0)
    }

    /// Appends the sums.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.count).bytes(&self.sum.to_le_bytes()).bytes(&self.squares.to_le_bytes());
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError::Short`].
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let count = from.u64()?;
        let mut wide = || {
            let bytes = from.bytes(16)?;
            let mut raw = [0; 16];
            raw.copy_from_slice(bytes);
            Ok(i128::from_le_bytes(raw))
        };
        Ok(Self { count, sum: wide()?, squares: wide()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn order_does_not_matter_and_taking_away_undoes() {
        let (seed, mut rng) = (5, Rng::new(5));
        let values: Vec<f64> = (0..500).map(|_| (rng.unit() - 0.3) * 1e6).collect();
        let of = |values: &[f64]| {
            let mut moments = Moments::default();
            values.iter().for_each(|value| moments.count(*value, 1));
            moments
        };
        let all = of(&values);
        let backwards: Vec<f64> = values.iter().rev().copied().collect();
        assert_eq!(of(&backwards), all, "seed {seed}");
        let mut some = all;
        values[100..].iter().for_each(|value| some.count(*value, -1));
        assert_eq!(some, of(&values[..100]));
        some.merge(&of(&values[100..]));
        assert_eq!(some, all);
        let mut bytes = Vec::new();
        all.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Moments::decode(&mut Reader::new(&bytes)), Ok(all));
    }

    #[test]
    fn mean_and_variance_are_those_of_the_values() {
        let mut moments = Moments::default();
        assert!(moments.mean().is_nan() && moments.variance() == 0.0);
        for value in [1e9, 1e9 + 1.0, 1e9 - 1.0] {
            moments.count(value, 1);
        }
        assert_eq!((moments.number(), moments.mean(), moments.variance()), (3, 1e9, 1.0));
    }
}
