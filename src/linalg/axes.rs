//! Item factors in their principal axes, and users folded in there: small systems instead of large ones.
//!
//! A model may be turned: with H Q for H and Q' w for w every product w.h stays. In the axes that make H'H diagonal
//! ([`ItemFactors::into_principal_axes`]) a user's system is a diagonal D plus one outer product an event, and for n
//! events it is solved in n unknowns instead of dim (Woodbury's identity, both sides scaled to be well conditioned):
//!
//! ```text
//! (D + sum_j g_j h_j h_j')^-1 sum_j g_j h_j  =  D^-1/2 X' (I + X X')^-1 r,     r_j = sqrt(g_j),  X = diag(r) H D^-1/2
//! ```
//!
//! Every number is two chains of fused multiply-adds in a fixed order and dot products run in sixteen lanes, so the bits
//! do not depend on the SIMD width. At most [`EVENTS_MAX`] events; beyond that the large system is the smaller one.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use pulp::{Arch, Simd, WithSimd};

use super::fold_in::FoldInTerms;
use super::kernels::dot_body;
use super::{ItemFactors, LANES, padded};

/// Most events that are solved for here.
pub const EVENTS_MAX: usize = 64;

impl ItemFactors {
    /// The same model with H'H diagonal, largest axis first; unchanged if no axes are found (the factors are not finite).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "factors are f32")]
    pub fn into_principal_axes(mut self) -> Self {
        let dim = self.dim;
        let doubles = Mat::from_fn(dim, dim, |row, column| f64::from(self.gram[column * dim + row]));
        let Ok(found) = doubles.self_adjoint_eigen(Side::Lower) else { return self };
        // Eigenvalues come rising.
        let axes = Mat::from_fn(dim, dim, |row, column| found.U()[(row, dim - 1 - column)] as f32);
        let old = std::mem::take(&mut self.factors);
        self.factors = vec![0.0; old.len()];
        // Item-major rows of H are the columns of H': (H Q)' = Q' H'.
        let turned = MatMut::from_column_major_slice_mut(&mut self.factors, dim, self.items);
        let factors = MatRef::from_column_major_slice(&old, dim, self.items);
        matmul(turned, Accum::Replace, axes.transpose(), factors, 1.0, Par::Seq);
        let gram = super::solve::gram(&self.factors, dim, self.unobserved_weight);
        // What is left beside the diagonal is rounding.
        self.gram.fill(0.0);
        for at in 0..dim {
            self.gram[at * (dim + 1)] = gram[at * (dim + 1)];
        }
        self
    }
}

/// The diagonal of a `dim x dim` matrix that has nothing else.
#[must_use]
pub fn diagonal(matrix: &[f32], dim: usize) -> Option<Vec<f32>> {
    let beside = |at: &usize| !at.is_multiple_of(dim + 1) && matrix[*at] != 0.0;
    let only = matrix.len() == dim * dim && !(0..matrix.len()).any(|at| beside(&at));
    only.then(|| matrix.iter().step_by(dim + 1).copied().collect())
}

/// The events of one user as the solvers in the axes take them.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// h_j, one after the other, padded.
    pub(super) columns: Vec<f32>,
    /// r_j.
    pub(super) roots: Vec<f32>,
    /// D^-1/2, padded with zeros.
    pub(super) scales: Vec<f32>,
}

impl Observed {
    /// Takes the first `most` events whose weight is above 0 (and not NaN), of each column the padded dimension of
    /// `terms.gram`, which is the diagonal alone. `false` if there are none.
    ///
    /// # Panics
    /// If a column is shorter than that.
    pub(super) fn take<'a>(
        &mut self,
        terms: FoldInTerms<'_>,
        events: impl IntoIterator<Item = (&'a [f32], f32)>,
        most: usize,
    ) -> bool {
        let rows = padded(terms.gram.len());
        self.columns.clear();
        self.roots.clear();
        let mut total = 0.0_f64;
        for (column, weight) in events.into_iter().filter(|(_, weight)| *weight > 0.0).take(most) {
            self.columns.extend_from_slice(&column[..rows]);
            self.roots.push(weight.sqrt());
            total += f64::from(weight);
        }
        let ridge = terms.ridge(total);
        self.scales.clear();
        self.scales.extend(terms.gram.iter().map(|own| 1.0 / (own.max(0.0) + ridge).sqrt()));
        self.scales.resize(rows, 0.0);
        !self.roots.is_empty()
    }
}

/// Makes zeros of a factor that is not finite: no taste rather than a poisoned one.
pub(super) fn zero_unless_finite(factor: &mut [f32]) {
    if !factor.iter().all(|value| value.is_finite()) {
        factor.fill(0.0);
    }
}

/// Room for one user's system.
#[derive(Debug, Default)]
pub struct AxesSolver {
    /// The columns become the rows of X.
    observed: Observed,
    /// Events taken.
    count: usize,
    /// X': row f holds number f of all events.
    across: Vec<f32>,
    /// Factor L of I + X X', column after column, zero above the diagonal.
    lower: Vec<f32>,
    /// The right-hand side, which becomes L^-1 r; inverses of L's diagonal; the solution.
    unknowns: Vec<f32>,
}

impl AxesSolver {
    /// As [`fold_in`](super::fold_in()), where `terms.gram` is the diagonal alone (`dim` numbers) and columns and `out` are
    /// padded with zeros. Events of weight 0 or less (or NaN) are left out, and so is what comes after [`EVENTS_MAX`].
    ///
    /// # Panics
    /// If a column or `out` is shorter than the padded dimension.
    pub fn fold_in<'a>(
        &mut self,
        terms: FoldInTerms<'_>,
        events: impl IntoIterator<Item = (&'a [f32], f32)>,
        out: &mut [f32],
    ) {
        let rows = padded(terms.gram.len());
        let out = &mut out[..rows];
        out.fill(0.0);
        if !self.observed.take(terms, events, EVENTS_MAX) {
            return;
        }
        self.count = self.observed.roots.len();
        let stride = padded(self.count);
        // Whole lane groups: what there is not weighs nothing.
        self.observed.roots.resize(stride, 0.0);
        self.observed.columns.resize(rows * stride, 0.0);
        self.across.resize(rows * stride, 0.0);
        self.lower.resize(stride * stride, 0.0);
        self.unknowns.clear();
        self.unknowns.resize(3 * stride, 0.0);
        Arch::new().dispatch(Solve { of: self, rows, stride, out });
        zero_unless_finite(out);
    }
}

struct Solve<'a> {
    of: &'a mut AxesSolver,
    rows: usize,
    stride: usize,
    out: &'a mut [f32],
}

impl WithSimd for Solve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, rows, stride, out } = self;
        let AxesSolver { observed: Observed { columns, roots, scales }, count, across, lower, unknowns } = of;
        let (count, across, lower) = (*count, &mut across[..rows * stride], &mut lower[..stride * stride]);
        spread(columns, roots, scales, across, stride);
        let (right, rest) = unknowns.split_at_mut(stride);
        let (inverses, solved) = rest.split_at_mut(stride);
        right.copy_from_slice(roots);
        for at in 0..count {
            let column = &mut [0.0_f32; EVENTS_MAX][..stride];
            column[at] = 1.0;
            accumulate(simd, column, across, at, 1.0);
            let (before, rest) = lower.split_at_mut(at * stride);
            accumulate(simd, column, before, at, -1.0);
            // 1 + squares: below 1 only by rounding.
            let inverse = 1.0 / column[at].max(f32::MIN_POSITIVE).sqrt();
            column[..at].fill(0.0);
            let unknown = right[at] * inverse;
            for ((to, from), right) in rest.iter_mut().zip(column.iter()).zip(right.iter_mut()) {
                *to = inverse * from;
                *right = (-unknown).mul_add(*to, *right);
            }
            (right[at], inverses[at]) = (unknown, inverse);
        }
        back(lower, right, inverses, solved, count);
        for (at, column) in columns.chunks_exact(rows).take(count).enumerate() {
            let weight = solved[at];
            for (to, x) in out.iter_mut().zip(column) {
                *to = weight.mul_add(*x, *to);
            }
        }
        for (to, scale) in out.iter_mut().zip(scales.iter()) {
            *to *= scale;
        }
    }
}

/// X and X': the columns scaled where they lie, then turned in blocks of four by four.
#[inline(always)]
fn spread(columns: &mut [f32], roots: &[f32], scales: &[f32], across: &mut [f32], stride: usize) {
    let rows = scales.len();
    for (column, root) in columns.chunks_exact_mut(rows).zip(roots) {
        for (x, scale) in column.iter_mut().zip(scales) {
            *x *= root * scale;
        }
    }
    for (block, four) in columns.chunks_exact(4 * rows).enumerate() {
        let (one, rest) = four.split_at(rows);
        let (two, rest) = rest.split_at(rows);
        let (three, four) = rest.split_at(rows);
        let quads = one.as_chunks::<4>().0.iter().zip(two.as_chunks::<4>().0);
        let quads = quads.zip(three.as_chunks::<4>().0.iter().zip(four.as_chunks::<4>().0));
        for (((a, b), (c, d)), to) in quads.zip(across.chunks_exact_mut(4 * stride)) {
            for f in 0..4 {
                let start = f * stride + 4 * block;
                to[start..start + 4].copy_from_slice(&[a[f], b[f], c[f], d[f]]);
            }
        }
    }
}

/// `column += sign x sum over rows of row[at] row`, from the vector that holds `at` on.
#[inline(always)]
fn accumulate<S: Simd>(simd: S, column: &mut [f32], rows: &[f32], at: usize, sign: f32) {
    let stride = column.len();
    let mut first = at / S::F32_LANES;
    let vectors = stride / S::F32_LANES;
    while first < vectors {
        match vectors - first {
            1 => some::<S, 1>(simd, column, rows, (stride, first, at), sign),
            2 => some::<S, 2>(simd, column, rows, (stride, first, at), sign),
            3 => some::<S, 3>(simd, column, rows, (stride, first, at), sign),
            4 => some::<S, 4>(simd, column, rows, (stride, first, at), sign),
            5 => some::<S, 5>(simd, column, rows, (stride, first, at), sign),
            _ => some::<S, 6>(simd, column, rows, (stride, first, at), sign),
        }
        first += 6;
    }
}

/// [`accumulate`] for `N` vectors, held in registers: even and odd rows apart, so that twice as many chains run at once.
#[inline(always)]
fn some<S: Simd, const N: usize>(
    simd: S,
    column: &mut [f32],
    rows: &[f32],
    (stride, first, at): (usize, usize, usize),
    sign: f32,
) {
    let to = &mut S::as_mut_simd_f32s(column).0[first..first + N];
    let (mut even, mut odd) = ([simd.splat_f32s(0.0); N], [simd.splat_f32s(0.0); N]);
    let mut pairs = rows.chunks_exact(2 * stride);
    for pair in &mut pairs {
        let (one, two) = pair.split_at(stride);
        let (x, y) = (simd.splat_f32s(one[at]), simd.splat_f32s(two[at]));
        let (one, two) = (&S::as_simd_f32s(one).0[first..first + N], &S::as_simd_f32s(two).0[first..first + N]);
        for n in 0..N {
            even[n] = simd.mul_add_f32s(x, one[n], even[n]);
            odd[n] = simd.mul_add_f32s(y, two[n], odd[n]);
        }
    }
    for row in pairs.remainder().chunks_exact(stride) {
        let x = simd.splat_f32s(row[at]);
        let row = &S::as_simd_f32s(row).0[first..first + N];
        for n in 0..N {
            even[n] = simd.mul_add_f32s(x, row[n], even[n]);
        }
    }
    let sign = simd.splat_f32s(sign);
    for n in 0..N {
        to[n] = simd.mul_add_f32s(sign, simd.add_f32s(even[n], odd[n]), to[n]);
    }
}

/// Solves L' y = z, the last unknown first; `y` comes zeroed, `inverses` are those of L's diagonal.
#[inline(always)]
fn back(lower: &[f32], z: &[f32], inverses: &[f32], y: &mut [f32], count: usize) {
    let stride = y.len();
    for at in (0..count).rev() {
        let first = at / LANES * LANES;
        let column = &lower[at * stride + first..(at + 1) * stride];
        let later = dot_body(column.as_chunks().0, y[first..].as_chunks().0);
        y[at] = (z[at] - later) * inverses[at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::linalg::{SpdSolver, fold_in};

    fn normals(rng: &mut Rng, count: usize, std: f32) -> Vec<f32> {
        (0..count).map(|_| std * rng.normal() as f32).collect()
    }

    fn model(rng: &mut Rng, dim: usize, items: usize) -> ItemFactors {
        let factors = normals(rng, dim * items, 0.3);
        let gram = crate::linalg::solve::gram(&factors, dim, 0.2);
        ItemFactors { dim, items, factors, gram, l2: 0.01, unobserved_weight: 0.2, objective: 0.0 }
    }

    /// Scores of all items for a user folded in, by the large system over the full matrix.
    fn scores(model: &ItemFactors, user: &[f32]) -> Vec<f32> {
        (0..model.items).map(|item| model.row(item).iter().zip(user).map(|(a, b)| a * b).sum()).collect()
    }

    #[test]
    fn turning_changes_no_score_and_the_small_system_has_the_large_ones_solution() {
        let seed = 83;
        let mut rng = Rng::new(seed);
        let mut axes = AxesSolver::default();
        for (dim, items, count) in [(1, 5, 1), (7, 40, 3), (16, 100, 64), (64, 300, 41), (64, 300, 1), (100, 150, 33)] {
            let plain = model(&mut rng, dim, items);
            let turned = plain.clone().into_principal_axes();
            let own = diagonal(&turned.gram, dim).expect("nothing beside the diagonal");
            let picks: Vec<(usize, f32)> =
                (0..count).map(|age| (rng.below(items as u64) as usize, 0.8_f32.powi(age))).collect();
            let mut solver = SpdSolver::new(dim);
            let mut exact = vec![0.0; dim];
            let events = picks.iter().map(|(item, weight)| (plain.row(*item), *weight));
            fold_in(&mut solver, plain.terms(), events, &mut exact).expect("definite");

            let wide: Vec<Vec<f32>> = picks
                .iter()
                .map(|(item, _)| {
                    let mut column = turned.row(*item).to_vec();
                    column.resize(padded(dim), 0.0);
                    column
                })
                .collect();
            let mut found = vec![9.0; padded(dim)];
            let events = wide.iter().map(Vec::as_slice).zip(picks.iter().map(|pick| pick.1));
            axes.fold_in(FoldInTerms { gram: &own, ..turned.terms() }, events, &mut found);
            assert!(found[dim..].iter().all(|value| *value == 0.0));
            let (expected, found) = (scores(&plain, &exact), scores(&turned, &found));
            let size = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
            for (x, y) in found.iter().zip(&expected) {
                assert!((x - y).abs() <= 1e-5 * size, "seed {seed}, dim {dim}, {count} events: {x}, not {y}");
            }
        }
    }

    #[test]
    fn nothing_seen_is_no_taste_and_nothing_poisons() {
        let terms = FoldInTerms { gram: &[1.0; 20], l2: 0.1, unobserved_mass: 2.0 };
        let mut axes = AxesSolver::default();
        let mut out = [7.0; 32];
        let column = [0.5_f32; 32];
        for weight in [0.0, -1.0, f32::NAN] {
            axes.fold_in(terms, [(&column[..], weight)], &mut out);
            assert!(out.iter().all(|value| *value == 0.0), "weight {weight}");
        }
        axes.fold_in(terms, [(&[f32::INFINITY; 32][..], 1.0)], &mut out);
        assert!(out.iter().all(|value| *value == 0.0), "what is not finite leaves zeros");
    }

    #[test]
    fn a_matrix_with_anything_beside_its_diagonal_has_none() {
        assert_eq!(diagonal(&[1.0, 0.0, 0.0, 2.0], 2), Some(vec![1.0, 2.0]));
        assert_eq!(diagonal(&[1.0, 0.1, 0.1, 2.0], 2), None);
        assert_eq!(diagonal(&[], 2), None);
    }
}
