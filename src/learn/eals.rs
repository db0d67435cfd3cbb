//! `eals`: matrix factorisation over all pairs, missing ones weighted by the popularity of their item, one sweep of
//! coordinate descent over the user and one over the item at every event.
//!
//! ```text
//! sum over events of g (1 - p_u . q_i)^2  +  sum over other pairs of c_i (p_u . q_i)^2  +  l2 (|P|^2 + |Q|^2)
//! c_i = c0 f_i^alpha / sum_j f_j^alpha        f_i the events of item i
//! ```
//!
//! He, Zhang, Kan & Chua, *Fast matrix factorization for online recommendation with implicit feedback*, SIGIR 2016:
//! weights eq. 8, sweeps eq. 12-13, online Algorithm 2. The sums over all pairs are cached as `S^q = sum_i f_i^alpha q_i
//! q_i'` and `S^p = sum_u p_u p_u'`, so that an event costs dim^2 and not the catalogue. Here f, and with it c, follows
//! every event: S^q is kept without its scale, which is one number for all items. c0 counts at most 1 for each item with
//! an event, so that in a young catalogue what is missing does not outweigh what is there.
//!
//! *Bounded.* The user is swept over its newest `history` items, the item over its newest `audience` users, whose weight
//! is raised to stand for all that there were. `recency` below 1 is ours: with 1 all events weigh alike, as published.
//!
//! *Where items come and go by the hour*, an item that nobody takes any more keeps the scale of its day, and the sums
//! grow with every user that ever came: measured on a stream of news, this falls behind `bpr` and popularity.
//!
//! *Several shards.* An item is swept by its owner over the users of its own shard, and the one user of another shard
//! whose event it is, as that column was read. S^p holds the shard's own users, S^q all items as last published. No items
//! but the event's change.
//!
//! User column: factor (dim, padded), n. Item column: factor (dim, padded), f, f^alpha. Kept once: S^q, S^p, sum of
//! f^alpha, items with an event.

use super::isgd::init;
use super::{Audience, ItemSide, Learner, Recent, Shape, Sweeps, Work};
use crate::linalg::sweep::replace_outer;
use crate::linalg::{Slab, padded};

/// Parameters of `eals`.
#[derive(Clone, Debug, PartialEq)]
pub struct Eals {
    /// Length of the factors.
    pub dim: usize,
    /// Weight `c0` of all missing items of a user together.
    pub missing_weight: f32,
    /// Power `alpha` of an item's events in the weight of its missing pairs.
    pub popularity_power: f32,
    /// Pull of factors to zero.
    pub l2: f32,
    /// Standard deviation of a new factor's values.
    pub init_std: f32,
    /// Newest items that a user is swept over.
    pub history: usize,
    /// Newest users that an item is swept over.
    pub audience: usize,
    /// Factor on the weight of an event in the user's sweep for each newer one, 0 < recency <= 1.
    pub recency: f32,
}

impl Default for Eals {
    fn default() -> Self {
        Self {
            dim: 64,
            missing_weight: 512.0,
            popularity_power: 0.4,
            l2: 0.01,
            init_std: 0.01,
            history: 64,
            audience: 128,
            recency: 0.95,
        }
    }
}

/// The parts of what is kept once.
struct Shared<'a> {
    of_items: &'a mut [f32],
    of_users: &'a mut [f32],
    /// Sum of f^alpha, items with an event.
    totals: &'a mut [f32],
}

impl Eals {
    fn factor(&self) -> usize {
        padded(self.dim)
    }

    fn parts<'a>(&self, shared: &'a mut [f32]) -> Shared<'a> {
        let (of_items, rest) = shared.split_at_mut(self.factor() * self.factor());
        let (of_users, totals) = rest.split_at_mut(self.factor() * self.factor());
        Shared { of_items, of_users, totals }
    }

    /// `c_i / f_i^alpha`, the same for all items.
    fn missing_scale(&self, totals: &[f32]) -> f32 {
        if totals[0] > 0.0 { self.missing_weight.min(totals[1]) / totals[0] } else { 0.0 }
    }
}

impl Learner for Eals {
    const NAME: &'static str = "eals";

    fn shape(&self) -> Shape {
        let dim = self.factor();
        Shape { user_rows: dim + 1, item_rows: dim + 2, items: ItemSide::Learned, predicts_value: false }
    }

    fn factor_rows(&self) -> usize {
        self.factor()
    }

    fn init_user(&self, seed: u64, user: &mut [f32]) {
        init(seed, self.init_std, &mut user[..self.dim]);
    }

    fn init_item(&self, seed: u64, item: &mut [f32]) {
        init(seed, self.init_std, &mut item[..self.dim]);
    }

    fn sweeps(&self) -> Option<Sweeps> {
        let shared_rows = 2 * self.factor() * self.factor() + 2;
        Some(Sweeps { history: self.history, audience: self.audience, shared_rows })
    }

    fn sweep_user(&self, user: &mut [f32], recent: &[Recent], items: &Slab, shared: &mut [f32], work: &mut Work) {
        let dim = self.factor();
        let Shared { of_items, of_users, totals } = self.parts(shared);
        let scale = self.missing_scale(totals);
        let Work { sweep, old, .. } = work;
        sweep.begin(dim, self.history);
        let mut age_weight = 1.0;
        let recent = &recent[..recent.len().min(self.history)];
        for (age, event) in recent.iter().enumerate() {
            let item = items.col(event.item as usize);
            // A pair is missing once, however often the user came back.
            let first = recent[..age].iter().all(|newer| newer.item != event.item);
            let counted = if first { scale * item[dim + 1] } else { 0.0 };
            sweep.push(item, event.weight * age_weight, counted);
            age_weight *= self.recency;
        }
        let known = user[dim] > 0.0;
        old.clear();
        old.extend_from_slice(&user[..dim]);
        sweep.run(&mut user[..dim], of_items, scale, self.l2);
        replace_outer(of_users, (1.0, &user[..dim]), (f32::from(u8::from(known)), old));
        user[dim] += 1.0;
    }

    fn sweep_item(&self, item: &mut [f32], audience: &Audience<'_>, shared: &mut [f32], work: &mut Work) {
        let dim = self.factor();
        let Shared { of_items, of_users, totals } = self.parts(shared);
        let Work { sweep, old, .. } = work;
        let (events, power) = (item[dim] + 1.0, item[dim + 1]);
        (item[dim], item[dim + 1]) = (events, events.powf(self.popularity_power));
        totals[0] += item[dim + 1] - power;
        totals[1] += if power > 0.0 { 0.0 } else { 1.0 };
        let missing = self.missing_scale(totals) * item[dim + 1];
        let users = audience.slots.iter().map(|slot| audience.users.col(*slot as usize)).chain(audience.guest);
        let count = audience.slots.len() + usize::from(audience.guest.is_some());
        // The newest stand for all that there were, in what they say for the item and in what they count as missing.
        let stand_for = (events / count.max(1) as f32).max(1.0);
        sweep.begin(dim, count);
        users.for_each(|user| sweep.push(user, stand_for, stand_for * missing));
        old.clear();
        old.extend_from_slice(&item[..dim]);
        sweep.run(&mut item[..dim], of_users, missing, self.l2);
        replace_outer(of_items, (item[dim + 1], &item[..dim]), (power, old));
    }

    fn item_replaced(&self, old: &[f32], new: &[f32], shared: &mut [f32]) {
        let dim = self.factor();
        let Shared { of_items, totals, .. } = self.parts(shared);
        replace_outer(of_items, (new[dim + 1], &new[..dim]), (old[dim + 1], &old[..dim]));
        totals[0] += new[dim + 1] - old[dim + 1];
        totals[1] += f32::from(u8::from(new[dim + 1] > 0.0)) - f32::from(u8::from(old[dim + 1] > 0.0));
    }

    fn user_came(&self, user: &[f32], shared: &mut [f32]) {
        let dim = self.factor();
        let swept = f32::from(u8::from(user[dim] > 0.0));
        replace_outer(self.parts(shared).of_users, (swept, &user[..dim]), (0.0, &user[..dim]));
    }

    #[inline]
    fn query(&self, user: &[f32], _mean: f32, query: &mut [f32]) -> f32 {
        let dim = self.factor();
        if user[dim] > 0.0 {
            query[..dim].copy_from_slice(&user[..dim]);
        }
        0.0
    }
}
