//! The trainer in an image of its shard, bit for bit: where it learns in step, it is part of what the shard knows.

use super::example::Example;
use super::features::{FEATURES, STRIDE};
use super::network::Network;
use super::ranker::{Ranker, Weights};
use super::trainer::{REPLAY_MAX, Trainer};
use crate::base::Rng;
use crate::base::cursor::{CursorError, Reader, Writer};

/// Kinds of ranker.
const APART: u8 = 2;
const IN_STEP: u8 = 4;
/// Most rows of a kept example.
const ROWS_MAX: usize = 1_001;

impl Trainer {
    /// Appends all of it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        self.weights().encode(out);
        for learner in &self.learners {
            out.u64(learner.steps).u64(learner.examples);
            for network in [&learner.network, &learner.first, &learner.second] {
                for part in network.parts() {
                    out.f32s(part);
                }
            }
        }
        out.count(self.next).count(self.ring.len());
        for example in &self.ring {
            out.count(example.strangers).f32(example.stranger_log).f32(example.candidate_log);
            out.count(example.newcomers);
            out.count(example.rows.len() / STRIDE);
            for row in example.rows.chunks_exact(STRIDE) {
                out.f32s(&row[..FEATURES]);
            }
        }
        self.rng.words().iter().for_each(|word| {
            out.u64(*word);
        });
    }

    /// Takes over what [`Self::encode`] wrote of a trainer with the same options, as a ranker of this `kind`: from 3 on
    /// examples tell what their rows stand for, from 4 on how many newcomers there are.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not such a trainer.
    pub fn decode(&mut self, from: &mut Reader<'_>, kind: u8) -> Result<(), CursorError> {
        let offset = from.at();
        let (weights, features) = Weights::decode_with_features(from)?;
        if weights.networks.len() != self.learners.len() {
            let (what, found) = ("networks of a trainer", weights.networks.len() as u64);
            return Err(CursorError::Bad { what, offset, found, allowed: "as many as configured" });
        }
        self.standard = weights.standard;
        for (learner, mean) in self.learners.iter_mut().zip(weights.networks) {
            learner.mean = mean;
            (learner.steps, learner.examples) = (from.u64()?, from.u64()?);
            for network in [&mut learner.network, &mut learner.first, &mut learner.second] {
                take_network(from, network, features)?;
            }
        }
        self.next = from.count(0, REPLAY_MAX)?;
        let examples = from.count(4, REPLAY_MAX)?;
        self.ring.clear();
        for _ in 0..examples {
            let mut example = Example::default();
            if kind > 1 {
                example.strangers = from.count(0, ROWS_MAX)?;
                (example.stranger_log, example.candidate_log) = (from.f32()?, from.f32()?);
            }
            let newcomers = if kind > 3 { from.count(0, ROWS_MAX)? } else { 0 };
            let rows = from.count(4 * features, ROWS_MAX)?;
            example.newcomers = newcomers.min(rows.saturating_sub(1));
            example.strangers = example.strangers.min((rows - example.newcomers).saturating_sub(1));
            example.rows.resize(rows * STRIDE, 0.0);
            for row in example.rows.chunks_exact_mut(STRIDE) {
                from.f32s(&mut row[..features])?;
            }
            self.ring.push(example);
        }
        self.rng = Rng::from_words([from.u64()?, from.u64()?, from.u64()?, from.u64()?]);
        Ok(())
    }
}

fn take_network(from: &mut Reader<'_>, network: &mut Network, features: usize) -> Result<(), CursorError> {
    network.parts_of_mut(features).into_iter().try_for_each(|part| from.f32s(part))
}

impl Ranker {
    /// Appends it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::InStep(trainer) => trainer.encode(out.u8(IN_STEP)),
            Self::Installed(weights) => weights.encode(out.u8(APART)),
        }
    }

    /// Takes over what [`Self::encode`] wrote of a ranker with the same options.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not such a ranker.
    pub fn decode(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        match (from.u8()?, self) {
            (kind @ (1 | 3 | IN_STEP), Self::InStep(trainer)) => trainer.decode(from, kind),
            (APART, Self::Installed(weights)) => {
                **weights = Weights::decode(from)?;
                Ok(())
            }
            (found, _) => {
                let allowed = "4 (before: 1, 3) in step, 2 apart, as configured";
                Err(CursorError::Bad { what: "kind of ranker", offset, found: u64::from(found), allowed })
            }
        }
    }
}
