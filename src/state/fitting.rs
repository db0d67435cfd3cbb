//! Item factors of `auto`, fitted in step: by the shard itself, over the newest events of its users, from the factors that
//! there are.

use std::ops::ControlFlow;

use super::Shard;
use crate::learn::auto::{self, Training};
use crate::learn::bank::Bank;
use crate::linalg::axes::diagonal;
use crate::linalg::{Interactions, als};

impl Shard {
    /// Fits the item factors of `auto`, in step, where that is due.
    pub(super) fn fit_if_due(&mut self, arm: usize) {
        let due = self.banked.as_ref().is_some_and(|banked| banked.bank.events() >= banked.next_fit);
        if due {
            self.fit_factors(arm);
        }
    }

    /// Fits the item factors of `auto`, in step, now: for evaluation of what a finished stream has taught.
    pub fn fit_in_step(&mut self) {
        if let Some(arm) = self.auto_arm().filter(|_| self.options.training == Training::InStep) {
            self.fit_factors(arm);
        }
    }

    /// Fits item factors anew over the newest events, from the present ones.
    fn fit_factors(&mut self, arm: usize) {
        let Some(banked) = &mut self.banked else { return };
        banked.next_fit = auto::next_fit(banked.bank.events());
        let (rows, pairs, users) = number_pairs(&banked.bank);
        let Ok(interactions) = Interactions::new(users, rows.len(), &pairs) else { return };
        self.touch_all_items();
        let arm = &mut self.arms[arm];
        let first = arm.model.epoch == 0;
        let options = auto::fit_options(first, self.options.seed);
        let start = rows.iter().flat_map(|row| auto::start_factor(arm.items.col(*row as usize), *row, &options));
        let fitted = als::fit_from(&interactions, &options, start.collect(), &mut |_| ControlFlow::Continue(()));
        // Too little variety to solve for: the factors stay as they are until the next time.
        let Ok((fitted, _)) = fitted else { return };
        let fitted = fitted.into_principal_axes();
        if first {
            // What tags said of the items not fitted yet is of another space.
            (0..arm.items.len()).for_each(|column| arm.items.col_mut(column).fill(0.0));
        }
        for (at, row) in rows.iter().enumerate() {
            arm.items.col_mut(*row as usize)[..fitted.dim].copy_from_slice(fitted.row(at));
        }
        arm.model.epoch += 1;
        arm.model.gram = diagonal(&fitted.gram, fitted.dim).unwrap_or(fitted.gram);
        arm.model.items = rows.len() as u64;
    }

    /// The newest events of this shard's users as a refit wants them: slots and rows.
    #[must_use]
    pub fn newest_pairs(&self) -> Vec<(u32, u32)> {
        let pairs = |bank: &Bank| bank.window.newest(auto::FIT_WINDOW).map(|met| (met.user, met.item)).collect();
        self.banked.as_ref().map(|banked| pairs(&banked.bank)).unwrap_or_default()
    }
}

/// The newest events with users and items numbered densely, in the order of their first one: rows by number, pairs,
/// number of users.
fn number_pairs(bank: &Bank) -> (Vec<u32>, Vec<(u32, u32)>, usize) {
    let (mut user_numbers, mut item_numbers) = (hashbrown::HashMap::new(), hashbrown::HashMap::new());
    let mut rows = Vec::new();
    let mut number = |met: crate::learn::bank::window::Met| {
        let next = user_numbers.len() as u32;
        let user = *user_numbers.entry(met.user).or_insert(next);
        let item = *item_numbers.entry(met.item).or_insert_with(|| {
            rows.push(met.item);
            rows.len() as u32 - 1
        });
        (user, item)
    };
    let pairs: Vec<(u32, u32)> = bank.window.newest(auto::FIT_WINDOW).map(&mut number).collect();
    let users = user_numbers.len();
    (rows, pairs, users)
}
