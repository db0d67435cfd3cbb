//! Who may be recommended, and the best of them.

use super::{Filter, Scored, Scratch, Shard};

/// Most items that are scored because a filter names them; about as many as there are candidates without one.
const FEW: usize = 512;

/// Times as many items as are wanted that are ranked where a user wants less of some.
const SPARE: usize = 8;

impl Shard {
    /// Marks which rows the filter allows, into `scratch.allowed`; empty means all.
    pub(super) fn fill_allowed(&mut self, filter: &Filter<'_>) {
        let allowed = &mut self.scratch.allowed;
        allowed.clear();
        let lists =
            [filter.allow_items.len(), filter.deny_items.len(), filter.allow_tags.len(), filter.deny_tags.len()];
        if lists == [0; 4] {
            return;
        }
        allowed.resize(self.items.len(), filter.allow_items.is_empty());
        for row in filter.allow_items.iter().filter_map(|id| self.items.find(id.as_ref())) {
            allowed[row] = true;
        }
        for row in filter.deny_items.iter().filter_map(|id| self.items.find(id.as_ref())) {
            allowed[row] = false;
        }
        let numbers = |names: &[String]| names.iter().filter_map(|name| self.tags.find(name)).collect::<Vec<u32>>();
        let (allow, deny) = (numbers(filter.allow_tags), numbers(filter.deny_tags));
        if filter.allow_tags.is_empty() && deny.is_empty() {
            return;
        }
        for (allowed, item) in allowed.iter_mut().zip(self.items.iter()) {
            let has = |tags: &[u32]| item.tags.iter().any(|tag| tags.contains(tag));
            *allowed &= (filter.allow_tags.is_empty() || has(&allow)) && !has(&deny);
        }
    }

    /// The rows that the filter names (and `scratch.seen` does not hold), if they are few: then `auto` is asked about each
    /// of them, as its own candidates may hold none. To be called after [`Self::fill_allowed`].
    pub(super) fn few_allowed(&self, filter: &Filter<'_>) -> Option<Vec<u32>> {
        if filter.allow_items.is_empty() && filter.allow_tags.is_empty() {
            return None;
        }
        let Scratch { allowed, seen, .. } = &self.scratch;
        let named = (0_u32..).zip(allowed).filter(|(row, allowed)| **allowed && seen.binary_search(row).is_err());
        let rows: Vec<u32> = named.map(|(row, _)| row).take(FEW + 1).collect();
        (1..=FEW).contains(&rows.len()).then_some(rows)
    }

    /// The best `k` by what [`Shard::score_items`] found, without what `scratch.seen` and `scratch.allowed` leave out.
    pub(super) fn best(&mut self, k: usize) -> Vec<Scored> {
        self.pick(k);
        self.named(self.scratch.top.best())
    }

    /// The same for a user, who may want less of something.
    pub(super) fn best_for(&mut self, slot: Option<usize>, k: usize) -> Vec<Scored> {
        if !self.wants_less(slot) {
            return self.best(k);
        }
        self.pick((SPARE * k).max(FEW).min(self.items.len()));
        self.named(&self.keep_less(slot, k))
    }

    pub(super) fn named(&self, rows: &[(f32, u32)]) -> Vec<Scored> {
        let item = |&(score, row): &(f32, u32)| Scored { item: self.items.get(row as usize).id.clone(), score };
        rows.iter().map(item).collect()
    }

    /// The same, as rows, into `scratch.top`.
    pub(super) fn pick(&mut self, k: usize) {
        if self.pick_opinions(k) {
            return;
        }
        self.spread_opinions();
        let Scratch { scores, seen, allowed, top, .. } = &mut self.scratch;
        for row in seen.iter() {
            scores[*row as usize] = f32::NAN;
        }
        for (score, _) in scores.iter_mut().zip(allowed.iter()).filter(|(_, allowed)| !**allowed) {
            *score = f32::NAN;
        }
        top.reset(k);
        top.offer_all(scores);
    }
}
