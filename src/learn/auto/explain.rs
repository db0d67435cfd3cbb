//! Why a candidate has its score: parts by group of features that add up to it.
//!
//! Integrated gradients (Sundararajan, Taly & Yan 2017) along the straight line from the *mean candidate*, whose features
//! are all at their running means, to the candidate, both as the networks see them: standardised and held. A group's part
//! is what the score changes by its features while all features go that way together. With one layer of rectified units
//! the integral has a closed form (`Network::integrate`), so that the parts are exact, and made in two passes.

use super::features::{GROUPS, STRIDE, UNTAUGHT};
use super::network::{Network, Pass};
use super::ranker::Ranker;
use crate::learn::ScorePart;

/// The parts of the score of a candidate with these raw features: `mean candidate`, then the groups. Their sum is the
/// score that the ranker gives, which comes first, but for rounding.
#[must_use]
pub fn explain(ranker: &Ranker, row: &[f32]) -> (f32, Vec<ScorePart>) {
    let (mut row, mut scores) = (row.to_vec(), Vec::new());
    ranker.score(&mut row, &mut Pass::default(), &mut scores); // standardises them, once it is taught
    let (mut from, mut slopes) = (0.0, [0.0; STRIDE]);
    match ranker.examples() {
        0 => UNTAUGHT.iter().for_each(|(column, weight)| slopes[*column] = f64::from(*weight)),
        _ => ranker.each_network(&mut |network: &Network| from += network.integrate(&row, &mut slopes)),
    }
    let mut parts = vec![ScorePart { name: "mean candidate", value: from as f32 }];
    for (name, ranges) in GROUPS {
        let columns = ranges.iter().flat_map(|[from, to]| *from..*to);
        let value: f64 = columns.map(|column| slopes[column] * f64::from(row[column])).sum();
        parts.push(ScorePart { name, value: value as f32 });
    }
    (scores[0], parts)
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
    fn parts_add_up() {
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
                let size: f64 = parts.iter().map(|part| f64::from(part.value.abs())).sum();
                assert!((sum - f64::from(score)).abs() < 2e-6 * size, "{sum} instead of {score}, seed 71");
            }
        }
    }

    /// The integral by its definition: a group goes ahead of the others by each of many small steps of the line.
    #[test]
    fn parts_are_what_small_steps_add_up_to() {
        const STEPS: usize = 4_096;
        let mut rng = Rng::new(72);
        let ranker = ranker(&mut rng, 3);
        for _ in 0..4 {
            let row = row(&mut rng);
            let (_, parts) = explain(&ranker, &row);
            let mut seen = row.clone();
            ranker.standard().apply(&mut seen);
            let size: f32 = parts.iter().map(|part| part.value.abs()).sum();
            for (part, (name, ranges)) in parts[1..].iter().zip(GROUPS) {
                let inside = |column| ranges.iter().any(|[from, to]| (*from..*to).contains(&column));
                let at = |step: f32, ahead: f32| -> Vec<f32> {
                    let share = |column| if inside(column) { ahead } else { step };
                    (0..STRIDE).map(|column| share(column) * seen[column]).collect()
                };
                let edges = (0..STEPS).flat_map(|step| {
                    let middle = (step as f32 + 0.5) / STEPS as f32;
                    [-0.5, 0.5].map(|side| at(middle, middle + side / STEPS as f32))
                });
                let rows: Vec<f32> = edges.flatten().collect();
                let (mut pass, mut expected) = (Pass::default(), 0.0);
                ranker.each_network(&mut |network: &Network| {
                    network.forward(&rows, &mut pass);
                    expected += pass.scores.chunks_exact(2).map(|pair| f64::from(pair[1] - pair[0])).sum::<f64>();
                });
                assert!((expected as f32 - part.value).abs() < 1e-3 * size, "{name}: {part:?}, {expected}, seed 72");
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
