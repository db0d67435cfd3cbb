//! Small dense layers: a batch of rows through a layer of fixed width, forwards and backwards, and the elementary
//! functions that go with them.
//!
//! Every output lane sums its terms in the order of the inner index with fused multiply-add, whatever the SIMD width:
//! the same bits on AVX2 and AVX-512, which a general product does not promise. Six rows share every load of the
//! weights. Logarithm and exponential are polynomials over the same lanes, so that they do not depend on libm either.

#![expect(unsafe_code, reason = "a read without a compare in the hottest loop; it says why it is sound")]

use pulp::{Arch, Simd, WithSimd};

/// Width of a layer: the outputs that stand side by side in one row.
pub const WIDTH: usize = 64;

/// One row of a layer.
pub type Row = [f32; WIDTH];

/// `out_i = sum_r a(i, r) b_r (+ out_i)`: `rows` rows of [`WIDTH`], summed over `b`.
///
/// `a(i, r) = a[i * step + r * stride]`: with `step` the row length and `stride` 1 it is `A B`, the other way round
/// `A' B`, which is the gradient of the weights.
#[derive(Debug)]
pub struct Product<'a> {
    /// Left factor.
    pub a: &'a [f32],
    /// From one output row to the next in `a`.
    pub step: usize,
    /// From one summand to the next in `a`.
    pub stride: usize,
    /// Right factor, a row a summand.
    pub b: &'a [Row],
    /// Where sums go.
    pub out: &'a mut [Row],
    /// Whether they are added to what stands there.
    pub add: bool,
}

impl Product<'_> {
    /// Computes it.
    pub fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, step, stride, b, out, add } = self;
        let mut at = 0;
        let (blocks, rest) = out.as_chunks_mut::<ROWS>();
        for block in blocks {
            let starts = std::array::from_fn(|n| (at + n) * step);
            rows_body(simd, a, starts, stride, b, block, add);
            at += ROWS;
        }
        for row in rest.as_chunks_mut::<1>().0 {
            rows_body(simd, a, [at * step], stride, b, row, add);
            at += 1;
        }
    }
}

/// Rows and registers across whose sums are held at a time: with two more for the weights and one for the factor, fifteen
/// of AVX2's sixteen registers.
const ROWS: usize = 6;
const ACROSS: usize = 2;

/// In so many words, and not as loops over floats: those of six rows end up as single floats.
#[inline(always)]
fn rows_body<S: Simd, const N: usize>(
    simd: S,
    a: &[f32],
    starts: [usize; N],
    stride: usize,
    b: &[Row],
    out: &mut [Row; N],
    add: bool,
) {
    let Some(last) = b.len().checked_sub(1) else {
        if !add {
            out.fill([0.0; WIDTH]);
        }
        return;
    };
    let numbers = starts.map(|start| &a[start..=start + last * stride]);
    let registers = S::as_simd_f32s(&[0.0; WIDTH]).0.len();
    for first in (0..registers).step_by(ACROSS) {
        let mut sums = [[simd.splat_f32s(0.0); ACROSS]; N];
        if add {
            for n in 0..N {
                sums[n].copy_from_slice(&S::as_simd_f32s(&out[n]).0[first..first + ACROSS]);
            }
        }
        let mut at = 0;
        for b in b {
            let b = &S::as_simd_f32s(b).0[first..first + ACROSS];
            for n in 0..N {
                // SAFETY: each slice ends with number `last * stride`, the last that `at` comes to here. A compare for every
                // factor would cost as much as its products.
                let factor = simd.splat_f32s(unsafe { *numbers[n].get_unchecked(at) });
                for across in 0..ACROSS {
                    sums[n][across] = simd.mul_add_f32s(factor, b[across], sums[n][across]);
                }
            }
            at += stride;
        }
        for n in 0..N {
            S::as_mut_simd_f32s(&mut out[n]).0[first..first + ACROSS].copy_from_slice(&sums[n]);
        }
    }
}

/// A row's error on its way back through rectified units to the layer below.
#[derive(Debug)]
pub struct Back<'a> {
    /// The units as the forward pass left them.
    pub units: &'a Row,
    /// Slope of the loss by the row's score.
    pub error: f32,
    /// From units to score.
    pub weights: &'a Row,
    /// Slope by `weights`: added to.
    pub slope: &'a mut Row,
    /// Slope by the units before they were rectified: overwritten.
    pub back: &'a mut Row,
    /// Slope by the units' bias: added to.
    pub bias: &'a mut Row,
}

impl Back<'_> {
    /// Computes it.
    #[inline]
    pub fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { units, error, weights, slope, back, bias } = self;
        for at in 0..WIDTH {
            slope[at] = error.mul_add(units[at], slope[at]);
            back[at] = if units[at] > 0.0 { error * weights[at] } else { 0.0 };
            bias[at] += back[at];
        }
    }
}

/// One step of Adam (Kingma & Ba 2015) with an L2 penalty; equally many numbers in each slice.
#[derive(Debug)]
pub struct AdamStep<'a> {
    /// What moves.
    pub weights: &'a mut [f32],
    /// Slope of the loss.
    pub gradient: &'a [f32],
    /// Running mean of slopes.
    pub first: &'a mut [f32],
    /// Running mean of their squares.
    pub second: &'a mut [f32],
    /// Length of a step.
    pub rate: f32,
    /// What makes up for the zeros that the two means began with.
    pub missing: [f32; 2],
    /// The penalty.
    pub l2: f32,
}

impl AdamStep<'_> {
    /// Takes it.
    pub fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for AdamStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { weights, gradient, first, second, rate, missing: [one, two], l2 } = self;
        let moments = first.iter_mut().zip(second);
        for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            let slope = l2.mul_add(*weight, *gradient);
            *first = (slope - *first).mul_add(0.1, *first);
            *second = slope.mul_add(slope, -*second).mul_add(0.001, *second);
            *weight -= rate * *first * one / ((*second * two).sqrt() + 1e-8);
        }
    }
}

/// The leading bits of ln 2, so few that products with an exponent are exact; 2.121_944_4e-4 is what they are too much.
const LN_2_HIGH: f32 = 355.0 / 512.0;

/// `ln x` of every value, in place, for finite x above 0; relative error about 1e-6. Cephes' polynomial.
pub fn ln_all(values: &mut [f32]) {
    Arch::new().dispatch(LnAll { values });
}

struct LnAll<'a> {
    values: &'a mut [f32],
}

impl WithSimd for LnAll<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (chunks, rest) = self.values.as_chunks_mut::<16>();
        for chunk in chunks {
            for value in chunk {
                *value = ln(*value);
            }
        }
        for value in rest {
            *value = ln(*value);
        }
    }
}

#[inline(always)]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Mantissa in [sqrt(1/2), sqrt(2)): the polynomial is centred on 1.
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    #[expect(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "an exponent")]
    let exponent = ((shifted as i32) >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let z = m * m;
    let mut p = 7.037_683_6e-2_f32;
    p = p.mul_add(m, -1.151_461e-1);
    p = p.mul_add(m, 1.167_699_9e-1);
    p = p.mul_add(m, -1.242_014_1e-1);
    p = p.mul_add(m, 1.424_932_3e-1);
    p = p.mul_add(m, -1.666_805_8e-1);
    p = p.mul_add(m, 2.000_071_5e-1);
    p = p.mul_add(m, -2.499_999_4e-1);
    p = p.mul_add(m, 3.333_333e-1);
    let y = (p * m).mul_add(z, exponent.mul_add(-2.121_944_4e-4, -0.5 * z));
    exponent.mul_add(LN_2_HIGH, m + y)
}

/// `e^x` of every value, in place; x is held within +-87, relative error about 2e-7. Cephes' polynomial.
pub fn exp_all(values: &mut [f32]) {
    Arch::new().dispatch(ExpAll { values });
}

struct ExpAll<'a> {
    values: &'a mut [f32],
}

impl WithSimd for ExpAll<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (chunks, rest) = self.values.as_chunks_mut::<16>();
        for chunk in chunks {
            for value in chunk {
                *value = exp(*value);
            }
        }
        for value in rest {
            *value = exp(*value);
        }
    }
}

#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 87.0);
    // Adding and taking away 1.5 x 2^23 rounds to a whole number.
    let n = x.mul_add(std::f32::consts::LOG2_E, 12_582_912.0) - 12_582_912.0;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-LN_2_HIGH, x));
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let y = (p * r).mul_add(r, r + 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within +-126")]
    let scale = f32::from_bits(((n as i32 + 127) as u32) << 23);
    y * scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn logarithm_and_exponential_agree_with_doubles() {
        let mut rng = Rng::new(4);
        let mut xs: Vec<f32> = (0..10_001).map(|_| (40.0 * rng.unit() - 20.0) as f32).collect();
        xs.extend([0.0, 1.0, -1.0, 86.9, -86.9]);
        let mut powers = xs.clone();
        exp_all(&mut powers);
        for (x, power) in xs.iter().zip(&powers) {
            let exact = f64::from(*x).exp();
            assert!((f64::from(*power) / exact - 1.0).abs() < 5e-7, "exp {x}: {power} {exact}");
        }
        let mut logs = powers.clone();
        ln_all(&mut logs);
        for (power, log) in powers.iter().zip(&logs) {
            let exact = f64::from(*power).ln();
            assert!((f64::from(*log) - exact).abs() < 2e-6_f64.max(exact.abs() * 1e-6), "ln {power}: {log} {exact}");
        }
    }

    #[test]
    fn products_are_sums_both_ways_round() {
        let mut rng = Rng::new(8);
        let (rows, inner) = (7, 50);
        let a: Vec<f32> = (0..rows * inner).map(|_| rng.normal() as f32).collect();
        let mut draw =
            |count: usize| -> Vec<Row> { (0..count).map(|_| std::array::from_fn(|_| rng.normal() as f32)).collect() };
        let (weights, grads) = (draw(inner), draw(rows));
        let mut out = vec![[1.0; WIDTH]; rows];
        Product { a: &a, step: inner, stride: 1, b: &weights, out: &mut out, add: true }.run();
        let mut back = vec![[9.0; WIDTH]; inner];
        Product { a: &a, step: 1, stride: inner, b: &grads, out: &mut back, add: false }.run();
        let mut nothing = vec![[3.0; WIDTH]; 8];
        Product { a: &[], step: 0, stride: 1, b: &[], out: &mut nothing, add: true }.run();
        assert_eq!(nothing, vec![[3.0; WIDTH]; 8], "no summand adds nothing");
        Product { a: &[], step: 0, stride: 1, b: &[], out: &mut nothing, add: false }.run();
        assert_eq!(nothing, vec![[0.0; WIDTH]; 8]);
        for lane in [0, 13, 63] {
            for row in 0..rows {
                let exact: f64 =
                    1.0 + (0..inner).map(|r| f64::from(a[row * inner + r]) * f64::from(weights[r][lane])).sum::<f64>();
                assert!((f64::from(out[row][lane]) - exact).abs() < 1e-4);
            }
            for r in 0..inner {
                let exact: f64 =
                    (0..rows).map(|row| f64::from(a[row * inner + r]) * f64::from(grads[row][lane])).sum::<f64>();
                assert!((f64::from(back[r][lane]) - exact).abs() < 1e-4);
            }
        }
    }
}
