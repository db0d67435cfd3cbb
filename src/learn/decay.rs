//! `decay`: the profile as a time-decayed mean of item vectors.
//!
//! ```text
//! s <- f s + w q_i,   n <- f n + w,   f = recency x 2^(-dt / half_life),   profile = s / n
//! ```
//!
//! `dt` is the time since the user's newest event; an event that comes late by `dt` weighs `w 2^(-dt / half_life)` and
//! decays nothing, so sums over any order of arrival agree when `recency` is 1. `recency` discounts by age in events:
//! with 0.8-0.9 such a mean of fitted item vectors reaches most of what exact fold-in does, at a fraction of the cost
//! (Mirra's own measurement; `mirra evaluate --protocol P2 --strategy decay`). Exponential forgetting of preference:
//! Ding & Li, *Time weight collaborative filtering*, CIKM 2005.
//!
//! User column: `s` (dim, padded), `n`. Item column: `q` (dim), from the item model.

use super::{ItemModel, ItemSide, Learner, Recent, Seen, Shape, Work};
use crate::linalg::{Slab, kernels, padded};

/// Parameters of `decay`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decay {
    /// Length of the vectors.
    pub dim: usize,
    /// Time after which an event counts half, in seconds; 0 turns decay by time off.
    pub half_life_s: f64,
    /// Factor on everything older at each new event, 0 < recency <= 1.
    pub recency: f32,
}

impl Default for Decay {
    fn default() -> Self {
        Self { dim: 64, half_life_s: 2_592_000.0, recency: 0.9 }
    }
}

impl Decay {
    /// `2^(-ms / half_life)`, 1 if decay by time is off.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a factor in 0..=1")]
    fn kept(&self, ms: i64) -> f32 {
        if self.half_life_s <= 0.0 || ms <= 0 {
            return 1.0;
        }
        (-(ms as f64) / (1_000.0 * self.half_life_s)).exp2() as f32
    }
}

impl Learner for Decay {
    const NAME: &'static str = "decay";

    fn shape(&self) -> Shape {
        Shape { user_rows: padded(self.dim) + 1, item_rows: self.dim, items: ItemSide::Model, predicts_value: false }
    }

    #[inline]
    fn learn_one(&self, user: &mut [f32], item: &mut [f32], seen: &Seen) {
        let (kept, weight) = if seen.since_ms >= 0 {
            (self.recency * self.kept(seen.since_ms), seen.weight)
        } else {
            (self.recency, seen.weight * self.kept(-seen.since_ms))
        };
        let total = user[padded(self.dim)];
        let (sums, _) = user.split_at_mut(item.len());
        kernels::scale_add(sums, kept, weight, item);
        user[padded(self.dim)] = kept * total + weight;
    }

    fn fold_in(&self, user: &mut [f32], recent: &[Recent], items: &Slab, _model: &ItemModel, _work: &mut Work) {
        super::mean::relearn(self, user, recent, items);
    }

    #[inline]
    fn query(&self, user: &[f32], _mean: f32, query: &mut [f32]) -> f32 {
        let total = user[padded(self.dim)];
        if total > 0.0 {
            kernels::scaled_copy(&mut query[..self.dim], 1.0 / total, &user[..self.dim]);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn seen(weight: f32, since_ms: i64) -> Seen {
        Seen { value: 1.0, weight, explicit: false, mean: 0.0, since_ms }
    }

    #[test]
    fn half_after_a_half_life_and_closed_form_when_late() {
        let decay = Decay { dim: 16, half_life_s: 86_400.0, recency: 1.0 };
        let item = |at: usize| {
            let mut column = vec![0.0_f32; 16];
            column[at] = 1.0;
            column
        };
        // Item 0 on day 0, item 1 on day 1, in both orders of arrival.
        let mut forward = vec![0.0; 32];
        decay.learn_one(&mut forward, &mut item(0), &seen(1.0, 0));
        decay.learn_one(&mut forward, &mut item(1), &seen(1.0, DAY_MS));
        let mut late = vec![0.0; 32];
        decay.learn_one(&mut late, &mut item(1), &seen(1.0, 0));
        decay.learn_one(&mut late, &mut item(0), &seen(1.0, -DAY_MS));
        for column in [&forward, &late] {
            assert!((column[0] - 0.5).abs() < 1e-6 && (column[1] - 1.0).abs() < 1e-6, "{column:?}");
            assert!((column[16] - 1.5).abs() < 1e-6, "{column:?}");
        }
    }
}
