//! Questions. They change nothing that is kept; `&mut self` is for scratch buffers.

use super::arm::Arm;
use super::{Item, Shard, User};
use crate::base::{Id, IdRef};
use crate::evaluate::Report;
use crate::learn::ItemSide;
use crate::linalg::kernels;

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// What was learned of this user and this item.
    Learned,
    /// The user was not seen before (or taught nothing yet).
    NewUser,
    /// The item was not seen before.
    NewItem,
    /// Neither was seen before.
    NeitherSeen,
}

impl Basis {
    fn of(slot: Option<usize>, row: Option<usize>) -> Self {
        match (slot, row) {
            (Some(_), Some(_)) => Self::Learned,
            (None, Some(_)) => Self::NewUser,
            (Some(_), None) => Self::NewItem,
            (None, None) => Self::NeitherSeen,
        }
    }
}

/// One predicted score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The score: a value for strategies that predict values, else only an order.
    pub score: f32,
    /// What it rests on.
    pub basis: Basis,
}

/// An item and its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The item.
    pub item: Id,
    /// Its score; higher is better.
    pub score: f32,
}

/// A ranked list.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Best first.
    pub items: Vec<Scored>,
    /// [`Basis::Learned`], or [`Basis::NewUser`] where popularity answered.
    pub basis: Basis,
    /// Version of the profile; 0 for a user that was not seen.
    pub version: u32,
}

/// What may be recommended.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    /// Leave out what the user's history holds.
    pub exclude_seen: bool,
    /// If not empty, only these items.
    pub allow_items: &'a [Id],
    /// Never these items.
    pub deny_items: &'a [Id],
    /// If not empty, only items with one of these tags.
    pub allow_tags: &'a [String],
    /// Never items with one of these tags.
    pub deny_tags: &'a [String],
}

/// One strategy's part of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmView {
    /// Its name.
    pub strategy: &'static str,
    /// Epoch of the item model.
    pub epoch: u32,
    /// The user's vector.
    pub factor: Vec<f32>,
}

/// A user as seen from outside.
#[derive(Debug)]
pub struct ProfileView<'a> {
    /// Facts and history.
    pub user: &'a User,
    /// Vectors, if they were asked for.
    pub arms: Vec<ArmView>,
    /// Hash of every bit that is kept of this user.
    pub digest: u64,
}

/// An item as seen from outside.
#[derive(Debug)]
pub struct ItemView<'a> {
    /// Facts.
    pub item: &'a Item,
    /// Tag names.
    pub tags: Vec<&'a str>,
    /// Popularity, decayed to the newest event of the shard's table.
    pub popularity: f64,
}

/// How one strategy has done in this shard.
#[derive(Clone, Debug)]
pub struct StrategyReport {
    /// Its name.
    pub strategy: &'static str,
    /// Events learned.
    pub events: u64,
    /// Items that this shard owns.
    pub items: u64,
    /// Test-then-learn figures, to be merged over shards.
    pub prequential: crate::evaluate::Prequential,
    /// What came of its lists, to be merged over shards.
    pub joins: crate::evaluate::Joins,
}

impl StrategyReport {
    /// The figures.
    #[must_use]
    pub fn report(&self) -> Report {
        self.prequential.report()
    }

    /// Adds what another shard has to say of this strategy.
    pub fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.items += other.items;
        self.prequential.merge(&other.prequential);
        self.joins.merge(&other.joins);
    }

    /// Share of the known items that were ever in a list recorded.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of items")]
    pub fn coverage(&self) -> f64 {
        (self.prequential.listed() / self.items as f64).min(1.0)
    }
}

impl Shard {
    /// Number of users.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Number of items known, owned ones and copies.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.items.len()
    }

    /// Events learned.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.events
    }

    /// Bytes mapped for columns.
    #[must_use]
    pub fn column_bytes(&self) -> usize {
        self.arms.iter().map(Arm::bytes).sum()
    }

    /// The arm of this strategy; an empty name is the first.
    #[must_use]
    pub fn arm_named(&self, strategy: &str) -> Option<usize> {
        if strategy.is_empty() { Some(0) } else { self.arms.iter().position(|arm| arm.strategy.name() == strategy) }
    }

    /// The name of an arm.
    ///
    /// # Panics
    /// If there is no such arm.
    #[must_use]
    pub fn arm_name(&self, arm: usize) -> &'static str {
        self.arms[arm].strategy.name()
    }

    /// Version of a user's profile; 0 if the user is not known.
    #[must_use]
    pub fn version(&self, id: IdRef<'_>) -> u32 {
        self.users.find(id).map_or(0, |slot| self.users.get(slot).version)
    }

    /// A user.
    pub fn profile(&mut self, id: IdRef<'_>, with_factors: bool) -> Option<ProfileView<'_>> {
        let slot = self.users.find(id)?;
        let digest = self.user_digest(slot);
        let mut arms = Vec::new();
        if with_factors {
            for index in 0..self.arms.len() {
                let restore = self.present(index, slot);
                let arm = &self.arms[index];
                let rows = arm.shape.user_rows;
                let factor = arm.users.col(slot)[..rows].to_vec();
                arms.push(ArmView { strategy: arm.strategy.name(), epoch: self.epoch, factor });
                self.put_back(index, slot, restore);
            }
        }
        Some(ProfileView { user: self.users.get(slot), arms, digest })
    }

    /// The id of an item in a history.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn item_id(&self, row: u32) -> &Id {
        &self.items.get(row as usize).id
    }

    /// An item.
    #[must_use]
    pub fn item(&self, id: IdRef<'_>) -> Option<ItemView<'_>> {
        let row = self.items.find(id)?;
        let item = self.items.get(row);
        let tags = item.tags.iter().map(|tag| self.tags.name(*tag)).collect();
        Some(ItemView { item, tags, popularity: self.items.popularity(row) })
    }

    /// Scores items for a user, one by one.
    pub fn predict(&mut self, arm: usize, user: IdRef<'_>, items: &[Id]) -> Vec<Prediction> {
        let slot = self.users.find(user);
        let restore = slot.and_then(|slot| self.present(arm, slot));
        let predictions = if self.arms[arm].strategy.over_bank() {
            self.predict_by_bank(arm, slot, items)
        } else {
            items.iter().map(|item| self.predict_one(arm, slot, item.as_ref())).collect()
        };
        if let Some(slot) = slot {
            self.put_back(arm, slot, restore);
        }
        predictions
    }

    fn predict_by_bank(&mut self, arm: usize, slot: Option<usize>, items: &[Id]) -> Vec<Prediction> {
        let rows: Vec<Option<usize>> = items.iter().map(|item| self.items.find(item.as_ref())).collect();
        let scores = self.bank_scores(arm, slot, &rows);
        scores.into_iter().zip(rows).map(|(score, row)| Prediction { score, basis: Basis::of(slot, row) }).collect()
    }

    /// Neither side known: the mean of explicit values. Only the item known: its column with an average user. Only the
    /// user known: the column that a new item would start with is random, so the user's offset alone.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    fn predict_one(&mut self, arm: usize, slot: Option<usize>, item: IdRef<'_>) -> Prediction {
        let mean = self.spread.mean as f32;
        let row = self.items.find(item);
        let basis = Basis::of(slot, row);
        let known = &mut self.arms[arm];
        let score = match (slot, row) {
            _ if known.strategy.ranks_by_popularity() => row.map_or(0.0, |row| self.items.popularity(row) as f32),
            (Some(slot), Some(row)) => known.score(slot, row, mean),
            _ if !known.shape.predicts_value => 0.0,
            (None, Some(row)) => {
                let mut query = vec![0.0; known.items.stride()];
                let nobody = vec![0.0; known.users.stride()];
                known.strategy.score_one(&nobody, known.items.col(row), mean, &mut query)
            }
            (Some(slot), None) => {
                let mut query = vec![0.0; known.items.stride()];
                known.strategy.query(known.users.col(slot), mean, &mut query)
            }
            (None, None) => mean,
        };
        Prediction { score, basis }
    }

    /// The best `k` items for a user.
    pub fn recommend(&mut self, arm: usize, user: IdRef<'_>, k: usize, filter: &Filter<'_>) -> Ranking {
        let slot = self.users.find(user);
        let version = slot.map_or(0, |slot| self.users.get(slot).version);
        let restore = slot.and_then(|slot| self.present(arm, slot));
        self.scratch.seen.clear();
        if let Some(slot) = slot.filter(|_| filter.exclude_seen) {
            self.collect_seen(slot);
        }
        self.fill_allowed(filter);
        self.mute(slot);
        let given = self.few_allowed(filter);
        let learned = self.score_items(arm, slot, None, filter.exclude_seen, given.as_deref());
        if let Some(slot) = slot {
            self.put_back(arm, slot, restore);
        }
        let items = self.best_for(slot, k);
        Ranking { items, basis: if learned { Basis::Learned } else { Basis::NewUser }, version }
    }

    /// Items whose columns point the way of this one's, by cosine; `None` if the item is not known. Where a strategy over
    /// the bank has no column of the item (no model yet, or none at all), the items that come with it; where none did, those
    /// that look, read or sound like it.
    pub fn similar(&mut self, arm: usize, item: IdRef<'_>, k: usize) -> Option<Vec<Scored>> {
        let row = self.items.find(item)?;
        let known = &self.arms[arm];
        let mut query = known.items.col(row).to_vec();
        let direction = known.strategy.factor_rows();
        query[direction..].fill(0.0);
        self.scratch.opined = false;
        let scores = &mut self.scratch.scores;
        crate::linalg::score::score_all(&known.items, &query, 0.0, scores);
        let norm = kernels::squared_norm(&query).sqrt();
        let mut column = vec![0.0; known.items.stride()];
        for (other, score) in scores.iter_mut().enumerate() {
            column[..direction].copy_from_slice(&known.items.col(other)[..direction]);
            let norms = norm * kernels::squared_norm(&column).sqrt();
            *score = if norms > 0.0 { *score / norms } else { f32::NAN };
        }
        if norm == 0.0 && known.strategy.over_bank() {
            self.fill_companions(row);
            if self.scratch.scores.iter().all(|score| score.is_nan()) {
                self.fill_alike(row);
            }
        }
        self.scratch.scores[row] = f32::NAN;
        self.scratch.seen.clear();
        self.scratch.allowed.clear();
        Some(self.best(k))
    }

    /// Items that this shard owns.
    #[must_use]
    pub fn owned_items(&self) -> u64 {
        self.items.iter().filter(|item| item.owner == self.index).count() as u64
    }

    /// How every strategy has done.
    #[must_use]
    pub fn reports(&self) -> Vec<StrategyReport> {
        let items = self.owned_items();
        let report = |(index, arm): (usize, &Arm)| StrategyReport {
            strategy: arm.strategy.name(),
            events: self.events,
            items,
            prequential: arm.prequential.clone(),
            joins: self.decisions.joins(index).clone(),
        };
        self.arms.iter().enumerate().map(report).collect()
    }

    /// Operations that named a decision without a list.
    #[must_use]
    pub fn missing_decisions(&self) -> super::Missing {
        self.decisions.missing()
    }

    /// Lengths of factor that a refit must fit, each once.
    #[must_use]
    pub fn model_dims(&self) -> Vec<usize> {
        let mut dims: Vec<usize> = self
            .arms
            .iter()
            .filter(|arm| self.options.takes_model(&arm.strategy))
            .map(|arm| arm.shape.item_rows)
            .collect();
        dims.sort_unstable();
        dims.dedup();
        dims
    }

    /// Retained histories for a refit: for each user with any, the items of events that weigh something, each once.
    #[must_use]
    pub fn histories(&self) -> Vec<Vec<u32>> {
        self.histories_in(0..self.users.len())
    }

    /// Those of some users, by slot; slots past the last are left out.
    #[must_use]
    pub fn histories_in(&self, slots: std::ops::Range<usize>) -> Vec<Vec<u32>> {
        let items = |user: &User| {
            let mut rows: Vec<u32> =
                user.history.entries().iter().filter(|entry| entry.weight > 0.0).map(|entry| entry.item).collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        };
        let slots = slots.start..slots.end.min(self.users.len());
        slots.map(|slot| items(self.users.get(slot))).filter(|rows| !rows.is_empty()).collect()
    }

    /// All item ids, by row.
    pub fn item_ids(&self) -> impl Iterator<Item = &Id> {
        self.items.iter().map(|item| &item.id)
    }

    /// Scores items for a user (`None`: not seen) by one arm: all of them into `scratch.scores`, or those that the bank
    /// has an opinion of ([`Shard::spread_opinions`] makes the one of the other). `unseen` says whether what stands in
    /// `scratch.seen` is left out. Where the arm has no opinion, popularity; says whether it had one. `given`: see
    /// [`Self::opine`].
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    pub(super) fn score_items(
        &mut self,
        arm: usize,
        slot: Option<usize>,
        time_ms: Option<i64>,
        unseen: bool,
        given: Option<&[u32]>,
    ) -> bool {
        self.scratch.opined = false;
        if self.arms[arm].strategy.over_bank() {
            return match self.opine(arm, slot, time_ms, unseen, given) {
                Some(personal) => personal,
                None => self.fill_popularity(),
            };
        }
        let arm = &mut self.arms[arm];
        let popularity = arm.strategy.ranks_by_popularity();
        if let Some(slot) = slot.filter(|_| !popularity)
            && arm.score_all(slot, self.spread.mean as f32, &mut self.scratch.scores)
        {
            return true;
        }
        self.fill_popularity();
        popularity
    }

    /// The popularity of all items, into `scratch.scores`: what is left where nothing rests on the user.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    fn fill_popularity(&mut self) -> bool {
        self.scratch.scores.clear();
        self.scratch.scores.extend((0..self.items.len()).map(|row| self.items.popularity(row) as f32));
        false
    }

    /// Scores of one arm for one user over all items, as ranking uses them: for offline evaluation.
    pub fn scores(&mut self, arm: usize, user: IdRef<'_>) -> &[f32] {
        let slot = self.users.find(user);
        let restore = slot.and_then(|slot| self.present(arm, slot));
        self.scratch.seen.clear();
        self.score_items(arm, slot, None, false, None);
        self.spread_opinions();
        if let Some(slot) = slot {
            self.put_back(arm, slot, restore);
        }
        &self.scratch.scores
    }

    /// Rows of the list that the last arm had when the latest event was ranked, best first: for offline evaluation.
    pub fn listed(&self) -> impl Iterator<Item = usize> {
        self.scratch.top.best().iter().map(|(_, row)| *row as usize)
    }

    /// Scores of one arm for one user over some items, 0 where an item is not known: for offline evaluation.
    pub fn scores_of(&mut self, arm: usize, user: IdRef<'_>, rows: &[Option<usize>]) -> Vec<f32> {
        if self.arms[arm].strategy.over_bank() {
            return self.bank_scores(arm, self.users.find(user), rows);
        }
        let scores = self.scores(arm, user);
        rows.iter().map(|row| row.map_or(0.0, |row| scores[row])).collect()
    }

    /// The row of an item: for offline evaluation.
    #[must_use]
    pub fn item_row(&self, id: IdRef<'_>) -> Option<usize> {
        self.items.find(id)
    }

    /// If the user's column still stands in the space of an older epoch, puts the present one in its place and returns
    /// the old one, which [`Self::put_back`] restores: a read changes nothing.
    pub(super) fn present(&mut self, arm: usize, slot: usize) -> Option<Vec<f32>> {
        if self.users.get(slot).epoch == self.epoch || self.arms[arm].shape.items != ItemSide::Model {
            return None;
        }
        self.collect_recent(slot, usize::MAX);
        let old = self.arms[arm].users.col(slot).to_vec();
        self.arms[arm].fold_in(slot, &self.scratch.recent, &mut self.scratch.work);
        Some(old)
    }

    pub(super) fn put_back(&mut self, arm: usize, slot: usize, column: Option<Vec<f32>>) {
        if let Some(column) = column {
            self.arms[arm].users.col_mut(slot).copy_from_slice(&column);
        }
    }
}
