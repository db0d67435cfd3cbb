//! Why a candidate has its score: parts by group of features that add up to it.
//!
//! Integrated gradients (Sundararajan, Taly & Yan 2017) along the straight line from the *mean candidate*, whose features
//! are all at their running means, to the candidate: a group's part is what the score changes by its features while all
//! features go that way together. Only the scores themselves are asked for, in `STEPS` midpoints and a step of the
//! group to either side, so that whatever the network looks like is explained. Between kinks of rectified units the
//! parts are exact; what the kinks leave over stands in a part of its own, `rest`.

use super::features::{GROUPS, STRIDE};
use super::network::Pass;
use super::ranker::Ranker;
use crate::learn::ScorePart;

/// Name of what the kinks leave over.
pub const REST: &str = "rest";

/// Midpoints of the line.
const STEPS: usize = 128;

/// The parts of the score of a candidate with these raw features: `mean candidate`, the groups, `rest`. Their sum is the
/// score that the ranker gives, which comes first.
#[must_use]
pub fn explain(ranker: &Ranker, row: &[f32]) -> (f32, Vec<ScorePart>) {
    let mean = ranker.standard().mean;
    let mut rows = Vec::with_capacity((2 + 2 * STEPS * GROUPS.len()) * STRIDE);
    rows.extend_from_slice(&mean);
    rows.extend_from_slice(row);
    for (_, ranges) in GROUPS {
        for step in 0..STEPS {
            let at = (step as f32 + 0.5) / STEPS as f32;
            for side in [-0.5, 0.5] {
                let of_group = at + side / STEPS as f32;
                rows.extend((0..STRIDE).map(|column| {
                    let inside = ranges.iter().any(|[from, to]| (*from..*to).contains(&column));
                    mean[column] + if inside { of_group } else { at } * (row[column] - mean[column])
                }));
            }
        }
    }
    let (mut pass, mut scores) = (Pass::default(), Vec::new());
    ranker.score(&mut rows, &mut pass, &mut scores);
    let (from, score) = (scores[0], scores[1]);
    let mut parts = vec![ScorePart { name: "mean candidate", value: from }];
    for ((name, _), pairs) in GROUPS.iter().zip(scores[2..].chunks_exact(2 * STEPS)) {
        let value: f64 = pairs.chunks_exact(2).map(|pair| f64::from(pair[1]) - f64::from(pair[0])).sum();
        parts.push(ScorePart { name, value: value as f32 });
    }
    let told: f64 = parts.iter().map(|part| f64::from(part.value)).sum();
    parts.push(ScorePart { name: REST, value: (f64::from(score) - told) as f32 });
    (score, parts)
}

#[cfg(test)]
mod tests {
    use super::super::features::FEATURES;
    use super::super::network::{Network, Standard};
    use super::super::ranker::Weights;
    use super::*;
    use crate::base::Rng;

    /// A ranker of random weights, biases included, over features of all scales.
    fn ranker(rng: &mut Rng, networks: usize) -> Ranker {
        let mut standard = Standard { queries: 9, ..Standard::default() };
        for at in 0..FEATURES {
            standard.mean[at] = rng.normal() as f32;
            standard.square[at] = standard.mean[at] * standard.mean[at] + 0.2 + rng.unit() as f32;
        }
        let network = |rng: &mut Rng| {
            let mut network = Network::zero();
            for part in network.parts_mut() {
                part.iter_mut().for_each(|weight| *weight = 0.3 * rng.normal() as f32);
            }
            network
        };
        let networks = (0..networks).map(|_| network(rng)).collect();
        Ranker::Installed(Box::new(Weights { examples: 1, standard, networks }))
    }

    fn row(rng: &mut Rng) -> Vec<f32> {
        (0..STRIDE).map(|at| if at < FEATURES { 1.5 * rng.normal() as f32 } else { 0.0 }).collect()
    }

    #[test]
    fn groups_name_every_feature_once() {
        let mut times = [0; FEATURES];
        for [from, to] in GROUPS.iter().flat_map(|(_, ranges)| ranges.iter()) {
            times[*from..*to].iter_mut().for_each(|times| *times += 1);
        }
        assert!(times.iter().all(|times| *times == 1), "{times:?}");
    }

    #[test]
    fn parts_add_up_and_little_is_left_over() {
        let mut rng = Rng::new(71);
        for networks in [1, 3] {
            let ranker = ranker(&mut rng, networks);
            for _ in 0..20 {
                let row = row(&mut rng);
                let (score, parts) = explain(&ranker, &row);
                let mut scores = Vec::new();
                ranker.score(&mut row.clone(), &mut Pass::default(), &mut scores);
                assert_eq!(score.to_bits(), scores[0].to_bits(), "the score explained is the one that ranks");
                let sum: f64 = parts.iter().map(|part| f64::from(part.value)).sum();
                assert!((sum - f64::from(score)).abs() < 1e-4, "{sum} instead of {score}");
                let size: f32 = parts.iter().map(|part| part.value.abs()).sum();
                let rest = parts.last().expect("the rest").value;
                assert!(rest.abs() < 0.02 * size, "rest {rest} of {size}: {parts:?}");
            }
        }
    }

    /// Without rectified units the parts are the weights times the features.
    #[test]
    fn a_linear_network_is_explained_exactly() {
        let mut rng = Rng::new(73);
        let Ranker::Installed(mut weights) = ranker(&mut rng, 1) else { panic!("installed above") };
        weights.networks[0].output = [0.0; crate::linalg::dense::WIDTH];
        let (linear, standard) = (weights.networks[0].linear, weights.standard.clone());
        let row: Vec<f32> = row(&mut rng).iter().map(|value| 0.2 * value).collect();
        let mut standardised = row.clone();
        standard.apply(&mut standardised);
        let (_, parts) = explain(&Ranker::Installed(weights), &row);
        for (part, (name, ranges)) in parts[1..].iter().zip(GROUPS) {
            let columns = ranges.iter().flat_map(|[from, to]| *from..*to);
            let expected: f32 = columns.map(|column| linear[column] * standardised[column]).sum();
            assert!((part.value - expected).abs() < 1e-3 && part.name == *name, "{name}: {part:?}, {expected}");
        }
    }
}
