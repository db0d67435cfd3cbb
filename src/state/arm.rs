//! One strategy at work in one shard: its columns, its item model, and how well it does.

use crate::base::ids::mix;
use crate::base::{IdRef, Rng};
use crate::evaluate::{Prequential, PrequentialOptions, rank_of};
use crate::learn::{Audience, ItemModel, ItemSide, Negatives, Recent, Seen, Shape, Strategy, Sweeps, Work};
use crate::linalg::score::score_all;
use crate::linalg::{Slab, kernels};
use crate::state::unseen::Unseen;

/// A strategy with its memory.
#[derive(Debug)]
pub struct Arm {
    /// The strategy.
    pub strategy: Strategy,
    /// What it keeps.
    pub shape: Shape,
    /// One column a user.
    pub users: Slab,
    /// One column an item.
    pub items: Slab,
    /// The fitted model behind the item columns; epoch 0 if there is none.
    pub model: ItemModel,
    /// Test-then-learn figures.
    pub prequential: Prequential,
    /// Which items it contrasts events with.
    pub negatives: Negatives,
    /// The items it knows, those without an event for longest first, if the strategy contrasts events with them.
    pub unseen: Option<Unseen>,
    /// What it sweeps over, if it does.
    pub sweeps: Option<Sweeps>,
    /// The newest users of each item, if it sweeps; else empty.
    pub audiences: Vec<Vec<u32>>,
    /// What it keeps once, if it sweeps; else empty.
    pub shared: Vec<f32>,
    seed: u64,
    query: Vec<f32>,
    scratch_item: Vec<f32>,
    scratch_other: Vec<f32>,
}

/// How an arm stood before it learned an event.
#[derive(Clone, Copy, Debug)]
pub struct Tested {
    /// Score of the item.
    pub score: f32,
    /// Rank of the item among those the user had not seen; one past the last for an item that was not known.
    pub rank: Option<u32>,
}

impl Arm {
    /// An arm that has seen nothing. `seed` is where first values of factors come from.
    #[must_use]
    pub fn new(strategy: Strategy, fading: f64, seed: u64) -> Self {
        let shape = strategy.shape();
        let (users, items) = (Slab::new(shape.user_rows), Slab::new(shape.item_rows));
        let item = || vec![0.0; items.stride()];
        let (query, scratch_item, scratch_other) = (item(), item(), item());
        let model = ItemModel { epoch: 0, gram: Vec::new(), items: 0 };
        let prequential = Prequential::new(PrequentialOptions { fading });
        let (negatives, sweeps) = (strategy.negatives(), strategy.sweeps());
        Self {
            unseen: matches!(negatives, Negatives::LongestUnseen(_)).then(Unseen::default),
            strategy,
            shape,
            users,
            items,
            model,
            prequential,
            negatives,
            sweeps,
            audiences: Vec::new(),
            shared: vec![0.0; sweeps.map_or(0, |sweeps| sweeps.shared_rows)],
            seed,
            query,
            scratch_item,
            scratch_other,
        }
    }

    /// Adds the column of a new user.
    pub fn insert_user(&mut self, id: IdRef<'_>) {
        let column = self.users.push();
        self.strategy.init_user(mix(self.seed ^ id.stable_hash()), self.users.col_mut(column));
    }

    /// Puts the column of a new user in the place of one that has learned.
    pub fn reset_user(&mut self, user: usize, id: IdRef<'_>) {
        self.users.col_mut(user).fill(0.0);
        self.strategy.init_user(mix(self.seed ^ id.stable_hash()), self.users.col_mut(user));
    }

    /// Adds the column of a new item.
    pub fn insert_item(&mut self, id: IdRef<'_>) {
        let column = self.items.push();
        // Another stream than that of a user with the same id.
        self.strategy.init_item(mix(self.seed ^ id.stable_hash().rotate_left(32)), self.items.col_mut(column));
    }

    /// Sets the column of an item that is in no fitted model from its tags: the normalised sum of one random direction
    /// a tag (random indexing: Kanerva, Kristoferson & Holst 2000). Without tags the column is zero: no opinion.
    ///
    /// Only at epoch 0: fitted factors span another space.
    #[expect(clippy::cast_possible_truncation, reason = "factors are f32")]
    pub fn sign_item(&mut self, item: usize, tag_hashes: &[u64]) {
        if self.shape.items != ItemSide::Model || self.model.epoch > 0 {
            return;
        }
        let rows = self.shape.item_rows;
        let column = self.items.col_mut(item);
        column.fill(0.0);
        for hash in tag_hashes {
            let mut rng = Rng::new(*hash);
            for value in &mut column[..rows] {
                *value += rng.normal() as f32;
            }
        }
        let norm = kernels::squared_norm(column).sqrt();
        if norm > 0.0 {
            for value in column {
                *value /= norm;
            }
        }
    }

    /// The query of a user's column, in `self.query`; returns the offset.
    fn make_query(&mut self, user: usize, mean: f32) -> f32 {
        self.query.fill(0.0);
        self.strategy.query(self.users.col(user), mean, &mut self.query)
    }

    /// The score of one item.
    pub fn score(&mut self, user: usize, item: usize, mean: f32) -> f32 {
        let offset = self.make_query(user, mean);
        offset + kernels::dot(&self.query, self.items.col(item))
    }

    /// The two parts of the score of one item: offset and product.
    pub fn score_parts(&mut self, user: usize, item: usize, mean: f32) -> [f32; 2] {
        let offset = self.make_query(user, mean);
        [offset, kernels::dot(&self.query, self.items.col(item))]
    }

    /// Whether the user whose score was made last has an opinion at all.
    #[must_use]
    pub fn has_opinion(&self) -> bool {
        self.query.iter().any(|value| *value != 0.0)
    }

    /// The scores of all items, into `scores`. Says whether the user's column has an opinion at all; where it has none
    /// (nothing learned yet, or no model yet) scores are all equal and popularity should answer.
    pub fn score_all(&mut self, user: usize, mean: f32, scores: &mut Vec<f32>) -> bool {
        let offset = self.make_query(user, mean);
        score_all(&self.items, &self.query, offset, scores);
        self.query.iter().any(|value| *value != 0.0)
    }

    /// Rank of `item` in `scores`, items in `seen` (rising) left out.
    #[must_use]
    pub fn rank(scores: &[f32], item: usize, seen: &[u32]) -> u32 {
        rank_of(scores, item, seen)
    }

    /// Learns one event. `owned` says whether the item column is this shard's to change.
    #[inline]
    pub fn learn_one(&mut self, user: usize, item: usize, owned: bool, seen: &Seen) {
        let user = self.users.col_mut(user);
        if owned || self.shape.items != ItemSide::Learned {
            // Strategies over an item model do not change its columns (the conformance suite checks it).
            self.strategy.learn_one(user, self.items.col_mut(item), seen);
        } else {
            self.scratch_item.copy_from_slice(self.items.col(item));
            self.strategy.learn_one(user, &mut self.scratch_item, seen);
        }
    }

    /// Contrasts an event of `item` with `other`. Columns of items are kept where they are this shard's to change.
    pub fn contrast(&mut self, user: usize, (item, owned): (usize, bool), (other, others): (usize, bool), seen: &Seen) {
        self.scratch_item.copy_from_slice(self.items.col(item));
        self.scratch_other.copy_from_slice(self.items.col(other));
        self.strategy.contrast(self.users.col_mut(user), &mut self.scratch_item, &mut self.scratch_other, seen);
        if owned {
            self.items.col_mut(item).copy_from_slice(&self.scratch_item);
        }
        if others {
            self.items.col_mut(other).copy_from_slice(&self.scratch_other);
        }
    }

    /// The owner's half of contrasting an event of another shard: `item` learns, `other` stands by.
    pub fn contrast_item(&mut self, user: &mut [f32], item: usize, other: usize, seen: &Seen) {
        self.scratch_other.copy_from_slice(self.items.col(other));
        self.strategy.contrast(user, self.items.col_mut(item), &mut self.scratch_other, seen);
    }

    /// Makes both columns of an event anew, the item's if it is this shard's to change.
    pub fn sweep(&mut self, user: usize, item: usize, owned: bool, recent: &[Recent], work: &mut Work) {
        self.strategy.sweep_user(self.users.col_mut(user), recent, &self.items, &mut self.shared, work);
        if owned {
            self.remember_user(item, u32::try_from(user).expect("slots are numbered in u32"));
            self.sweep_item(item, None, work);
        }
    }

    /// Makes the column of an item anew, `guest` being the user of another shard whose event it is.
    pub fn sweep_item(&mut self, item: usize, guest: Option<&[f32]>, work: &mut Work) {
        let slots = self.audiences.get(item).map_or(&[][..], Vec::as_slice);
        let audience = Audience { slots, users: &self.users, guest };
        self.strategy.sweep_item(self.items.col_mut(item), &audience, &mut self.shared, work);
    }

    /// Puts a user last among those of an item; the one that came least lately falls out.
    pub(super) fn remember_user(&mut self, item: usize, user: u32) {
        let most = self.sweeps.map_or(0, |sweeps| sweeps.audience);
        if item >= self.audiences.len() {
            self.audiences.resize(item + 1, Vec::new());
        }
        let audience = &mut self.audiences[item];
        match audience.iter().position(|other| *other == user) {
            Some(at) => drop(audience.remove(at)),
            None if audience.len() == most => drop(audience.remove(0)),
            None => {}
        }
        audience.push(user);
    }

    /// The owner's half of an event of another shard: the item learns from the user column as it was read.
    pub fn learn_item(&mut self, user: &mut [f32], item: usize, seen: &Seen) {
        self.strategy.learn_one(user, self.items.col_mut(item), seen);
    }

    /// Makes the user's column anew from the history.
    pub fn fold_in(&mut self, user: usize, recent: &[Recent], work: &mut Work) {
        self.strategy.fold_in(self.users.col_mut(user), recent, &self.items, &self.model, work);
    }

    /// Bytes mapped for columns, and held for the users of items.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let audiences: usize = self.audiences.iter().map(|users| users.capacity() * size_of::<u32>()).sum();
        self.users.bytes() + self.items.bytes() + audiences
    }
}
