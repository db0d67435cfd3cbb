//! Learns the ranker from examples: the item that came, among others that were candidates.
//!
//! Loss: `-log softmax` of the item that came over the example's rows (listwise: Cao et al. 2007, top-one), each counted
//! as the items that it stands for; newcomers are compared on their own. Adam (Kingma & Ba 2015) with a falling step; after each new example some are replayed
//! from a ring; the answering weights are a running mean of the trained ones (Polyak & Juditsky 1992, exponentially).

use super::example::Example;
use super::features::STRIDE;
use super::network::{Network, Pass, Standard};
use super::ranker::Weights;
use crate::base::Rng;
use crate::linalg::dense::{AdamStep, Back, Product, Row, WIDTH, exp_all};
use crate::linalg::kernels;

/// Examples kept for replay.
pub const REPLAY_MAX: usize = 2_048;

/// Power of its age that an early version counts with in the running mean, and one (Shamir & Zhang 2013).
const EARLY: f32 = 4.0;

/// What telling newcomers apart counts against the rest of an example: it must not take the networks over.
const NEWCOMERS: f32 = 0.2;

/// How the ranker learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainerOptions {
    /// Adam's first step.
    pub step: f32,
    /// Examples after which the step has fallen to 1/sqrt 2.
    pub fall: f32,
    /// Replayed examples an example.
    pub replays: usize,
    /// Rate of the running mean of the weights.
    pub mean_rate: f32,
    /// L2 penalty.
    pub l2: f32,
}

impl Default for TrainerOptions {
    fn default() -> Self {
        Self { step: 0.002, fall: 10_000.0, replays: 2, mean_rate: 0.0001, l2: 1e-6 }
    }
}

/// A network under training, and its running mean that answers.
#[derive(Clone, Debug)]
pub struct Learner {
    pub(super) network: Network,
    pub(super) first: Network,
    pub(super) second: Network,
    pub(super) steps: u64,
    pub(super) examples: u64,
    pub(super) mean: Network,
    gradient: Network,
    pass: Pass,
    errors: Vec<Row>,
}

impl Learner {
    fn new(seed: u64) -> Self {
        let network = Network::new(seed);
        Self {
            first: Network::zero(),
            second: Network::zero(),
            gradient: Network::zero(),
            mean: network.clone(),
            network,
            steps: 0,
            examples: 0,
            pass: Pass::default(),
            errors: Vec::new(),
        }
    }

    /// The weights that answer.
    #[must_use]
    pub fn answering(&self) -> &Network {
        &self.mean
    }

    /// One step on an example of standardised rows; returns the loss.
    fn step(&mut self, example: &Example, options: &TrainerOptions) -> f32 {
        let rows = &example.rows;
        self.network.forward(rows, &mut self.pass);
        let scores = &mut self.pass.scores;
        let (met, newcomers) = scores.split_at_mut(example.met());
        let (strangers, candidates) = met[1..].split_at_mut(example.strangers);
        strangers.iter_mut().for_each(|score| *score += example.stranger_log);
        candidates.iter_mut().for_each(|score| *score += example.candidate_log);
        let loss = first_of(met);
        if !newcomers.is_empty() {
            first_of(newcomers);
            newcomers.iter_mut().for_each(|error| *error *= NEWCOMERS);
        }

        let Network { hidden, bias, output, linear } = &mut self.gradient;
        self.errors.clear();
        bias.fill(0.0);
        output.fill(0.0);
        linear.fill(0.0);
        for ((units, error), row) in self.pass.units.iter().zip(scores.iter()).zip(rows.as_chunks::<STRIDE>().0) {
            self.errors.push([0.0; WIDTH]);
            let Some(back) = self.errors.last_mut() else { continue };
            Back { units, error: *error, weights: &self.network.output, slope: output, back, bias }.run();
            kernels::scale_add(linear, 1.0, *error, row);
        }
        Product { a: rows, step: 1, stride: STRIDE, b: &self.errors, out: hidden, add: false }.run();

        self.steps += 1;
        let rate = options.step * (1.0 / (1.0 + self.examples as f32 / options.fall).sqrt()).max(0.1);
        let power = |beta: f64| (1.0 / (1.0 - beta.powf(self.steps as f64))) as f32;
        let (one, two) = (power(0.9), power(0.999));
        let parts = self.network.parts_mut().into_iter().zip(self.gradient.parts());
        for (((weights, gradient), first), second) in parts.zip(self.first.parts_mut()).zip(self.second.parts_mut()) {
            AdamStep { weights, gradient, first, second, rate, missing: [one, two], l2: options.l2 }.run();
        }
        loss
    }

    fn keep_mean(&mut self, options: &TrainerOptions) {
        self.examples += 1;
        // Early, later weights count for more than they would in a plain mean: the first ones know nothing.
        let rate = options.mean_rate.max(EARLY / (self.examples as f32 + EARLY - 1.0));
        for (mean, now) in self.mean.parts_mut().into_iter().zip(self.network.parts()) {
            for at in 0..mean.len() {
                mean[at] += rate * (now[at] - mean[at]);
            }
        }
    }
}

/// From scores to errors, the slopes of the loss `-log softmax` of the first; returns the loss.
fn first_of(scores: &mut [f32]) -> f32 {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score -= top);
    exp_all(scores);
    let total: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= total);
    let loss = -(scores[0] + 1e-12).ln();
    scores[0] -= 1.0;
    loss
}

/// Several learners on the same examples, each with its own first weights and replays.
#[derive(Clone, Debug)]
pub struct Trainer {
    /// How they learn.
    pub options: TrainerOptions,
    /// Running statistics of features.
    pub standard: Standard,
    pub(super) learners: Vec<Learner>,
    pub(super) ring: Vec<Example>,
    pub(super) next: usize,
    pub(super) rng: Rng,
    /// Sum of losses of new examples, and how many.
    pub loss: (f64, u64),
}

impl Trainer {
    /// Nothing learned yet.
    #[must_use]
    pub fn new(seed: u64, learners: usize, options: TrainerOptions) -> Self {
        Self {
            options,
            standard: Standard::default(),
            learners: (0..learners as u64).map(|at| Learner::new(crate::base::ids::mix(seed ^ (at + 1)))).collect(),
            ring: Vec::new(),
            next: 0,
            rng: Rng::new(seed),
            loss: (0.0, 0),
        }
    }

    /// Goes on from weights that answered before: moments and replays begin anew. Weights of another number of networks
    /// are left alone.
    pub fn go_on_from(&mut self, weights: Weights) {
        if weights.networks.len() != self.learners.len() {
            return;
        }
        self.standard = weights.standard;
        for (learner, network) in self.learners.iter_mut().zip(weights.networks) {
            learner.mean = network.clone();
            learner.network = network;
            learner.examples = weights.examples;
        }
    }

    /// Examples learned from.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.learners.first().map_or(0, |learner| learner.examples)
    }

    /// The weights that answer.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let networks = self.learners.iter().map(|learner| learner.mean.clone()).collect();
        Weights { examples: self.examples(), standard: self.standard.clone(), networks }
    }

    /// The learners.
    #[must_use]
    pub fn learners(&self) -> &[Learner] {
        &self.learners
    }

    /// Learns one example of raw rows.
    pub fn learn(&mut self, mut example: Example) {
        self.standard.learn(&example.rows[STRIDE..example.met() * STRIDE]);
        self.standard.apply(&mut example.rows);
        for learner in &mut self.learners {
            let loss = learner.step(&example, &self.options);
            self.loss.0 += f64::from(loss);
            self.loss.1 += 1;
        }
        if self.ring.len() < REPLAY_MAX {
            self.ring.push(example);
        } else {
            self.ring[self.next] = example;
        }
        self.next = (self.next + 1) % REPLAY_MAX;
        for learner in &mut self.learners {
            for _ in 0..self.options.replays {
                let at = self.rng.below(self.ring.len() as u64) as usize;
                learner.step(&self.ring[at], &self.options);
            }
            learner.keep_mean(&self.options);
        }
    }
}
