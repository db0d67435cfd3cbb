//! Kernels of learners that take one small step an event: a stack of factorisations over one column, recursive least
//! squares, and a network of one hidden layer.
//!
//! As in [`kernels`](super::kernels), lanes are fixed and every multiply-add is fused, so bits do not depend on the
//! instruction set; each kernel is a type, because the shim that calls a closure would lose the wide instructions.

use pulp::{Arch, Simd, WithSimd};

use super::LANES;

type Lane = [f32; LANES];

/// What one step of a factorisation needs to know about its two vectors of [`LANES`] values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Product {
    /// `p . q`.
    pub dot: f32,
    /// `p . p`.
    pub square_p: f32,
    /// `q . q`.
    pub square_q: f32,
}

/// One step of one factorisation: `p += step_p (e q - l2 p)`, `q += step_q (e p - l2 q)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FactorMove {
    /// `e`.
    pub error: f32,
    /// Step of `p`.
    pub step_p: f32,
    /// Step of `q`.
    pub step_q: f32,
    /// Pull to zero.
    pub l2: f32,
}

/// The [`Product`] of every lane group of `p` with its counterpart of `q`; as many are written as `out` holds.
#[inline]
pub fn products(p: &[f32], q: &[f32], out: &mut [Product]) {
    Arch::new().dispatch(Products { p: lanes(p), q: lanes(q), out });
}

/// Moves every lane group of `p` and `q`, both from both old values.
#[inline]
pub fn move_factors(p: &mut [f32], q: &mut [f32], moves: &[FactorMove]) {
    Arch::new().dispatch(MoveFactors { p: lanes_mut(p), q: lanes_mut(q), moves });
}

/// `sum w_i x_i` and `sum |w_i|`.
#[must_use]
#[inline]
pub fn votes(weights: &[f32], values: &[f32]) -> [f32; 2] {
    Arch::new().dispatch(Votes { weights: lanes(weights), values: lanes(values) })
}

/// `P v` of a symmetric matrix given by its rows.
#[must_use]
#[inline]
pub fn symmetric_product<const N: usize>(matrix: &[[f64; N]], vector: &[f64; N]) -> [f64; N] {
    Arch::new().dispatch(SymmetricProduct { matrix, vector })
}

/// `P <- P - h h'`. Exactly symmetric where P was: both halves run the same products.
#[inline]
pub fn downdate<const N: usize>(matrix: &mut [[f64; N]], h: &[f64; N]) {
    Arch::new().dispatch(Downdate { matrix, h });
}

/// `out[k] = rows[k] . x`, where `rows` holds rows as long as `x`, one after the other.
#[inline]
pub fn layer(rows: &[f32], x: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(Layer { rows, x: lanes(x), out });
}

/// One RMS-normalised gradient step on every row: with `g = delta[k] x`,
/// `power += rate (g^2 - power)`, `row -= step g / (sqrt(power) + floor)`. A row whose delta is 0 stays as it is.
#[inline]
pub fn rms_step(rows: &mut [f32], powers: &mut [f32], delta: &[f32], x: &[f32], step: RmsStep) {
    Arch::new().dispatch(Rms { rows, powers, delta, x: lanes(x), step });
}

/// `mean += rate (rows - mean)`.
#[inline]
pub fn average(mean: &mut [f32], rows: &[f32], rate: f32) {
    Arch::new().dispatch(Average { mean: lanes_mut(mean), rows: lanes(rows), rate });
}

/// Numbers of [`rms_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsStep {
    /// Length of a step where the gradient is as large as it usually is.
    pub step: f32,
    /// Rate of the mean of squared gradients.
    pub rate: f32,
    /// Added to the root, so that a quiet weight takes no leap.
    pub floor: f32,
}

struct Products<'a> {
    p: &'a [Lane],
    q: &'a [Lane],
    out: &'a mut [Product],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((p, q), out) in self.p.iter().zip(self.q).zip(self.out) {
            let (mut dot, mut square_p, mut square_q) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                dot[lane] = p[lane] * q[lane];
                square_p[lane] = p[lane] * p[lane];
                square_q[lane] = q[lane] * q[lane];
            }
            *out = Product { dot: folded(dot), square_p: folded(square_p), square_q: folded(square_q) };
        }
    }
}

struct MoveFactors<'a> {
    p: &'a mut [Lane],
    q: &'a mut [Lane],
    moves: &'a [FactorMove],
}

impl WithSimd for MoveFactors<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((p, q), step) in self.p.iter_mut().zip(self.q).zip(self.moves) {
            for lane in 0..LANES {
                let (old_p, old_q) = (p[lane], q[lane]);
                p[lane] = step.step_p.mul_add(step.error.mul_add(old_q, -(step.l2 * old_p)), old_p);
                q[lane] = step.step_q.mul_add(step.error.mul_add(old_p, -(step.l2 * old_q)), old_q);
            }
        }
    }
}

struct Votes<'a> {
    weights: &'a [Lane],
    values: &'a [Lane],
}

impl WithSimd for Votes<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f32; 2] {
        let (mut sums, mut sizes) = ([0.0; LANES], [0.0; LANES]);
        for (weights, values) in self.weights.iter().zip(self.values) {
            for lane in 0..LANES {
                sums[lane] = weights[lane].mul_add(values[lane], sums[lane]);
                sizes[lane] += weights[lane].abs();
            }
        }
        [folded(sums), folded(sizes)]
    }
}

struct SymmetricProduct<'a, const N: usize> {
    matrix: &'a [[f64; N]],
    vector: &'a [f64; N],
}

impl<const N: usize> WithSimd for SymmetricProduct<'_, N> {
    type Output = [f64; N];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; N] {
        let mut product = [0.0; N];
        for (row, value) in self.matrix.iter().zip(self.vector) {
            for lane in 0..N {
                product[lane] = row[lane].mul_add(*value, product[lane]);
            }
        }
        product
    }
}

struct Downdate<'a, const N: usize> {
    matrix: &'a mut [[f64; N]],
    h: &'a [f64; N],
}

impl<const N: usize> WithSimd for Downdate<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { matrix, h } = self;
        for (row, down) in matrix.iter_mut().zip(h) {
            for lane in 0..N {
                row[lane] = (-down).mul_add(h[lane], row[lane]);
            }
        }
    }
}

struct Layer<'a> {
    rows: &'a [f32],
    x: &'a [Lane],
    out: &'a mut [f32],
}

impl WithSimd for Layer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, out) in self.rows.chunks_exact(self.x.len() * LANES).zip(self.out) {
            let mut sums = [0.0_f32; LANES];
            for (row, x) in lanes(row).iter().zip(self.x) {
                for lane in 0..LANES {
                    sums[lane] = row[lane].mul_add(x[lane], sums[lane]);
                }
            }
            *out = folded(sums);
        }
    }
}

struct Rms<'a> {
    rows: &'a mut [f32],
    powers: &'a mut [f32],
    delta: &'a [f32],
    x: &'a [Lane],
    step: RmsStep,
}

impl WithSimd for Rms<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let length = self.x.len() * LANES;
        let RmsStep { step, rate, floor } = self.step;
        let rows = self.rows.chunks_exact_mut(length).zip(self.powers.chunks_exact_mut(length));
        for ((row, powers), delta) in rows.zip(self.delta).filter(|(_, delta)| **delta != 0.0) {
            for ((row, powers), x) in lanes_mut(row).iter_mut().zip(lanes_mut(powers)).zip(self.x) {
                for lane in 0..LANES {
                    let gradient = *delta * x[lane];
                    powers[lane] = rate.mul_add(gradient.mul_add(gradient, -powers[lane]), powers[lane]);
                    row[lane] -= step * gradient / (powers[lane].sqrt() + floor);
                }
            }
        }
    }
}

struct Average<'a> {
    mean: &'a mut [Lane],
    rows: &'a [Lane],
    rate: f32,
}

impl WithSimd for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (mean, row) in self.mean.iter_mut().zip(self.rows) {
            for lane in 0..LANES {
                mean[lane] = self.rate.mul_add(row[lane] - mean[lane], mean[lane]);
            }
        }
    }
}

#[inline(always)]
fn folded(mut sums: Lane) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn lanes(slice: &[f32]) -> &[Lane] {
    let (whole, rest) = slice.as_chunks::<LANES>();
    debug_assert!(rest.is_empty(), "{} is no multiple of {LANES}", slice.len());
    whole
}

#[inline(always)]
fn lanes_mut(slice: &mut [f32]) -> &mut [Lane] {
    slice.as_chunks_mut::<LANES>().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn draw(rng: &mut Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| rng.normal() as f32).collect()
    }

    #[test]
    fn stacked_factors_agree_with_doubles() {
        let mut rng = Rng::new(11);
        let (mut p, mut q) = (draw(&mut rng, 48), draw(&mut rng, 48));
        let (old_p, old_q) = (p.clone(), q.clone());
        let mut found = [Product::default(); 3];
        products(&p, &q, &mut found);
        let step = FactorMove { error: 0.3, step_p: 0.1, step_q: 0.2, l2: 0.05 };
        move_factors(&mut p, &mut q, &[step; 3]);
        for group in 0..3 {
            let range = group * LANES..(group + 1) * LANES;
            let sum = |a: &[f32], b: &[f32]| -> f64 {
                a[range.clone()].iter().zip(&b[range.clone()]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            assert!((f64::from(found[group].dot) - sum(&old_p, &old_q)).abs() < 1e-4);
            assert!((f64::from(found[group].square_p) - sum(&old_p, &old_p)).abs() < 1e-4);
            assert!((f64::from(found[group].square_q) - sum(&old_q, &old_q)).abs() < 1e-4);
            for at in range {
                assert!((p[at] - (old_p[at] + 0.1 * (0.3 * old_q[at] - 0.05 * old_p[at]))).abs() < 1e-5);
                assert!((q[at] - (old_q[at] + 0.2 * (0.3 * old_p[at] - 0.05 * old_q[at]))).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_downdate_keeps_symmetry_to_the_bit() {
        let mut rng = Rng::new(12);
        let mut matrix = [[0.0; 8]; 8];
        for (at, row) in matrix.iter_mut().enumerate() {
            row[at] = 3.0;
        }
        for _ in 0..50 {
            let vector: [f64; 8] = std::array::from_fn(|_| rng.normal());
            let gain = symmetric_product(&matrix, &vector);
            let scale = 1.0 + vector.iter().zip(&gain).map(|(a, b)| a * b).sum::<f64>();
            let h = gain.map(|value| value / scale.sqrt());
            downdate(&mut matrix, &h);
            for a in 0..8 {
                assert!(matrix[a][a] > 0.0);
                for b in 0..8 {
                    assert_eq!(matrix[a][b].to_bits(), matrix[b][a].to_bits());
                }
            }
        }
    }

    #[test]
    fn a_layer_and_its_step_agree_with_doubles() {
        let mut rng = Rng::new(13);
        let (mut rows, x) = (draw(&mut rng, 64), draw(&mut rng, 32));
        let mut out = [0.0; 2];
        layer(&rows, &x, &mut out);
        for (row, out) in rows.chunks(32).zip(out) {
            let exact: f64 = row.iter().zip(&x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((f64::from(out) - exact).abs() < 1e-4);
        }
        let (old, mut powers) = (rows.clone(), vec![0.0; 64]);
        rms_step(&mut rows, &mut powers, &[0.0, 2.0], &x, RmsStep { step: 0.1, rate: 0.5, floor: 0.01 });
        assert_eq!(rows[..32], old[..32], "a row without an error does not move");
        for at in 0..32 {
            let gradient = 2.0 * x[at];
            let expected = old[32 + at] - 0.1 * gradient / ((0.5 * gradient * gradient).sqrt() + 0.01);
            assert!((rows[32 + at] - expected).abs() < 1e-5);
        }
        let mut mean = vec![0.0; 64];
        average(&mut mean, &rows, 0.25);
        assert!(mean.iter().zip(&rows).all(|(mean, row)| (mean - 0.25 * row).abs() < 1e-6));
    }
}
