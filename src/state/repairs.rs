//! Taking an event away, as if it had never come.
//!
//! *Exact*: sums of the person, counts of the item and of the population, the retained history, and every vector that is
//! made of the history (fold_in, and mean, decay while all events of the user are still retained). *Not exact*: what other
//! users' events have learned from it since: factors that both sides learn (biased_mf, isgd, raisgd, bpr, eals), and of
//! `auto` pairs, sequence, attention and the ranker. There the event loses its place in the user's own trail, and its trace
//! in what is shared is outweighed as newer events come. The reply says which of the two it was.

use super::Shard;
use super::{Outcome, OutcomeKind};
use crate::base::IdRef;
use crate::learn::{ItemSide, Seen};
use crate::model::Entry;
use crate::person::Seen as SeenEvent;

impl Shard {
    /// Takes an event away; the event must be retained.
    pub(super) fn retract(&mut self, user: IdRef<'_>, event_id: u64) -> Outcome {
        let nothing = |version| Outcome::unchanged(OutcomeKind::NotFound, version);
        let Some(slot) = self.users.find(user) else { return nothing(0) };
        self.touch_user(slot);
        let Some(entry) = self.users.get_mut(slot).history.take(event_id) else {
            return nothing(self.users.get(slot).version);
        };
        let whole = self.users.get(slot).events == self.users.get(slot).history.len() as u64 + 1;
        self.uncount(slot, &entry);
        self.rebuild_user(slot);
        self.events -= 1;
        let version = self.users.get_mut(slot).changed();
        let exact = self.arms.iter().all(|arm| !arm.strategy.over_bank() && arm.shape.items != ItemSide::Learned)
            && (whole || self.arms.iter().all(|arm| arm.strategy.learns_from_history()));
        Outcome { exact, ..Outcome::applied(version) }
    }

    /// Takes an event out of all sums.
    fn uncount(&mut self, slot: usize, entry: &Entry) {
        let row = entry.item as usize;
        self.touch_item(row);
        if let Some(kind) = self.schema.kinds.get(entry.kind) {
            let item = self.items.get(row).described(entry.described);
            let seen = SeenEvent { kind, value: entry.value, time_ms: entry.time_ms, item };
            self.users.get_mut(slot).person.count(&self.schema, &seen, -1);
            self.population.count(&item.facets, -1);
            self.values.count(entry.kind, entry.value, -1);
            if kind.explicit && !entry.value.is_nan() {
                self.spread.remove(f64::from(entry.value));
                let user = self.users.get_mut(slot);
                user.value_sum -= f64::from(entry.value);
                user.value_count -= 1;
            }
        }
        if self.items.get(row).owner == self.index {
            self.count_item(row, entry.weight, entry.time_ms, -1);
        } else {
            self.unobserve_foreign(row, entry.weight, entry.time_ms);
        }
        let user = self.users.get_mut(slot);
        user.events -= 1;
        let times = || user.history.entries().iter().map(|entry| entry.time_ms);
        // Where older events are no longer retained, the first one's time is still the first's.
        if user.events == user.history.len() as u64 {
            user.first_ms = times().min().unwrap_or(0);
        }
        user.last_ms = times().max().unwrap_or(0);
        let last = user.history.entries().iter().filter(|held| held.kind == entry.kind).map(|held| held.time_ms).max();
        if let Some(last_ms) = last {
            user.person.behaviours.set_last(entry.kind, last_ms);
        }
    }

    /// Makes a user's vectors anew out of the retained history, and the trail of the bank.
    pub(super) fn rebuild_user(&mut self, slot: usize) {
        let entries: Vec<Entry> = self.users.get(slot).history.oldest_first().copied().collect();
        let hash_of = self.users.get(slot).id.clone();
        self.collect_recent(slot, usize::MAX);
        let mean = self.spread.mean as f32;
        for arm in &mut self.arms {
            if arm.strategy.learns_from_history() {
                arm.fold_in(slot, &self.scratch.recent, &mut self.scratch.work);
                continue;
            }
            arm.reset_user(slot, hash_of.as_ref());
            let mut before_ms = None;
            for entry in &entries {
                let judges = self.schema.kinds.get(entry.kind).is_some_and(|kind| kind.explicit);
                let explicit = judges && !entry.value.is_nan();
                let since_ms = before_ms.map_or(0, |before: i64| entry.time_ms.saturating_sub(before));
                before_ms = Some(before_ms.map_or(entry.time_ms, |before| before.max(entry.time_ms)));
                if arm.sweeps.is_none() && (entry.weight > 0.0 || (explicit && arm.shape.predicts_value)) {
                    let seen = Seen { value: entry.value, weight: entry.weight, explicit, mean, since_ms };
                    // The item is somebody else's: its side has learned already.
                    arm.learn_one(slot, entry.item as usize, false, &seen);
                }
            }
            if arm.sweeps.is_some()
                && let Some(entry) = entries.last()
            {
                arm.sweep(slot, entry.item as usize, false, &self.scratch.recent, &mut self.scratch.work);
            }
        }
        if let Some(banked) = &mut self.banked {
            let weighing = entries.iter().filter(|entry| entry.weight > 0.0);
            banked.bank.set_trail(slot, weighing.map(|entry| (entry.item, entry.time_ms)));
        }
    }
}
