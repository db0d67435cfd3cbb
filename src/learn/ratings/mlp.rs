//! The finish: a network of one hidden layer on what the stack leaves.
//!
//! Inputs are standardised by running moments. Steps are divided by the root of the running mean of squared gradients
//! (Tieleman & Hinton 2012, RMSProp) and get shorter with the root of the number of events; errors are clipped, which leans to
//! the median and so serves the mean absolute error. The weights that answer are an exponential mean of the trained
//! ones (Polyak & Juditsky 1992).
//!
//! How far its word is taken is measured: the regression of what was left on what it said, over the events so far. Half of
//! that regression is used and half of its plain word (the regression alone would give the clip's gain away).

use crate::base::Rng;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::linalg::online::{RmsStep, average, layer, rms_step};

/// Inputs.
pub(super) const WIDTH: usize = 64;
/// Hidden units.
pub(super) const HIDDEN: usize = 16;

const STEP: f32 = 5e-4;
const CLIP: f32 = 2.0;
const FAR: f32 = 4.0;
const ANSWER_RATE: f32 = 0.002;
const POWER_RATE: f32 = 0.001;
const FLOOR: f32 = 0.01;
const TRUST_KEPT: f32 = 0.9999;

/// All weights: hidden rows, hidden offsets, output weights.
const WEIGHTS: usize = HIDDEN * WIDTH + 2 * HIDDEN;
const OFFSETS: usize = HIDDEN * WIDTH;
const OUTPUTS: usize = OFFSETS + HIDDEN;

/// The network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Net {
    seen: f32,
    means: [f32; WIDTH],
    variances: [f32; WIDTH],
    trained: Vec<f32>,
    powers: Vec<f32>,
    answering: Vec<f32>,
    trust: [f32; 2],
}

/// What a prediction leaves behind for the step that follows.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    inputs: [f32; WIDTH],
    hidden: [f32; HIDDEN],
    trained: f32,
    plain: f32,
    /// What the answering weights say, as far as they are trusted.
    pub answer: f32,
}

impl Default for Pass {
    fn default() -> Self {
        Self { inputs: [0.0; WIDTH], hidden: [0.0; HIDDEN], trained: 0.0, plain: 0.0, answer: 0.0 }
    }
}

impl Net {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut trained = vec![0.0; WEIGHTS];
        let scale = 1.0 / (WIDTH as f32).sqrt();
        for weight in &mut trained[..OFFSETS] {
            *weight = scale * rng.normal() as f32;
        }
        let answering = trained.clone();
        let (means, variances) = ([0.0; WIDTH], [1.0; WIDTH]);
        Self { seen: 0.0, means, variances, powers: vec![0.0; WEIGHTS], trained, answering, trust: [1.0; 2] }
    }

    /// What the stack is thought to leave, given its inputs.
    pub fn predict(&self, raw: &[f32; WIDTH], pass: &mut Pass) {
        for at in 0..WIDTH {
            let centred = raw[at] - self.means[at];
            pass.inputs[at] = (centred / (self.variances[at] + 1e-6).sqrt()).clamp(-FAR, FAR);
        }
        let mut hidden = [0.0; HIDDEN];
        pass.plain = forward(&self.answering, &pass.inputs, &mut hidden);
        pass.trained = forward(&self.trained, &pass.inputs, &mut pass.hidden);
        let trust = (self.trust[0] / self.trust[1]).clamp(0.0, 1.5);
        pass.answer = pass.plain * 0.5 * (1.0 + trust);
    }

    /// One step towards `left`, what the stack had really left.
    pub fn learn(&mut self, raw: &[f32; WIDTH], pass: &Pass, left: f32, weight: f32) {
        let far = left.clamp(-CLIP, CLIP);
        self.trust[0] = TRUST_KEPT * self.trust[0] + weight * pass.plain * far;
        self.trust[1] = TRUST_KEPT * self.trust[1] + weight * pass.plain * pass.plain + 1e-9;
        let error = (pass.trained - left).clamp(-CLIP, CLIP);
        let step = STEP * weight * (1.0 / (1.0 + self.seen / 5_000.0).sqrt()).max(0.05);
        let outer: [f32; HIDDEN] = std::array::from_fn(|unit| error * pass.hidden[unit]);
        let inner: [f32; HIDDEN] =
            std::array::from_fn(
                |unit| {
                    if pass.hidden[unit] > 0.0 { error * self.trained[OUTPUTS + unit] } else { 0.0 }
                },
            );
        let rule = RmsStep { step, rate: POWER_RATE, floor: FLOOR };
        rms_step(&mut self.trained[..OFFSETS], &mut self.powers[..OFFSETS], &inner, &pass.inputs, rule);
        for (at, gradient) in inner.iter().chain(&outer).enumerate().map(|(at, gradient)| (OFFSETS + at, *gradient)) {
            let power = &mut self.powers[at];
            *power += POWER_RATE * (gradient * gradient - *power);
            self.trained[at] -= step * gradient / (power.sqrt() + FLOOR);
        }
        self.seen += 1.0;
        average(&mut self.answering, &self.trained, ANSWER_RATE.max(1.0 / self.seen));
        self.follow(raw);
    }

    /// Moments of the inputs.
    fn follow(&mut self, raw: &[f32; WIDTH]) {
        let rate = (1.0 / self.seen).max(1e-4);
        for at in 0..WIDTH {
            let distance = raw[at] - self.means[at];
            self.means[at] += rate * distance;
            self.variances[at] += rate * (distance * distance - self.variances[at]);
        }
    }

    pub fn encode(&self, out: &mut Writer<'_>) {
        out.f32(self.seen).f32(self.trust[0]).f32(self.trust[1]);
        let parts: [&[f32]; 5] = [&self.means, &self.variances, &self.trained, &self.powers, &self.answering];
        for part in parts {
            out.f32s(part);
        }
    }

    pub fn decode(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.seen = from.f32()?;
        self.trust = [from.f32()?, from.f32()?];
        let Self { means, variances, trained, powers, answering, .. } = self;
        let parts: [&mut [f32]; 5] = [means, variances, trained, powers, answering];
        parts.into_iter().try_for_each(|part| from.f32s(part))
    }
}

/// The output, and what the hidden units say on the way.
fn forward(weights: &[f32], inputs: &[f32; WIDTH], hidden: &mut [f32; HIDDEN]) -> f32 {
    layer(&weights[..OFFSETS], inputs, hidden);
    let mut sum = 0.0;
    for unit in 0..HIDDEN {
        hidden[unit] = (hidden[unit] + weights[OFFSETS + unit]).max(0.0);
        sum += weights[OUTPUTS + unit] * hidden[unit];
    }
    sum
}
