//! `isgd`: signs of interest by incremental matrix factorisation, one gradient step towards 1 an event.
//!
//! ```text
//! e = 1 - p_u . q_i
//! p_u <- p_u + h_q (e q_i - l2 p_u)           h_x = step / (1 + step (|x|^2 + l2))
//! q_i <- q_i + h_p (e p_u - l2 q_i)
//! ```
//!
//! Vinagre, Jorge & Gama, *Fast incremental matrix factorization for recommendation with positive-only feedback*,
//! UMAP 2014, Algorithm 1, with both sides from their old values. Its step is a constant; ours is divided by
//! `1 + step (|x|^2 + l2)`, which is the exact minimiser of the proximal step along the other side (Kulis & Bartlett,
//! *Implicit online learning*, ICML 2010) and never overshoots: where a few items gather most events, the constant step
//! diverges. An event of another weight steps so many times as far. Ranks by `p_u . q_i`.
//!
//! User column: factor (dim, padded), n: without events there is no opinion. Item column: factor (dim).

use super::{ItemSide, Learner, Seen, Shape};
use crate::base::Rng;
use crate::linalg::{kernels, padded};

/// Parameters of `isgd`.
#[derive(Clone, Debug, PartialEq)]
pub struct Isgd {
    /// Length of the factors.
    pub dim: usize,
    /// Step of both factors an event.
    pub step: f32,
    /// Pull of factors to zero.
    pub l2: f32,
    /// Standard deviation of a new factor's values.
    pub init_std: f32,
}

impl Default for Isgd {
    fn default() -> Self {
        Self { dim: 32, step: 0.05, l2: 0.01, init_std: 0.05 }
    }
}

impl Learner for Isgd {
    const NAME: &'static str = "isgd";

    fn shape(&self) -> Shape {
        Shape { user_rows: padded(self.dim) + 1, item_rows: self.dim, items: ItemSide::Learned, predicts_value: false }
    }

    fn init_user(&self, seed: u64, user: &mut [f32]) {
        init(seed, self.init_std, &mut user[..self.dim]);
    }

    fn init_item(&self, seed: u64, item: &mut [f32]) {
        init(seed, self.init_std, &mut item[..self.dim]);
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

/// Fills a factor with normal values.
#[expect(clippy::cast_possible_truncation, reason = "factors are f32")]
pub(super) fn init(seed: u64, std: f32, factor: &mut [f32]) {
    let mut rng = Rng::new(seed);
    for value in factor {
        *value = std * rng.normal() as f32;
    }
}

/// The step that cannot overshoot along a column whose squared norm is `square`.
#[inline]
pub(super) fn damped(step: f32, square: f32, l2: f32) -> f32 {
    step / (1.0 + step * (square + l2))
}

/// One step of `p . q` towards 1; counts the event in the row behind the user's factor.
#[inline]
pub(super) fn step_to_one(user: &mut [f32], q: &mut [f32], step: f32, l2: f32) {
    let (p, rest) = user.split_at_mut(q.len());
    let error = 1.0 - kernels::dot(p, q);
    let (step_p, step_q) = (damped(step, kernels::squared_norm(q), l2), damped(step, kernels::squared_norm(p), l2));
    kernels::factor_step(p, q, error, step_p, step_q, l2);
    rest[0] += 1.0;
}

/// The factor as the query, once anything was learned: a random factor is no opinion, and popularity answers.
#[inline]
pub(super) fn query_if_learned(user: &[f32], query: &mut [f32]) {
    let dim = query.len();
    if user[dim] > 0.0 {
        query.copy_from_slice(&user[..dim]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(weight: f32) -> Seen {
        Seen { value: 1.0, weight, explicit: false, mean: 0.0, since_ms: 0 }
    }

    /// The equations of the head, spelt out in doubles.
    #[test]
    fn equals_the_stated_step() {
        let isgd = Isgd { dim: 16, step: 0.3, l2: 0.02, ..Isgd::default() };
        let (mut user, mut item) = (vec![0.0; 32], vec![0.0; 16]);
        isgd.init_user(1, &mut user);
        isgd.init_item(2, &mut item);
        let doubles = |column: &[f32]| column[..16].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let (p, q) = (doubles(&user), doubles(&item));
        isgd.learn_one(&mut user, &mut item, &seen(0.5));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let error = 1.0 - dot(&p, &q);
        let step = 0.15;
        for at in 0..16 {
            let want_p = p[at] + step / (1.0 + step * (dot(&q, &q) + 0.02)) * (error * q[at] - 0.02 * p[at]);
            let want_q = q[at] + step / (1.0 + step * (dot(&p, &p) + 0.02)) * (error * p[at] - 0.02 * q[at]);
            assert!((f64::from(user[at]) - want_p).abs() < 1e-6, "user {at}");
            assert!((f64::from(item[at]) - want_q).abs() < 1e-6, "item {at}");
        }
        assert_eq!(user[16].to_bits(), 1.0_f32.to_bits());
    }

    /// One item that everybody takes: the constant step of the paper diverges here.
    #[test]
    fn an_item_for_all_does_not_diverge() {
        for step in [0.1, 1.0] {
            let isgd = Isgd { step, ..Isgd::default() };
            let mut item = vec![0.0; 32];
            isgd.init_item(0, &mut item);
            for seed in 1..5_000 {
                let mut user = vec![0.0; 48];
                isgd.init_user(seed, &mut user);
                isgd.learn_one(&mut user, &mut item, &seen(2.0));
                assert!(user.iter().chain(&item).all(|value| value.abs() < 100.0), "step {step}, user {seed}");
            }
        }
    }
}
