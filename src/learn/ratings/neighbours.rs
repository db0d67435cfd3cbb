//! Item neighbours: what a user thought of alike items beyond what the bias models said.
//!
//! Alike are items with a large sum of products of residuals of those who rated both, shrunk (Koren, *Factor in the
//! neighbors*, TKDD 2010, section 2.2): `r_ij = S_ij / (sqrt(v_i v_j) (N_ij + 100))`. Over the user's last [`RECENT`] rated
//! items a prediction is `sum w r e / (c + sum |w r|)` with residuals `e` and weights `w` that fall with age.
//!
//! Bounds: a pair is kept once, in the row of one of its two items, picked by a hash so that rows fill evenly; a row is an
//! open table that doubles up to the limit and from then on gives up the pair with the fewest raters within the probed
//! window. Work an event is [`RECENT`] probes of at most [`WINDOW`] entries.

use std::collections::VecDeque;

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::ids::mix;
use crate::linalg::online::votes;
use crate::linalg::padded;

/// Rated items of a user that are remembered.
pub(super) const RECENT: usize = 64;

/// Entries that a probe looks at.
const WINDOW: usize = 8;

/// Entries of a row that has any.
const ROW_MIN: usize = 16;

/// Raters after which both sums of a pair are halved: `f32`s stop counting at 2^24.
const MANY: f32 = 1_048_576.0;

const NOBODY: u32 = u32::MAX;

/// Raters in common that halve what a pair says.
const SHRINK: f32 = 100.0;

/// The two rows of a pair in the order of keeping: whose table, which key.
#[inline]
pub(super) fn keeper(a: u32, b: u32) -> (u32, u32) {
    let (low, high) = (a.min(b), a.max(b));
    if mix(u64::from(low) << 32 | u64::from(high)) & 1 == 0 { (low, high) } else { (high, low) }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    item: u32,
    count: f32,
    sum: f32,
}

const EMPTY: Entry = Entry { item: NOBODY, count: 0.0, sum: 0.0 };

/// The pairs that one item keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    entries: Vec<Entry>,
    /// One over the standard deviation of the item's residuals: follows from its column, and is here to be near.
    pub inverse: f32,
}

impl Row {
    /// Positions where `item` may be, in the order of looking. Tables are powers of two and never smaller than a window.
    #[inline]
    fn window(length: usize, item: u32) -> impl Iterator<Item = usize> {
        let home = mix(u64::from(item)) as usize;
        (0..WINDOW).map(move |step| home.wrapping_add(step) & (length - 1))
    }

    /// Raters in common and the sum of their products of residuals.
    #[inline]
    pub fn find(&self, item: u32) -> (f32, f32) {
        if self.entries.is_empty() {
            return (0.0, 0.0);
        }
        for at in Self::window(self.entries.len(), item) {
            let entry = &self.entries[at];
            if entry.item == item {
                return (entry.count, entry.sum);
            }
            if entry.item == NOBODY {
                break;
            }
        }
        (0.0, 0.0)
    }

    /// Adds a rater of both, at most `limit` entries in all.
    pub fn add(&mut self, item: u32, product: f32, weight: f32, limit: usize) {
        if self.entries.is_empty() {
            self.entries.resize(ROW_MIN, EMPTY);
        }
        loop {
            if let Some(at) = self.place(item) {
                let entry = &mut self.entries[at];
                entry.item = item;
                entry.count += weight;
                entry.sum += product * weight;
                if entry.count > MANY {
                    entry.count *= 0.5;
                    entry.sum *= 0.5;
                }
                return;
            }
            if self.entries.len() * 2 > limit {
                let weakest = self.weakest(item);
                self.entries[weakest] = Entry { item, count: weight, sum: product * weight };
                return;
            }
            self.double(limit);
        }
    }

    /// Where `item` is or may be put.
    #[inline]
    fn place(&self, item: u32) -> Option<usize> {
        Self::window(self.entries.len(), item).find(|at| {
            let found = self.entries[*at].item;
            found == item || found == NOBODY
        })
    }

    /// The entry with the fewest raters among those in the way of `item`.
    fn weakest(&self, item: u32) -> usize {
        let mut weakest = Self::window(self.entries.len(), item).next().unwrap_or(0);
        for at in Self::window(self.entries.len(), item) {
            if self.entries[at].count < self.entries[weakest].count {
                weakest = at;
            }
        }
        weakest
    }

    /// Doubles, and again while an entry finds no place and the limit allows it; at the limit the weaker ones go.
    fn double(&mut self, limit: usize) {
        let old = std::mem::take(&mut self.entries);
        let mut length = old.len() * 2;
        loop {
            self.entries.clear();
            self.entries.resize(length, EMPTY);
            let mut homeless = false;
            for entry in old.iter().filter(|entry| entry.item != NOBODY) {
                let at = self.place(entry.item).unwrap_or_else(|| {
                    homeless = true;
                    self.weakest(entry.item)
                });
                self.entries[at] = *entry;
            }
            if !homeless || length * 2 > limit {
                return;
            }
            length *= 2;
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    pub fn encode(&self, out: &mut Writer<'_>) {
        out.count(self.entries.len());
        for entry in &self.entries {
            out.u32(entry.item).f32(entry.count).f32(entry.sum);
        }
    }

    /// A table of any length that is no power of two, or shorter than a window, is refused.
    /// The inverse is the caller's to set.
    ///
    /// # Errors
    /// [`CursorError`] if the bytes are no row.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        let length = from.count(size_of::<Entry>(), 1 << 24)?;
        if length != 0 && (!length.is_power_of_two() || length < ROW_MIN) {
            let allowed = "0, or a power of two from 16";
            return Err(CursorError::Bad { what: "pairs of an item", offset, found: length as u64, allowed });
        }
        let mut entries = Vec::with_capacity(length);
        for _ in 0..length {
            entries.push(Entry { item: from.u32()?, count: from.f32()?, sum: from.f32()? });
        }
        Ok(Self { entries, inverse: 0.0 })
    }
}

/// A rated item of a user, and what the slow bias model had missed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Past {
    pub item: u32,
    pub residual: f32,
}

/// What is remembered of a user beside the column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Time of the last rating.
    pub last_ms: i64,
    /// Oldest first, at most [`RECENT`].
    pub recent: VecDeque<Past>,
}

impl Memory {
    pub fn push(&mut self, past: Past, time_ms: i64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(past);
        self.last_ms = time_ms;
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.recent.capacity() * size_of::<Past>()
    }

    pub fn encode(&self, out: &mut Writer<'_>) {
        out.i64(self.last_ms).count(self.recent.len());
        for past in &self.recent {
            out.u32(past.item).f32(past.residual);
        }
    }

    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let last_ms = from.i64()?;
        let length = from.count(size_of::<Past>(), RECENT)?;
        let mut recent = VecDeque::with_capacity(length);
        for _ in 0..length {
            recent.push_back(Past { item: from.u32()?, residual: from.f32()? });
        }
        Ok(Self { last_ms, recent })
    }
}

/// What is known of the user's recent items and the item in question, newest first; places past the last are zero.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    length: usize,
    residuals: [f32; RECENT],
    counts: [f32; RECENT],
    sums: [f32; RECENT],
    inverses: [f32; RECENT],
}

impl Asked {
    pub fn new() -> Self {
        let none = [0.0; RECENT];
        Self { length: 0, residuals: none, counts: none, sums: none, inverses: none }
    }

    /// One recent item: its residual, raters in common and their sum of products with the item in question, and the inverse
    /// of the product of both items' standard deviations of residuals.
    #[inline]
    pub fn push(&mut self, residual: f32, (count, sum): (f32, f32), inverse: f32) {
        let at = self.length.min(RECENT - 1);
        self.residuals[at] = residual;
        self.counts[at] = count;
        self.sums[at] = sum;
        self.inverses[at] = inverse;
        self.length = at + 1;
    }
}

/// `rate^age` for every age.
const fn ages(rate: f32) -> [f32; RECENT] {
    let mut ages = [1.0; RECENT];
    let mut age = 1;
    while age < RECENT {
        ages[age] = ages[age - 1] * rate;
        age += 1;
    }
    ages
}

const LATE: [f32; RECENT] = ages(0.97);
const LATEST: [f32; RECENT] = ages(0.85);

/// What the neighbours say.
#[derive(Clone, Debug)]
pub(super) struct Votes {
    /// Plain, with weights .97^age, with .85^age, with the similarity to the power 2.5.
    pub pairs: [f32; 4],
    /// The first and the third, believed less where there is little to go by.
    pub careful: [f32; 2],
    /// How much there was to go by: plain, late, latest.
    pub support: [f32; 3],
}

impl Votes {
    /// Weighs what was asked.
    pub fn count(asked: &Asked) -> Self {
        let mut weights = [[0.0; RECENT]; 4];
        let [plain, late, latest, sharp] = &mut weights;
        let length = padded(asked.length);
        for at in 0..length {
            let alike = asked.sums[at] * asked.inverses[at] / (asked.counts[at] + SHRINK);
            plain[at] = alike;
            late[at] = LATE[at] * alike;
            latest[at] = LATEST[at] * alike;
            sharp[at] = alike * alike.abs() * alike.abs().sqrt();
        }
        let sums = weights.map(|weights| votes(&weights[..length], &asked.residuals[..length]));
        let value = |at: usize, shrink: f32| sums[at][0] / (sums[at][1] + shrink);
        Self {
            pairs: [value(0, 0.5), value(1, 0.5), value(2, 0.5), value(3, 0.1)],
            careful: [value(0, 5.0), value(2, 5.0)],
            support: [sums[0][1], sums[1][1], sums[2][1]],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::base::Rng;

    #[test]
    fn a_row_that_is_not_full_is_a_map() {
        let mut rng = Rng::new(21);
        let (mut row, mut map) = (Row::default(), HashMap::new());
        for _ in 0..4_000 {
            let item = rng.below(100) as u32;
            row.add(item, 0.5, 2.0, 1 << 16);
            let sums: &mut (f32, f32) = map.entry(item).or_default();
            *sums = (sums.0 + 2.0, sums.1 + 1.0);
        }
        for item in 0..120 {
            assert_eq!(row.find(item), map.get(&item).copied().unwrap_or_default(), "item {item}");
        }
    }

    #[test]
    fn a_full_row_keeps_its_bound_and_its_strongest() {
        let mut rng = Rng::new(22);
        let mut row = Row::default();
        for _ in 0..200 {
            row.add(7, 1.0, 1.0, 64);
        }
        for _ in 0..20_000 {
            row.add(8 + rng.below(100_000) as u32, 1.0, 1.0, 64);
        }
        assert_eq!(row.find(7), (200.0, 200.0));
        assert!(row.bytes() <= 64 * size_of::<Entry>());
    }

    #[test]
    fn a_pair_has_one_keeper_and_rows_fill_evenly() {
        let mut lows = 0;
        for (a, b) in (0..100_u32).flat_map(|a| (0..a).map(move |b| (a, b))) {
            assert_eq!(keeper(a, b), keeper(b, a));
            lows += u32::from(keeper(a, b).0 == b);
        }
        assert!((2_300..2_650).contains(&lows), "{lows} of 4950");
    }

    #[test]
    fn votes_agree_with_the_formula() {
        let mut asked = Asked::new();
        let past = [(0.5, 30.0, 12.0, 1.5), (-1.0, 5.0, -2.0, 0.8), (2.0, 100.0, 40.0, 1.0)];
        let (mut sum, mut all) = (0.0_f64, 0.5_f64);
        for (age, (residual, count, product, inverse)) in past.into_iter().enumerate() {
            asked.push(residual, (count, product), inverse);
            let alike = 0.97_f64.powi(age as i32) * f64::from(product * inverse) / (f64::from(count) + 100.0);
            sum += alike * f64::from(residual);
            all += alike.abs();
        }
        let votes = Votes::count(&asked);
        assert!((f64::from(votes.pairs[1]) - sum / all).abs() < 1e-5, "{votes:?} against {}", sum / all);
    }
}
