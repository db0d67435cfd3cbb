//! Logistic regression learned one label at a time, with how sure it is of every weight.
//!
//! The probability is `s(w . z)`, where `s` is the logistic curve and `z` the inputs, each less its running mean and over
//! its running deviation, with a one for the bias. Weights have the prior `N(0, P)` (which is the L2 penalty) and are kept
//! as a normal distribution `N(w, C)`. A label `y` moves it by one step of the extended Kalman filter, taken implicitly:
//!
//! ```text
//! v = z' C z      r = y - s(w . z + v r)      (the residual after the step: one unknown, one root)
//! w = w + C z r   C = C - h / (1 + h v) (C z)(C z)'      with h = s' at the new place
//! ```
//!
//! That is the online Newton method with all of the matrix (as the online natural gradient: Ollivier 2018, "Online
//! natural gradient as a Kalman filter"; implicit updates: Kulis & Bartlett 2010). Inputs such as recency and counts go
//! together closely, so a diagonal (AdaGrad) would need far more labels, and labels come a horizon late; 17 x 17 is small.
//! A little is added to the variances with every label, so that weights follow what changes: about the newest 5,000 labels
//! count. Labels are not weighed by class: probabilities must be meant.
//!
//! A prediction is the mean of `s` over what the weights may be, so that little evidence gives moderate probabilities, and
//! comes with its deviation.

#[cfg(test)]
mod tests;

use super::inputs::FEATURES;
use super::{Risk, bad};
use crate::base::{CursorError, Reader, Writer};

/// Weights: one a feature, then the bias.
const WEIGHTS: usize = FEATURES + 1;
/// Prior variance of a weight (of standardised inputs).
const PRIOR: f64 = 1.0;
/// Prior variance of the bias: what the base rate is, nobody knows.
const PRIOR_BIAS: f64 = 9.0;
/// Added to the variance of every weight by a label. With `h` about 0.15, the gain settles at `sqrt(drift h)`, one over 5,000.
const DRIFT: f64 = 3e-7;
/// Inputs further than this from the mean, in deviations, say no more.
const FAR: f64 = 4.0;
/// Inputs that the running means reach back over.
const MEANS_OVER: f64 = 32_768.0;
/// `exp(-z z / 2)` at z = 0.5, 1 ... 4.
const DENSITIES: [f64; 8] = [
    0.882_496_902_584_595_5,
    0.606_530_659_712_633_4,
    0.324_652_467_358_349_74,
    0.135_335_283_236_612_7,
    0.043_936_933_623_407_42,
    0.011_108_996_538_242_306,
    0.002_187_491_118_182_886_4,
    0.000_335_462_627_902_511_85,
];

/// Running mean and variance of one feature, of the values that were known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count = (self.count + 1.0).min(MEANS_OVER);
        let off = value - self.mean;
        self.mean += off / self.count;
        self.variance += (off * (value - self.mean) - self.variance) / self.count;
    }

    /// In deviations from the mean; what is not known is the mean.
    fn standard(&self, value: f32) -> f64 {
        let value = f64::from(value);
        let deviation = self.variance.max(0.0).sqrt();
        if value.is_finite() && deviation > 1e-9 { ((value - self.mean) / deviation).clamp(-FAR, FAR) } else { 0.0 }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Learner {
    moments: [Moments; FEATURES],
    weights: [f64; WEIGHTS],
    covariance: [[f64; WEIGHTS]; WEIGHTS],
    labels: u64,
    churned: u64,
}

impl Learner {
    pub(super) fn new() -> Self {
        let mut covariance = [[0.0; WEIGHTS]; WEIGHTS];
        for (at, row) in covariance.iter_mut().enumerate() {
            row[at] = prior(at);
        }
        let moments = [Moments::default(); FEATURES];
        Self { moments, weights: [0.0; WEIGHTS], covariance, labels: 0, churned: 0 }
    }

    pub(super) fn labels(&self) -> u64 {
        self.labels
    }

    pub(super) fn churned(&self) -> u64 {
        self.churned
    }

    /// Takes part in the running means, which do not wait for the label.
    pub(super) fn meet(&mut self, features: &[f32; FEATURES]) {
        for (moments, value) in self.moments.iter_mut().zip(features) {
            if value.is_finite() {
                moments.add(f64::from(*value));
            }
        }
    }

    fn standard(&self, features: &[f32; FEATURES]) -> [f64; WEIGHTS] {
        std::array::from_fn(|at| match features.get(at) {
            Some(value) => self.moments[at].standard(*value),
            None => 1.0,
        })
    }

    /// Log-odds at the mean of the weights, their variance, and the covariance with every weight.
    fn odds(&self, inputs: &[f64; WEIGHTS]) -> (f64, f64, [f64; WEIGHTS]) {
        let shared = self.covariance.map(|row| dot(&row, inputs));
        (dot(&self.weights, inputs), dot(&shared, inputs).max(0.0), shared)
    }

    pub(super) fn predict(&self, features: &[f32; FEATURES]) -> Risk {
        let (odds, variance, _) = self.odds(&self.standard(features));
        let (probability, deviation) = moments_of(odds, variance);
        Risk { probability, deviation, evidence: self.labels }
    }

    /// Parts of the log-odds of the predicted probability, by feature; the last is the bias. They add up to it.
    pub(super) fn parts(&self, features: &[f32; FEATURES]) -> [f64; WEIGHTS] {
        let inputs = self.standard(features);
        let (odds, variance, _) = self.odds(&inputs);
        let (probability, _) = moments_of(odds, variance);
        let moderate = (probability / (1.0 - probability)).ln() / odds;
        let shrink = if odds.abs() > 1e-9 && moderate.is_finite() { moderate } else { 1.0 };
        std::array::from_fn(|at| shrink * self.weights[at] * inputs[at])
    }

    pub(super) fn learn(&mut self, features: &[f32; FEATURES], churned: bool) {
        let inputs = self.standard(features);
        let (odds, variance, shared) = self.odds(&inputs);
        let residual = residual(odds, variance, f64::from(u8::from(churned)));
        let probability = logistic(odds + variance * residual);
        let curvature = probability * (1.0 - probability);
        let shrink = curvature / (1.0 + curvature * variance);
        for (at, row) in self.covariance.iter_mut().enumerate() {
            self.weights[at] += shared[at] * residual;
            for (entry, other) in row.iter_mut().zip(&shared) {
                *entry -= shrink * (shared[at] * other);
            }
            row[at] = (row[at] + DRIFT).min(prior(at));
        }
        self.labels += 1;
        self.churned += u64::from(churned);
    }

    /// Appends: labels `u64`, churned `u64`; for each feature count, mean, variance `f64`; weights `f64`; the covariance by
    /// rows from the diagonal on, `f64`.
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.labels).u64(self.churned);
        for moments in &self.moments {
            out.f64(moments.count).f64(moments.mean).f64(moments.variance);
        }
        for weight in self.weights {
            out.f64(weight);
        }
        for (at, row) in self.covariance.iter().enumerate() {
            for entry in &row[at..] {
                out.f64(*entry);
            }
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let mut read = Self::new();
        read.labels = from.u64()?;
        let offset = from.at();
        read.churned = from.u64()?;
        if read.churned > read.labels {
            return Err(bad("churned users", offset, read.churned, "at most the labels"));
        }
        for moments in &mut read.moments {
            *moments = Moments { count: at_least_0(from)?, mean: finite(from)?, variance: finite(from)? };
        }
        for weight in &mut read.weights {
            *weight = finite(from)?;
        }
        for at in 0..WEIGHTS {
            read.covariance[at][at] = at_least_0(from)?;
            for other in at + 1..WEIGHTS {
                let entry = finite(from)?;
                read.covariance[at][other] = entry;
                read.covariance[other][at] = entry;
            }
        }
        Ok(read)
    }
}

fn prior(at: usize) -> f64 {
    if at == FEATURES { PRIOR_BIAS } else { PRIOR }
}

fn dot(one: &[f64; WEIGHTS], two: &[f64; WEIGHTS]) -> f64 {
    one.iter().zip(two).map(|(one, two)| one * two).sum()
}

fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// Mean and standard deviation of the logistic of a normal variable: sums over points half a deviation apart, whose error
/// falls exponentially, as the function is smooth (the trapezoidal rule; Trefethen & Weideman 2014).
fn moments_of(mean: f64, variance: f64) -> (f64, f64) {
    let deviation = variance.sqrt();
    let middle = logistic(mean);
    let (mut weight, mut first, mut second) = (1.0, middle, middle * middle);
    for (place, density) in (1_u8..).zip(DENSITIES) {
        let step = 0.5 * f64::from(place) * deviation;
        let (low, high) = (logistic(mean - step), logistic(mean + step));
        weight += 2.0 * density;
        first += density * (low + high);
        second += density * (low * low + high * high);
    }
    let probability = first / weight;
    (probability, (second / weight - probability * probability).max(0.0).sqrt())
}

/// The root of `r = target - s(odds + variance r)`: it lies between `target - 1` and `target`, where the difference of both
/// sides rises. Newton's steps, halving where one would leave the bracket.
fn residual(odds: f64, variance: f64, target: f64) -> f64 {
    let (mut low, mut high) = (target - 1.0, target);
    let mut at = target - logistic(odds);
    for _ in 0..40 {
        let probability = logistic(odds + variance * at);
        let off = at - target + probability;
        if off > 0.0 {
            high = at;
        } else {
            low = at;
        }
        let next = at - off / (1.0 + variance * probability * (1.0 - probability));
        let next = if next > low && next < high { next } else { f64::midpoint(low, high) };
        if (next - at).abs() < 1e-12 {
            return next;
        }
        at = next;
    }
    at
}

fn finite(from: &mut Reader<'_>) -> Result<f64, CursorError> {
    let offset = from.at();
    let value = from.f64()?;
    if value.is_finite() { Ok(value) } else { Err(bad("weight (bits)", offset, value.to_bits(), "finite")) }
}

fn at_least_0(from: &mut Reader<'_>) -> Result<f64, CursorError> {
    let offset = from.at();
    let value = finite(from)?;
    if value >= 0.0 { Ok(value) } else { Err(bad("variance (bits)", offset, value.to_bits(), "at least 0")) }
}
