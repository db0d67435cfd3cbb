//! `biased_mf`: explicit ratings by biased matrix factorisation, one gradient step an event.
//!
//! ```text
//! r ~ mu + b_u + b_i + p_u . q_i              e = r - prediction, mu the running mean with this event
//! b <- b + h (e - l2_bias b)                  h = step_bias + boost_bias / (n + 1)
//! p_u <- p_u + g (e q_i - l2 p_u)             g = step_factor + boost_factor / (n + 1)
//! ```
//!
//! Koren, Bell & Volinsky, *Matrix factorization techniques for recommender systems*, Computer 42 (2009), eq. 4-5, with
//! a step size of its own for every user and item that falls with the number `n` of its events: what is new learns
//! fast, what is known holds still. Both sides move from both old values. Learns from explicit events only.
//!
//! Columns, both sides: factor (dim), bias, n. Counts are exact in `f32` to 2^24, where the boost is long gone.

use super::{ItemSide, Learner, Seen, Shape};
use crate::base::Rng;
use crate::linalg::{kernels, padded};

/// Parameters of `biased_mf`.
#[derive(Clone, Debug, PartialEq)]
pub struct BiasedMf {
    /// Length of the factors, rounded up to whole lane groups.
    pub dim: usize,
    /// Step of the user's bias that remains for ever.
    pub step_bias_user: f32,
    /// Step of the item's bias that remains for ever.
    pub step_bias_item: f32,
    /// Further step of the user's bias, divided by the user's events.
    pub boost_bias_user: f32,
    /// Further step of the item's bias, divided by the item's events.
    pub boost_bias_item: f32,
    /// Step of both factors that remains for ever.
    pub step_factor: f32,
    /// Further step of a factor, divided by the events of its owner.
    pub boost_factor: f32,
    /// Pull of biases to zero.
    pub l2_bias: f32,
    /// Pull of factors to zero.
    pub l2_factor: f32,
    /// Standard deviation of a new factor's values.
    pub init_std: f32,
    /// Gradient steps an event.
    pub passes: u32,
}

impl Default for BiasedMf {
    fn default() -> Self {
        Self {
            dim: 32,
            step_bias_user: 0.05,
            step_bias_item: 0.02,
            boost_bias_user: 0.1,
            boost_bias_item: 0.4,
            step_factor: 0.12,
            boost_factor: 0.1,
            l2_bias: 0.01,
            l2_factor: 0.005,
            init_std: 0.05,
            passes: 1,
        }
    }
}

impl BiasedMf {
    fn factor(&self) -> usize {
        padded(self.dim)
    }

    #[expect(clippy::cast_possible_truncation, reason = "factors are f32")]
    fn init(&self, seed: u64, column: &mut [f32]) {
        let mut rng = Rng::new(seed);
        column.fill(0.0);
        for value in &mut column[..self.dim] {
            *value = self.init_std * rng.normal() as f32;
        }
    }
}

/// A step that does not overshoot. A step in one factor takes `step` times the squared norm of the other off the error, both
/// together may take it once; and where judgements have no scale, a single one may be a million steps long.
fn held(step: f32, square: f32, error: f32) -> f32 {
    step / (2.0 * step * square).max(step * error.abs()).max(1.0)
}

impl Learner for BiasedMf {
    const NAME: &'static str = "biased_mf";

    fn shape(&self) -> Shape {
        let rows = self.factor() + 2;
        Shape { user_rows: rows, item_rows: rows, items: ItemSide::Learned, predicts_value: true }
    }

    fn factor_rows(&self) -> usize {
        self.factor()
    }

    fn init_user(&self, seed: u64, user: &mut [f32]) {
        self.init(seed, user);
    }

    fn init_item(&self, seed: u64, item: &mut [f32]) {
        self.init(seed, item);
    }

    #[inline]
    fn learn_one(&self, user: &mut [f32], item: &mut [f32], seen: &Seen) {
        if !seen.explicit {
            return;
        }
        let dim = self.factor();
        let ((p, user), (q, item)) = (user.split_at_mut(dim), item.split_at_mut(dim));
        let (share_user, share_item) = (1.0 / (user[1] + 1.0), 1.0 / (item[1] + 1.0));
        for _ in 0..self.passes {
            let error = seen.value - seen.mean - user[0] - item[0] - kernels::dot(p, q);
            user[0] += (self.step_bias_user + self.boost_bias_user * share_user) * (error - self.l2_bias * user[0]);
            item[0] += (self.step_bias_item + self.boost_bias_item * share_item) * (error - self.l2_bias * item[0]);
            let step_p = held(self.step_factor + self.boost_factor * share_user, kernels::squared_norm(q), error);
            let step_q = held(self.step_factor + self.boost_factor * share_item, kernels::squared_norm(p), error);
            kernels::factor_step(p, q, error, step_p, step_q, self.l2_factor);
        }
        user[1] += 1.0;
        item[1] += 1.0;
    }

    #[inline]
    fn query(&self, user: &[f32], mean: f32, query: &mut [f32]) -> f32 {
        let dim = self.factor();
        query[..dim].copy_from_slice(&user[..dim]);
        query[dim] = 1.0;
        mean + user[dim]
    }
}
