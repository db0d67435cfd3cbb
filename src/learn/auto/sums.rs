//! The two passes of a query over what is kept of items: neighbours of the user's newest items, and the trails of users
//! whose sessions are like the user's.

use super::gather::{Gather, Neighbours, norm, sum};
use crate::learn::bank::{Bank, pairs};
use crate::linalg::scatter::{Sums, Weights};

/// Discounts of older items in the pair sums, a step of age.
const DISCOUNTS: [f32; 2] = [0.5, 0.85];
/// Newest items whose visitors are neighbours.
const SESSION_ITEMS: usize = 10;
/// Most neighbours.
const NEIGHBOURS: usize = 100;
/// Newest items of a neighbour that it proposes.
const NEIGHBOUR_ITEMS: usize = 30;
/// Factor of likeness by each older item, and of what followed by each step.
const STEP: f32 = 0.8;

impl Gather {
    /// Sums over the neighbours of the user's newest items.
    pub fn sum_pairs(&mut self, bank: &Bank, user: usize) {
        let x = bank.events();
        let (mut near, mut far) = (1.0_f32, 1.0_f32);
        for (age, item) in bank.trail(user).newest(pairs::PAIRED).enumerate() {
            let row = bank.pairs.row(item as usize);
            let norm = norm(bank, item);
            let factors = row.factors(x);
            let only = |age_wanted: usize, factor: f32| if age == age_wanted { factor } else { 0.0 };
            let sitting = if age < self.sitting { far * norm * factors[3] } else { 0.0 };
            let weights = Weights {
                first: std::array::from_fn(|at| [near, far][at / pairs::SUMS] * norm * factors[at % pairs::SUMS]),
                then: [1.0, only(0, 1.0), only(0, factors[2]), sitting, 0.0, only(1, norm), 0.0, 0.0],
                plus: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
            };
            self.scatter.add_row(row.items(), row.sums(), &weights);
            near *= DISCOUNTS[0];
            far *= DISCOUNTS[1];
        }
    }

    /// Sums over the newest items of like sessions: users who met the user's newest items lately, the more of them and
    /// the rarer the better.
    pub fn sum_sessions(&mut self, bank: &Bank, user: usize) {
        self.find_neighbours(bank, user);
        let Self { scatter, neighbours, .. } = self;
        for &(likeness, neighbour, latest) in &neighbours.found {
            let trail = bank.trail(neighbour as usize);
            let count = trail.count();
            let share = likeness / (count.min(NEIGHBOUR_ITEMS) as f32 + 1.0).sqrt();
            for (back, item) in trail.newest(NEIGHBOUR_ITEMS).enumerate() {
                let Some(Sums(sums)) = scatter.get_mut(item) else { continue };
                sums[sum::LIKE] += share;
                let steps = (count - 1 - back) as i64 - latest;
                if steps > 0 {
                    sums[sum::FOLLOWED] += likeness * POWERS[(steps - 1).min(63) as usize];
                }
            }
        }
    }

    fn find_neighbours(&mut self, bank: &Bank, user: usize) {
        let query = self.query();
        let Neighbours { found, marks } = &mut self.neighbours;
        found.clear();
        marks.resize(bank.trail_count(), (0, 0));
        let mut weight = 1.0_f32;
        for item in bank.trail(user).newest(SESSION_ITEMS) {
            let share = weight / (bank.counts.get(item as usize).events as f32 + 2.0).ln();
            for visit in bank.visitors.of(item as usize) {
                if visit.user as usize == user {
                    continue;
                }
                let mark = &mut marks[visit.user as usize];
                if mark.0 != query {
                    *mark = (query, found.len() as u32);
                    found.push((0.0, visit.user, -1));
                }
                let neighbour = &mut found[mark.1 as usize];
                neighbour.0 += share;
                neighbour.2 = neighbour.2.max(i64::from(visit.position));
            }
            weight *= STEP;
        }
        if found.len() > NEIGHBOURS {
            found.select_nth_unstable_by(NEIGHBOURS - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            found.truncate(NEIGHBOURS);
        }
    }
}

/// [`STEP`] to the power of the steps since the match.
const POWERS: [f32; 64] = {
    let mut powers = [1.0; 64];
    let mut at = 1;
    while at < 64 {
        powers[at] = powers[at - 1] * STEP;
        at += 1;
    }
    powers
};
