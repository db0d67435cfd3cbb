//! `mean`: the profile as the similarity-weighted mean of behaviour (the source document, section 4.2).
//!
//! ```text
//! p_f = sum_i (g(x_i) + delta_i) w_i / sum_i w_i
//! ```
//!
//! `g` maps a behaviour to the vector of its item, `w_i` is the cosine similarity between the profile so far and that
//! item (never below `weight_floor`, so that new interests are heard) times the weight of the behaviour kind. The
//! noise term `delta_i` stands for outliers and missing values: those are corrected before an event gets here, so it
//! is 0 in this file. Both sums are kept, so an event costs one dot product and one axpy. Weights are those of the
//! moment of arrival: another order of arrival gives a slightly different profile.
//!
//! User column: numerator (dim, padded), denominator. Item column: `g` (dim).

use super::{ItemModel, ItemSide, Learner, Recent, Seen, Shape, Work};
use crate::linalg::{Slab, kernels, padded};

/// Parameters of `mean`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    /// Length of the vectors.
    pub dim: usize,
    /// Smallest similarity that counts, above 0.
    pub weight_floor: f32,
}

impl Default for Mean {
    fn default() -> Self {
        Self { dim: 64, weight_floor: 0.05 }
    }
}

impl Learner for Mean {
    const NAME: &'static str = "mean";

    fn shape(&self) -> Shape {
        Shape { user_rows: padded(self.dim) + 1, item_rows: self.dim, items: ItemSide::Model, predicts_value: false }
    }

    #[inline]
    fn learn_one(&self, user: &mut [f32], item: &mut [f32], seen: &Seen) {
        let total = user[padded(self.dim)];
        let (sums, _) = user.split_at_mut(item.len());
        let norms = (kernels::squared_norm(sums) * kernels::squared_norm(item)).sqrt();
        let cosine = if norms > 0.0 { kernels::dot(sums, item) / norms } else { 1.0 };
        let weight = seen.weight * cosine.max(self.weight_floor);
        kernels::scale_add(sums, 1.0, weight, item);
        user[padded(self.dim)] = total + weight;
    }

    fn fold_in(&self, user: &mut [f32], recent: &[Recent], items: &Slab, _model: &ItemModel, _work: &mut Work) {
        relearn(self, user, recent, items);
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

/// Makes a column anew by learning the remembered events again, oldest first.
pub(super) fn relearn(learner: &impl Learner, user: &mut [f32], recent: &[Recent], items: &Slab) {
    user.fill(0.0);
    let mut item = vec![0.0_f32; items.stride()];
    for event in recent.iter().rev() {
        item.copy_from_slice(items.col(event.item as usize));
        let seen = Seen { value: 0.0, weight: event.weight, explicit: false, mean: 0.0, since_ms: event.since_ms };
        learner.learn_one(user, &mut item, &seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula, spelt out in doubles.
    #[test]
    fn equals_the_formula_of_the_source() {
        let mean = Mean { dim: 16, weight_floor: 0.05 };
        let mut rng = crate::base::Rng::new(17);
        let items: Vec<Vec<f32>> = (0..40).map(|_| (0..16).map(|_| rng.normal() as f32).collect()).collect();
        let mut user = vec![0.0; 32];
        let (mut numerator, mut denominator) = ([0.0_f64; 16], 0.0_f64);
        for item in &items {
            let dot: f64 = numerator.iter().zip(item).map(|(a, b)| a * f64::from(*b)).sum();
            let norms = (numerator.iter().map(|a| a * a).sum::<f64>()
                * item.iter().map(|b| f64::from(b * b)).sum::<f64>())
            .sqrt();
            let weight = 0.5 * if norms > 0.0 { (dot / norms).max(0.05) } else { 1.0 };
            numerator.iter_mut().zip(item).for_each(|(a, b)| *a += weight * f64::from(*b));
            denominator += weight;
            let seen = Seen { value: 1.0, weight: 0.5, explicit: false, mean: 0.0, since_ms: 0 };
            mean.learn_one(&mut user, &mut item.clone(), &seen);
        }
        let mut profile = vec![0.0; 16];
        mean.query(&user, 0.0, &mut profile);
        for (got, want) in profile.iter().zip(numerator) {
            assert!((f64::from(*got) - want / denominator).abs() < 1e-5);
        }
    }
}
