//! The trainer in an image of its shard, bit for bit: where it learns in step, it is part of what the shard knows.

use super::features::{FEATURES, STRIDE};
use super::network::Network;
use super::ranker::{Ranker, Weights, put, take};
use super::trainer::{REPLAY_MAX, Trainer};
use crate::base::Rng;
use crate::base::cursor::{CursorError, Reader, Writer};

/// Most rows of a kept example.
const ROWS_MAX: usize = 1_001;

impl Trainer {
    /// Appends all of it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        self.weights().encode(out);
        for learner in &self.learners {
            out.u64(learner.steps).u64(learner.examples);
            for network in [&learner.network, &learner.first, &learner.second] {
                network.parts().into_iter().for_each(|part| put(out, part));
            }
        }
        out.count(self.next).count(self.ring.len());
        for example in &self.ring {
            out.count(example.len() / STRIDE);
            example.chunks_exact(STRIDE).for_each(|row| put(out, &row[..FEATURES]));
        }
        self.rng.words().iter().for_each(|word| {
            out.u64(*word);
        });
    }

    /// Takes over what [`Self::encode`] wrote of a trainer with the same options.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not such a trainer.
    pub fn decode(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        let weights = Weights::decode(from)?;
        if weights.networks.len() != self.learners.len() {
            let (what, found) = ("networks of a trainer", weights.networks.len() as u64);
            return Err(CursorError::Bad { what, offset, found, allowed: "as many as configured" });
        }
        self.standard = weights.standard;
        for (learner, mean) in self.learners.iter_mut().zip(weights.networks) {
            learner.mean = mean;
            (learner.steps, learner.examples) = (from.u64()?, from.u64()?);
            for network in [&mut learner.network, &mut learner.first, &mut learner.second] {
                take_network(from, network)?;
            }
        }
        self.next = from.count(0, REPLAY_MAX)?;
        let examples = from.count(4, REPLAY_MAX)?;
        self.ring.clear();
        for _ in 0..examples {
            let rows = from.count(4 * FEATURES, ROWS_MAX)?;
            let mut example = vec![0.0; rows * STRIDE];
            for row in example.chunks_exact_mut(STRIDE) {
                take(from, &mut row[..FEATURES])?;
            }
            self.ring.push(example);
        }
        self.rng = Rng::from_words([from.u64()?, from.u64()?, from.u64()?, from.u64()?]);
        Ok(())
    }
}

fn take_network(from: &mut Reader<'_>, network: &mut Network) -> Result<(), CursorError> {
    network.parts_mut().into_iter().try_for_each(|part| take(from, part))
}

impl Ranker {
    /// Appends it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::InStep(trainer) => trainer.encode(out.u8(1)),
            Self::Installed(weights) => weights.encode(out.u8(2)),
        }
    }

    /// Takes over what [`Self::encode`] wrote of a ranker with the same options.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not such a ranker.
    pub fn decode(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        match (from.u8()?, self) {
            (1, Self::InStep(trainer)) => trainer.decode(from),
            (2, Self::Installed(weights)) => {
                **weights = Weights::decode(from)?;
                Ok(())
            }
            (found, _) => {
                let allowed = "1 in step, 2 apart, as configured";
                Err(CursorError::Bad { what: "kind of ranker", offset, found: u64::from(found), allowed })
            }
        }
    }
}
