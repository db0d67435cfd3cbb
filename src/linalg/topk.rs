//! The best k of a list of scores: higher first, the lower index first among equals. NaN never enters.
//!
//! A threshold scan: one compare an item once the list is full (0.5 ns), an insertion into a short sorted list for the
//! few that pass.

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

    /// The best, best first: `(score, index)`.
    #[must_use]
    pub fn best(&self) -> &[(f32, u32)] {
        &self.best
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
