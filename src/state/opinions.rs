//! What strategies over the bank answer: opinions of some items, and how a shard ranks, picks and predicts by them.
//!
//! An opinion is an item with a score. Whatever there is no opinion of stands behind, by popularity; as long as the
//! opinions suffice for what is asked, no pass over all items is made.

use super::Shard;
use super::banked::Banked;
use super::items::row_number;
use crate::learn::bank::taste::Taste;

impl Shard {
    /// Opinions of a strategy over the bank for a user; `excluded` says whether what stands in `scratch.seen` is left
    /// out, `given` which items `auto` is asked about instead of those that its bank proposes. `None` if there were none, else whether they rest on the user.
    pub(super) fn opine(
        &mut self,
        arm: usize,
        slot: Option<usize>,
        time_ms: Option<i64>,
        excluded: bool,
        given: Option<&[u32]>,
    ) -> Option<bool> {
        self.collect_met(slot);
        let banked = self.banked.as_mut()?;
        let time_ms = time_ms.unwrap_or(banked.bank.latest_ms());
        let excluded = if excluded { &self.scratch.seen[..] } else { &[] };
        let asker = banked.asker(slot, &self.scratch.met, excluded, time_ms);
        banked.opine(&self.arms[arm], asker, given);
        self.scratch.opined = !banked.scratch.opinions.is_empty();
        self.scratch.opined.then_some(asker.user.is_some())
    }

    /// The best `k` of the opinions, without what `scratch.seen` and `scratch.allowed` leave out, into `scratch.top`:
    /// whatever there is no opinion of stands behind them. Does nothing and says so if they are too few.
    pub(super) fn pick_opinions(&mut self, k: usize) -> bool {
        let Some(banked) = self.banked.as_ref().filter(|_| self.scratch.opined) else { return false };
        let super::Scratch { seen, allowed, top, .. } = &mut self.scratch;
        top.reset(k);
        for (item, score) in &banked.scratch.opinions {
            let allowed = allowed.is_empty() || allowed[*item as usize];
            if allowed && seen.binary_search(item).is_err() {
                top.offer(*score, *item);
            }
        }
        top.best().len() == k
    }

    /// The rank of an item by the opinions alone; `None` where they do not tell it.
    pub(super) fn rank_among_opinions(&self, row: usize) -> Option<u32> {
        let opinions = &self.banked.as_ref().filter(|_| self.scratch.opined)?.scratch.opinions;
        let own = opinions.iter().find(|(item, _)| *item as usize == row)?.1;
        let ahead = |(item, score): &&(u32, f32)| *score > own || (*score == own && (*item as usize) < row);
        let seen = |item: &u32| self.scratch.seen.binary_search(item).is_ok();
        let before = opinions.iter().filter(ahead).filter(|(item, _)| !seen(item)).count();
        (!own.is_nan()).then_some(1 + before as u32)
    }

    /// Makes opinions the scores of all items, into `scratch.scores`: behind them all others by popularity.
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    pub(super) fn spread_opinions(&mut self) {
        let Some(banked) = self.banked.as_ref().filter(|_| self.scratch.opined) else { return };
        let opinions = &banked.scratch.opinions;
        let lowest = opinions.iter().map(|(_, score)| *score).fold(f32::INFINITY, f32::min);
        let highest = (0..self.items.len()).map(|row| self.items.popularity(row)).fold(0.0, f64::max) + 1.0;
        let behind = |row: usize| lowest - 2.0 + (self.items.popularity(row) / highest) as f32;
        let scores = &mut self.scratch.scores;
        scores.clear();
        scores.extend((0..self.items.len()).map(behind));
        for (item, score) in opinions {
            scores[*item as usize] = *score;
        }
        self.scratch.opined = false;
    }

    /// The items that came with this one among the newest of a user, by cosine, into `scratch.scores`; NaN for all others,
    /// and for all without a bank.
    pub(super) fn fill_companions(&mut self, row: usize) {
        let scores = &mut self.scratch.scores;
        scores.clear();
        scores.resize(self.items.len(), f32::NAN);
        let Some(Banked { bank, .. }) = self.banked.as_deref() else { return };
        let events = |item: usize| bank.counts.get(item).events as f32;
        for (other, sums) in bank.pairs.row(row).iter() {
            scores[other as usize] = sums[0] / (events(row) * events(other as usize)).sqrt();
        }
    }

    /// How much alike other items' embeddings are, as the fused score of a user who met this item alone; none for those of
    /// which nothing is known.
    pub(super) fn fill_alike(&mut self, row: usize) {
        let Some(Banked { bank, .. }) = self.banked.as_deref() else { return };
        let others = bank.embeddings.embedded();
        let (mut taste, mut found) = (Taste::default(), Vec::new());
        taste.of(&bank.embeddings, std::iter::once(row_number(row)));
        if taste.known() {
            taste.score(&bank.embeddings, &others, &mut found);
            others.iter().zip(found).for_each(|(other, [score, _])| self.scratch.scores[*other as usize] = score);
        }
    }

    /// The scores of some items by a strategy over the bank: values where `auto` predicts them, else what it ranks by, and
    /// the lowest there is for an item that it has no opinion of. `None` is an item that is not known.
    pub(super) fn bank_scores(&mut self, arm: usize, slot: Option<usize>, rows: &[Option<usize>]) -> Vec<f32> {
        let Some(time_ms) = self.banked.as_ref().map(|banked| banked.bank.latest_ms()) else { return Vec::new() };
        let predicts = self.arms[arm].shape.predicts_value;
        if predicts && let Some(values) = self.predict_ratings(slot, rows, time_ms) {
            return values;
        }
        let given: Vec<u32> = rows.iter().filter_map(|row| u32::try_from((*row)?).ok()).collect();
        self.collect_seen_but(slot, &given);
        self.collect_met(slot);
        let Some(banked) = &mut self.banked else { return Vec::new() };
        let asker = banked.asker(slot, &self.scratch.met, &self.scratch.seen, time_ms);
        banked.opine(&self.arms[arm], asker, Some(&given));
        let opinions = &mut banked.scratch.opinions;
        opinions.sort_unstable_by_key(|(item, _)| *item); // the same item has the same score wherever it stands
        let score = |row: usize| {
            let found = opinions.binary_search_by_key(&row, |(item, _)| *item as usize);
            found.map_or(f32::MIN, |at| opinions[at].1)
        };
        rows.iter().map(|row| row.map_or(f32::MIN, score)).collect()
    }

    /// What stands aside when a user is asked about `given` items, into `scratch.seen`: the rest of the history. Features
    /// compare items with all that is open to the user, and the ranker learned them without what the user had.
    pub(super) fn collect_seen_but(&mut self, slot: Option<usize>, given: &[u32]) {
        self.scratch.seen.clear();
        if let Some(slot) = slot {
            self.collect_seen(slot);
            let mut given = given.to_vec();
            given.sort_unstable();
            self.scratch.seen.retain(|row| given.binary_search(row).is_err());
        }
    }
}
