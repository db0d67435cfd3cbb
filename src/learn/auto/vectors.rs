//! The user as vectors, made at query time from the newest items: three fold-ins into the factors of the item model, and
//! the context of the sequence embedding. Nothing is stored a user.

use super::gather::{COMPARED, DIM, Factors, Gather};
use crate::learn::bank::{Bank, sequence};
use crate::linalg::attention;
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
        self.vectors.attention =
            bank.attention.as_ref().and_then(|attention| attention.user(trail.newest(attention::LENGTH)));
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

    /// Proposes by the first fold-in, and by the embedding and by attention times the root of the count.
    pub(super) fn propose_vectors(&mut self, bank: &Bank, factors: Factors<'_>, each: usize) {
        if let Some(folds) = self.vectors.folds {
            self.propose_by(bank, factors.items, &folds[0], each, |_| 0.0);
        }
        if let Some([context, _]) = self.vectors.context {
            let output = bank.sequence.output();
            self.propose_by(bank, output, &context, each, |item| 0.5 * bank.counts.get(item as usize).log_events);
        }
        self.propose_attention(bank, each);
    }

    fn propose_attention(&mut self, bank: &Bank, each: usize) {
        if let (Some(vector), Some(attention)) = (self.vectors.attention, &bank.attention) {
            let offset = |item: u32| attention.bias(item as usize) + 0.5 * bank.counts.get(item as usize).log_events;
            self.propose_by(bank, attention.vectors(), &vector, each, offset);
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::base::Rng;
    use crate::learn::ItemModel;
    use crate::learn::auto::gather::Asker;
    use crate::learn::auto::{L2, UNOBSERVED_WEIGHT, fit_options};
    use crate::linalg::{Interactions, als};

    /// A model as it is installed (its Gram matrix the diagonal alone) and the same one with the matrix in full give the
    /// same vectors of a user.
    #[test]
    fn a_diagonal_and_a_full_matrix_fold_in_alike() {
        let (users, items) = (60, 80);
        let (mut rng, mut bank) = (Rng::new(73), Bank::new(1));
        (0..users).for_each(|_| bank.insert_user());
        (0..items).for_each(|item| bank.insert_item(item));
        let mut pairs = Vec::new();
        for at in 0..4_000 {
            let user = rng.below(users);
            let item = (rng.below(20) + 20 * (user % 4)) % items;
            bank.learn(user as usize, item as usize, at);
            pairs.push((user as u32, item as u32));
        }
        let interactions = Interactions::new(users as usize, items as usize, &pairs).unwrap();
        let fitted = als::fit(&interactions, &fit_options(true, 3), &mut |_| ControlFlow::Continue(())).unwrap();
        let fitted = fitted.into_principal_axes();
        let mut columns = Slab::new(DIM);
        for item in 0..items as usize {
            let column = columns.push();
            columns.col_mut(column)[..DIM].copy_from_slice(fitted.row(item));
        }
        let full = ItemModel { epoch: 1, gram: fitted.gram.clone(), items };
        let diagonal = ItemModel { gram: crate::linalg::axes::diagonal(&fitted.gram, DIM).unwrap(), ..full.clone() };
        let mut longest = 0;
        for user in 0..users as usize {
            let folds = |model: &ItemModel| {
                let factors = Factors { items: &columns, model, l2: L2, unobserved_weight: UNOBSERVED_WEIGHT };
                let mut gather = Gather::default();
                gather.run(&bank, factors, Asker { user: Some(user), excluded: &[], time_ms: 4_000 }, 20);
                gather.vectors.folds.expect("a model and a trail")
            };
            for (one, two) in folds(&full).iter().flatten().zip(folds(&diagonal).iter().flatten()) {
                assert!((one - two).abs() < 1e-5, "user {user}: {one} and {two}");
            }
            longest = longest.max(bank.trail(user).len());
        }
        assert!(longest > 50, "the longest fold-ins are among them: {longest}");
    }
}
