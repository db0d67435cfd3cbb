//! The bank: nine biased factorisations that see the same events and differ in their steps.
//!
//! ```text
//! p = b_u + b_i + P_u . Q_i                    e = target - p
//! b <- b + h (e - l2_bias b)                   h = step + boost / (n + 1)
//! P_u <- P_u + g (e Q_i - l2 P_u)              g = step + boost / (n + 1)
//! ```
//!
//! Koren, Bell & Volinsky, *Matrix factorization techniques for recommender systems*, Computer 42 (2009), eq. 4-5, with a
//! step size of its own for every user and item that falls with the number `n` of its events.
//!
//! Three have biases only, two learn every event once, and four learn it again later: each event is followed by
//! [`REPLAYS`] draws from the ring of past ones (experience replay, Lin 1992), which brings one pass over a stream near to
//! what many passes over a fixed set would reach, and keeps a long memory beside the short one of the others. What
//! the nine know best is for the stack above to find out, so none has to be chosen.
//!
//! No step overshoots: an error is divided by the curvature along its own step where that is over 1, so the product of two
//! factors cannot run away, whatever comes.

use std::ops::Range;

use crate::linalg::LANES;
use crate::linalg::online::{FactorMove, Product, move_factors, products};

use super::columns::BIASES;

/// Models.
pub(super) const MODELS: usize = 9;
/// Models that have biases only; they come first.
pub(super) const PLAIN: usize = 3;
/// Models that have factors.
pub(super) const FACTORED: usize = MODELS - PLAIN;
/// Models that learn every event once: the first five.
pub(super) const ONCE: usize = 5;
/// The model that residuals of neighbours are taken from: the slowest of the plain ones.
pub(super) const SLOWEST: usize = 1;
/// Replayed events after each new one.
pub(super) const REPLAYS: usize = 4;
/// Standard deviation of a new factor's values.
pub(super) const FIRST: f32 = 0.05;

/// Steps of one model.
#[derive(Clone, Copy, Debug)]
struct Steps {
    bias_user: f32,
    bias_item: f32,
    boost_user: f32,
    boost_item: f32,
    factor: f32,
    boost_factor: f32,
    l2: f32,
    l2_bias: f32,
    passes: usize,
}

const fn once(bias: [f32; 4], factor: f32, l2: f32, l2_bias: f32, passes: usize) -> Steps {
    let [bias_user, boost_user, bias_item, boost_item] = bias;
    Steps { bias_user, bias_item, boost_user, boost_item, factor, boost_factor: 0.1, l2, l2_bias, passes }
}

const fn again(factor: f32) -> Steps {
    Steps { boost_factor: 0.1, ..once([0.01, 0.1, 0.005, 0.1], factor, 0.05, 0.02, 1) }
}

const STEPS: [Steps; MODELS] = [
    once([0.03, 0.1, 0.01, 0.3], 0.0, 0.0, 0.01, 1),
    once([0.01, 0.3, 0.005, 0.5], 0.0, 0.0, 0.03, 1),
    once([0.1, 0.1, 0.05, 0.3], 0.0, 0.0, 0.01, 1),
    once([0.06, 0.1, 0.03, 0.3], 0.12, 0.005, 0.01, 1),
    Steps { boost_factor: 0.2, ..once([0.03, 0.1, 0.02, 0.2], 0.03, 0.02, 0.01, 2) },
    again(0.02),
    again(0.05),
    again(0.1),
    again(0.2),
];

/// What every model says: units from the mean, not clipped.
#[inline]
pub(super) fn predict(user: &[f32], item: &[f32], out: &mut [f32; MODELS]) {
    let mut found = [Product::default(); FACTORED];
    products(&user[..BIASES], &item[..BIASES], &mut found);
    for (model, out) in out.iter_mut().enumerate() {
        let dot = if model < PLAIN { 0.0 } else { found[model - PLAIN].dot };
        *out = user[BIASES + model] + item[BIASES + model] + dot;
    }
}

/// Learns a new event. `counts` are the events of user and item before it; `weight` scales every step.
#[inline]
pub(super) fn learn(user: &mut [f32], item: &mut [f32], target: f32, counts: [f32; 2], weight: f32) {
    let shares = counts.map(|count| 1.0 / (count + 1.0));
    for model in 0..PLAIN {
        let error = target - user[BIASES + model] - item[BIASES + model];
        move_biases(model, user, item, error, shares, weight, 0.0);
    }
    let most = STEPS.iter().map(|steps| steps.passes).max().unwrap_or(1);
    let mut first = PLAIN;
    for pass in 0..most {
        while first < ONCE && STEPS[first].passes <= pass {
            first += 1;
        }
        let last = if pass == 0 { MODELS } else { ONCE };
        step(first..last, user, item, target, shares, weight);
    }
}

/// Learns a past event again, with the models that replay: no boost, it is no news.
#[inline]
pub(super) fn replay(user: &mut [f32], item: &mut [f32], target: f32) {
    step(ONCE..MODELS, user, item, target, [0.0; 2], 1.0);
}

/// One step of the models of a range, all of which have factors.
#[inline]
fn step(models: Range<usize>, user: &mut [f32], item: &mut [f32], target: f32, shares: [f32; 2], weight: f32) {
    let groups = (models.start - PLAIN) * LANES..(models.end - PLAIN) * LANES;
    let mut found = [Product::default(); FACTORED];
    let mut moves = [FactorMove::default(); FACTORED];
    let count = models.len();
    products(&user[groups.clone()], &item[groups.clone()], &mut found[..count]);
    for (at, model) in models.enumerate() {
        let (steps, found) = (&STEPS[model], found[at]);
        let step_p = weight * (steps.factor + steps.boost_factor * shares[0]);
        let step_q = weight * (steps.factor + steps.boost_factor * shares[1]);
        let curvature = step_p * found.square_q + step_q * found.square_p;
        let error = target - user[BIASES + model] - item[BIASES + model] - found.dot;
        let error = move_biases(model, user, item, error, shares, weight, curvature);
        moves[at] = FactorMove { error, step_p, step_q, l2: steps.l2 };
    }
    move_factors(&mut user[groups.clone()], &mut item[groups], &moves[..count]);
}

/// Moves both biases of a model and returns the error as damped by the curvature of the whole step.
#[inline]
fn move_biases(
    model: usize,
    user: &mut [f32],
    item: &mut [f32],
    error: f32,
    shares: [f32; 2],
    weight: f32,
    curvature: f32,
) -> f32 {
    let steps = &STEPS[model];
    let step_user = weight * (steps.bias_user + steps.boost_user * shares[0]);
    let step_item = weight * (steps.bias_item + steps.boost_item * shares[1]);
    let error = error / (curvature + step_user + step_item).max(1.0);
    let (user, item) = (&mut user[BIASES + model], &mut item[BIASES + model]);
    *user += step_user * (error - steps.l2_bias * *user);
    *item += step_item * (error - steps.l2_bias * *item);
    error
}
