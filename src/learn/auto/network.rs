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

    /// Integrates the gradient of the score along the straight line from 0 to a row of standardised features: adds to
    /// `slopes` the mean of the partial derivative by each feature, and returns the score of 0. That, and slopes times
    /// features, add up to the score of the row.
    ///
    /// On the line a hidden unit is `relu(b + t s)` with `s = W1' f`, so it is on for the `t` of one side of `-b / s`: its
    /// share of the derivative by a feature is its weights times how much of the line that is.
    pub(super) fn integrate(&self, row: &[f32], slopes: &mut [f64; STRIDE]) -> f64 {
        let mut pull = [[0.0_f32; WIDTH]];
        Product { a: row, step: STRIDE, stride: 1, b: &self.hidden, out: &mut pull, add: false }.run();
        let mut through = [0.0_f64; WIDTH];
        for at in 0..WIDTH {
            through[at] = f64::from(self.output[at]) * share_on(f64::from(self.bias[at]), f64::from(pull[0][at]));
        }
        for (column, slope) in slopes.iter_mut().enumerate() {
            let hidden = self.hidden.get(column).into_iter().flatten();
            *slope += f64::from(self.linear[column]);
            *slope += hidden.zip(&through).map(|(weight, through)| f64::from(*weight) * through).sum::<f64>();
        }
        self.bias.iter().zip(&self.output).map(|(bias, output)| f64::from(bias.max(0.0)) * f64::from(*output)).sum()
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

/// For how much of 0..1 `bias + t pull` is above 0.
fn share_on(bias: f64, pull: f64) -> f64 {
    let crossing = (-bias / pull).clamp(0.0, 1.0);
    match pull {
        _ if pull > 0.0 => 1.0 - crossing,
        _ if pull < 0.0 => crossing,
        _ => f64::from(u8::from(bias > 0.0)),
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
