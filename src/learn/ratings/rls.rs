//! The stack: a linear mixture of everything, fitted by recursive least squares.
//!
//! ```text
//! g = P v     d = 1 / weight + v . g     w <- w + g e / d     P <- D (P - g g' / d) D
//! ```
//!
//! Plackett, *Some theorems in least squares*, Biometrika 37 (1950). Without the `D` it is ridge regression over all events so
//! far, in one pass and with no step size. `D` forgets: it grows the covariance `P` a little, input by input, but never past the one
//! it began with, so an input that says nothing for long cannot wind it up (the trouble of plain forgetting; bounded
//! covariance as in Salgado, Goodwin & Middleton, *Modified least squares algorithm*, Int. J. Control 47 (1988)).
//!
//! Doubles throughout; both halves of `P` get the same products, so it stays symmetric to the bit. Negative weights are
//! allowed and matter: this is why it beats weights by exponentiated losses, which can only pick.

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::linalg::online::{downdate, symmetric_product};

/// Inputs.
pub(super) const INPUTS: usize = 48;

/// Variance of a weight before the first event.
const PRIOR: f64 = 0.1;

/// Growth of an input's standard deviation an event, `1 / sqrt(.99998)`: half of what it knows fades in 35,000 events.
const GROWTH: f64 = 1.000_01;

/// Least squares over [`INPUTS`] inputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stack {
    weights: [f64; INPUTS],
    covariance: Vec<[f64; INPUTS]>,
}

impl Stack {
    /// Starts from weights that are not silly.
    pub fn new(weights: [f64; INPUTS]) -> Self {
        let mut stack = Self { weights, covariance: Vec::new() };
        stack.forget_all();
        stack
    }

    fn forget_all(&mut self) {
        self.covariance = vec![[0.0; INPUTS]; INPUTS];
        for (at, row) in self.covariance.iter_mut().enumerate() {
            row[at] = PRIOR;
        }
    }

    /// The mixture.
    pub fn predict(&self, inputs: &[f64; INPUTS]) -> f64 {
        self.weights.iter().zip(inputs).map(|(weight, input)| weight * input).sum()
    }

    /// What the inputs from `range` bring to the mixture.
    pub fn part(&self, inputs: &[f64; INPUTS], range: std::ops::Range<usize>) -> f64 {
        range.map(|at| self.weights[at] * inputs[at]).sum()
    }

    /// Learns one event.
    pub fn learn(&mut self, inputs: &[f64; INPUTS], target: f64, weight: f64) {
        let error = target - self.predict(inputs);
        let gain = symmetric_product(&self.covariance, inputs);
        let scale = 1.0 / weight + inputs.iter().zip(&gain).map(|(a, b)| a * b).sum::<f64>();
        if !(scale.is_finite() && scale > 0.0 && error.is_finite()) {
            self.forget_all();
            return;
        }
        let root = scale.sqrt();
        let down = gain.map(|gain| gain / root);
        for (weight, gain) in self.weights.iter_mut().zip(&gain) {
            *weight += gain * error / scale;
        }
        let grow = std::array::from_fn(|at| {
            let left = self.covariance[at][at] - down[at] * down[at];
            if left * GROWTH * GROWTH < PRIOR { GROWTH } else { 1.0 }
        });
        downdate(&mut self.covariance, &down, &grow);
    }

    pub fn encode(&self, out: &mut Writer<'_>) {
        for row in std::iter::once(&self.weights).chain(&self.covariance) {
            for value in row {
                out.f64(*value);
            }
        }
    }

    pub fn decode(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        for row in std::iter::once(&mut self.weights).chain(&mut self.covariance) {
            for value in row {
                *value = from.f64()?;
            }
        }
        Ok(())
    }
}
