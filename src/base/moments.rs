//! Count, mean and variance as exact sums: any order of arrival gives the same bits, and taking a value back undoes its
//! addition.

use super::cursor::{CursorError, Reader, Writer};
use super::limits::VALUE_ABS_MAX;

/// Steps of a value to 1: values are rounded to multiples of 2^-16.
const STEPS: f64 = 65_536.0;

/// Most values in one sum. A value has at most 1e9 x 2^16 < 2^46 steps, so 2^35 of them sum to less than 2^81 and their
/// squares to less than 2^127: no sum of this file can overflow an `i128`.
pub const COUNT_MAX: u64 = 1 << 35;

/// Count, sum and sum of squares of values, exact. Values are rounded to multiples of 2^-16 first.
///
/// Invariant: `count <= COUNT_MAX`, and the sums are those of `count` values of at most [`VALUE_ABS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    count: u64,
    /// In steps.
    sum: i128,
    /// In steps squared.
    squares: i128,
}

impl Moments {
    /// Adds a value. `false`, and nothing is changed, if it is not finite, larger than [`VALUE_ABS_MAX`], or the sums
    /// hold [`COUNT_MAX`] values.
    pub fn add(&mut self, value: f64) -> bool {
        let Some(steps) = steps(value).filter(|_| self.count < COUNT_MAX) else { return false };
        self.count += 1;
        self.sum += steps;
        self.squares += steps * steps;
        true
    }

    /// Takes back a value that was added. `false`, and nothing is changed, if it cannot be among those that were.
    pub fn remove(&mut self, value: f64) -> bool {
        let Some(steps) = steps(value).filter(|steps| self.count > 0 && steps * steps <= self.squares) else {
            return false;
        };
        let left = Self { count: self.count - 1, sum: self.sum - steps, squares: self.squares - steps * steps };
        if left.is_possible() {
            *self = left;
        }
        *self == left
    }

    /// Adds all values of `other`. `false`, and nothing is changed, if they would be more than [`COUNT_MAX`].
    pub fn merge(&mut self, other: &Self) -> bool {
        let fits = self.count + other.count <= COUNT_MAX;
        if fits {
            self.count += other.count;
            self.sum += other.sum;
            self.squares += other.squares;
        }
        fits
    }

    /// Takes the values of `part` out, if they can be among these, and gives what was taken.
    #[must_use]
    pub fn split_off(&mut self, part: &Self) -> Self {
        let Some(count) = self.count.checked_sub(part.count) else { return Self::default() };
        let left = Self { count, sum: self.sum - part.sum, squares: self.squares - part.squares };
        if !left.is_possible() {
            return Self::default();
        }
        *self = left;
        *part
    }

    /// Adds a value (`by` above 0), or takes it back (`by` below 0), as [`Self::add`] and [`Self::remove`] do.
    pub fn count_by(&mut self, value: f64, by: i64) -> bool {
        if by > 0 { self.add(value) } else { self.remove(value) }
    }

    /// `sum x`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a sum, told as a double")]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / STEPS
    }

    /// Values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// `sum x / n`; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64 / STEPS)
    }

    /// `sum (x - mean)^2 / (n - 1)`; `None` below two values. Rounded once, however large the mean is beside it.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        // With the whole number c = floor(mean): sum (q - c)^2 = squares - 2 c sum + n c^2, which lies within 0..2^127
        // although its parts may not: wrapping makes nothing of that. From c to the mean itself it is rest^2 / n less.
        let count = i128::from(self.count);
        let (centre, rest) = (self.sum.div_euclid(count), self.sum.rem_euclid(count));
        let around = self
            .squares
            .wrapping_sub(centre.wrapping_mul(self.sum).wrapping_mul(2))
            .wrapping_add(count.wrapping_mul(centre).wrapping_mul(centre));
        let spread = around as f64 - (rest as f64) * (rest as f64 / count as f64);
        Some(spread.max(0.0) / (count - 1) as f64 / (STEPS * STEPS))
    }

    /// Appends `count u64 | sum i128 | squares i128`, 40 bytes, little-endian.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.count).bytes(&self.sum.to_le_bytes()).bytes(&self.squares.to_le_bytes());
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for short bytes, or for sums that no values have.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        let whole = |from: &mut Reader<'_>| {
            let mut raw = [0; 16];
            raw.copy_from_slice(from.bytes(16)?);
            Ok(i128::from_le_bytes(raw))
        };
        let moments = Self { count: from.u64()?, sum: whole(from)?, squares: whole(from)? };
        if moments.is_possible() {
            return Ok(moments);
        }
        let allowed = "at most 2^35 values of at most 1e9, and the sums that they have";
        Err(CursorError::Bad { what: "moments", offset, found: moments.count, allowed })
    }

    /// Whether values can have these sums: in whole steps `|sum| <= squares <= n max^2`, and `sum <= n max`.
    fn is_possible(&self) -> bool {
        let Some(most) = steps(f64::from(VALUE_ABS_MAX)) else { return false };
        if self.count > COUNT_MAX {
            return false;
        }
        let count = i128::from(self.count);
        (0..=count * most * most).contains(&self.squares)
            && self.sum.unsigned_abs() <= self.squares.unsigned_abs().min((count * most).unsigned_abs())
    }
}

fn steps(value: f64) -> Option<i128> {
    let fits = value.abs() <= f64::from(VALUE_ABS_MAX);
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^46")]
    fits.then(|| (value * STEPS).round() as i128)
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
