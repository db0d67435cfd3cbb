//! Attention over the newest items of a user: one vector out of up to [`LENGTH`], forwards, backwards, and the steps of
//! its weights.
//!
//! One block and one head of self-attention as in SASRec (Kang & McAuley 2018), of which only the newest place is asked:
//! ```text
//! q = Q' x_0 + c      s_j = q . x_j + p_j      a_j = e^(s_j) / (e^n + sum_k e^(s_k))      out = V' sum_j a_j x_j
//! ```
//! `x_j` is the vector of the item `j` events back, `p_j` the weight of that place, `n` that of nothing: what is known of a
//! user with one event is drawn towards 0. Keys are the vectors themselves, as `q . (K x)` is `(K' q) . x`, and values are
//! mixed before `V`: two products with a matrix an event, whatever the length.
//!
//! All sums run in a fixed order with fused multiply-add: the same bits whatever the SIMD width.

use pulp::{Arch, Simd, WithSimd};

use super::dense::exp_all;
use super::kernels::dot_body;

/// Length of a vector.
pub const DIM: usize = 32;
/// Most items that are looked at.
pub const LENGTH: usize = 20;
/// Rows of the weights.
pub const ROWS: usize = 2 * DIM + 3;
/// Where `Q` stands: row `i` is what input `i` adds to the query.
pub const QUERY: usize = 0;
/// The row of `c`.
pub const QUERY_BIAS: usize = DIM;
/// The row of `p`, newest first; the rest is 0.
pub const PLACES: usize = DIM + 1;
/// The row that begins with `n`; the rest is 0.
pub const NOTHING: usize = DIM + 2;
/// Where `V` stands: row `i` is what input `i` adds to the output.
pub const VALUE: usize = DIM + 3;

const _: () = assert!(LENGTH <= DIM, "places stand in one row");

/// One vector.
pub type Vector = [f32; DIM];
/// All weights, a row a line.
pub type Weights = [Vector; ROWS];
type Matrix = [Vector; DIM];

/// What goes in, comes out, and is kept in between for the way back.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Vectors of the newest items, newest first.
    pub inputs: [Vector; LENGTH],
    /// How many of them there are, 1 to [`LENGTH`].
    pub count: usize,
    /// What comes out.
    pub out: Vector,
    query: Vector,
    shares: [f32; LENGTH],
    rest: f32,
    mixed: Vector,
}

impl Default for Pass {
    fn default() -> Self {
        let zero = [0.0; DIM];
        let (inputs, shares) = ([zero; LENGTH], [0.0; LENGTH]);
        Self { inputs, count: 0, out: zero, query: zero, shares, rest: 1.0, mixed: zero }
    }
}

impl Pass {
    /// Computes `out` from `inputs`.
    pub fn forward(&mut self, weights: &Weights) {
        if self.count == 0 {
            self.out = [0.0; DIM];
            return;
        }
        Arch::new().dispatch(Ask { weights, pass: self });
        let scores = &mut self.shares[..self.count];
        let nothing = weights[NOTHING][0];
        let highest = scores.iter().copied().fold(nothing, f32::max);
        let mut rest = [nothing - highest];
        scores.iter_mut().for_each(|score| *score -= highest);
        exp_all(scores);
        exp_all(&mut rest);
        let total = scores.iter().fold(rest[0], |sum, share| sum + share);
        scores.iter_mut().for_each(|share| *share /= total);
        self.rest = rest[0] / total;
        Arch::new().dispatch(Mix { weights, pass: self });
    }

    /// Adds to `gradient` what `slope`, the derivative by `out`, means for the weights, and writes into `inputs` what it
    /// means for the inputs.
    pub fn backward(&self, weights: &Weights, slope: &Vector, gradient: &mut Weights, inputs: &mut [Vector; LENGTH]) {
        Arch::new().dispatch(Back { weights, pass: self, slope, gradient, inputs });
    }
}

struct Ask<'a> {
    weights: &'a Weights,
    pass: &'a mut Pass,
}

impl WithSimd for Ask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { weights, pass } = self;
        pass.query = weights[QUERY_BIAS];
        add_product(matrix(weights, QUERY), &pass.inputs[0], &mut pass.query);
        for at in 0..pass.count {
            pass.shares[at] = dot(&pass.query, &pass.inputs[at]) + weights[PLACES][at];
        }
    }
}

struct Mix<'a> {
    weights: &'a Weights,
    pass: &'a mut Pass,
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { weights, pass } = self;
        let mut mixed = [0.0; DIM];
        for at in 0..pass.count {
            add(&mut mixed, pass.shares[at], &pass.inputs[at]);
        }
        let mut out = [0.0; DIM];
        add_product(matrix(weights, VALUE), &mixed, &mut out);
        (pass.mixed, pass.out) = (mixed, out);
    }
}

struct Back<'a> {
    weights: &'a Weights,
    pass: &'a Pass,
    slope: &'a Vector,
    gradient: &'a mut Weights,
    inputs: &'a mut [Vector; LENGTH],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { weights, pass, slope, gradient, inputs } = self;
        let count = pass.count.min(LENGTH);
        let mut mixed = [0.0; DIM];
        for at in 0..DIM {
            mixed[at] = dot(&weights[VALUE + at], slope);
            add(&mut gradient[VALUE + at], pass.mixed[at], slope);
        }
        // Of a softmax: each share times how far its slope is above the mean; nothing's own slope is 0.
        let mut scores = [0.0; LENGTH];
        let mut mean = 0.0_f32;
        for at in 0..count {
            scores[at] = dot(&pass.inputs[at], &mixed);
            mean = pass.shares[at].mul_add(scores[at], mean);
        }
        gradient[NOTHING][0] -= pass.rest * mean;
        let mut query = [0.0; DIM];
        for at in 0..count {
            scores[at] = pass.shares[at] * (scores[at] - mean);
            gradient[PLACES][at] += scores[at];
            add(&mut query, scores[at], &pass.inputs[at]);
            inputs[at] = [0.0; DIM];
            add(&mut inputs[at], pass.shares[at], &mixed);
            add(&mut inputs[at], scores[at], &pass.query);
        }
        add(&mut gradient[QUERY_BIAS], 1.0, &query);
        for at in 0..DIM {
            inputs[0][at] += dot(&weights[QUERY + at], &query);
            add(&mut gradient[QUERY + at], pass.inputs[0][at], &query);
        }
    }
}

/// `out += M' x`, where row `i` of `M` belongs to entry `i` of `x`.
#[inline(always)]
fn add_product(rows: &Matrix, x: &Vector, out: &mut Vector) {
    for (row, x) in rows.iter().zip(x) {
        add(out, *x, row);
    }
}

#[inline(always)]
fn add(out: &mut Vector, factor: f32, x: &Vector) {
    for lane in 0..DIM {
        out[lane] = factor.mul_add(x[lane], out[lane]);
    }
}

#[inline(always)]
fn dot(a: &Vector, b: &Vector) -> f32 {
    dot_body(a.as_chunks().0, b.as_chunks().0)
}

#[inline(always)]
fn matrix(weights: &Weights, first: usize) -> &Matrix {
    let rows = weights[first..].first_chunk::<DIM>();
    rows.expect("a matrix begins DIM rows before the end or sooner")
}

/// Steps of the weights (Adam: Kingma & Ba 2015), one for so many gradients as were added.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// Sum of the gradients since the last step, uphill.
    pub gradient: Box<Weights>,
    /// Decayed mean of the gradients.
    pub mean: Box<Weights>,
    /// Decayed mean of their squares.
    pub square: Box<Weights>,
    /// Gradients that were added since the last step.
    pub pending: u32,
    /// What is still missing in the two means, as they began at 0: the powers of their decays.
    pub missing: [f32; 2],
}

/// Decay of the mean gradient and of its square, a step.
const DECAYS: [f32; 2] = [0.9, 0.999];

impl Default for Adam {
    fn default() -> Self {
        let zero = || Box::new([[0.0; DIM]; ROWS]);
        Self { gradient: zero(), mean: zero(), square: zero(), pending: 0, missing: [1.0; 2] }
    }
}

impl Adam {
    /// Counts one gradient as added, and makes a step uphill of length `step` once there are `batch`.
    pub fn added(&mut self, weights: &mut Weights, step: f32, batch: u32) {
        self.pending += 1;
        if self.pending < batch {
            return;
        }
        for (missing, decay) in self.missing.iter_mut().zip(DECAYS) {
            *missing *= decay;
        }
        Arch::new().dispatch(Climb { adam: self, weights, step });
        self.pending = 0;
    }
}

struct Climb<'a> {
    adam: &'a mut Adam,
    weights: &'a mut Weights,
    step: f32,
}

impl WithSimd for Climb<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { adam, weights, step } = self;
        let share = 1.0 / adam.pending as f32;
        let whole = adam.missing.map(|missing| 1.0 / (1.0 - missing));
        for row in 0..ROWS {
            let (sums, means, squares) = (&mut adam.gradient[row], &mut adam.mean[row], &mut adam.square[row]);
            for lane in 0..DIM {
                let gradient = sums[lane] * share;
                let mean = DECAYS[0].mul_add(means[lane], (1.0 - DECAYS[0]) * gradient);
                let square = DECAYS[1].mul_add(squares[lane], (1.0 - DECAYS[1]) * gradient * gradient);
                weights[row][lane] += step * (mean * whole[0]) / ((square * whole[1]).sqrt() + 1e-8);
                (sums[lane], means[lane], squares[lane]) = (0.0, mean, square);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn draw(rng: &mut Rng, std: f64) -> Vector {
        std::array::from_fn(|_| (std * rng.normal()) as f32)
    }

    fn drawn(seed: u64, count: usize) -> (Box<Weights>, Pass, Vector) {
        let mut rng = Rng::new(seed);
        let mut weights: Box<Weights> = Box::new(std::array::from_fn(|_| draw(&mut rng, 0.3)));
        weights[PLACES][LENGTH..].fill(0.0);
        weights[NOTHING][1..].fill(0.0);
        let inputs = std::array::from_fn(|_| draw(&mut rng, 0.7));
        (weights, Pass { inputs, count, ..Pass::default() }, draw(&mut rng, 1.0))
    }

    /// `slope . out`, whose gradient [`Pass::backward`] claims to compute.
    fn value(weights: &Weights, pass: &Pass, slope: &Vector) -> f64 {
        let mut pass = pass.clone();
        pass.forward(weights);
        pass.out.iter().zip(slope).map(|(out, slope)| f64::from(*out) * f64::from(*slope)).sum()
    }

    #[test]
    fn gradients_are_finite_differences() {
        for (seed, count) in [(1, 1), (2, 2), (3, 7), (4, LENGTH)] {
            let (weights, mut pass, slope) = drawn(seed, count);
            pass.forward(&weights);
            let mut gradient: Box<Weights> = Box::new([[0.0; DIM]; ROWS]);
            let mut inputs = [[0.0; DIM]; LENGTH];
            pass.backward(&weights, &slope, &mut gradient, &mut inputs);
            let step = 1e-2_f32;
            let check = |what: &str, claimed: f32, up: f64, down: f64| {
                let found = (up - down) / f64::from(2.0 * step);
                assert!((found - f64::from(claimed)).abs() < 2e-3 + 2e-2 * found.abs(), "{what}: {claimed} {found}");
            };
            for row in 0..ROWS {
                for lane in (row % 3..DIM).step_by(3) {
                    let with = |by: f32| {
                        let mut weights = weights.clone();
                        weights[row][lane] += by;
                        value(&weights, &pass, &slope)
                    };
                    let unused = (row == PLACES && lane >= count) || (row == NOTHING && lane > 0);
                    assert!(!unused || gradient[row][lane] == 0.0, "row {row} lane {lane} says nothing");
                    check(&format!("weight {row} {lane}"), gradient[row][lane], with(step), with(-step));
                }
            }
            for at in 0..count {
                for lane in 0..DIM {
                    let with = |by: f32| {
                        let mut pass = pass.clone();
                        pass.inputs[at][lane] += by;
                        value(&weights, &pass, &slope)
                    };
                    check(&format!("input {at} {lane} of {count}"), inputs[at][lane], with(step), with(-step));
                }
            }
        }
    }

    #[test]
    fn shares_and_the_rest_are_one() {
        let (weights, mut pass, _) = drawn(5, 9);
        pass.forward(&weights);
        let total = pass.shares[..9].iter().sum::<f32>() + pass.rest;
        assert!((total - 1.0).abs() < 1e-5, "{total}");
        assert!(pass.rest > 0.0);
        pass.count = 0;
        pass.forward(&weights);
        assert_eq!(pass.out, [0.0; DIM], "nothing is known of a user without events");
    }

    /// The promise that replay rests on: the same bits whatever the SIMD width.
    #[test]
    fn bits_do_not_depend_on_the_instruction_set() {
        let (weights, mut pass, _) = drawn(6, LENGTH);
        pass.forward(&weights);
        let mut plain = pass.clone();
        Mix { weights: &weights, pass: &mut plain }.with_simd(pulp::Scalar::new());
        assert_eq!(plain.out.map(f32::to_bits), pass.out.map(f32::to_bits));
    }

    #[test]
    fn steps_wait_for_their_batch_and_climb() {
        let (mut weights, mut pass, slope) = drawn(7, 5);
        let (mut adam, before) = (Adam::default(), weights.clone());
        pass.forward(&weights);
        let first = value(&weights, &pass, &slope);
        let mut inputs = [[0.0; DIM]; LENGTH];
        for round in 1..=40 {
            pass.forward(&weights);
            pass.backward(&weights, &slope, &mut adam.gradient, &mut inputs);
            adam.added(&mut weights, 0.01, 4);
            assert_eq!(weights != before, round >= 4, "round {round}");
        }
        assert!(value(&weights, &pass, &slope) > first + 0.1);
        assert_eq!(adam.pending, 0);
    }
}
