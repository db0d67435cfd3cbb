//! One sweep of coordinate descent over a factor: each number in turn to its optimum, the others held.
//!
//! For observed columns v_j with weight g_j towards 1, of which c_j is counted in the shared sums already, the objective
//!
//! ```text
//!   sum_j [ g_j (1 - x.v_j)^2 - c_j (x.v_j)^2 ]  +  scale x'S x  +  l2 |x|^2
//! ```
//!
//! has its optimum in x_f, with p_j = x.v_j - x_f v_jf, at
//!
//! ```text
//!   x_f = [ sum_j (g_j - (g_j - c_j) p_j) v_jf  -  scale sum_{a != f} x_a S_af ]
//!         / [ sum_j (g_j - c_j) v_jf^2  +  scale S_ff  +  l2 ]
//! ```
//!
//! which costs (dim + columns) a number and no matrix. Sums run in sixteen fixed lanes: the bits do not depend on the
//! SIMD width. Columns are gathered into rows of their numbers first, so that the loop over j reads in a line.

use pulp::{Arch, Simd, WithSimd};

use super::{LANES, padded};

type Lane = [f32; LANES];

/// Room for the columns of one sweep.
#[derive(Debug, Default)]
pub struct Sweep {
    dim: usize,
    count: usize,
    stride: usize,
    /// Row f holds v_jf for all j, `stride` apart.
    rows: Vec<f32>,
    /// g_j, zero past the last.
    weights: Vec<f32>,
    /// g_j - c_j.
    surplus: Vec<f32>,
    /// p_j.
    products: Vec<f32>,
}

impl Sweep {
    /// Starts anew: at most `most` columns of `dim` numbers, a multiple of [`LANES`].
    pub fn begin(&mut self, dim: usize, most: usize) {
        debug_assert!(dim.is_multiple_of(LANES), "columns are padded");
        (self.dim, self.count, self.stride) = (dim, 0, padded(most.max(1)));
        let grow = |of: &mut Vec<f32>, length| {
            if of.len() < length {
                of.resize(length, 0.0);
            }
        };
        grow(&mut self.rows, dim * self.stride);
        for of in [&mut self.weights, &mut self.surplus, &mut self.products] {
            grow(of, self.stride);
        }
    }

    /// Adds a column with its g and c. What does not fit is left out.
    pub fn push(&mut self, column: &[f32], weight: f32, counted: f32) {
        if self.count == self.stride {
            return;
        }
        let at = self.count;
        for (row, value) in self.rows.chunks_exact_mut(self.stride).zip(&column[..self.dim]) {
            row[at] = *value;
        }
        self.weights[at] = weight;
        self.surplus[at] = weight - counted;
        self.count += 1;
    }

    /// Sweeps over `factor` (`dim` numbers) once. `shared` is S, `dim x dim`, symmetric.
    ///
    /// # Panics
    /// If `factor` or `shared` is too short.
    pub fn run(&mut self, factor: &mut [f32], shared: &[f32], scale: f32, l2: f32) {
        let used = padded(self.count);
        let gone = self.count..used;
        self.weights[gone.clone()].fill(0.0);
        self.surplus[gone.clone()].fill(0.0);
        for row in self.rows.chunks_exact_mut(self.stride).take(self.dim) {
            row[gone.clone()].fill(0.0);
        }
        let (factor, shared) = (&mut factor[..self.dim], &shared[..self.dim * self.dim]);
        let (stride, rows) = (self.stride, &self.rows[..self.dim * self.stride]);
        let (weights, surplus) = (&self.weights[..used], &self.surplus[..used]);
        let products = &mut self.products[..used];
        Arch::new().dispatch(Run { factor, shared, scale, l2, stride, rows, weights, surplus, products });
    }
}

struct Run<'a> {
    factor: &'a mut [f32],
    shared: &'a [f32],
    scale: f32,
    l2: f32,
    stride: usize,
    rows: &'a [f32],
    weights: &'a [f32],
    surplus: &'a [f32],
    products: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { factor, shared, scale, l2, stride, rows, weights, surplus, products } = self;
        let (dim, used) = (factor.len(), products.len());
        let (weights, surplus) = (lanes(weights), lanes(surplus));
        let products = products.as_chunks_mut::<LANES>().0;
        products.fill([0.0; LANES]);
        for f in 0..dim {
            add(products, factor[f], lanes(&rows[f * stride..f * stride + used]));
        }
        for f in 0..dim {
            let row = lanes(&rows[f * stride..f * stride + used]);
            let own = &shared[f * dim..(f + 1) * dim];
            let old = factor[f];
            let others = sum(dot_lanes(lanes(factor), lanes(own))) - old * own[f];
            let (mut above, mut below) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            for at in 0..row.len() {
                for lane in 0..LANES {
                    let v = row[at][lane];
                    let product = (-old).mul_add(v, products[at][lane]);
                    products[at][lane] = product;
                    let error = (-surplus[at][lane]).mul_add(product, weights[at][lane]);
                    above[lane] = error.mul_add(v, above[lane]);
                    below[lane] = (surplus[at][lane] * v).mul_add(v, below[lane]);
                }
            }
            let below = sum(below) + scale * own[f] + l2;
            // Below 0 only by rounding, where there is nothing to go by: the number stays.
            let new = if below > 0.0 { (sum(above) - scale * others) / below } else { old };
            factor[f] = new;
            add(products, new, row);
        }
    }
}

/// products += x row.
#[inline(always)]
fn add(products: &mut [Lane], x: f32, row: &[Lane]) {
    for (products, row) in products.iter_mut().zip(row) {
        for lane in 0..LANES {
            products[lane] = x.mul_add(row[lane], products[lane]);
        }
    }
}

#[inline(always)]
fn dot_lanes(a: &[Lane], b: &[Lane]) -> Lane {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    sums
}

#[inline(always)]
fn sum(mut sums: Lane) -> f32 {
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
    slice.as_chunks::<LANES>().0
}

/// `matrix += up x x' - down y y'`, `dim x dim`, symmetric: a factor in a sum of outer products changes from y to x.
///
/// # Panics
/// If `matrix` is not as long as that.
pub fn replace_outer(matrix: &mut [f32], (up, x): (f32, &[f32]), (down, y): (f32, &[f32])) {
    assert_eq!(matrix.len(), x.len() * x.len(), "a matrix of the factors' dimension");
    Arch::new().dispatch(ReplaceOuter { matrix, up, x, down, y });
}

struct ReplaceOuter<'a> {
    matrix: &'a mut [f32],
    up: f32,
    x: &'a [f32],
    down: f32,
    y: &'a [f32],
}

impl WithSimd for ReplaceOuter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { matrix, up, x, down, y } = self;
        for (f, column) in matrix.chunks_exact_mut(x.len()).enumerate() {
            let (a, b) = (up * x[f], -(down * y[f]));
            for ((to, x), y) in column.as_chunks_mut::<LANES>().0.iter_mut().zip(lanes(x)).zip(lanes(y)) {
                for lane in 0..LANES {
                    to[lane] = a.mul_add(x[lane], b.mul_add(y[lane], to[lane]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn draw(rng: &mut Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| 0.3 * rng.normal() as f32).collect()
    }

    /// The equation of the head, spelt out in doubles, number by number.
    fn plain(x: &mut [f64], columns: &[Vec<f32>], g: &[f32], c: &[f32], s: &[f32], scale: f64, l2: f64) {
        let dim = x.len();
        for f in 0..dim {
            let mut above = 0.0;
            let mut below = l2 + scale * f64::from(s[f * dim + f]);
            for (j, column) in columns.iter().enumerate() {
                let v = f64::from(column[f]);
                let p: f64 = (0..dim).filter(|a| *a != f).map(|a| x[a] * f64::from(column[a])).sum();
                let (g, c) = (f64::from(g[j]), f64::from(c[j]));
                above += (g - (g - c) * p) * v;
                below += (g - c) * v * v;
            }
            above -= scale * (0..dim).filter(|a| *a != f).map(|a| x[a] * f64::from(s[f * dim + a])).sum::<f64>();
            x[f] = above / below;
        }
    }

    #[test]
    fn equals_the_equation_and_comes_to_rest_at_the_exact_solution() {
        let seed = 71;
        let mut rng = Rng::new(seed);
        let mut sweep = Sweep::default();
        for (dim, count) in [(16, 0), (32, 5), (64, 64), (16, 40), (48, 17)] {
            let all: Vec<Vec<f32>> = (0..count + 30).map(|_| draw(&mut rng, dim)).collect();
            let c: Vec<f32> = all.iter().map(|_| 0.1 + 0.4 * rng.unit() as f32).collect();
            let g: Vec<f32> = (0..count).map(|_| 0.5 + rng.unit() as f32).collect();
            let mut shared = vec![0.0; dim * dim];
            let nothing = vec![0.0; dim];
            for (column, c) in all.iter().zip(&c) {
                replace_outer(&mut shared, (*c, column), (0.0, &nothing));
            }
            let mut found = draw(&mut rng, dim);
            let mut expected: Vec<f64> = found.iter().map(|x| f64::from(*x)).collect();
            sweep.begin(dim, count);
            for j in 0..count {
                sweep.push(&all[j], g[j], c[j]);
            }
            for round in 0..400 {
                sweep.run(&mut found, &shared, 1.0, 0.05);
                plain(&mut expected, &all[..count], &g, &c[..count], &shared, 1.0, 0.05);
                for (x, y) in found.iter().zip(&expected) {
                    assert!((f64::from(*x) - y).abs() < 1e-4, "seed {seed}, dim {dim}, round {round}: {x}, not {y}");
                }
            }
            // At rest: the exact weighted least squares.
            let mut solver = crate::linalg::SpdSolver::new(dim);
            solver.reset_to(&shared, 1.0);
            let mut exact = vec![0.0; dim];
            let surplus: Vec<f32> = g.iter().zip(&c).map(|(g, c)| g - c).collect();
            let mut unused = vec![0.0; dim];
            solver.add_outer(all[..count].iter().map(Vec::as_slice).zip(surplus), &mut unused);
            for (column, g) in all[..count].iter().zip(&g) {
                exact.iter_mut().zip(column).for_each(|(to, x)| *to += g * x);
            }
            solver.add_diagonal(0.05);
            solver.solve(&mut exact).expect("definite");
            for (x, y) in found.iter().zip(&exact) {
                assert!((x - y).abs() < 2e-3, "seed {seed}, dim {dim}: {x}, exactly {y}");
            }
        }
    }

    #[test]
    fn a_factor_is_replaced_in_a_sum() {
        let mut rng = Rng::new(73);
        let (x, y) = (draw(&mut rng, 32), draw(&mut rng, 32));
        let mut matrix = vec![0.0; 32 * 32];
        replace_outer(&mut matrix, (0.7, &y), (0.0, &x));
        replace_outer(&mut matrix, (1.5, &x), (0.7, &y));
        for a in 0..32 {
            for b in 0..32 {
                assert!((matrix[a * 32 + b] - 1.5 * x[a] * x[b]).abs() < 1e-6, "{a} {b}");
            }
        }
    }
}
