//! The learner on labels drawn from known weights, and its sums against plain ones.

use super::*;
use crate::base::Rng;

/// Labels of a logistic model over inputs of different means and scales, two of them nearly the same.
fn drawn(rng: &mut Rng, flip: f64) -> ([f32; FEATURES], f64) {
    let mut z = [0.0; FEATURES];
    z.iter_mut().for_each(|value| *value = rng.normal());
    z[1] = 0.95 * z[0] + 0.3 * z[1];
    let odds = flip * (1.5 * z[0] - 1.0 * z[2] + 0.5 * z[3]) - 1.0;
    let features = std::array::from_fn(|at| (10.0 * at as f64 + z[at] * (1.0 + at as f64)) as f32);
    (features, logistic(odds))
}

#[test]
fn finds_planted_weights_and_knows_how_sure_it_is() {
    let mut rng = Rng::new(3);
    let mut learner = Learner::new();
    let (mut surer, mut excess, mut within, mut counted) = (Vec::new(), 0.0, 0, 0);
    for round in 0..20_000 {
        let (features, truth) = drawn(&mut rng, 1.0);
        let risk = learner.predict(&features);
        if round == 0 || round == 200 || round == 10_000 {
            surer.push(risk.deviation);
        }
        if round >= 10_000 {
            excess += (risk.probability - truth) * (risk.probability - truth);
        }
        if round >= 1_000 {
            counted += 1;
            within += u32::from((risk.probability - truth).abs() <= 2.0 * risk.deviation);
        }
        learner.meet(&features);
        learner.learn(&features, rng.unit() < truth);
    }
    let share = f64::from(within) / f64::from(counted);
    assert!((excess / 10_000.0).sqrt() < 0.03, "{}", (excess / 10_000.0).sqrt());
    assert!(surer[0] > 0.2 && surer[0] > surer[1] && surer[1] > surer[2], "{surer:?}");
    assert!((0.9..=1.0).contains(&share), "truth within two deviations in {share}");
    let risk = learner.predict(&drawn(&mut rng, 1.0).0);
    assert_eq!(risk.evidence, 20_000);
}

#[test]
fn follows_what_changes() {
    let mut rng = Rng::new(4);
    let mut learner = Learner::new();
    let mut off = |learner: &mut Learner, flip: f64, rounds: usize| {
        let mut squares = 0.0;
        for _ in 0..rounds {
            let (features, truth) = drawn(&mut rng, flip);
            squares += (learner.predict(&features).probability - truth).powi(2);
            learner.meet(&features);
            learner.learn(&features, rng.unit() < truth);
        }
        (squares / rounds as f64).sqrt()
    };
    off(&mut learner, 1.0, 20_000);
    let turned = off(&mut learner, -1.0, 500);
    off(&mut learner, -1.0, 30_000);
    let settled = off(&mut learner, -1.0, 1_000);
    assert!(turned > 0.3 && settled < 0.06, "{turned} {settled}");
}

#[test]
fn parts_add_up_to_the_log_odds() {
    let mut rng = Rng::new(5);
    let mut learner = Learner::new();
    for _ in 0..500 {
        let (features, truth) = drawn(&mut rng, 1.0);
        learner.meet(&features);
        learner.learn(&features, rng.unit() < truth);
    }
    let (features, _) = drawn(&mut rng, 1.0);
    let probability = learner.predict(&features).probability;
    let sum: f64 = learner.parts(&features).iter().sum();
    assert!((sum - (probability / (1.0 - probability)).ln()).abs() < 1e-9);
}

#[test]
fn inputs_without_a_value_are_the_mean() {
    let mut learner = Learner::new();
    let mut rng = Rng::new(6);
    for _ in 0..300 {
        let (features, truth) = drawn(&mut rng, 1.0);
        learner.meet(&features);
        learner.learn(&features, rng.unit() < truth);
    }
    let before = learner.clone();
    let nothing = [f32::NAN; FEATURES];
    learner.meet(&nothing);
    assert_eq!(learner, before);
    let means = std::array::from_fn(|at| learner.moments[at].mean as f32);
    let (one, two) = (learner.predict(&nothing).probability, learner.predict(&means).probability);
    assert!((one - two).abs() < 1e-6, "{one} {two}");
    learner.learn(&[f32::INFINITY; FEATURES], true);
    assert!(learner.predict(&nothing).probability.is_finite());
}

/// Against sums over 4,001 points of the normal distribution.
#[test]
fn moments_of_the_logistic_of_a_normal() {
    for (mean, variance) in [(0.0, 0.01), (0.0, 1.0), (0.0, 9.0), (2.0, 0.5), (-3.0, 4.0), (1.0, 25.0), (-5.0, 1.0)] {
        let (mut weight, mut first, mut second) = (0.0, 0.0, 0.0);
        for step in -2_000..=2_000 {
            let z = f64::from(step) / 250.0;
            let (density, value) = ((-z * z / 2.0).exp(), logistic(mean + z * f64::sqrt(variance)));
            weight += density;
            first += density * value;
            second += density * value * value;
        }
        let (expected, spread) = (first / weight, (second / weight - (first / weight).powi(2)).sqrt());
        let (probability, deviation) = moments_of(mean, variance);
        assert!((probability - expected).abs() < 0.001, "{mean} {variance}: {probability} {expected}");
        assert!((deviation - spread).abs() < 0.001, "{mean} {variance}: {deviation} {spread}");
    }
}

#[test]
fn residuals_are_roots() {
    for odds in [-800.0, -30.0, -2.0, 0.0, 1.0, 40.0, 800.0] {
        for variance in [0.0, 1e-6, 1.0, 25.0, 300.0] {
            for target in [0.0, 1.0] {
                let root = residual(odds, variance, target);
                let off = root - target + logistic(odds + variance * root);
                assert!(off.abs() < 1e-8, "odds {odds}, variance {variance}, target {target}: {root}, {off}");
            }
        }
    }
}

#[test]
fn covariance_stays_one_after_many_labels_of_one_kind() {
    let mut learner = Learner::new();
    let mut rng = Rng::new(8);
    for round in 0..50_000 {
        // All inputs are one number: fifteen directions are never seen.
        let value = rng.normal() as f32;
        let features = [value; FEATURES];
        learner.meet(&features);
        learner.learn(&features, round % 50 == 0);
    }
    for (at, row) in learner.covariance.iter().enumerate() {
        assert!(row[at] > 0.0 && row[at] <= prior(at), "{at}: {}", row[at]);
        for (other, entry) in row.iter().enumerate() {
            assert_eq!(entry.to_bits(), learner.covariance[other][at].to_bits(), "symmetric to the bit");
            assert!(entry * entry <= row[at] * learner.covariance[other][other] * (1.0 + 1e-9), "{at} {other}");
        }
    }
    let risk = learner.predict(&[0.0; FEATURES]);
    assert!((risk.probability - 0.02).abs() < 0.01, "{risk:?}");
}
