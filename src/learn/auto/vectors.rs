//! The user as vectors, made at query time from the newest items: three fold-ins into the factors of the item model, and
//! the context of the sequence embedding. Nothing is stored a user.

use super::gather::{COMPARED, DIM, Factors, Gather};
use crate::learn::bank::{Bank, sequence};
use crate::linalg::score::score_some;
use crate::linalg::{FoldInTerms, Slab, fold_in, kernels};

/// Weights of older items in the three fold-ins, and how many items each looks at.
const FOLDS: [(f32, usize); 3] = [(0.9, 50), (0.7, 20), (0.98, 100)];

/// Newest items in the context of the sequence embedding.
const CONTEXT: usize = 10;

impl Gather {
    /// Folds the user in; leaves nothing where there is no model or no item.
    pub(super) fn find_vectors(&mut self, bank: &Bank, factors: Factors<'_>, user: usize) {
        let trail = bank.trail(user);
        let mut context = [0.0; sequence::DIM];
        if let Some(newest) = trail.newest(1).next()
            && bank.sequence.context(trail.newest(CONTEXT), &mut context)
        {
            self.vectors.context = Some([context, unit(bank.sequence.input().col(newest as usize))]);
        }
        if factors.model.epoch == 0 || trail.is_empty() {
            return;
        }
        let terms = FoldInTerms {
            gram: &factors.model.gram,
            l2: factors.l2,
            unobserved_mass: factors.unobserved_weight * factors.model.items as f64,
        };
        let mut folds = [[0.0; DIM]; 3];
        for (fold, (recency, items)) in folds.iter_mut().zip(FOLDS) {
            let mut weight = 1.0 / recency;
            let events = trail.newest(items).map(|item| {
                weight *= recency;
                (&factors.items.col(item as usize)[..DIM], weight)
            });
            // A system that is not positive definite leaves zeros.
            let _ = fold_in(&mut self.solver, terms, events, fold);
        }
        self.vectors.folds = Some(folds);
        let newest = trail.newest(COMPARED).map(|item| unit(factors.items.col(item as usize)));
        self.vectors.newest.extend(newest);
    }

    /// Proposes by the first fold-in, and by the embedding times the root of the count.
    pub(super) fn propose_vectors(&mut self, bank: &Bank, factors: Factors<'_>, each: usize) {
        if let Some(folds) = self.vectors.folds {
            self.propose_by(bank, factors.items, &folds[0], each, |_| 0.0);
        }
        if let Some([context, _]) = self.vectors.context {
            let output = bank.sequence.output();
            self.propose_by(bank, output, &context, each, |item| 0.5 * bank.counts.get(item as usize).log_events);
        }
    }

    fn propose_by(&mut self, bank: &Bank, slab: &Slab, query: &[f32], each: usize, offset: impl Fn(u32) -> f32) {
        let items = bank.alive.items();
        score_some(slab, query, items, &mut self.scores);
        let Self { scores, scatter, best, .. } = self;
        best[0].reset(each);
        for (score, item) in scores.iter().zip(items) {
            let score = score + offset(*item);
            if best[0].wants(score) && scatter.open(*item) {
                best[0].offer(score, *item);
            }
        }
        self.choose_best(0);
    }
}

/// The score of one item by a vector of the user.
#[inline]
pub fn product(vector: &[f32; DIM], column: &[f32]) -> f32 {
    kernels::dot(vector, &column[..DIM])
}

/// One over the length of a column; 0 for one of zeros.
#[inline]
pub fn inverse_length(column: &[f32]) -> f32 {
    let square = kernels::squared_norm(&column[..DIM]);
    if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 }
}

/// A column brought to length 1; zeros stay zeros.
fn unit(column: &[f32]) -> [f32; DIM] {
    let inverse = inverse_length(column);
    std::array::from_fn(|at| column[at] * inverse)
}
