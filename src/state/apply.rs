//! What each operation does. Nothing here can fail or wait.

use super::{Op, Outcome, OutcomeKind, Shard, portrait};
use crate::base::{IdRef, Reader, ids::mix};
use crate::evaluate::{Cohort, Judgement, prequential::SHORT_LIST};
use crate::learn::{ItemSide, Recent, Seen, Strategy};
use crate::linalg::axes::diagonal;
use crate::model::{Attributes, Entry, Event, RejectReason, Schema};
use crate::state::arm::{Arm, Tested};
use crate::state::churn::Leaving;
use crate::state::items::row_number;
use crate::state::model::EpochModel;

impl Shard {
    /// Applies the operation with the next sequence. Epochs come with their model through [`Shard::install`] instead.
    pub fn apply(&mut self, op: &Op<'_>) -> Outcome {
        self.carry_out(op, true)
    }

    /// [`Self::apply`] without what is off the path of the acknowledgement, for callers that time the two apart: they have
    /// called [`Self::train`] before.
    pub fn update(&mut self, op: &Op<'_>) -> Outcome {
        self.carry_out(op, false)
    }

    fn carry_out(&mut self, op: &Op<'_>, train: bool) -> Outcome {
        self.sequence += 1;
        match op {
            Op::Event(event) => self.learn(event, train),
            Op::UserUpsert { user, attributes, .. } => self.upsert_user(*user, attributes),
            Op::ItemUpsert { item, time_ms, tags, attributes } => self.upsert_item(*item, *time_ms, tags, attributes),
            Op::Merge { source, bytes, .. } => self.merge(*source, bytes),
            Op::Rows { owner, count, bytes, .. } => self.take_rows(*owner, *count, bytes),
            Op::Epoch { .. } => Outcome::applied(self.epoch),
            Op::Ranker { version, weights } => self.take_ranker(*version, weights),
            Op::Exposure { decision, user, places, time_ms, list } => {
                self.expose((*decision, *user), *places, *time_ms, list)
            }
            Op::Outcome { decision, event, list } => self.learn_outcome(*decision, event, list, train),
            Op::Pretrained { part } => self.take_pretrained(part),
            Op::Schema { schema } => self.take_schema(schema),
            Op::Control { user, time_ms, control } => self.control(*user, *time_ms, control),
            Op::Retract { user, event_id } => self.retract(*user, *event_id),
            Op::Seal { user, into } => self.seal(*user, *into),
            Op::Absorb { into, user, bytes } => self.absorb(*into, *user, bytes),
            Op::Empty { user } => self.empty(*user),
            Op::Embedding { item, modality, time_ms, vector } => self.put_embedding(*item, modality, *time_ms, vector),
        }
    }

    /// Goes on under another schema. One that cannot follow changes nothing: who made the operation has seen to that.
    fn take_schema(&mut self, bytes: &[u8]) -> Outcome {
        match Schema::decode(&mut Reader::new(bytes)) {
            Ok(schema) if self.schema.follow(&schema).is_ok() => {
                let horizon_ms = std::mem::replace(&mut self.schema, schema).churn_horizon_ms;
                if horizon_ms != self.schema.churn_horizon_ms {
                    *self.leaving = Leaving::new(&self.schema, mix(self.options.seed ^ 5));
                }
                self.formulas = portrait::formulas(&self.schema);
                self.redescribe_all();
                self.declare_modalities();
            }
            _ => debug_assert!(false, "schemas are checked before they become operations"),
        }
        Outcome::applied(self.schema.version)
    }

    /// Learns one event: find, test, learn, remember.
    pub(super) fn learn(&mut self, event: &Event<'_>, train: bool) -> Outcome {
        let slot = self.known_user(event.user);
        if self.users.get(slot).history.holds(event.event_id) {
            return Outcome::unchanged(OutcomeKind::Duplicate, self.users.get(slot).version);
        }
        if let Some(reason) = self.refusal(slot, event) {
            return Outcome::unchanged(OutcomeKind::Refused(reason), self.users.get(slot).version);
        }
        self.touch_user(slot);
        if self.is_machine(slot, event) {
            let quarantined = OutcomeKind::Refused(RejectReason::Quarantined);
            return Outcome::unchanged(quarantined, self.users.get(slot).version);
        }
        self.foretell(slot, event.time_ms);
        let (known, row) = self.place(slot, event.item);
        self.touch_item(row);
        let owned = self.items.get(row).owner == self.index;

        let (explicit, weight) = self.weigh(Some(slot), event);
        let tested = self.test(slot, row, known, explicit, weight, event);
        if train {
            self.train(event);
        }
        if explicit {
            self.spread.add(f64::from(event.value));
        }
        let user = self.users.get_mut(slot);
        let since_ms = user.observe(event.time_ms);
        if explicit {
            user.value_sum += f64::from(event.value);
            user.value_count += 1;
        }
        let mean = self.spread.mean as f32;
        let seen = Seen { value: event.value, weight, explicit, mean, since_ms };
        if owned {
            self.count_item(row, weight, event.time_ms, 1);
        } else {
            self.observe_foreign(slot, row, &seen, event.time_ms);
        }
        self.contrast(slot, row, owned, &seen);
        for arm in &mut self.arms {
            if !arm.strategy.learns_from_history() && (weight > 0.0 || arm.shape.predicts_value) {
                arm.learn_one(slot, row, owned, &seen);
            }
        }
        let described = self.count_person(slot, row, event);
        self.remember(slot, row, event, weight, described);
        if weight > 0.0 {
            self.bank_learn(slot, row, event.time_ms);
        }
        self.events += 1;
        Outcome {
            score_before: tested.score,
            rank_before: tested.rank.unwrap_or(0),
            ..Outcome::applied(self.users.get(slot).version)
        }
    }

    /// Whether an event is a judgement, and what it weighs as a sign of interest.
    ///
    /// A judgement weighs by where it stands among all judgements so far: `0.5 + 0.5 z`, within 0 and 1, so that a low
    /// rating teaches a ranking strategy nothing and a high one counts fully.
    ///
    /// What cleaning takes off comes on top. An event without a value is no judgement, whatever its kind.
    pub(super) fn weigh(&self, slot: Option<usize>, event: &Event<'_>) -> (bool, f32) {
        let Some(kind) = self.schema.kinds.get(event.kind) else {
            return (false, 0.0); // a kind that was taken out of the configuration since it was journaled
        };
        let trust = self.trust(slot, event, kind) as f32;
        if !kind.explicit {
            return (false, kind.weight * trust);
        }
        let given = !event.value.is_nan();
        let value = if given { Some(event.value) } else { self.made_up(slot, event.kind) };
        let deviation = self.spread.deviation();
        let z = match value {
            Some(value) if deviation > 0.0 => (f64::from(value) - self.spread.mean) / deviation,
            _ => 1.0,
        };
        (given, kind.weight * trust * (0.5 + 0.5 * z).clamp(0.0, 1.0) as f32)
    }

    /// Ranks the item of an event by every arm and records it in their figures, without learning the event: for
    /// evaluation that chooses itself which events are ranked. To be followed by applying the same event; with
    /// `rank_every` 0, both together do what applying alone does where an event is due for ranking.
    ///
    /// The rank is the first arm's: `None` for an item that the user's history holds, which is not ranked.
    pub fn test_event(&mut self, event: &Event<'_>) -> Tested {
        let slot = self.known_user(event.user);
        let (known, row) = self.place(slot, event.item);
        let rank = self.test_ranks(slot, row, known, event.time_ms);
        Tested { score: self.score(0, slot, row), rank }
    }

    /// Makes ready what an event touches: the user in the space of the present epoch, the item (was it known?) a row.
    fn place(&mut self, slot: usize, item: IdRef<'_>) -> (bool, usize) {
        self.touch_user(slot);
        self.refresh_user(slot);
        match self.items.find(item) {
            Some(row) => (true, row),
            None => (false, self.insert_item(item)),
        }
    }

    /// Tests every arm on the event before any learns it; returns the first arm's result.
    fn test(&mut self, slot: usize, row: usize, known: bool, explicit: bool, weight: f32, event: &Event<'_>) -> Tested {
        let every = u64::from(self.options.rank_every);
        let due = every > 0 && self.events.is_multiple_of(every) && weight > 0.0;
        let rank = if due { self.test_ranks(slot, row, known, event.time_ms) } else { None };
        let mut first = f32::NAN;
        let cohort = Cohort::of(self.users.get(slot).events);
        // Predicted and learned in one: both look at the same things.
        let rating = if explicit { self.learn_rating(slot, row, event) } else { None };
        for index in 0..self.arms.len() {
            let score = match rating {
                Some(rating) if matches!(self.arms[index].strategy, Strategy::Auto(_)) => rating,
                _ => self.score(index, slot, row),
            };
            if explicit && self.arms[index].shape.predicts_value {
                let judgement = self.judgement(score, event);
                self.arms[index].prequential.record_judgement(cohort, &judgement);
            }
            if index == 0 {
                first = score;
            }
        }
        Tested { score: first, rank }
    }

    fn judgement(&self, score: f32, event: &Event<'_>) -> Judgement {
        let kind = self.schema.kinds.get(event.kind);
        let prediction = f64::from(kind.map_or(score, |kind| kind.clip(score)));
        let mean = if self.spread.count > 0 { self.spread.mean } else { f64::NAN };
        Judgement { prediction, value: f64::from(event.value), mean, range: kind.and_then(|kind| kind.range) }
    }

    /// The score of one item by one arm.
    fn score(&mut self, index: usize, slot: usize, row: usize) -> f32 {
        if self.arms[index].strategy.ranks_by_popularity() {
            return self.items.popularity(row) as f32;
        }
        if self.arms[index].strategy.over_bank() {
            return f32::NAN; // an order over candidates, which ranking asks for, and no score of one item
        }
        self.arms[index].score(slot, row, self.spread.mean as f32)
    }

    /// Ranks one item by every arm and records it; returns the first arm's rank. An item that the history holds is no
    /// candidate: nothing is recorded.
    fn test_ranks(&mut self, slot: usize, row: usize, known: bool, time_ms: i64) -> Option<u32> {
        self.collect_seen(slot);
        if u32::try_from(row).is_ok_and(|row| self.scratch.seen.binary_search(&row).is_ok()) {
            return None;
        }
        let mut first = None;
        let cohort = Cohort::of(self.users.get(slot).events);
        for index in 0..self.arms.len() {
            // An item that nobody mentioned before is a miss: one past the last candidate.
            let rank = if known { self.rank_item(index, slot, row, time_ms) } else { self.candidates() };
            self.arms[index].prequential.record_ranking(cohort, known.then_some(rank));
            if known {
                self.record_list(index, cohort);
            }
            first = first.or(Some(rank));
        }
        first
    }

    /// Records what the list of the scores just ranked by looks like: which items, and how much they tell.
    fn record_list(&mut self, index: usize, cohort: Cohort) {
        self.scratch.allowed.clear();
        self.pick(SHORT_LIST as usize);
        let Self { items, scratch, arms, .. } = self;
        let rows = || scratch.top.best().iter().map(|(_, row)| *row as usize);
        let told: f64 = rows().map(|row| items.information(row)).sum();
        let hashes = rows().map(|row| items.get(row).id.as_ref().stable_hash());
        arms[index].prequential.record_list(cohort, hashes, told / rows().count().max(1) as f64);
    }

    fn candidates(&self) -> u32 {
        u32::try_from(self.items.len() - self.scratch.seen.len()).unwrap_or(u32::MAX)
    }

    fn rank_item(&mut self, index: usize, slot: usize, row: usize, time_ms: i64) -> u32 {
        self.score_items(index, Some(slot), Some(time_ms), true, None);
        if let Some(rank) = self.rank_among_opinions(row) {
            return rank;
        }
        self.spread_opinions();
        Arm::rank(&self.scratch.scores, row, &self.scratch.seen)
    }

    /// Appends the event to the history, and runs the strategies that learn from it.
    fn remember(&mut self, slot: usize, row: usize, event: &Event<'_>, weight: f32, described: u16) {
        let item = row_number(row);
        let Event { event_id, kind, value, time_ms, .. } = *event;
        let user = self.users.get_mut(slot);
        user.history.push(Entry { event_id, time_ms, item, value, weight, kind, described }, self.options.history_max);
        let readers = self.arms.iter().filter(|arm| arm.strategy.learns_from_history() || arm.sweeps.is_some());
        if let Some(most) = readers.map(|arm| arm.strategy.reads_history().unwrap_or(usize::MAX)).max() {
            self.collect_recent(slot, most);
            let owned = self.items.get(row).owner == self.index;
            for arm in &mut self.arms {
                if arm.strategy.learns_from_history() {
                    arm.fold_in(slot, &self.scratch.recent, &mut self.scratch.work);
                } else if arm.sweeps.is_some() && weight > 0.0 {
                    arm.sweep(slot, row, owned, &self.scratch.recent, &mut self.scratch.work);
                }
            }
        }
    }

    /// Brings a user's vectors into the space of the present epoch, at the first touch after a refit.
    fn refresh_user(&mut self, slot: usize) {
        if self.users.get(slot).epoch == self.epoch {
            return;
        }
        self.collect_recent(slot, usize::MAX);
        for arm in self.arms.iter_mut().filter(|arm| arm.shape.items == ItemSide::Model) {
            arm.fold_in(slot, &self.scratch.recent, &mut self.scratch.work);
        }
        self.users.get_mut(slot).epoch = self.epoch;
    }

    /// The user's newest events that weigh something, at most `most`, newest first, into `scratch.recent`.
    pub(super) fn collect_recent(&mut self, slot: usize, most: usize) {
        let recent = &mut self.scratch.recent;
        recent.clear();
        let mut entries = self.users.get(slot).history.newest_first().filter(|entry| entry.weight > 0.0).peekable();
        while recent.len() < most
            && let Some(entry) = entries.next()
        {
            let since_ms = entries.peek().map_or(0, |before| entry.time_ms.saturating_sub(before.time_ms));
            recent.push(Recent { item: entry.item, weight: entry.weight, since_ms });
        }
    }

    /// The rows in the user's history, rising and once each, into `scratch.seen`.
    pub(super) fn collect_seen(&mut self, slot: usize) {
        let seen = &mut self.scratch.seen;
        seen.clear();
        seen.extend(self.users.get(slot).history.entries().iter().map(|entry| entry.item));
        seen.sort_unstable();
        seen.dedup();
    }

    /// The rows of the user's events that weigh something, in the order of the history, into `scratch.met`.
    pub(super) fn collect_met(&mut self, slot: Option<usize>) {
        let met = &mut self.scratch.met;
        met.clear();
        if let Some(slot) = slot {
            let entries = self.users.get(slot).history.entries();
            met.extend(entries.iter().filter(|entry| entry.weight > 0.0).map(|entry| entry.item));
        }
    }

    /// The slot of a user, known from now on.
    pub(super) fn known_user(&mut self, id: IdRef<'_>) -> usize {
        self.users.find(id).unwrap_or_else(|| self.insert_user(id))
    }

    /// The row of an item, known from now on.
    pub(super) fn known_item(&mut self, id: IdRef<'_>) -> usize {
        self.items.find(id).unwrap_or_else(|| self.insert_item(id))
    }

    fn insert_user(&mut self, id: IdRef<'_>) -> usize {
        for arm in &mut self.arms {
            arm.insert_user(id);
        }
        self.bank_user(id);
        self.users.insert(id, self.epoch)
    }

    fn insert_item(&mut self, id: IdRef<'_>) -> usize {
        for arm in &mut self.arms {
            arm.insert_item(id);
        }
        self.bank_item(id);
        let owner = self.owner(id);
        self.items.insert(id, owner)
    }

    /// Counts an event of an item (`by` 1), or takes it away (`by` -1).
    pub(super) fn count_item(&mut self, row: usize, weight: f32, time_ms: i64, by: i64) {
        if self.items.would_rescale(time_ms) {
            self.touch_all_items();
        }
        self.items.count(row, weight, time_ms, by);
        self.mark_dirty(row);
    }

    pub(super) fn mark_dirty(&mut self, row: usize) {
        let item = self.items.get_mut(row);
        if self.options.shards > 1 && !item.dirty {
            item.dirty = true;
            self.dirty.push_back(row_number(row));
        }
    }

    fn upsert_user(&mut self, id: IdRef<'_>, attributes: &Attributes) -> Outcome {
        let slot = self.known_user(id);
        self.touch_user(slot);
        let user = self.users.get_mut(slot);
        let kept = user.attributes.get_or_insert_default().merge(attributes);
        let version = user.changed();
        self.regroup(slot);
        Outcome::kept(kept, version)
    }

    fn upsert_item(&mut self, id: IdRef<'_>, time_ms: i64, tags: &[&str], attributes: &Attributes) -> Outcome {
        let row = self.known_item(id);
        self.touch_item(row);
        self.set_tags(row, time_ms, tags);
        let item = self.items.get_mut(row);
        let kept = attributes.is_empty() || item.attributes.get_or_insert_default().merge(attributes);
        item.version = item.version.wrapping_add(1);
        let version = item.version;
        self.redescribe(row);
        self.mark_dirty(row);
        Outcome::kept(kept, version)
    }

    /// Sets the tags of an item, unless newer ones are known, and its signature with them.
    pub(super) fn set_tags(&mut self, row: usize, time_ms: i64, tags: &[&str]) {
        if self.items.get(row).tags_ms > time_ms {
            return;
        }
        let mut numbers: Vec<u32> = tags.iter().map(|tag| self.tags.number(tag)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let hashes: Vec<u64> = tags.iter().map(|tag| mix(IdRef::Text(tag).stable_hash() ^ self.options.seed)).collect();
        for arm in &mut self.arms {
            arm.sign_item(row, &hashes);
        }
        if let Some(banked) = &mut self.banked {
            banked.bank.set_tags(row, &numbers);
        }
        let item = self.items.get_mut(row);
        item.tags = numbers;
        item.tags_ms = time_ms;
    }

    /// Installs the item model of an epoch: the operation that [`Op::Epoch`] names. Users follow at their first touch.
    pub fn install(&mut self, model: &EpochModel) -> Outcome {
        self.sequence += 1;
        self.touch_all_items();
        let rows: Vec<usize> = model.ids.iter().map(|id| self.known_item(id.as_ref())).collect();
        for arm in self.arms.iter_mut().filter(|arm| self.options.takes_model(&arm.strategy)) {
            let Some(part) = model.parts.iter().find(|part| part.dim == arm.shape.item_rows) else { continue };
            for column in 0..arm.items.len() {
                arm.items.col_mut(column).fill(0.0);
            }
            for (row, factor) in rows.iter().zip(part.factors.chunks_exact(part.dim)) {
                arm.items.col_mut(*row)[..part.dim].copy_from_slice(factor);
            }
            arm.model.epoch = model.epoch;
            arm.model.gram = diagonal(&part.gram, part.dim).unwrap_or_else(|| part.gram.clone());
            arm.model.items = model.ids.len() as u64;
        }
        self.epoch = model.epoch;
        Outcome::applied(model.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::learn::Strategy;
    use crate::state::Options;

    #[test]
    fn testing_and_then_applying_is_applying_with_a_rank() {
        let strategies = Strategy::NAMES.iter().map(|name| Strategy::default_named(name).expect("listed")).collect();
        let options = Options { strategies, history_max: 20, ..Options::default() };
        let mut ranked = Shard::new(0, Options { rank_every: 1, ..options.clone() });
        let mut tested = Shard::new(0, options);
        let mut rng = Rng::new(31);
        for at in 0..3_000_i64 {
            let (user, item) = (IdRef::Int(rng.below(30)), IdRef::Int(rng.below(200)));
            let kind = if rng.below(3) == 0 { 5 } else { 0 };
            let value = 1.0 + rng.below(5) as f32;
            let event = Event { event_id: 0, user, item, kind, value, time_ms: 60_000 * at };
            // What weighs nothing is not due for ranking.
            let weighs = tested.weigh(tested.users.find(user), &event).1 > 0.0;
            let before = if weighs { tested.test_event(&event).rank } else { None };
            let (one, two) = (ranked.apply(&Op::Event(event)), tested.apply(&Op::Event(event)));
            assert_eq!((one.rank_before, two.rank_before), (before.unwrap_or(0), 0), "seed 31, event {at}");
            assert_eq!(one.score_before.to_bits(), two.score_before.to_bits(), "seed 31, event {at}");
        }
        for (one, two) in ranked.reports().iter().zip(tested.reports()) {
            assert_eq!(one.prequential, two.prequential, "{}", one.strategy);
            assert!(one.report().ranked > 1_000);
        }
        for user in 0..30 {
            let digest = |shard: &mut Shard| shard.profile(IdRef::Int(user), false).map(|view| view.digest);
            assert_eq!(digest(&mut ranked), digest(&mut tested), "user {user}");
        }
    }
}
