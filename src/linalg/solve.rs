//! Small symmetric positive definite systems, solved again and again without allocating.
//!
//! One [`SpdSolver`] per thread owns a `k x k` matrix A, a copy for its Cholesky factor, a block in which weighted
//! vectors are gathered, and faer's scratch. A solve is: [`SpdSolver::reset_to`] (a Gram matrix that all rows share),
//! [`SpdSolver::add_outer`] (what one row has seen, one rank-n product per [`BLOCK`] vectors rather than n rank-1
//! updates), [`SpdSolver::add_diagonal`], [`SpdSolver::solve`].
//!
//! Invariants: A is kept full (one plain copy and one full product beat half the work in pieces at these sizes); it
//! survives a solve, so further right-hand sides or vectors may
//! follow. Results differ in the last bits between SIMD levels (faer picks at run time), never between runs on one
//! machine. A factorisation that fails is repeated with a growing ridge, [`JITTER_TRIES`] times.

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par, Spec};

/// Vectors that go into one rank-n product.
pub const BLOCK: usize = 128;

/// How often a failed factorisation is repeated with a ridge added to the diagonal: [`JITTER_FIRST`] of the mean
/// diagonal the first time, [`JITTER_GROWTH`] times as much each further time (1e-6 up to 1e-2).
pub const JITTER_TRIES: u32 = 5;

/// First ridge, relative to the mean of the diagonal: a few rounding errors of `f32`.
pub const JITTER_FIRST: f32 = 1e-6;

/// Growth of the ridge from one try to the next.
pub const JITTER_GROWTH: f32 = 10.0;

/// A matrix has a pivot that is not above 0 (or not a number), with the largest ridge tried, too.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "matrix of dimension {dim} is not positive definite: pivot {pivot} fails with {ridge} added to the diagonal, \
     raise the regularisation"
)]
pub struct NotPositiveDefinite {
    /// Rows of the matrix.
    pub dim: usize,
    /// Index of the pivot that failed last; `dim` if all pivots held but the solution is not finite.
    pub pivot: usize,
    /// Largest ridge tried.
    pub ridge: f32,
}

/// A reusable solver for symmetric positive definite systems of one dimension.
pub struct SpdSolver {
    dim: usize,
    arch: pulp::Arch,
    /// A, `dim * dim`, full.
    matrix: Vec<f32>,
    /// Its factor in the lower triangle, whatever above.
    factor: Vec<f32>,
    block: Mat<f32>,
    solution: Vec<f32>,
    scratch: MemBuffer,
}

impl SpdSolver {
    /// A solver for `dim x dim` systems, with A = 0. All memory it will ever use is taken here.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        let need = llt::factor::cholesky_in_place_scratch::<f32>(dim, Par::Seq, Spec::default());
        Self {
            dim,
            arch: pulp::Arch::new(),
            matrix: vec![0.0; dim * dim],
            factor: vec![0.0; dim * dim],
            block: Mat::zeros(dim, BLOCK),
            solution: vec![0.0; dim],
            scratch: MemBuffer::new(need),
        }
    }

    /// Rows of A.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// A = `scale` x `gram`, where `gram` is a symmetric `dim x dim` matrix, contiguous, or the `dim` numbers of a diagonal.
    ///
    /// # Panics
    /// If `gram` is neither long.
    pub fn reset_to(&mut self, gram: &[f32], scale: f32) {
        let dim = self.dim;
        if gram.len() == dim {
            self.matrix.fill(0.0);
            for (to, from) in self.matrix.iter_mut().step_by(dim + 1).zip(gram) {
                *to = from * scale;
            }
            return;
        }
        assert_eq!(gram.len(), dim * dim, "a Gram matrix of dimension {dim}");
        let matrix = &mut self.matrix;
        self.arch.dispatch(|| matrix.iter_mut().zip(gram).for_each(|(to, from)| *to = from * scale));
    }

    /// A += sum of g_j h_j h_j' over `(h_j, g_j)`, and the same for the right-hand side: `rhs` += sum of g_j h_j.
    /// Returns the sum of the g_j. Weights below 0 (and NaN) count as 0.
    ///
    /// # Panics
    /// If a vector or `rhs` is not `dim` long.
    pub fn add_outer<'a>(&mut self, vectors: impl IntoIterator<Item = (&'a [f32], f32)>, rhs: &mut [f32]) -> f64 {
        assert_eq!(rhs.len(), self.dim, "a right-hand side of the solver's dimension");
        let (mut filled, mut total) = (0, 0.0_f64);
        for (vector, weight) in vectors {
            assert_eq!(vector.len(), self.dim, "a vector of the solver's dimension");
            let weight = weight.max(0.0);
            total += f64::from(weight);
            let root = weight.sqrt();
            let column = self.block.col_as_slice_mut(filled);
            self.arch.dispatch(|| {
                for ((scaled, right), &x) in column.iter_mut().zip(rhs.iter_mut()).zip(vector) {
                    *scaled = root * x;
                    *right += weight * x;
                }
            });
            filled += 1;
            if filled == BLOCK {
                self.add_block(filled);
                filled = 0;
            }
        }
        self.add_block(filled);
        total
    }

    /// A += sum of g_j h_j h_j', where h_j is `dim` numbers of `rows` from `j * stride` and g_j is `weights[j]`.
    /// Weights below 0 (and NaN) count as 0.
    ///
    /// # Panics
    /// If `stride` is below the dimension or `rows` ends before the last vector does.
    pub fn add_outer_block(&mut self, rows: &[f32], stride: usize, weights: &[f32]) {
        let dim = self.dim;
        assert!(stride >= dim, "stride {stride} of vectors of dimension {dim}");
        for (chunk, weights) in weights.chunks(BLOCK).enumerate() {
            let first = chunk * BLOCK;
            for (at, &weight) in weights.iter().enumerate() {
                let start = (first + at) * stride;
                let root = weight.max(0.0).sqrt();
                for (scaled, &x) in self.block.col_as_slice_mut(at).iter_mut().zip(&rows[start..start + dim]) {
                    *scaled = root * x;
                }
            }
            self.add_block(weights.len());
        }
    }

    /// A += `ridge` I.
    pub fn add_diagonal(&mut self, ridge: f32) {
        for at in 0..self.dim {
            self.matrix[at * (self.dim + 1)] += ridge;
        }
    }

    /// Solves A x = `rhs` in place.
    ///
    /// # Errors
    /// [`NotPositiveDefinite`] if A is not, with every ridge of [`JITTER_TRIES`], too; `rhs` is then untouched.
    ///
    /// # Panics
    /// If `rhs` is not `dim` long.
    pub fn solve(&mut self, rhs: &mut [f32]) -> Result<(), NotPositiveDefinite> {
        self.solve_with_product(rhs).map(|_| ())
    }

    /// As [`SpdSolver::solve`]; returns rhs.x, which is by how much the solution lowers a least-squares objective.
    pub(super) fn solve_with_product(&mut self, rhs: &mut [f32]) -> Result<f64, NotPositiveDefinite> {
        let dim = self.dim;
        assert_eq!(rhs.len(), dim, "a right-hand side of the solver's dimension");
        let mut ridge = 0.0;
        let mut tries = 0;
        loop {
            let failed = match self.factorise(ridge) {
                Ok(()) => {
                    self.solution.copy_from_slice(rhs);
                    let column = MatMut::from_column_major_slice_mut(&mut self.solution, dim, 1);
                    llt::solve::solve_in_place(
                        MatRef::from_column_major_slice(&self.factor, dim, dim),
                        column,
                        Par::Seq,
                        MemStack::new(&mut self.scratch),
                    );
                    // Infinite and huge entries pass the pivots; their solutions would poison a profile for ever.
                    if self.solution.iter().all(|x| x.is_finite()) {
                        let product = rhs.iter().zip(&self.solution).map(|(b, x)| f64::from(*b) * f64::from(*x)).sum();
                        rhs.copy_from_slice(&self.solution);
                        return Ok(product);
                    }
                    dim
                }
                Err(pivot) => pivot,
            };
            if tries == JITTER_TRIES {
                return Err(NotPositiveDefinite { dim, pivot: failed, ridge });
            }
            ridge = if tries == 0 { JITTER_FIRST * self.mean_diagonal() } else { ridge * JITTER_GROWTH };
            tries += 1;
        }
    }

    /// Cholesky factor of A + `ridge` I, or the index of the pivot that is not above 0.
    fn factorise(&mut self, ridge: f32) -> Result<(), usize> {
        self.factor.copy_from_slice(&self.matrix);
        for at in 0..self.dim {
            self.factor[at * (self.dim + 1)] += ridge;
        }
        let factor = MatMut::from_column_major_slice_mut(&mut self.factor, self.dim, self.dim);
        let stack = MemStack::new(&mut self.scratch);
        llt::factor::cholesky_in_place(factor, Default::default(), Par::Seq, stack, Spec::default())
            .map(|_| ())
            .map_err(|llt::factor::LltError::NonPositivePivot { index }| index)
    }

    #[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^24")]
    fn mean_diagonal(&self) -> f32 {
        let trace: f32 = (0..self.dim).map(|at| self.matrix[at * (self.dim + 1)].abs()).sum();
        (trace / self.dim.max(1) as f32).max(f32::MIN_POSITIVE)
    }

    /// A += B B' for the first `filled` columns of the block.
    fn add_block(&mut self, filled: usize) {
        if filled == 0 {
            return;
        }
        let block = self.block.as_ref().subcols(0, filled);
        let matrix = MatMut::from_column_major_slice_mut(&mut self.matrix, self.dim, self.dim);
        matmul(matrix, Accum::Add, block, block.transpose(), 1.0, Par::Seq);
    }
}

impl std::fmt::Debug for SpdSolver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SpdSolver").field("dim", &self.dim).finish_non_exhaustive()
    }
}

/// `scale` x H'H of vectors that lie one after the other in `factors`, `dim` numbers each: `dim * dim` numbers,
/// symmetric. Products are `f32` within [`GRAM_BLOCK`] vectors and summed in `f64`, so that a large catalogue does not
/// lose its rare directions to rounding.
#[must_use]
pub fn gram(factors: &[f32], dim: usize, scale: f64) -> Vec<f32> {
    let mut sum = vec![0.0_f64; dim * dim];
    let mut part = Mat::<f32>::zeros(dim, dim);
    for rows in factors.chunks(dim.max(1) * GRAM_BLOCK) {
        let block = MatRef::from_column_major_slice(rows, dim, rows.len() / dim);
        triangular::matmul(
            part.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            block,
            BlockStructure::Rectangular,
            block.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        for (at, sums) in sum.chunks_exact_mut(dim).enumerate() {
            for (total, &x) in sums[at..].iter_mut().zip(&part.col_as_slice(at)[at..]) {
                *total += f64::from(x);
            }
        }
    }
    let mut out = vec![0.0; dim * dim];
    for column in 0..dim {
        for row in column..dim {
            #[expect(clippy::cast_possible_truncation, reason = "factors are f32, so are sums of their products")]
            let value = (scale * sum[column * dim + row]) as f32;
            out[column * dim + row] = value;
            out[row * dim + column] = value;
        }
    }
    out
}

/// Vectors per `f32` product of [`gram`].
pub const GRAM_BLOCK: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn normals(rng: &mut Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| rng.normal() as f32).collect()
    }

    /// Gaussian elimination with pivoting in `f64`: slow and plainly right.
    #[expect(clippy::needless_range_loop, reason = "as in the textbook")]
    fn solve_f64(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for at in 0..n {
            let pivot = (at..n).max_by(|&x, &y| a[x][at].abs().total_cmp(&a[y][at].abs())).unwrap();
            a.swap(at, pivot);
            b.swap(at, pivot);
            for row in at + 1..n {
                let times = a[row][at] / a[at][at];
                for column in at..n {
                    a[row][column] -= times * a[at][column];
                }
                b[row] -= times * b[at];
            }
        }
        for at in (0..n).rev() {
            let known: f64 = (at + 1..n).map(|column| a[at][column] * b[column]).sum();
            b[at] = (b[at] - known) / a[at][at];
        }
        b
    }

    #[test]
    fn agrees_with_elimination_in_doubles() {
        for (seed, dim, count) in
            [(1, 1, 1), (2, 3, 2), (3, 8, 0), (4, 16, 40), (5, 33, 127), (6, 64, 128), (7, 50, 300)]
        {
            let mut rng = Rng::new(seed);
            let base = normals(&mut rng, 3 * dim * dim);
            let shared = gram(&base, dim, 1.0);
            let stride = dim + 3;
            let rows = normals(&mut rng, count * stride);
            let weights: Vec<f32> = (0..count).map(|_| rng.unit() as f32).collect();
            let right = normals(&mut rng, dim);
            let (scale, ridge) = (0.3_f32, 0.5_f32);

            let mut solver = SpdSolver::new(dim);
            // Whatever an earlier solve left behind may not matter.
            solver.reset_to(&vec![7.0; dim * dim], 1.0);
            solver.reset_to(&shared, scale);
            solver.add_outer_block(&rows, stride, &weights);
            solver.add_diagonal(ridge);
            let mut found = right.clone();
            solver.solve(&mut found).unwrap();

            let mut a = vec![vec![0.0_f64; dim]; dim];
            for x in 0..dim {
                for y in 0..dim {
                    a[x][y] =
                        base.chunks(dim).map(|h| f64::from(h[x]) * f64::from(h[y])).sum::<f64>() * f64::from(scale);
                    for (j, &g) in weights.iter().enumerate() {
                        a[x][y] += f64::from(g) * f64::from(rows[j * stride + x]) * f64::from(rows[j * stride + y]);
                    }
                }
                a[x][x] += f64::from(ridge);
            }
            let expected = solve_f64(a, right.iter().map(|&x| f64::from(x)).collect());
            let size = expected.iter().map(|x| x.abs()).fold(0.0, f64::max);
            for (x, y) in found.iter().zip(&expected) {
                assert!((f64::from(*x) - y).abs() <= 2e-4 * size, "seed {seed}, dim {dim}: {x} instead of {y}");
            }

            // The same through gathered vectors, whose right-hand side is summed on the way.
            let mut gathered = vec![0.0; dim];
            solver.reset_to(&shared, scale);
            let vectors = weights.iter().enumerate().map(|(j, &g)| (&rows[j * stride..j * stride + dim], g));
            let total = solver.add_outer(vectors, &mut gathered);
            solver.add_diagonal(ridge);
            let mut again = right.clone();
            solver.solve(&mut again).unwrap();
            assert_eq!(found, again, "seed {seed}: one way to gather differs from the other");
            let sum: f64 = weights.iter().map(|&g| f64::from(g)).sum();
            assert!((total - sum).abs() < 1e-9);
            for (x, got) in gathered.iter().enumerate() {
                let want: f64 =
                    weights.iter().enumerate().map(|(j, &g)| f64::from(g) * f64::from(rows[j * stride + x])).sum();
                assert!((f64::from(*got) - want).abs() < 1e-3, "seed {seed}: {got} instead of {want}");
            }
        }
    }

    #[test]
    fn a_singular_matrix_is_helped_by_jitter() {
        // Rank 2 in 8 dimensions, right-hand side within the range: the minimum-norm solution to a few digits.
        let mut rng = Rng::new(11);
        let rows = normals(&mut rng, 16);
        let mut solver = SpdSolver::new(8);
        solver.reset_to(&[0.0; 64], 1.0);
        let mut rhs = vec![0.0; 8];
        solver.add_outer([(&rows[..8], 1.0), (&rows[8..], 1.0)], &mut rhs);
        solver.solve(&mut rhs).unwrap();
        for row in rows.chunks(8) {
            let fit: f32 = row.iter().zip(&rhs).map(|(a, b)| a * b).sum();
            assert!((fit - 1.0).abs() < 0.05, "fit {fit} instead of 1");
        }
    }

    #[test]
    fn an_indefinite_matrix_is_refused_and_rhs_kept() {
        for (what, diagonal) in [("negative", -1.0), ("infinite", f32::INFINITY), ("not a number", f32::NAN)] {
            let mut solver = SpdSolver::new(3);
            solver.reset_to(&[1.0, 0.0, 0.0, 0.0, diagonal, 0.0, 0.0, 0.0, 1.0], 1.0);
            let mut rhs = [1.0, 2.0, 3.0];
            let error = solver.solve(&mut rhs);
            assert!(matches!(error, Err(NotPositiveDefinite { dim: 3, .. })), "{what}: {error:?}, {rhs:?}");
            assert_eq!(rhs.map(f32::to_bits), [1.0_f32, 2.0, 3.0].map(f32::to_bits), "{what}");
        }
    }

    #[test]
    fn a_solve_leaves_the_matrix_for_the_next() {
        let mut solver = SpdSolver::new(2);
        solver.reset_to(&[2.0, 0.0, 0.0, 4.0], 1.0);
        let (mut first, mut second) = ([2.0, 4.0], [4.0, 8.0]);
        solver.solve(&mut first).unwrap();
        solver.solve(&mut second).unwrap();
        let close = |found: [f32; 2], expected: f32| found.iter().all(|x| (x - expected).abs() < 1e-6 * expected);
        assert!(close(first, 1.0) && close(second, 2.0), "{first:?}, {second:?}");
        solver.add_outer_block(&[1.0, 0.0], 2, &[-5.0]);
        let mut third = [2.0, 4.0];
        solver.solve(&mut third).unwrap();
        assert_eq!(third.map(f32::to_bits), first.map(f32::to_bits), "a negative weight counts as 0");
    }
}
