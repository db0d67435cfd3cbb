//! The best k of a list of scores: higher first, the lower index first among equals. NaN never enters.
//!
//! A threshold scan: one compare an item once the list is full (0.5 ns), an insertion into a short sorted list for the
//! few that pass.

/// Scores that are looked at together.
const CHUNK: usize = 32;

/// Collects the best `k`.
#[derive(Clone, Debug, Default)]
pub struct TopK {
    k: usize,
    best: Vec<(f32, u32)>,
}

impl TopK {
    /// Forgets what it holds and keeps the best `k` from now on. Keeps its memory.
    pub fn reset(&mut self, k: usize) {
        self.k = k;
        self.best.clear();
        self.best.reserve(k + 1);
    }

    /// Offers one candidate.
    #[inline]
    pub fn offer(&mut self, score: f32, index: u32) {
        if self.best.len() == self.k {
            match self.best.last() {
                Some(worst) if before((score, index), *worst) => {}
                _ => return,
            }
            self.best.pop();
        }
        if !score.is_nan() && self.k > 0 {
            let at = self.best.partition_point(|held| before(*held, (score, index)));
            self.best.insert(at, (score, index));
        }
    }

    /// Offers a whole list, numbered from 0: what [`Self::offer`] does one after the other, at one compare a score.
    pub fn offer_all(&mut self, scores: &[f32]) {
        let (first, rest) = scores.split_at(scores.len().min(self.k));
        first.iter().zip(0..).for_each(|(score, index)| self.offer(*score, index));
        let mut worst = self.threshold();
        let chunks = rest.chunks(CHUNK).zip((first.len()..).step_by(CHUNK));
        for (chunk, start) in chunks {
            // All compares without a branch between: most chunks hold nothing.
            if !chunk.iter().fold(false, |found, score| found | (*score > worst)) && self.best.len() == self.k {
                continue;
            }
            for (score, index) in chunk.iter().zip(start..) {
                if *score > worst || self.best.len() < self.k {
                    self.offer(*score, u32::try_from(index).unwrap_or(u32::MAX));
                    worst = self.threshold();
                }
            }
        }
    }

    /// What a later index must exceed to enter a full list.
    fn threshold(&self) -> f32 {
        self.best.last().map_or(f32::INFINITY, |worst| worst.0)
    }

    /// The best, best first: `(score, index)`.
    #[must_use]
    pub fn best(&self) -> &[(f32, u32)] {
        &self.best
    }
}

/// Finds the best `k` of a list as a set, in no order: cheaper than [`TopK`] where `k` is large.
///
/// The leading bits of the first keys, counted, tell what the best `k` reach at least; one pass collects what does, and a
/// selection among those few ends it. Among equal keys the earlier place comes first.
#[derive(Clone, Debug, Default)]
pub struct BestSet {
    counts: Vec<u32>,
    held: Vec<(f32, u32)>,
}

/// Keys whose leading bits are counted.
const COUNTED: usize = 512;
/// Bits of a key that are not leading: sign, exponent and two bits of the mantissa are.
const REST_BITS: u32 = 21;
/// Turns the bits of floats into numbers of the same order, sign bit set.
const SIGN: u32 = 1 << 31;

impl BestSet {
    /// The best `k` of `keys` with their places. Keys that are negative infinity or NaN stand for nothing.
    pub fn of(&mut self, keys: &[f32], k: usize) -> &[(f32, u32)] {
        let Self { counts, held } = self;
        let least = least(counts, &keys[..keys.len().min(COUNTED)], k);
        held.clear();
        for (chunk, start) in keys.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            // All compares without a branch between: most chunks hold nothing.
            if chunk.iter().fold(false, |found, key| found | (*key >= least)) {
                let places = chunk.iter().zip(start..).filter(|(key, _)| **key >= least);
                held.extend(places.map(|(key, place)| (*key, place)));
            }
        }
        if held.len() > k {
            if k > 0 {
                held.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            }
            held.truncate(k);
        }
        held
    }
}

/// What the `k` best of `keys`, and so of any list that they are part of, reach at least; the least number there is if
/// they are fewer.
fn least(counts: &mut Vec<u32>, keys: &[f32], k: usize) -> f32 {
    counts.clear();
    counts.resize(1 << (32 - REST_BITS), 0);
    for key in keys.iter().filter(|key| **key > f32::NEG_INFINITY) {
        let bits = key.to_bits();
        let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
        counts[(ordered >> REST_BITS) as usize] += 1;
    }
    let mut above = 0;
    for (bucket, count) in (0..1_u32 << (32 - REST_BITS)).zip(counts.iter()).rev() {
        above += *count as usize;
        if above >= k && *count > 0 {
            let ordered = bucket << REST_BITS;
            return f32::from_bits(if ordered & SIGN == 0 { !ordered } else { ordered ^ SIGN });
        }
    }
    f32::MIN
}

fn before(one: (f32, u32), two: (f32, u32)) -> bool {
    one.0 > two.0 || (one.0 == two.0 && one.1 < two.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn equals_a_full_sort() {
        let mut rng = Rng::new(11);
        let mut top = TopK::default();
        for k in [0, 1, 3, 10, 100] {
            let scores: Vec<f32> = (0..500).map(|_| rng.below(50) as f32).collect();
            let mut sorted: Vec<(f32, u32)> = scores.iter().zip(0..).map(|(score, index)| (*score, index)).collect();
            sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            top.reset(k);
            for (score, index) in scores.iter().zip(0..) {
                top.offer(*score, index);
            }
            assert_eq!(top.best(), &sorted[..k], "k {k}");
            top.reset(k);
            top.offer_all(&scores);
            assert_eq!(top.best(), &sorted[..k], "all at once, k {k}");
        }
    }

    #[test]
    fn all_at_once_is_one_after_the_other_with_missing_scores() {
        let mut rng = Rng::new(13);
        for round in 0..300 {
            let k = rng.below(12) as usize;
            let score = |rng: &mut Rng| if rng.below(3) == 0 { f32::NAN } else { rng.below(40) as f32 };
            let scores: Vec<f32> = (0..rng.below(200)).map(|_| score(&mut rng)).collect();
            let (mut one, mut all) = (TopK::default(), TopK::default());
            one.reset(k);
            scores.iter().zip(0..).for_each(|(score, index)| one.offer(*score, index));
            all.reset(k);
            all.offer_all(&scores);
            assert_eq!(one.best(), all.best(), "seed 13, round {round}, k {k}");
        }
    }

    #[test]
    fn a_set_holds_what_a_sorted_list_does() {
        let mut rng = Rng::new(12);
        let (mut set, mut top) = (BestSet::default(), TopK::default());
        for round in 0..300 {
            let k = rng.below(60) as usize;
            let count = rng.below([20, 500, 5_000][round % 3]);
            let key = |rng: &mut Rng| match rng.below(8) {
                0 => f32::NEG_INFINITY,
                1 => f32::NAN,
                2 => rng.below(3) as f32,
                _ => 100.0 * rng.normal() as f32,
            };
            let mut keys: Vec<f32> = (0..count).map(|_| key(&mut rng)).collect();
            if round % 5 == 0 {
                keys.sort_by(f32::total_cmp); // the best come last
            }
            top.reset(k);
            for (key, place) in keys.iter().zip(0..).filter(|(key, _)| **key > f32::NEG_INFINITY) {
                top.offer(*key, place);
            }
            let mut held = set.of(&keys, k).to_vec();
            held.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            assert_eq!(held, top.best(), "seed 12, round {round}, k {k}");
        }
    }

    #[test]
    fn nan_never_enters() {
        let mut top = TopK::default();
        top.reset(2);
        for (index, score) in [f32::NAN, 1.0, f32::NAN, 2.0, f32::NAN].into_iter().enumerate() {
            top.offer(score, index as u32);
        }
        assert_eq!(top.best(), &[(2.0, 3), (1.0, 1)]);
    }
}
