//! `raisgd`: `isgd` with the items that were unseen for longest as negative examples.
//!
//! ```text
//! for each of the `negatives` items j that had no event for longest:
//!     p_u <- p_u + h_q ((0 - p_u . q_j) q_j - l2 p_u)
//! then the step of `isgd` towards 1
//! ```
//!
//! Vinagre, Jorge & Gama, *Collaborative filtering with recency-based negative feedback*, SAC 2015, Algorithm 2: with
//! positive examples alone every product drifts to 1, and what nobody has taken for a while is the best guess at what
//! is not wanted. Only the user moves away; an item that served goes to the end of the queue. Steps, columns and
//! ranking are those of `isgd`.
//!
//! The queue belongs to the shard: it holds all items that the shard has heard an event of, in the order of the newest,
//! and the items of other shards take part as copies, which this only reads.

use super::isgd::{damped, init, query_if_learned, step_to_one};
use super::{ItemSide, Learner, Negatives, Seen, Shape};
use crate::linalg::{kernels, padded};

/// Parameters of `raisgd`.
#[derive(Clone, Debug, PartialEq)]
pub struct Raisgd {
    /// Length of the factors.
    pub dim: usize,
    /// Step of both factors an event.
    pub step: f32,
    /// Pull of factors to zero.
    pub l2: f32,
    /// Standard deviation of a new factor's values.
    pub init_std: f32,
    /// Negative examples an event.
    pub negatives: usize,
}

impl Default for Raisgd {
    fn default() -> Self {
        Self { dim: 32, step: 0.1, l2: 0.01, init_std: 0.1, negatives: 4 }
    }
}

impl Learner for Raisgd {
    const NAME: &'static str = "raisgd";

    fn shape(&self) -> Shape {
        Shape { user_rows: padded(self.dim) + 1, item_rows: self.dim, items: ItemSide::Learned, predicts_value: false }
    }

    fn init_user(&self, seed: u64, user: &mut [f32]) {
        init(seed, self.init_std, &mut user[..self.dim]);
    }

    fn init_item(&self, seed: u64, item: &mut [f32]) {
        init(seed, self.init_std, &mut item[..self.dim]);
    }

    fn negatives(&self) -> Negatives {
        Negatives::LongestUnseen(self.negatives)
    }

    #[inline]
    fn contrast(&self, user: &mut [f32], _item: &mut [f32], other: &mut [f32], seen: &Seen) {
        let p = &mut user[..other.len()];
        let step = damped(self.step * seen.weight, kernels::squared_norm(other), self.l2);
        let error = -kernels::dot(p, other);
        kernels::scale_add(p, 1.0 - step * self.l2, step * error, other);
    }

    #[inline]
    fn learn_one(&self, user: &mut [f32], item: &mut [f32], seen: &Seen) {
        step_to_one(user, item, self.step * seen.weight, self.l2);
    }

    #[inline]
    fn query(&self, user: &[f32], _mean: f32, query: &mut [f32]) -> f32 {
        query_if_learned(user, query);
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contrast_moves_the_user_away_and_nothing_else() {
        let raisgd = Raisgd::default();
        let (mut user, mut item, mut other) = (vec![0.0; 48], vec![0.1; 32], vec![0.2; 32]);
        user[..32].fill(0.5);
        let (before_item, before_other) = (item.clone(), other.clone());
        let seen = Seen { value: 1.0, weight: 1.0, explicit: false, mean: 0.0, since_ms: 0 };
        let before = kernels::dot(&user[..32], &other);
        raisgd.contrast(&mut user, &mut item, &mut other, &seen);
        assert!(kernels::dot(&user[..32], &other) < before);
        assert_eq!((item, other), (before_item, before_other));
    }
}
