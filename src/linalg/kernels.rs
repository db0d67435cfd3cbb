//! Dot, axpy and norm on columns.
//!
//! Columns come padded to [`LANES`] with zeros, so there are no tails. Sums run in sixteen fixed lanes with fused
//! multiply-add and one fixed reduction tree: the bits do not depend on whether the machine has AVX2 or AVX-512.
//! pulp picks the instruction set at run time; nothing needs `target-cpu`.

use pulp::{Arch, Simd, WithSimd};

use super::LANES;

pub(super) type Lane = [f32; LANES];

/// `sum a_i b_i`.
///
/// Lengths are equal and multiples of [`LANES`]; what is over is ignored in release and asserted in debug.
#[must_use]
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    Arch::new().dispatch(Dot { a, b })
}

/// `sum a_i^2`. Take its root for the norm: values are bounded at the edge, so nothing overflows.
#[must_use]
#[inline]
pub fn squared_norm(a: &[f32]) -> f32 {
    dot(a, a)
}

/// `y = scale * y + weight * x`, in place.
#[inline]
pub fn scale_add(y: &mut [f32], scale: f32, weight: f32, x: &[f32]) {
    Arch::new().dispatch(ScaleAdd { y, scale, weight, x });
}

/// `y = factor * x`.
#[inline]
pub fn scaled_copy(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = factor * x;
    }
}

/// Where `needle` stands in `haystack`, if it does.
#[must_use]
#[inline]
pub fn position(haystack: &[u32], needle: u32) -> Option<usize> {
    Arch::new().dispatch(Position { haystack, needle })
}

/// One gradient step on both sides of `p . q` (Koren, Bell & Volinsky 2009, eq. 5), both from the old values:
/// `p += step_p (e q - l2 p)`, `q += step_q (e p - l2 q)`.
#[inline]
pub fn factor_step(p: &mut [f32], q: &mut [f32], error: f32, step_p: f32, step_q: f32, l2: f32) {
    Arch::new().dispatch(FactorStep { p, q, error, step_p, step_q, l2 });
}

/// One step that tells `q` from `r` for `p` (Rendle et al. 2009), all from the old values: `p += step (slope (q - r) - l2 p)`,
/// `q += step (slope p - l2 q)`, `r += step (-slope p - l2 r)`.
#[inline]
pub fn pair_step(p: &mut [f32], q: &mut [f32], r: &mut [f32], step: f32, slope: f32, l2: f32) {
    Arch::new().dispatch(PairStep { p, q, r, step, slope, l2 });
}

// Each kernel is a type and no closure: the shim that calls a closure is not inlined into the code that has the wide
// instructions, and the kernel then runs with the narrow ones and a call into libm for every multiply-add.

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl WithSimd for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        dot_body(lanes(self.a), lanes(self.b))
    }
}

struct Position<'a> {
    haystack: &'a [u32],
    needle: u32,
}

impl WithSimd for Position<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Option<usize> {
        let (chunks, rest) = self.haystack.as_chunks::<32>();
        for (at, chunk) in chunks.iter().enumerate() {
            // Without a way out in between, a chunk is a handful of wide comparisons.
            let mut found = 0_u32;
            for value in chunk {
                found |= u32::from(*value == self.needle);
            }
            if found != 0 {
                return chunk.iter().position(|value| *value == self.needle).map(|place| at * 32 + place);
            }
        }
        rest.iter().position(|value| *value == self.needle).map(|place| chunks.len() * 32 + place)
    }
}

struct ScaleAdd<'a> {
    y: &'a mut [f32],
    scale: f32,
    weight: f32,
    x: &'a [f32],
}

impl WithSimd for ScaleAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, x) in lanes_mut(self.y).iter_mut().zip(lanes(self.x)) {
            for lane in 0..LANES {
                y[lane] = (y[lane] * self.scale).mul_add(1.0, self.weight * x[lane]);
            }
        }
    }
}

struct FactorStep<'a> {
    p: &'a mut [f32],
    q: &'a mut [f32],
    error: f32,
    step_p: f32,
    step_q: f32,
    l2: f32,
}

impl WithSimd for FactorStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { p, q, error, step_p, step_q, l2 } = self;
        for (p, q) in lanes_mut(p).iter_mut().zip(lanes_mut(q)) {
            for lane in 0..LANES {
                let (old_p, old_q) = (p[lane], q[lane]);
                p[lane] = step_p.mul_add(error.mul_add(old_q, -(l2 * old_p)), old_p);
                q[lane] = step_q.mul_add(error.mul_add(old_p, -(l2 * old_q)), old_q);
            }
        }
    }
}

struct PairStep<'a> {
    p: &'a mut [f32],
    q: &'a mut [f32],
    r: &'a mut [f32],
    step: f32,
    slope: f32,
    l2: f32,
}

impl WithSimd for PairStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { p, q, r, step, slope, l2 } = self;
        for ((p, q), r) in lanes_mut(p).iter_mut().zip(lanes_mut(q)).zip(lanes_mut(r)) {
            for lane in 0..LANES {
                let (old_p, old_q, old_r) = (p[lane], q[lane], r[lane]);
                p[lane] = step.mul_add(slope.mul_add(old_q - old_r, -(l2 * old_p)), old_p);
                q[lane] = step.mul_add(slope.mul_add(old_p, -(l2 * old_q)), old_q);
                r[lane] = step.mul_add((-slope).mul_add(old_p, -(l2 * old_r)), old_r);
            }
        }
    }
}

/// [`dot`] for code that is compiled for the instruction set already.
#[inline(always)]
pub(super) fn dot_body(a: &[Lane], b: &[Lane]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    sum_of(sums)
}

/// [`dot_body`] of two columns with a third: the bits of each product alone.
#[inline(always)]
pub(super) fn dot_twice_body([a, b]: [&[Lane]; 2], c: &[Lane]) -> [f32; 2] {
    let mut sums = [[0.0_f32; LANES]; 2];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for lane in 0..LANES {
            sums[0][lane] = a[lane].mul_add(c[lane], sums[0][lane]);
            sums[1][lane] = b[lane].mul_add(c[lane], sums[1][lane]);
        }
    }
    [sum_of(sums[0]), sum_of(sums[1])]
}

/// The fixed tree of additions that ends every sum.
#[inline(always)]
fn sum_of(mut sums: Lane) -> f32 {
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
    fn kernels_agree_with_doubles() {
        let mut rng = Rng::new(3);
        for length in [16, 32, 48, 64, 256, 512] {
            let (a, b) = (draw(&mut rng, length), draw(&mut rng, length));
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-4, "dot of {length}");
            let mut y = a.clone();
            scale_add(&mut y, 0.5, 2.0, &b);
            for i in 0..length {
                assert!((y[i] - (0.5 * a[i] + 2.0 * b[i])).abs() < 1e-5);
            }
            let (mut p, mut q) = (a.clone(), b.clone());
            factor_step(&mut p, &mut q, 0.3, 0.1, 0.2, 0.05);
            for i in 0..length {
                assert!((p[i] - (a[i] + 0.1 * (0.3 * b[i] - 0.05 * a[i]))).abs() < 1e-5);
                assert!((q[i] - (b[i] + 0.2 * (0.3 * a[i] - 0.05 * b[i]))).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn position_is_the_first_place_or_none() {
        for length in [0, 1, 31, 32, 33, 64, 100, 512] {
            let values: Vec<u32> = (0..length).map(|at| at * 7 + 1).collect();
            for needle in 0..length * 7 + 9 {
                assert_eq!(position(&values, needle), values.iter().position(|value| *value == needle));
            }
        }
        assert_eq!(position(&[3; 70], 3), Some(0), "the first of several");
    }

    /// The promise that replay rests on: the same bits whatever the SIMD width.
    #[test]
    fn bits_do_not_depend_on_the_instruction_set() {
        let mut rng = Rng::new(5);
        for length in [16, 64, 256] {
            let (a, b) = (draw(&mut rng, length), draw(&mut rng, length));
            let plain = dot_body(lanes(&a), lanes(&b));
            assert_eq!(plain.to_bits(), dot(&a, &b).to_bits());
        }
    }
}
