//! One query against every column of a slab: `scores[j] = offset + query . column_j`.
//!
//! faer's matrix-vector product over whole arenas: it reads at memory speed (7.9 ns a column of 64 at 10,000 columns).

use faer::linalg::matmul::matmul;
use faer::{Accum, ColMut, ColRef, Par};

use pulp::{Arch, Simd, WithSimd};

use super::prefetch::prefetch;
use super::{LANES, Slab, kernels};

/// Fills `scores` with one score a column. `query` is as long as the slab's stride.
pub fn score_all(slab: &Slab, query: &[f32], offset: f32, scores: &mut Vec<f32>) {
    debug_assert_eq!(query.len(), slab.stride());
    scores.clear();
    scores.resize(slab.len(), 0.0);
    for (first, block) in slab.blocks() {
        let part = &mut scores[first..first + block.ncols()];
        let target = ColMut::from_slice_mut(part).as_mat_mut();
        matmul(target, Accum::Replace, block.transpose(), ColRef::from_slice(query).as_mat(), 1.0, Par::Seq);
    }
    if offset != 0.0 {
        for score in scores.iter_mut() {
            *score += offset;
        }
    }
}

/// `scores[n] = query . column_{columns[n]}`: for a part of the columns, with the bits of [`kernels::dot`]. A query shorter
/// than the columns, by whole lane groups, is about their first numbers.
///
/// # Panics
/// If there is no such column.
pub fn score_some(slab: &Slab, query: &[f32], columns: &[u32], scores: &mut Vec<f32>) {
    debug_assert!(query.len() <= slab.stride() && query.len().is_multiple_of(LANES));
    scores.clear();
    scores.resize(columns.len(), 0.0);
    Arch::new().dispatch(ScoreSome { slab, query, columns, scores });
}

/// [`score_some`] for two queries at once, each with the bits that it would have alone: every column is read once, and the
/// sums of one query fill the waits of the other's.
///
/// # Panics
/// If there is no such column.
pub fn score_some_twice(slab: &Slab, queries: [&[f32]; 2], columns: &[u32], scores: &mut Vec<[f32; 2]>) {
    debug_assert!(queries.iter().all(|query| query.len() <= slab.stride() && query.len().is_multiple_of(LANES)));
    scores.clear();
    scores.resize(columns.len(), [0.0; 2]);
    Arch::new().dispatch(ScoreSomeTwice { slab, queries, columns, scores });
}

/// One over the length of each of some columns, as far as their first `rows` numbers go; 0 for those of zeros.
///
/// # Panics
/// If there is no such column.
pub fn inverse_lengths(slab: &Slab, rows: usize, columns: &[u32], lengths: &mut Vec<f32>) {
    debug_assert!(rows <= slab.stride() && rows.is_multiple_of(LANES));
    lengths.clear();
    lengths.resize(columns.len(), 0.0);
    Arch::new().dispatch(InverseLengths { slab, rows, columns, lengths });
}

struct InverseLengths<'a> {
    slab: &'a Slab,
    rows: usize,
    columns: &'a [u32],
    lengths: &'a mut [f32],
}

impl WithSimd for InverseLengths<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (length, column) in self.lengths.iter_mut().zip(self.columns) {
            let column = self.slab.col(*column as usize)[..self.rows].as_chunks::<LANES>().0;
            let square = kernels::dot_body(column, column);
            *length = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
        }
    }
}

struct ScoreSome<'a> {
    slab: &'a Slab,
    query: &'a [f32],
    columns: &'a [u32],
    scores: &'a mut [f32],
}

impl WithSimd for ScoreSome<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let query = self.query.as_chunks::<LANES>().0;
        for (score, column) in self.scores.iter_mut().zip(self.columns) {
            *score = kernels::dot_body(query, self.slab.col(*column as usize).as_chunks::<LANES>().0);
        }
    }
}

struct ScoreSomeTwice<'a> {
    slab: &'a Slab,
    queries: [&'a [f32]; 2],
    columns: &'a [u32],
    scores: &'a mut [[f32; 2]],
}

impl WithSimd for ScoreSomeTwice<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let queries = self.queries.map(|query| query.as_chunks::<LANES>().0);
        for (at, (scores, column)) in self.scores.iter_mut().zip(self.columns).enumerate() {
            if let Some(next) = self.columns.get(at + 1) {
                prefetch(self.slab.col(*next as usize));
            }
            *scores = kernels::dot_twice_body(queries, self.slab.col(*column as usize).as_chunks::<LANES>().0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::linalg::kernels::dot;

    #[test]
    fn agrees_with_the_kernel() {
        let mut rng = Rng::new(9);
        let mut slab = Slab::new(34);
        for _ in 0..5_000 {
            let column = slab.push();
            slab.col_mut(column)[..34].fill_with(|| rng.normal() as f32);
        }
        let mut query = vec![0.0; slab.stride()];
        query[..34].fill_with(|| rng.normal() as f32);
        let mut scores = Vec::new();
        score_all(&slab, &query, 2.5, &mut scores);
        for column in 0..slab.len() {
            assert!((scores[column] - 2.5 - dot(&query, slab.col(column))).abs() < 1e-4);
        }
        let some = [4_999, 7, 7, 0];
        score_some(&slab, &query, &some, &mut scores);
        for (score, column) in scores.iter().zip(some) {
            assert_eq!(score.to_bits(), dot(&query, slab.col(column as usize)).to_bits());
        }
        let (mut both, other) = (Vec::new(), vec![0.5; slab.stride()]);
        score_some_twice(&slab, [&query, &other], &some, &mut both);
        for (scores, column) in both.iter().zip(some) {
            let alone = [&query, &other].map(|query| dot(query, slab.col(column as usize)));
            assert_eq!(scores.map(f32::to_bits), alone.map(f32::to_bits));
        }
        slab.col_mut(7).fill(0.0);
        inverse_lengths(&slab, 32, &some, &mut scores);
        for (inverse, column) in scores.iter().zip(some) {
            let length = dot(&slab.col(column as usize)[..32], &slab.col(column as usize)[..32]).sqrt();
            assert!((inverse * length - 1.0).abs() < 1e-6 || (column == 7 && *inverse == 0.0), "column {column}");
        }
    }
}
