//! Ratings: what value would this user give this item? An ensemble without settings.
//!
//! ```text
//! bank (9 factorisations) ─┐
//! neighbours ──────────────┼─> stack (least squares) ─> finish (network on what is left) ─> prediction
//! running residuals ───────┘
//! ```
//!
//! Every part predicts an event before it learns it, so the stack learns from honest predictions (prequential stacking, after
//! Wolpert, *Stacked generalization*, Neural Networks 5 (1992)). The parts and their papers are in their own files.
//!
//! Users and items are dense rows in the caller's order. A row costs eight bytes until its first rating, then a column of
//! 512 bytes, for a user up to 512 bytes of recent items and for an item up to `pairs_max` pairs of 12 bytes. The rest is one
//! head: least squares, the network, and a ring of past ratings that are learned again.
//!
//! No clock, no generator: draws of the ring come from the seed and the number of ratings, so the same calls in the same
//! order give the same bits, also over an image written and read in between.

mod bank;
mod columns;
mod image;
mod mlp;
mod neighbours;
mod residuals;
mod rls;
mod scale;
#[cfg(test)]
mod tests;
mod view;

use crate::base::ids::mix;
use crate::learn::ScorePart;

use columns::{Columns, FIGURES};
use mlp::Net;
use neighbours::{Memory, Past, Row, keeper};
use residuals::{Common, News};
use rls::Stack;
use scale::Scale;
use view::{GROUPS, Scene, View};

/// A weight over this counts as this.
pub const WEIGHT_MAX: f32 = 8.0;

/// What an ensemble is told at the start.
#[derive(Clone, Debug, PartialEq)]
pub struct RatingsOptions {
    /// Lowest and highest value there can be. None: learned from what comes.
    pub scale: Option<(f32, f32)>,
    /// Seed of first values.
    pub seed: u64,
    /// Pairs that an item keeps at most, rounded down to a power of two of at least 16. An item takes part in about
    /// twice as many.
    pub pairs_max: usize,
    /// Past ratings that may be learned again, at most; 12 bytes each.
    pub ring_max: usize,
}

impl Default for RatingsOptions {
    fn default() -> Self {
        Self { scale: None, seed: 1, pairs_max: 128, ring_max: 65_536 }
    }
}

/// A past rating.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kept {
    user: u32,
    item: u32,
    value: f32,
}

/// The ensemble.
#[derive(Debug)]
pub struct Ratings {
    options: RatingsOptions,
    scale: Scale,
    common: Common,
    stack: Stack,
    net: Net,
    /// Ratings learned.
    learned: u64,
    ring: Vec<Kept>,
    users: Columns,
    memories: Vec<Memory>,
    items: Columns,
    rows: Vec<Row>,
    view: View,
}

impl Ratings {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(options: RatingsOptions) -> Self {
        let seed = mix(options.seed);
        let mut weights = [0.0; rls::INPUTS];
        weights[..bank::ONCE].fill(1.0 / bank::ONCE as f64);
        Self {
            scale: Scale::new(options.scale),
            common: Common::default(),
            stack: Stack::new(weights),
            net: Net::new(mix(seed ^ 1)),
            learned: 0,
            ring: Vec::new(),
            users: Columns::new(mix(seed ^ 2)),
            memories: Vec::new(),
            items: Columns::new(mix(seed ^ 3)),
            rows: Vec::new(),
            view: View::default(),
            options,
        }
    }

    /// Adds the next user row. `stable_hash` belongs to the id and decides the first values.
    pub fn insert_user(&mut self, stable_hash: u64) {
        self.users.insert(stable_hash);
    }

    /// Adds the next item row. `stable_hash` belongs to the id and decides the first values.
    pub fn insert_item(&mut self, stable_hash: u64) {
        self.items.insert(stable_hash);
    }

    /// User rows.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Item rows.
    #[must_use]
    pub fn items(&self) -> usize {
        self.items.len()
    }

    /// Ratings learned.
    #[must_use]
    pub fn learned(&self) -> u64 {
        self.learned
    }

    /// Mean of all values so far: what a stranger gives a stranger, but for what the stack has found out about strangers.
    #[must_use]
    pub fn mean(&self) -> f32 {
        self.scale.mean()
    }

    /// Bytes held in columns, memories, pairs and the ring.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let memories: usize = self.memories.iter().map(Memory::bytes).sum();
        let rows: usize = self.rows.iter().map(|row| size_of::<Row>() + row.bytes()).sum();
        self.users.bytes() + self.items.bytes() + memories + rows + self.ring.capacity() * size_of::<Kept>()
    }

    /// The value that this user would give this item, on the caller's scale and not clipped to it; None is a stranger, as is a row
    /// that is not there. Changes scratch only.
    pub fn predict(&mut self, user: Option<usize>, item: Option<usize>, time_ms: i64) -> f32 {
        let inner = self.look(user, item, time_ms);
        self.scale.outer(inner)
    }

    /// The parts of [`Self::predict`], which is their sum: the running mean, the groups of the stack, the finish.
    pub fn explain(&mut self, user: Option<usize>, item: Option<usize>, time_ms: i64) -> Vec<ScorePart> {
        self.look(user, item, time_ms);
        let part = |name, inner: f32| ScorePart { name, value: self.scale.outer_part(inner) };
        let mut parts = vec![ScorePart { name: "mean", value: self.scale.mean() }];
        for (name, ranges) in GROUPS {
            let inner: f64 = ranges.iter().map(|[from, to]| self.stack.part(&self.view.inputs, *from..*to)).sum();
            parts.push(part(name, inner as f32));
        }
        parts.push(part("finish", self.view.pass.answer));
        parts
    }

    /// Learns that `user` gave `item` this value and returns what [`Self::predict`] had said before.
    ///
    /// `weight` is the importance of the event, at most [`WEIGHT_MAX`]. Nothing is learned from a weight of 0 or below, from a
    /// value or weight that is not finite, or about a row that is not there.
    pub fn learn(&mut self, user: usize, item: usize, value: f32, weight: f32, time_ms: i64) -> f32 {
        let prediction = self.predict(Some(user), Some(item), time_ms);
        let rows = (u32::try_from(user), u32::try_from(item));
        let (Ok(user), Ok(item)) = rows else { return prediction };
        let known = (user as usize) < self.users.len() && (item as usize) < self.items.len();
        if !(known && value.is_finite() && weight.is_finite() && weight > 0.0) {
            return prediction;
        }
        let weight = weight.min(WEIGHT_MAX);
        let target = self.scale.see(value, weight);
        self.stack.learn(&self.view.inputs, f64::from(target), f64::from(weight));
        self.net.learn(&self.view.raw, &self.view.pass, target - self.view.stacked, weight);
        self.learn_columns(Kept { user, item, value }, target, weight, time_ms);
        self.replay();
        self.keep(Kept { user, item, value });
        self.learned += 1;
        prediction
    }

    /// Runs everything for one pair; the result is in units from the mean.
    fn look(&mut self, user: Option<usize>, item: Option<usize>, time_ms: i64) -> f32 {
        let user = user.and_then(|row| self.users.find(row));
        let item = item.and_then(|row| Some((u32::try_from(row).ok()?, self.items.find(row)?)));
        let scene = Scene {
            scale: &self.scale,
            common: &self.common,
            items: &self.items,
            rows: &self.rows,
            user: user.map(|column| self.users.get(column)),
            memory: user.map(|column| &self.memories[column]),
            item,
            time_ms,
        };
        let view = &mut self.view;
        view.look(&scene);
        view.stacked = self.stack.predict(&view.inputs) as f32;
        view.raw[0] = view.stacked;
        self.net.predict(&view.raw, &mut view.pass);
        let inner = view.stacked + view.pass.answer;
        if inner.is_finite() { inner } else { 0.0 }
    }

    /// Teaches bank, neighbours and figures.
    fn learn_columns(&mut self, event: Kept, target: f32, weight: f32, time_ms: i64) {
        let (Some(user), Some(item)) = (self.make_user(event.user as usize), self.make_item(event.item as usize))
        else {
            return;
        };
        let slow_residual = view::slow_residual(&self.view, target);
        self.learn_pairs(event.item, item, user, slow_residual, weight);
        self.memories[user].push(Past { item: event.item, residual: slow_residual }, time_ms);
        let news = News {
            value: target,
            residual: target - self.view.bank,
            slow_residual,
            bin: self.scale.bin(event.value),
            near: self.view.near,
        };
        let row = &mut self.rows[item];
        let (user, item) = (self.users.get_mut(user), self.items.get_mut(item));
        let counts = [user[FIGURES + residuals::user::COUNT], item[FIGURES + residuals::item::COUNT]];
        bank::learn(user, item, self.scale.inner(event.value), counts, weight);
        residuals::learn(&mut self.common, &mut user[FIGURES..], &mut item[FIGURES..], &news);
        row.inverse = residuals::inverse_deviation(&item[FIGURES..]);
    }

    fn make_user(&mut self, row: usize) -> Option<usize> {
        let (column, made) = self.users.make(row)?;
        if made {
            self.memories.push(Memory::default());
        }
        Some(column)
    }

    fn make_item(&mut self, row: usize) -> Option<usize> {
        let (column, made) = self.items.make(row)?;
        if made {
            self.rows.push(Row::default());
        }
        Some(column)
    }

    /// Adds this rating to the pairs with the user's recent items.
    fn learn_pairs(&mut self, item: u32, column: usize, user: usize, residual: f32, weight: f32) {
        for past in self.memories[user].recent.iter().filter(|past| past.item != item) {
            let Some(other) = self.items.find(past.item as usize) else { continue };
            let (keeps, key) = keeper(item, past.item);
            let row = &mut self.rows[if keeps == item { column } else { other }];
            row.add(key, residual * past.residual, weight, self.options.pairs_max);
        }
    }

    /// Learns a few past ratings again.
    fn replay(&mut self) {
        for draw in 0..bank::REPLAYS {
            let Some(past) = self.drawn(draw) else { return };
            let user = self.users.find(past.user as usize);
            let (Some(user), Some(item)) = (user, self.items.find(past.item as usize)) else { continue };
            let target = self.scale.inner(past.value);
            let item = self.items.get_mut(item);
            bank::replay(self.users.get_mut(user), item, target);
        }
    }

    /// A past rating that comes again with the next one.
    fn drawn(&self, draw: usize) -> Option<Kept> {
        let draw = self.learned.wrapping_mul(bank::REPLAYS as u64).wrapping_add(draw as u64);
        let bits = mix(draw ^ self.options.seed.rotate_left(32));
        let length = self.ring.len() as u64;
        (length > 0).then(|| self.ring[(bits % length) as usize])
    }

    /// Rows of users and items, beside its own, that change with the next rating by `user`: for an image in the making.
    #[must_use]
    pub fn touched_by(&self, user: usize) -> (Vec<u32>, Vec<u32>) {
        let drawn: Vec<Kept> = (0..bank::REPLAYS).filter_map(|draw| self.drawn(draw)).collect();
        let recent = self.users.find(user).map(|column| &self.memories[column].recent);
        let items = recent.into_iter().flat_map(|recent| recent.iter().map(|past| past.item));
        (drawn.iter().map(|past| past.user).collect(), drawn.iter().map(|past| past.item).chain(items).collect())
    }

    fn keep(&mut self, event: Kept) {
        if self.ring.len() < self.options.ring_max {
            self.ring.push(event);
        } else if self.options.ring_max > 0 {
            let at = self.learned % self.options.ring_max as u64;
            self.ring[at as usize] = event;
        }
    }
}
