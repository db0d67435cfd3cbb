//! The network that orders candidates: one layer of 64 rectified units beside a linear skip.
//!
//! `score = w2 . relu(W1' f + b1) + wl . f`, over features standardised with the running mean and deviation of all
//! candidates and held within +-5.

use super::features::{FEATURES, FEATURES_DRAWN, STRIDE};
use crate::base::Rng;
use crate::linalg::dense::{Product, Row, WIDTH};
use crate::linalg::kernels;

/// Weights of one network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Input to hidden, a row a feature.
    pub hidden: Vec<Row>,
    /// Of the hidden units.
    pub bias: Row,
    /// Hidden to score.
    pub output: Row,
    /// Input to score.
    pub linear: [f32; STRIDE],
}

/// What a forward pass leaves for the backward one.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Rectified units, a row a candidate.
    pub units: Vec<Row>,
    /// A score a candidate.
    pub scores: Vec<f32>,
}

impl Network {
    /// Small random weights; the linear skip begins at 0.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut draw = |std: f64| -> Row { std::array::from_fn(|_| (std * rng.normal()) as f32) };
        let mut hidden: Vec<Row> = (0..FEATURES_DRAWN).map(|_| draw(1.0 / (FEATURES_DRAWN as f64).sqrt())).collect();
        hidden.resize(FEATURES, [0.0; WIDTH]);
        let output = draw(0.3 / (WIDTH as f64).sqrt());
        Self { hidden, bias: [0.0; WIDTH], output, linear: [0.0; STRIDE] }
    }

    /// All weights 0.
    #[must_use]
    pub fn zero() -> Self {
        let row = [0.0; WIDTH];
        Self { hidden: vec![row; FEATURES], bias: row, output: row, linear: [0.0; STRIDE] }
    }

    /// Scores rows of standardised features.
    pub fn forward(&self, rows: &[f32], pass: &mut Pass) {
        let count = rows.len() / STRIDE;
        pass.units.clear();
        pass.units.resize(count, self.bias);
        Product { a: rows, step: STRIDE, stride: 1, b: &self.hidden, out: &mut pass.units, add: true }.run();
        pass.scores.clear();
        for (units, row) in pass.units.iter_mut().zip(rows.chunks_exact(STRIDE)) {
            units.iter_mut().for_each(|unit| *unit = unit.max(0.0));
            pass.scores.push(kernels::dot(units, &self.output) + kernels::dot(row, &self.linear));
        }
    }

    /// All weights, part by part.
    pub fn parts(&self) -> [&[f32]; 4] {
        [self.hidden.as_flattened(), &self.bias, &self.output, &self.linear]
    }

    /// All weights, part by part.
    pub fn parts_mut(&mut self) -> [&mut [f32]; 4] {
        self.parts_of_mut(FEATURES)
    }

    /// The weights of the first `features` features, part by part.
    pub fn parts_of_mut(&mut self, features: usize) -> [&mut [f32]; 4] {
        [self.hidden[..features].as_flattened_mut(), &mut self.bias, &mut self.output, &mut self.linear]
    }
}

/// Running mean and variance of every feature, over candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// Queries seen.
    pub queries: u64,
    /// Means.
    pub mean: [f32; STRIDE],
    /// Means of squares.
    pub square: [f32; STRIDE],
}

impl Default for Standard {
    fn default() -> Self {
        Self { queries: 0, mean: [0.0; STRIDE], square: [0.0; STRIDE] }
    }
}

impl Standard {
    /// Takes in the candidates of one query.
    pub fn learn(&mut self, rows: &[f32]) {
        let count = rows.len() / STRIDE;
        if count == 0 {
            return;
        }
        self.queries += 1;
        let rate = (1.0 / self.queries as f64).max(1e-3) as f32;
        let (mut sum, mut square) = ([0.0_f32; STRIDE], [0.0_f32; STRIDE]);
        for row in rows.as_chunks::<STRIDE>().0 {
            for at in 0..STRIDE {
                sum[at] += row[at];
                square[at] += row[at] * row[at];
            }
        }
        for at in 0..STRIDE {
            self.mean[at] += rate * (sum[at] / count as f32 - self.mean[at]);
            self.square[at] += rate * (square[at] / count as f32 - self.square[at]);
        }
    }

    /// Standardises rows in place.
    pub fn apply(&self, rows: &mut [f32]) {
        let mut factor = [0.0_f32; STRIDE];
        for at in 0..FEATURES {
            factor[at] = 1.0 / (self.square[at] - self.mean[at] * self.mean[at]).max(1e-6).sqrt();
        }
        for row in rows.as_chunks_mut::<STRIDE>().0 {
            for at in 0..STRIDE {
                row[at] = ((row[at] - self.mean[at]) * factor[at]).clamp(-5.0, 5.0);
            }
        }
    }
}
