//! The user as vectors, made at query time: fold-ins of the newest items into the leading axes of the item model and of the
//! whole history into all of them, the context of the sequence embedding, attention. Nothing is stored a user.

use super::gather::{COMPARED, DIM, FOUND_ENOUGH, Factors, Gather, MODEL_DIM};
use crate::learn::bank::{Bank, sequence};
use crate::linalg::attention;
use crate::linalg::score::score_some;
use crate::linalg::{FoldInTerms, Slab, kernels};

/// Weights of older items in the three fold-ins, and how many items each looks at.
const FOLDS: [(f32, usize); 3] = [(0.9, 50), (0.7, 20), (0.98, 100)];

/// Newest items in the context of the sequence embedding.
const CONTEXT: usize = 10;

impl Gather {
    /// Folds the user in, who met these items; leaves nothing where there is no model or no item.
    pub(super) fn find_vectors(&mut self, bank: &Bank, factors: Factors<'_>, user: usize, met: &[u32]) {
        let trail = bank.trail(user);
        let mut context = [0.0; sequence::DIM];
        if let Some(newest) = trail.newest(1).next()
            && bank.sequence.context(trail.newest(CONTEXT), &mut context)
        {
            self.vectors.context = Some([context, unit(bank.sequence.input().col(newest as usize))]);
        }
        self.vectors.attention =
            bank.attention.as_ref().and_then(|attention| attention.user(trail.newest(attention::LENGTH)));
        // A matrix in full is that of factors for which no axes were found.
        let gram = &factors.model.gram;
        if factors.model.epoch == 0 || gram.len() != MODEL_DIM || trail.is_empty() {
            return;
        }
        let terms = FoldInTerms {
            gram: &gram[..DIM],
            l2: factors.l2,
            unobserved_mass: factors.unobserved_weight * factors.model.items as f64,
        };
        let mut folds = [[0.0; DIM]; 3];
        for (fold, (recency, items)) in folds.iter_mut().zip(FOLDS) {
            let mut weight = 1.0 / recency;
            let events = trail.newest(items).map(|item| {
                weight *= recency;
                (factors.items.col(item as usize), weight)
            });
            self.solver.fold_in(terms, events, fold);
        }
        self.vectors.folds = Some(folds);
        let mut whole = [0.0; MODEL_DIM];
        let events = met.iter().map(|item| (factors.items.col(*item as usize), 1.0));
        self.solver.fold_in(FoldInTerms { gram, ..terms }, events, &mut whole);
        self.vectors.whole = Some(whole);
        let newest = trail.newest(COMPARED).map(|item| unit(factors.items.col(item as usize)));
        self.vectors.newest.extend(newest);
    }

    /// Proposes by the first fold-in, and by attention times the root of the count: among the items that neighbours know
    /// or, where they know few, among all that are alive.
    pub(super) fn propose_vectors(&mut self, bank: &Bank, factors: Factors<'_>, each: usize) {
        let mut open = std::mem::take(&mut self.open);
        open.clear();
        let found = self.scatter.items();
        let pool = if found.len() >= FOUND_ENOUGH { found } else { bank.alive.items() };
        open.extend(pool.iter().filter(|item| self.scatter.open(**item)));
        let half_log = |item: u32| 0.5 * bank.counts.get(item as usize).log_events;
        if let Some(folds) = self.vectors.folds {
            self.propose_by(factors.items, &folds[0], &open, each, |_| 0.0);
        }
        if let (Some(vector), Some(attention)) = (self.vectors.attention, &bank.attention) {
            let offset = |item: u32| attention.bias(item as usize) + half_log(item);
            self.propose_by(attention.vectors(), &vector, &open, each, offset);
        }
        self.open = open;
    }

    fn propose_by(&mut self, slab: &Slab, query: &[f32], items: &[u32], each: usize, offset: impl Fn(u32) -> f32) {
        score_some(slab, query, items, &mut self.scores);
        self.scores.iter_mut().zip(items).for_each(|(score, item)| *score += offset(*item));
        self.choose_best(items, each);
    }
}

/// A column brought to length 1; zeros stay zeros.
fn unit(column: &[f32]) -> [f32; DIM] {
    let square = kernels::squared_norm(&column[..DIM]);
    let inverse = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
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
    use crate::linalg::{Interactions, SpdSolver, als, fold_in};

    /// What a user met as a whole is folded in as the fit itself would; a model without axes folds nobody in.
    #[test]
    fn the_whole_history_is_folded_in_as_a_fit_would() {
        let (users, items) = (60, 200);
        let (mut rng, mut bank) = (Rng::new(73), Bank::new(1));
        (0..users).for_each(|_| bank.insert_user());
        (0..items).for_each(|item| bank.insert_item(item));
        let (mut pairs, mut met) = (Vec::new(), vec![Vec::new(); users as usize]);
        for at in 0..4_000 {
            let user = rng.below(users);
            let item = (rng.below(50) + 50 * (user % 4)) % items;
            bank.learn(user as usize, item as usize, at);
            met[user as usize].push(item as u32);
            pairs.push((user as u32, item as u32));
        }
        let interactions = Interactions::new(users as usize, items as usize, &pairs).unwrap();
        let fitted = als::fit(&interactions, &fit_options(true, 3), &mut |_| ControlFlow::Continue(())).unwrap();
        let fitted = fitted.into_principal_axes();
        let mut columns = Slab::new(MODEL_DIM);
        for item in 0..items as usize {
            let column = columns.push();
            columns.col_mut(column).copy_from_slice(fitted.row(item));
        }
        let full = ItemModel { epoch: 1, gram: fitted.gram.clone(), items };
        let gram = crate::linalg::axes::diagonal(&fitted.gram, MODEL_DIM).unwrap();
        assert!(gram[..DIM].is_sorted_by(|one, two| one >= two), "the largest axis first");
        let diagonal = ItemModel { gram, ..full.clone() };
        let mut solver = SpdSolver::new(MODEL_DIM);
        for user in 0..users as usize {
            let vectors = |model: &ItemModel| {
                let factors = Factors { items: &columns, model, l2: L2, unobserved_weight: UNOBSERVED_WEIGHT };
                let mut gather = Gather::default();
                let asker = Asker { user: Some(user), met: &met[user], excluded: &[], time_ms: 4_000 };
                gather.run(&bank, factors, asker, 20);
                gather.vectors.clone()
            };
            assert!(vectors(&full).whole.is_none(), "no axes");
            let found = vectors(&diagonal);
            assert!(found.folds.is_some());
            let (found, mut exact) = (found.whole.expect("a model and a history"), [0.0; MODEL_DIM]);
            let events = met[user].iter().map(|item| (columns.col(*item as usize), 1.0));
            fold_in(&mut solver, fitted.terms(), events, &mut exact).expect("definite");
            for item in 0..items as usize {
                let column = columns.col(item);
                let (one, two) = (kernels::dot(&found, column), kernels::dot(&exact, column));
                assert!((one - two).abs() < 0.03, "seed 73, user {user}, item {item}: {one} and {two}");
            }
        }
    }
}
