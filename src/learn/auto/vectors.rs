//! The user as vectors, made at query time from the newest items: three fold-ins into the factors of the item model, and
//! the context of the sequence embedding. Nothing is stored a user.

use super::gather::{DIM, Factors, Gather};
use crate::learn::bank::{Bank, sequence};
use crate::linalg::score::score_some;
use crate::linalg::{FoldInTerms, Slab, fold_in, kernels};

/// Weights of older items in the three fold-ins, and how many items each looks at.
const FOLDS: [(f32, usize); 3] = [(0.9, 50), (0.7, 20), (0.98, 64)];

impl Gather {
    /// Folds the user in; leaves `None` where there is no model or no item.
    pub(super) fn find_vectors(&mut self, bank: &Bank, factors: Factors<'_>, user: usize) {
        let trail = bank.trail(user);
        let mut context = [0.0; sequence::DIM];
        self.context = bank.sequence.context(trail.newest(10), &mut context).then_some(context);
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
        self.folds = Some(folds);
    }

    /// Proposes by the first fold-in, and by the embedding times the root of the count.
    pub(super) fn propose_vectors(&mut self, bank: &Bank, factors: Factors<'_>, each: usize) {
        if let Some(folds) = self.folds {
            self.propose_by(bank, factors.items, &folds[0], each, |_| 0.0);
        }
        if let Some(context) = self.context {
            let output = bank.sequence.output();
            self.propose_by(bank, output, &context, each, |events| 0.5 * events.ln());
        }
    }

    fn propose_by(&mut self, bank: &Bank, slab: &Slab, query: &[f32], each: usize, offset: impl Fn(f32) -> f32) {
        let items = bank.alive.items();
        let mut scores = std::mem::take(&mut self.scores);
        score_some(slab, query, items, &mut scores);
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        let open = scores.iter().zip(items).filter(|(_, item)| self.open(**item));
        keys.extend(open.map(|(score, item)| (score + offset(bank.counts.get(*item as usize).events as f32), *item)));
        self.keys = keys;
        self.scores = scores;
        self.take_keys(each);
    }
}

/// The score of one item by a vector of the user.
#[inline]
pub fn product(vector: &[f32; DIM], column: &[f32]) -> f32 {
    kernels::dot(vector, &column[..DIM])
}
