//! `fold_in`: the user factor solved exactly against fixed item factors, newer events weighing more.
//!
//! ```text
//! w_u = (a0 H'H + sum_j g_j h_j h_j' + l2 (sum g + a0 |I|) I)^-1  sum_j g_j h_j,     g_j = weight_j recency^age_j
//! ```
//!
//! Implicit-feedback ALS (Hu, Koren & Volinsky, ICDM 2008) in the form of Rendle et al., *Revisiting the performance of
//! iALS* (RecSys 2022), solved for one user after each event. Age counts events, the newest has age 0. `a0 H'H` and
//! `|I|` come with the item model; without one (epoch 0) there is nothing to fold into and popularity answers.
//!
//! A model in its principal axes is solved in as many unknowns as there are events (`linalg/axes.rs`); with more than 64
//! events, or a model of another make, in dim unknowns. Both are exact; they differ in the last digits.
//!
//! User column: `w_u` (dim). Item column: `h` (dim), from the item model.

use super::{ItemModel, ItemSide, Learner, Recent, Shape, Work};
use crate::linalg::axes::EVENTS_MAX;
use crate::linalg::{FoldInTerms, Slab};

/// Parameters of `fold_in`.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldIn {
    /// Length of the factors.
    pub dim: usize,
    /// Factor on the weight of an event for each newer one, 0 < recency <= 1.
    pub recency: f32,
    /// Newest events that are folded in.
    pub history: usize,
    /// Regularisation (times the sum of weights, as in the paper's scaled form).
    pub l2: f64,
    /// Weight `a0` of pairs that were not observed.
    pub unobserved_weight: f64,
}

impl Default for FoldIn {
    fn default() -> Self {
        Self { dim: 64, recency: 0.8, history: 40, l2: 0.01, unobserved_weight: 0.2 }
    }
}

impl Learner for FoldIn {
    const NAME: &'static str = "fold_in";

    fn shape(&self) -> Shape {
        Shape { user_rows: self.dim, item_rows: self.dim, items: ItemSide::Model, predicts_value: false }
    }

    fn learns_from_history(&self) -> bool {
        true
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of items in a weight")]
    fn fold_in(&self, user: &mut [f32], recent: &[Recent], items: &Slab, model: &ItemModel, work: &mut Work) {
        user.fill(0.0);
        if model.epoch == 0 {
            return;
        }
        let terms = FoldInTerms {
            gram: &model.gram,
            l2: self.l2,
            unobserved_mass: self.unobserved_weight * model.items as f64,
        };
        let mut age_weight = 1.0_f32;
        let recent = &recent[..recent.len().min(self.history)];
        let events = recent.iter().map(|event| {
            let weight = event.weight * age_weight;
            age_weight *= self.recency;
            (items.col(event.item as usize), weight)
        });
        if model.gram.len() == self.dim && recent.len() <= EVENTS_MAX {
            work.axes.fold_in(terms, events, user);
            return;
        }
        let events = events.map(|(item, weight)| (&item[..self.dim], weight));
        let solved = crate::linalg::fold_in(work.solver(self.dim), terms, events, &mut user[..self.dim]);
        // A system that is not positive definite leaves zeros: popularity answers for this user until the next event.
        debug_assert!(solved.is_ok(), "a ridge above 0 makes the system definite: {solved:?}");
    }

    #[inline]
    fn query(&self, user: &[f32], _mean: f32, query: &mut [f32]) -> f32 {
        query[..self.dim].copy_from_slice(&user[..self.dim]);
        0.0
    }
}
