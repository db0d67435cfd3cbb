//! Why an item has its score for a user: parts that add up to it.
//!
//! * Strategies over a fitted item model make the user's vector from the remembered events. The part of an event is what
//!   the score became by it: learned after all older ones, less learned without it. Such differences add up by
//!   themselves; what lies before the events asked for is one part.
//! * Strategies whose vectors are learned step by step cannot say which step is whose: offset and product.
//! * `auto` says which group of features moves a candidate away from the mean one (`learn/auto/explain.rs`), and which
//!   part of the stack a predicted value comes from.

use super::Shard;
use super::query::Basis;
use crate::base::{Id, IdRef};
use crate::learn::auto::explain::explain;
use crate::learn::auto::newcomers::NEWCOMER;
use crate::learn::{ItemSide, Recent, ScorePart, Strategy};
use crate::linalg::kernels;
use crate::model::Entry;

/// The part of one event of the user.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPart {
    /// Towards which item.
    pub item: Id,
    /// Of which kind.
    pub kind: u8,
    /// When, in milliseconds.
    pub time_ms: i64,
    /// How much.
    pub value: f32,
}

/// A score and what it is made of: the sum of `parts` and `events`, but for rounding.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The score.
    pub score: f32,
    /// What it rests on.
    pub basis: Basis,
    /// Version of the profile; 0 for a user that was not seen.
    pub version: u32,
    /// Named parts.
    pub parts: Vec<ScorePart>,
    /// Newest events, the newest first, for strategies that can tell them apart.
    pub events: Vec<EventPart>,
}

impl Shard {
    /// Why an item has its score for a user; `None` if the item is not known. `ranking` asks for the score that
    /// recommendations are ordered by, where that is another than the value predicted. At most `most` events are told.
    pub fn explain(
        &mut self,
        arm: usize,
        user: IdRef<'_>,
        item: IdRef<'_>,
        ranking: bool,
        most: usize,
    ) -> Option<Explanation> {
        let row = self.items.find(item)?;
        let slot = self.users.find(user);
        let version = slot.map_or(0, |slot| self.users.get(slot).version);
        let basis = if slot.is_some() { Basis::Learned } else { Basis::NewUser };
        let restore = slot.and_then(|slot| self.present(arm, slot));
        let (score, parts, events) = self.take_apart(arm, slot, row, ranking, most);
        if let Some(slot) = slot {
            self.put_back(arm, slot, restore);
        }
        Some(Explanation { score, basis, version, parts, events })
    }

    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    fn take_apart(
        &mut self,
        arm: usize,
        slot: Option<usize>,
        row: usize,
        ranking: bool,
        most: usize,
    ) -> (f32, Vec<ScorePart>, Vec<EventPart>) {
        let whole = |name, value| (value, vec![ScorePart { name, value }], Vec::new());
        if self.arms[arm].strategy.over_bank() {
            let (score, parts) = self.explain_by_bank(arm, slot, row, ranking);
            return (score, parts, Vec::new());
        }
        let mean = self.spread.mean as f32;
        let popularity = self.items.popularity(row) as f32;
        let known = &mut self.arms[arm];
        match slot {
            _ if known.strategy.ranks_by_popularity() => whole("popularity", popularity),
            Some(slot) => {
                let [offset, product] = known.score_parts(slot, row, mean);
                let opinion = known.has_opinion();
                if ranking && !opinion {
                    return whole("popularity", popularity);
                }
                if known.shape.items == ItemSide::Model {
                    return self.by_events(arm, slot, row, most, [offset, product]);
                }
                let parts = [("offset", offset), ("vectors", product)];
                let parts = parts.map(|(name, value)| ScorePart { name, value }).into();
                (offset + product, parts, Vec::new())
            }
            None if ranking => whole("popularity", popularity),
            None if !known.shape.predicts_value => whole("new user", 0.0),
            None => {
                let (mut query, nobody) = (vec![0.0; known.items.stride()], vec![0.0; known.users.stride()]);
                let score = known.strategy.score_one(&nobody, known.items.col(row), mean, &mut query);
                whole("average user", score)
            }
        }
    }

    /// The newest events one by one, and all older ones together.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    fn by_events(
        &mut self,
        arm: usize,
        slot: usize,
        row: usize,
        most: usize,
        [offset, product]: [f32; 2],
    ) -> (f32, Vec<ScorePart>, Vec<EventPart>) {
        let mean = self.spread.mean as f32;
        let reads = self.arms[arm].strategy.reads_history().unwrap_or(usize::MAX);
        self.collect_recent(slot, reads);
        let Self { arms, scratch, users, items, .. } = self;
        let (arm, recent) = (&arms[arm], &scratch.recent);
        let (mut column, mut query) = (vec![0.0; arm.users.stride()], vec![0.0; arm.items.stride()]);
        let mut score_of = |recent: &[Recent]| {
            column.fill(0.0);
            query.fill(0.0);
            arm.strategy.fold_in(&mut column, recent, &arm.items, &arm.model, &mut scratch.work);
            let offset = arm.strategy.query(&column, mean, &mut query);
            f64::from(offset + kernels::dot(&query, arm.items.col(row)))
        };
        let told = most.min(recent.len());
        let scores: Vec<f64> = (0..=told).map(|from| score_of(&recent[from..])).collect();
        let weighed = |entry: &&Entry| entry.weight > 0.0;
        let newest = users.get(slot).history.newest_first().filter(weighed);
        let event = |(entry, pair): (&Entry, &[f64])| EventPart {
            item: items.get(entry.item as usize).id.clone(),
            kind: entry.kind,
            time_ms: entry.time_ms,
            value: (pair[0] - pair[1]) as f32,
        };
        let events: Vec<EventPart> = newest.zip(scores.windows(2)).map(event).collect();
        let score = offset + product;
        let of_events: f64 = events.iter().map(|event| f64::from(event.value)).sum();
        let older = (f64::from(product) - of_events) as f32;
        let parts = [("offset", offset), ("older events", older)];
        (score, parts.map(|(name, value)| ScorePart { name, value }).into(), events)
    }

    fn explain_by_bank(&mut self, arm: usize, slot: Option<usize>, row: usize, ranking: bool) -> (f32, Vec<ScorePart>) {
        if let Some(found) = self.banked_parts(arm, slot, row, ranking) {
            return found;
        }
        let score = self.bank_scores(arm, slot, &[Some(row)]).first().copied().unwrap_or(f32::MIN);
        let name = self.arm_name(arm);
        (score, vec![ScorePart { name, value: score }])
    }

    /// What `auto` makes its scores of; `None` for other strategies.
    fn banked_parts(
        &mut self,
        arm: usize,
        slot: Option<usize>,
        row: usize,
        ranking: bool,
    ) -> Option<(f32, Vec<ScorePart>)> {
        let item = u32::try_from(row).ok()?;
        self.collect_seen_but(slot, &[item]);
        self.collect_met(slot);
        let arm = &self.arms[arm];
        let Strategy::Auto(auto) = &arm.strategy else { return None };
        let banked = self.banked.as_mut()?;
        let time_ms = banked.bank.latest_ms();
        if !ranking && let Some(ratings) = banked.ratings.as_mut().filter(|ratings| ratings.learned() > 0) {
            let score = ratings.predict(slot, Some(row), time_ms);
            return Some((score, ratings.explain(slot, Some(row), time_ms)));
        }
        let asker = banked.asker(slot, &self.scratch.met, &self.scratch.seen, time_ms);
        let (features, shift) = banked.features_of(arm, asker, item, auto.candidates)?;
        let (score, mut parts) = explain(banked.ranker.as_ref()?, &features);
        if shift != 0.0 {
            parts.push(ScorePart { name: NEWCOMER, value: shift });
        }
        Some((score + shift, parts))
    }
}
