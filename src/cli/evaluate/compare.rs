//! Several runs together: the mean and spread of one strategy over seeds, and every strategy against one of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::outcomes::{MEASURES, Measure, Outcomes};
use super::report::Figures;
use crate::evaluate::paired;

/// One strategy over all seeds.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// Figures, by seed.
    pub figures: Vec<Figures>,
    /// Outcomes, by seed.
    pub outcomes: Vec<Outcomes>,
}

/// A paired difference as it is printed: this strategy less the one it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Mean difference.
    pub mean: f64,
    /// Lower end of the 95 % confidence interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How likely a difference at least this large is where there is none.
    pub p: f64,
    /// Whether the interval leaves out 0.
    pub significant: bool,
}

/// Differences by measure.
pub type Differences = BTreeMap<&'static str, Difference>;

impl Runs {
    /// Adds the run of one more seed.
    pub fn add(&mut self, (figures, outcomes): (Figures, Outcomes)) {
        self.figures.push(figures);
        self.outcomes.push(outcomes);
    }

    /// The mean of every figure over the seeds, with the standard deviation over seeds where there are several; times
    /// and memory are means as well. A figure that one seed lacks is left out.
    #[must_use]
    pub fn figures(&self, seeds: &[u64]) -> Figures {
        let mut mean = self.figures[0].clone();
        mean.seeds = seeds.to_vec();
        if self.figures.len() < 2 {
            return mean;
        }
        let mut each = self.figures.clone();
        let columns: Vec<Vec<Option<f64>>> =
            each.iter_mut().map(|one| one.measured().into_iter().map(|(_, figure)| *figure).collect()).collect();
        let mut spread = BTreeMap::new();
        for (at, (name, figure)) in mean.measured().into_iter().enumerate() {
            let values: Option<Vec<f64>> = columns.iter().map(|run| run[at]).collect();
            let summary = values.map(|values| summary(&values));
            *figure = summary.map(|(mean, _)| mean);
            spread.extend(summary.map(|(_, deviation)| (name, deviation)));
        }
        mean.spread = Some(spread);
        mean
    }

    /// This strategy less the other, by measure, over the events that both scored.
    #[must_use]
    pub fn against(&self, other: &Self) -> Differences {
        let users = &self.outcomes[0].users;
        if self.outcomes[0].at != other.outcomes[0].at {
            return Differences::new(); // one of them scores nothing here
        }
        let one = |measure: &'static Measure| {
            let found = paired(&self.contributions(measure)?, &other.contributions(measure)?, users)?;
            let (mean, half_width, p) = (found.mean, found.half_width, found.p);
            let significant = found.is_significant();
            let (low, high) = (mean - half_width, mean + half_width);
            Some((measure.name, Difference { mean, low, high, p, significant }))
        };
        MEASURES.iter().filter_map(one).collect()
    }

    /// What each event contributes to a measure, in the mean over seeds.
    fn contributions(&self, measure: &Measure) -> Option<Vec<f64>> {
        let mut sums = self.outcomes[0].contributions(measure)?;
        for outcomes in &self.outcomes[1..] {
            let more = outcomes.contributions(measure)?;
            sums.iter_mut().zip(more).for_each(|(sum, contribution)| *sum += contribution);
        }
        sums.iter_mut().for_each(|sum| *sum /= self.outcomes.len() as f64);
        Some(sums)
    }
}

/// Mean and standard deviation (of the sample, `n - 1`).
fn summary(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rmse: f64, errors: &[f32]) -> (Figures, Outcomes) {
        let figures =
            Figures { strategy: "a".to_owned(), rmse: Some(rmse), peak_rss_bytes: Some(5), ..Figures::default() };
        let mut outcomes = Outcomes::default();
        for (at, error) in errors.iter().enumerate() {
            outcomes.predicted(at, u32::try_from(at).unwrap(), 3.0 + error, 3.0);
        }
        (figures, outcomes)
    }

    fn runs(all: &[(f64, &[f32])]) -> Runs {
        let (figures, outcomes) = all.iter().map(|(rmse, errors)| run(*rmse, errors)).unzip();
        Runs { figures, outcomes }
    }

    #[test]
    fn seeds_have_a_mean_and_a_spread() {
        let both = runs(&[(1.0, &[1.0, 1.0]), (2.0, &[2.0, 2.0])]);
        let figures = both.figures(&[7, 8]);
        assert_eq!((figures.rmse, figures.mae, figures.seeds.as_slice()), (Some(1.5), None, [7, 8].as_slice()));
        let spread = figures.spread.unwrap();
        assert_eq!(spread.keys().copied().collect::<Vec<_>>(), ["rmse"]);
        assert!((spread["rmse"] - 0.5_f64.sqrt()).abs() < 1e-12);
        let one = runs(&[(1.0, &[1.0])]).figures(&[7]);
        assert_eq!((one.rmse, one.spread), (Some(1.0), None));
    }

    #[test]
    fn differences_are_those_of_the_figures() {
        let (worse, better) = (runs(&[(0.0, &[1.0, 2.0, 3.0])]), runs(&[(0.0, &[1.0, 1.0, 2.0])]));
        let found = worse.against(&better);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["mae", "rmse"]);
        assert!((found["mae"].mean - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
        let expected = (14.0_f64 / 3.0).sqrt() - 2.0_f64.sqrt();
        assert!((found["rmse"].mean - expected).abs() < 1e-12, "{found:?}");
        assert!(found["rmse"].low < expected && expected < found["rmse"].high && !found["rmse"].significant);
        let nothing = Runs { figures: vec![Figures::default()], outcomes: vec![Outcomes::default()] };
        assert!(worse.against(&nothing).is_empty() && nothing.against(&nothing).is_empty());
        // Two seeds: the mean of both.
        let both = runs(&[(0.0, &[1.0, 2.0, 3.0]), (0.0, &[1.0, 1.0, 2.0])]);
        assert!((both.against(&better)["mae"].mean - 1.0 / 3.0).abs() < 1e-12);
    }
}
