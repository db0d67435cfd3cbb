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

/// Collects the best `k` as a set, in no order: cheaper than [`TopK`] where `k` is large. Room for twice as many is filled
/// and the worse half dropped, so most offers are one compare.
///
/// Scores are not NaN. Among equal scores at the edge, who stays follows from the order of offers.
#[derive(Clone, Debug, Default)]
pub struct BestSet {
    k: usize,
    /// Only scores above it can still be among the best.
    threshold: f32,
    held: Vec<(f32, u32)>,
}

impl BestSet {
    /// Forgets what it holds and keeps the best `k`, at least 1, from now on. Keeps its memory.
    pub fn reset(&mut self, k: usize) {
        self.k = k.max(1);
        self.threshold = f32::NEG_INFINITY;
        self.held.clear();
    }

    /// Whether an offer of this score would change anything.
    #[must_use]
    #[inline]
    pub fn wants(&self, score: f32) -> bool {
        score > self.threshold
    }

    /// Offers one candidate.
    #[inline]
    pub fn offer(&mut self, score: f32, index: u32) {
        if score > self.threshold {
            self.held.push((score, index));
            if self.held.len() >= 2 * self.k {
                self.shrink();
            }
        }
    }

    #[cold]
    fn shrink(&mut self) {
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let (_, worst, _) = self.held.select_nth_unstable_by(self.k - 1, order);
        self.threshold = worst.0;
        self.held.truncate(self.k);
    }

    /// The best, at most `k`, in no order that means anything.
    pub fn best(&mut self) -> &[(f32, u32)] {
        if self.held.len() > self.k {
            self.shrink();
        }
        &self.held
    }
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
        for round in 0..200 {
            let k = 1 + rng.below(60) as usize;
            set.reset(k);
            top.reset(k);
            for index in 0..rng.below(500) as u32 {
                let score = rng.normal() as f32;
                let wanted = set.wants(score);
                set.offer(score, index);
                top.offer(score, index);
                assert!(wanted || !top.best().contains(&(score, index)), "seed 12, round {round}");
            }
            let mut held = set.best().to_vec();
            held.sort_by(|a, b| b.0.total_cmp(&a.0));
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
