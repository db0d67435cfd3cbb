//! What became of every scored event under one strategy: what paired comparisons and plots are made of.
//!
//! All strategies of one evaluation score the same events, because each runs over the whole stream in a shard of its own
//! and what is scored depends on the stream alone. They run one after the other, so that times and memory are their own.

use super::report::Tenth;
use crate::evaluate::prequential::{LONG_LIST, SHORT_LIST};

/// Outcomes of one run, in the order of the stream: predictions and values (P1), or ranks (P2, P3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    /// Which event of the stream (row of the test file in P3), from 0.
    pub at: Vec<u32>,
    /// Whose it is, as a dense number.
    pub users: Vec<u32>,
    /// What was predicted, clipped to the scale.
    pub predictions: Vec<f32>,
    /// What came.
    pub values: Vec<f32>,
    /// Rank from 1 of what came; [`MISS`] where it could not be ranked.
    pub ranks: Vec<u32>,
}

/// The rank of an item that nobody had mentioned before.
pub const MISS: u32 = u32::MAX;

/// A measure that is a mean over events: its name in figures, and what each event contributes.
pub struct Measure {
    /// Name in figures.
    pub name: &'static str,
    of: Of,
}

enum Of {
    /// Of the absolute error of each prediction, all at once.
    Errors(fn(&[f64]) -> Vec<f64>),
    /// Of one rank.
    Rank(fn(f64) -> f64),
}

/// What is compared pair by pair.
pub static MEASURES: [Measure; 6] = [
    Measure { name: "rmse", of: Of::Errors(root_mean_square) },
    Measure { name: "mae", of: Of::Errors(<[f64]>::to_vec) },
    Measure { name: "hr_10", of: Of::Rank(|rank| if rank <= SHORT { 1.0 } else { 0.0 }) },
    Measure { name: "ndcg_10", of: Of::Rank(|rank| if rank <= SHORT { 1.0 / (rank + 1.0).log2() } else { 0.0 }) },
    Measure { name: "mrr_10", of: Of::Rank(|rank| if rank <= SHORT { 1.0 / rank } else { 0.0 }) },
    Measure { name: "hr_100", of: Of::Rank(|rank| if rank <= LONG { 1.0 } else { 0.0 }) },
];

const SHORT: f64 = SHORT_LIST as f64;
const LONG: f64 = LONG_LIST as f64;

impl Outcomes {
    /// Notes a prediction.
    pub fn predicted(&mut self, at: usize, user: u32, prediction: f32, value: f32) {
        self.scored(at, user);
        self.predictions.push(prediction);
        self.values.push(value);
    }

    /// Notes a rank.
    pub fn ranked(&mut self, at: usize, user: u32, rank: u32) {
        self.scored(at, user);
        self.ranks.push(rank);
    }

    fn scored(&mut self, at: usize, user: u32) {
        self.at.push(u32::try_from(at).unwrap_or(u32::MAX));
        self.users.push(user);
    }

    /// Absolute errors; not a number where a prediction is none.
    #[must_use]
    pub fn errors(&self) -> Vec<f64> {
        let pairs = self.predictions.iter().zip(&self.values);
        pairs.map(|(prediction, value)| (f64::from(*prediction) - f64::from(*value)).abs()).collect()
    }

    /// Only what is of event `first` or a later one.
    #[must_use]
    pub fn since(&self, first: usize) -> Self {
        self.only(|at| at as usize >= first)
    }

    /// Only what is of events of the stream that `keep` says so of.
    #[must_use]
    pub fn only(&self, keep: impl Fn(u32) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.at.len()).filter(|place| keep(self.at[*place])).collect();
        // Of predictions and ranks one is empty.
        fn those<T: Copy>(all: &[T], kept: &[usize]) -> Vec<T> {
            kept.iter().filter_map(|place| all.get(*place).copied()).collect()
        }
        Self {
            at: those(&self.at, &kept),
            users: those(&self.users, &kept),
            predictions: those(&self.predictions, &kept),
            values: those(&self.values, &kept),
            ranks: those(&self.ranks, &kept),
        }
    }

    /// The value of a measure: the mean of its contributions that are numbers.
    #[must_use]
    pub fn mean(&self, name: &str) -> Option<f64> {
        let measure = MEASURES.iter().find(|measure| measure.name == name)?;
        let contributions = self.contributions(measure)?;
        let finite = || contributions.iter().filter(|one| one.is_finite());
        Some(finite().sum::<f64>() / finite().count() as f64)
    }

    /// Predictions by size in ten parts of equal number: what was predicted and what came, in the mean. `None` with
    /// fewer than ten predictions.
    #[must_use]
    pub fn calibration(&self) -> Option<Vec<Tenth>> {
        let pairs = self.predictions.iter().copied().zip(self.values.iter().copied());
        let mut pairs: Vec<(f32, f32)> = pairs.filter(|(prediction, _)| prediction.is_finite()).collect();
        pairs.sort_by(|one, two| one.0.total_cmp(&two.0));
        let tenth = |at: usize| {
            let part = &pairs[at * pairs.len() / 10..(at + 1) * pairs.len() / 10];
            let mean = |of: fn(&(f32, f32)) -> f32| {
                part.iter().map(|pair| f64::from(of(pair))).sum::<f64>() / part.len() as f64
            };
            Tenth { count: part.len() as u64, predicted: mean(|pair| pair.0), observed: mean(|pair| pair.1) }
        };
        (pairs.len() >= 10).then(|| (0..10).map(tenth).collect())
    }

    /// What each event contributes to a measure, whose value is the mean of these; `None` if the measure does not apply.
    #[must_use]
    pub fn contributions(&self, measure: &Measure) -> Option<Vec<f64>> {
        match measure.of {
            Of::Errors(of) if !self.predictions.is_empty() => Some(of(&self.errors())),
            Of::Rank(of) if !self.ranks.is_empty() => {
                Some(self.ranks.iter().map(|rank| of(f64::from(*rank))).collect())
            }
            Of::Errors(_) | Of::Rank(_) => None,
        }
    }
}

/// How far predictions of like size are off in the mean, each tenth by its count: the expected calibration error.
#[must_use]
pub fn calibration_error(tenths: &[Tenth]) -> f64 {
    let off = |tenth: &Tenth| (tenth.predicted - tenth.observed).abs() * tenth.count as f64;
    let count: u64 = tenths.iter().map(|tenth| tenth.count).sum();
    tenths.iter().map(off).sum::<f64>() / count as f64
}

/// Contributions to a root of a mean square `r`: `e^2 / (2 r) + r / 2`. Their mean is `r`, and their spread is that of `r`
/// to first order (the delta method).
fn root_mean_square(errors: &[f64]) -> Vec<f64> {
    let finite = || errors.iter().filter(|error| error.is_finite());
    let root = (finite().map(|error| error * error).sum::<f64>() / finite().count() as f64).sqrt();
    if root == 0.0 {
        return errors.to_vec();
    }
    errors.iter().map(|error| error * error / (2.0 * root) + root / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_means_of_contributions() {
        let mut outcomes = Outcomes::default();
        for (at, (prediction, value)) in [(1.0, 4.0), (2.0, 2.0), (5.0, 4.0)].into_iter().enumerate() {
            outcomes.predicted(at, 7, prediction, value);
        }
        let mean = |outcomes: &Outcomes, name: &str| {
            let measure = MEASURES.iter().find(|measure| measure.name == name).unwrap();
            outcomes.contributions(measure).map(|all| all.iter().sum::<f64>() / all.len() as f64)
        };
        let close = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-12);
        assert!(close(mean(&outcomes, "rmse"), (10.0_f64 / 3.0).sqrt()));
        assert!(close(mean(&outcomes, "mae"), 4.0 / 3.0));
        assert_eq!(mean(&outcomes, "hr_10"), None, "nothing was ranked");
        let mut outcomes = Outcomes::default();
        for (at, rank) in [1, 3, 10, 11, 100, 101, MISS].into_iter().enumerate() {
            outcomes.ranked(at, 7, rank);
        }
        assert!(close(mean(&outcomes, "hr_10"), 3.0 / 7.0) && close(mean(&outcomes, "hr_100"), 5.0 / 7.0));
        assert!(close(mean(&outcomes, "mrr_10"), (1.0 + 1.0 / 3.0 + 0.1) / 7.0));
        assert!(close(mean(&outcomes, "ndcg_10"), (1.0 + 0.5 + 1.0 / 11.0_f64.log2()) / 7.0));
        assert_eq!(mean(&outcomes, "rmse"), None);
    }

    #[test]
    fn calibration_is_by_tenths_of_the_predictions() {
        let mut outcomes = Outcomes::default();
        for at in 0..20_u8 {
            // Predicted 0 to 19 in a jumbled order; what comes is one more in the upper half.
            let prediction = f32::from(at * 7 % 20);
            outcomes.predicted(usize::from(at), 0, prediction, prediction + f32::from(u8::from(prediction >= 10.0)));
        }
        let tenths = outcomes.calibration().unwrap();
        assert_eq!(tenths[0], Tenth { count: 2, predicted: 0.5, observed: 0.5 });
        assert_eq!(tenths[9], Tenth { count: 2, predicted: 18.5, observed: 19.5 });
        assert!((calibration_error(&tenths) - 0.5).abs() < 1e-12);
        assert_eq!(outcomes.since(15).calibration(), None);
        assert_eq!(outcomes.since(15).at, [15, 16, 17, 18, 19]);
        assert!(outcomes.since(99).predictions.is_empty());
    }

    #[test]
    fn a_perfect_record_has_no_error_and_no_division_by_it() {
        assert_eq!(root_mean_square(&[0.0, 0.0]), [0.0, 0.0]);
        assert!(root_mean_square(&[f64::NAN, 1.0])[0].is_nan());
    }
}
