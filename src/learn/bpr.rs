//! `bpr`: a pairwise ranking by which what was taken stands above what was not.
//!
//! ```text
//! x = p_u . (q_i - q_j) + b_i - b_j           s = 1 / (1 + e^x)
//! p_u <- p_u + h (s (q_i - q_j) - l2 p_u)     b_i <- b_i + h (s - l2 b_i)
//! q_i <- q_i + h (s p_u - l2 q_i)             b_j <- b_j + h (-s - l2 b_j)
//! q_j <- q_j + h (-s p_u - l2 q_j)            h = step x weight, at most 1
//! ```
//!
//! Rendle, Freudenthaler, Gantner & Schmidt-Thieme, *BPR: Bayesian personalized ranking from implicit feedback*, UAI
//! 2009, Figure 4, online: every event is learned as it comes, against `negatives` items j that the shard draws among
//! those outside the user's history. All three columns move from their old values.
//!
//! The columns of items are kept by their owners. An event of an item of another shard moves the user here and the item
//! there, each against a draw of its own; an item drawn is moved only where the event was and only if it is owned
//! there, so with many shards fewer items are pushed down.
//!
//! User column: factor (dim, padded), n: without events there is no opinion. Item column: factor (dim, padded), bias.

use super::isgd::init;
use super::{ItemSide, Learner, Negatives, Seen, Shape};
use crate::linalg::{kernels, padded};

/// Parameters of `bpr`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bpr {
    /// Length of the factors.
    pub dim: usize,
    /// Step of factors and biases a pair.
    pub step: f32,
    /// Pull of factors and biases to zero.
    pub l2: f32,
    /// Standard deviation of a new factor's values.
    pub init_std: f32,
    /// Items that each event is compared with.
    pub negatives: usize,
}

impl Default for Bpr {
    fn default() -> Self {
        Self { dim: 32, step: 0.05, l2: 0.01, init_std: 0.1, negatives: 8 }
    }
}

impl Learner for Bpr {
    const NAME: &'static str = "bpr";

    fn shape(&self) -> Shape {
        let rows = padded(self.dim) + 1;
        Shape { user_rows: rows, item_rows: rows, items: ItemSide::Learned, predicts_value: false }
    }

    fn factor_rows(&self) -> usize {
        padded(self.dim)
    }

    fn init_user(&self, seed: u64, user: &mut [f32]) {
        init(seed, self.init_std, &mut user[..self.dim]);
    }

    fn init_item(&self, seed: u64, item: &mut [f32]) {
        init(seed, self.init_std, &mut item[..self.dim]);
    }

    fn negatives(&self) -> Negatives {
        Negatives::Drawn(self.negatives)
    }

    #[inline]
    fn contrast(&self, user: &mut [f32], item: &mut [f32], other: &mut [f32], seen: &Seen) {
        let dim = padded(self.dim);
        let ((p, _), (q, b), (r, c)) = (user.split_at_mut(dim), item.split_at_mut(dim), other.split_at_mut(dim));
        let margin = kernels::dot(p, q) - kernels::dot(p, r) + b[0] - c[0];
        let slope = 1.0 / (1.0 + margin.exp());
        let step = (self.step * seen.weight).min(1.0);
        kernels::pair_step(p, q, r, step, slope, self.l2);
        b[0] += step * (slope - self.l2 * b[0]);
        c[0] += step * (-slope - self.l2 * c[0]);
    }

    #[inline]
    fn learn_one(&self, user: &mut [f32], _item: &mut [f32], _seen: &Seen) {
        user[padded(self.dim)] += 1.0;
    }

    #[inline]
    fn query(&self, user: &[f32], _mean: f32, query: &mut [f32]) -> f32 {
        let dim = padded(self.dim);
        if user[dim] > 0.0 {
            query[..dim].copy_from_slice(&user[..dim]);
            query[dim] = 1.0;
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps climb the objective: ln sigma(x) - l2/2 (|p|^2 + |q|^2 + |r|^2 + b^2 + c^2), by finite differences.
    #[test]
    fn a_step_is_the_gradient() {
        let bpr = Bpr { dim: 16, step: 0.001, l2: 0.1, ..Bpr::default() };
        let mut columns = [vec![0.0; 32], vec![0.0; 32], vec![0.0; 32]];
        for (seed, column) in columns.iter_mut().enumerate() {
            init(seed as u64, 0.5, &mut column[..16]);
        }
        (columns[1][16], columns[2][16]) = (0.3, -0.2);
        let objective = |columns: &[Vec<f32>; 3]| {
            let at = |column: usize, row: usize| f64::from(columns[column][row]);
            let margin: f64 = (0..16).map(|row| at(0, row) * (at(1, row) - at(2, row))).sum::<f64>();
            let squares: f64 = (0..3).map(|column| (0..17).map(|row| at(column, row).powi(2)).sum::<f64>()).sum();
            -(1.0 + (-(margin + at(1, 16) - at(2, 16))).exp()).ln() - 0.05 * squares
        };
        let before = columns.clone();
        let [user, item, other] = &mut columns;
        let seen = Seen { value: 1.0, weight: 1.0, explicit: false, mean: 0.0, since_ms: 0 };
        bpr.contrast(user, item, other, &seen);
        for (column, row) in [(0, 0), (0, 9), (1, 3), (1, 16), (2, 7), (2, 16)] {
            let (mut up, mut down) = (before.clone(), before.clone());
            up[column][row] += 1e-3;
            down[column][row] -= 1e-3;
            let slope = (objective(&up) - objective(&down)) / f64::from(up[column][row] - down[column][row]);
            let moved = f64::from(columns[column][row] - before[column][row]) / 0.001;
            assert!((moved - slope).abs() < 1e-3, "column {column}, row {row}: {moved}, not {slope}");
        }
    }
}
