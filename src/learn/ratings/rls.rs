//! The stack: a linear mixture of everything, fitted by recursive least squares.
//!
//! ```text
//! g = P v     d = 1 / weight + v . g     w <- w + g e / d     P <- P - g g' / d
//! ```
//!
//! Plackett, *Some theorems in least squares*, Biometrika 37 (1950). This is ridge regression over all events so far, in
//! one pass and with no step size. To forget, the covariance `P` grows a little from time to time, input by input, but never past
//! where it began, so an input that says nothing for long cannot wind it up (the trouble of plain forgetting; bounded
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

/// Events between two growths.
const EVERY: u64 = 32;

/// Growth of an input's standard deviation in [`EVERY`] events, `.99998^-16`: half of what it knows fades in 35,000 events.
const GROWTH: f64 = 1.000_32;

/// Least squares over [`INPUTS`] inputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stack {
    weights: [f64; INPUTS],
    covariance: Vec<[f64; INPUTS]>,
    learned: u64,
}

impl Stack {
    /// Starts from weights that are not silly.
    pub fn new(weights: [f64; INPUTS]) -> Self {
        let mut stack = Self { weights, covariance: Vec::new(), learned: 0 };
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
        downdate(&mut self.covariance, &down);
        self.learned += 1;
        if self.learned.is_multiple_of(EVERY) {
            self.grow();
        }
    }

    /// Forgets a little, but no input further than to where it began.
    fn grow(&mut self) {
        let grow: [f64; INPUTS] =
            std::array::from_fn(|at| if self.covariance[at][at] * GROWTH * GROWTH < PRIOR { GROWTH } else { 1.0 });
        for (row, up) in self.covariance.iter_mut().zip(&grow) {
            for (value, across) in row.iter_mut().zip(&grow) {
                *value *= up * across;
            }
        }
    }

    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.learned);
        for row in std::iter::once(&self.weights).chain(&self.covariance) {
            for value in row {
                out.f64(*value);
            }
        }
    }

    pub fn decode(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.learned = from.u64()?;
        for row in std::iter::once(&mut self.weights).chain(&mut self.covariance) {
            for value in row {
                *value = from.f64()?;
            }
        }
        Ok(())
    }
}
