//! What a step of the neural part climbs: how far the item that came stands above items drawn at random.
//!
//! BPR-max (Hidasi & Karatzoglou 2018): pairwise, and the negatives that score highest count most, so that there is
//! something to learn from however many of them are easy.

use crate::linalg::dense::exp_all;

/// Most negatives of a step.
pub const NEGATIVES_MAX: usize = 16;

/// BPR-max: `ln sum_j w_j sigma(s_0 - s_j)` over the negatives, `w` the softmax of their scores. Puts the derivatives by
/// the scores in the place of the scores; the first is that of the item that came.
///
/// # Panics
/// If there are more than [`NEGATIVES_MAX`] negatives.
pub fn bpr_max(scores: &mut [f32]) {
    let mut shares = [0.0; NEGATIVES_MAX];
    let mut above = [0.0; NEGATIVES_MAX];
    let Some((own, others)) = scores.split_first_mut() else { return };
    let (shares, above) = (&mut shares[..others.len()], &mut above[..others.len()]);
    let highest = others.iter().copied().fold(f32::MIN, f32::max);
    for at in 0..others.len() {
        shares[at] = others[at] - highest;
        above[at] = others[at] - *own;
    }
    exp_all(shares);
    exp_all(above);
    let total: f32 = shares.iter().sum();
    let mut likely = 1e-9;
    for at in 0..others.len() {
        shares[at] /= total;
        above[at] = 1.0 / (1.0 + above[at]);
        likely += shares[at] * above[at];
    }
    *own = 0.0;
    for at in 0..others.len() {
        let share = shares[at] / likely;
        let rise = share * above[at] * (1.0 - above[at]);
        *own += rise;
        others[at] = share * (above[at] - likely) - rise;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn derivatives_of_bpr_max_are_finite_differences() {
        let mut rng = Rng::new(2);
        for count in [2, 3, 9, NEGATIVES_MAX + 1] {
            let scores: Vec<f32> = (0..count).map(|_| 2.0 * rng.normal() as f32).collect();
            let value = |scores: &[f64]| {
                let others = &scores[1..];
                let total: f64 = others.iter().map(|score| score.exp()).sum();
                let likely = others.iter().map(|score| score.exp() / total / (1.0 + (score - scores[0]).exp()));
                likely.sum::<f64>().ln()
            };
            let mut slopes = scores.clone();
            bpr_max(&mut slopes);
            let exact: Vec<f64> = scores.iter().map(|score| f64::from(*score)).collect();
            for at in 0..count {
                let with = |by: f64| {
                    let mut scores = exact.clone();
                    scores[at] += by;
                    value(&scores)
                };
                let found = (with(1e-5) - with(-1e-5)) / 2e-5;
                assert!((found - f64::from(slopes[at])).abs() < 1e-4, "{at} of {count}: {} {found}", slopes[at]);
            }
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for mut scores in [vec![1e9, -1e9, 1e9], vec![-1e9, 1e9, 0.0], vec![0.0; 4], vec![3.0]] {
            bpr_max(&mut scores);
            assert!(scores.iter().all(|slope| slope.is_finite()), "{scores:?}");
        }
    }
}
