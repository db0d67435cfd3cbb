//! One query against every column of a slab: `scores[j] = offset + query . column_j`.
//!
//! faer's matrix-vector product over whole arenas: it reads at memory speed (7.9 ns a column of 64 at 10,000 columns).

use faer::linalg::matmul::matmul;
use faer::{Accum, ColMut, ColRef, Par};

use super::Slab;

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
    }
}
