//! The ranker as it answers: features of candidates in, one score each out.
//!
//! *In step* it holds its trainer and answers with the newest weights; *off the path* it holds weights of some version,
//! which whoever trains installs from time to time. Both are part of the shard's state, so replay is exact.

use super::features::{FEATURES, FEATURES_FIRST, STRIDE, UNTAUGHT};
use super::network::{Network, Pass, Standard};
use super::trainer::Trainer;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::linalg::dense::WIDTH;

/// Most networks of one ranker.
pub const NETWORKS_MAX: usize = 8;

/// Weights of one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Examples that they were learned from.
    pub examples: u64,
    /// How features are standardised.
    pub standard: Standard,
    /// Networks whose scores are added.
    pub networks: Vec<Network>,
}

impl Weights {
    /// Appends them.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.examples).u64(self.standard.queries).count(FEATURES).count(self.networks.len());
        out.f32s(&self.standard.mean);
        out.f32s(&self.standard.square);
        for network in &self.networks {
            for part in network.parts() {
                out.f32s(part);
            }
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not weights, or of features that this version does not have.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        Self::decode_with_features(from).map(|(weights, _)| weights)
    }

    /// As [`Self::decode`]; also the number of features that they were written for. Later ones weigh nothing yet.
    pub(super) fn decode_with_features(from: &mut Reader<'_>) -> Result<(Self, usize), CursorError> {
        let (examples, queries) = (from.u64()?, from.u64()?);
        let offset = from.at();
        let features = from.count(0, STRIDE)?;
        if !(FEATURES_FIRST..=FEATURES).contains(&features) {
            let allowed = "67 to as many as this version has";
            return Err(CursorError::Bad { what: "features of a ranker", offset, found: features as u64, allowed });
        }
        let networks = from.count(4 * WIDTH * features, NETWORKS_MAX)?;
        let mut standard = Standard { queries, ..Standard::default() };
        from.f32s(&mut standard.mean)?;
        from.f32s(&mut standard.square)?;
        standard.square[features..FEATURES].fill(1.0);
        let network = |from: &mut Reader<'_>| {
            let mut network = Network::zero();
            network.parts_of_mut(features).into_iter().try_for_each(|part| from.f32s(part))?;
            Ok(network)
        };
        let networks = (0..networks).map(|_| network(from)).collect::<Result<_, CursorError>>()?;
        Ok((Self { examples, standard, networks }, features))
    }
}

/// What scores candidates.
#[derive(Clone, Debug)]
pub enum Ranker {
    /// It learns where it answers.
    InStep(Box<Trainer>),
    /// It answers with weights learned elsewhere.
    Installed(Box<Weights>),
}

impl Ranker {
    /// Examples learned from.
    #[must_use]
    pub fn examples(&self) -> u64 {
        match self {
            Self::InStep(trainer) => trainer.examples(),
            Self::Installed(weights) => weights.examples,
        }
    }

    /// Networks whose scores are added.
    #[must_use]
    pub fn networks(&self) -> usize {
        match self {
            Self::InStep(trainer) => trainer.learners().len(),
            Self::Installed(weights) => weights.networks.len(),
        }
    }

    /// The weights that answer.
    #[must_use]
    pub fn weights(&self) -> Weights {
        match self {
            Self::InStep(trainer) => trainer.weights(),
            Self::Installed(weights) => (**weights).clone(),
        }
    }

    /// How features are standardised.
    #[must_use]
    pub fn standard(&self) -> &Standard {
        match self {
            Self::InStep(trainer) => &trainer.standard,
            Self::Installed(weights) => &weights.standard,
        }
    }

    /// Scores rows of raw features, which are standardised in place; a score a row, into `scores`. Without examples there is
    /// nothing to score by but what always tells something ([`UNTAUGHT`]).
    pub fn score(&self, rows: &mut [f32], pass: &mut Pass, scores: &mut Vec<f32>) {
        scores.clear();
        if self.examples() == 0 {
            let untaught = |row: &[f32; STRIDE]| UNTAUGHT.iter().map(|(at, weight)| weight * row[*at]).sum::<f32>();
            scores.extend(rows.as_chunks::<STRIDE>().0.iter().map(untaught));
            return;
        }
        scores.resize(rows.len() / STRIDE, 0.0);
        self.standard().apply(rows);
        self.each_network(&mut |network| {
            network.forward(rows, pass);
            scores.iter_mut().zip(&pass.scores).for_each(|(sum, score)| *sum += score);
        });
    }

    /// Shows every network whose scores are added.
    pub(super) fn each_network(&self, show: &mut dyn FnMut(&Network)) {
        match self {
            Self::InStep(trainer) => trainer.learners().iter().for_each(|learner| show(learner.answering())),
            Self::Installed(weights) => weights.networks.iter().for_each(show),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trainer::{Trainer, TrainerOptions};
    use super::*;

    /// Regression: a ranker that nobody had taught yet ordered candidates by its random weights, far below popularity.
    #[test]
    fn before_the_first_example_evidence_decides_and_not_random_weights() {
        let mut rows: Vec<f32> = (0..40).flat_map(|_| [0.0; STRIDE]).collect();
        for (rank, row) in rows.as_chunks_mut::<STRIDE>().0.iter_mut().enumerate() {
            for (at, value) in row[..FEATURES].iter_mut().enumerate() {
                *value = ((at * 7 + rank * 13) % 11) as f32;
            }
            UNTAUGHT.iter().for_each(|(at, _)| row[*at] = -(rank as f32));
        }
        let weights = Trainer::new(5, 2, TrainerOptions::default()).weights();
        let score = |weights: Weights| {
            let (mut pass, mut scores) = (Pass::default(), Vec::new());
            Ranker::Installed(Box::new(weights)).score(&mut rows.clone(), &mut pass, &mut scores);
            scores
        };
        assert!(score(weights.clone()).is_sorted_by(|one, two| one > two));
        assert!(
            !score(Weights { examples: 1, ..weights }).is_sorted_by(|one, two| one > two),
            "then it answers itself"
        );
    }
}
