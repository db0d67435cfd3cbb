//! Tests of the noise term: the bounds of the weights.

use proptest::prelude::*;

use super::*;
use crate::base::moments::sample::{moments, values};

/// Huber's `k` at which an estimate of normal values loses 5 % of its efficiency.
const HUBER_K: f64 = 1.345;

/// `delta_i` by its definition. What learns weighs the event by [`huber`] of its [`residual`] instead.
fn delta(value: f64, user: &Moments, population: &Moments, k: f64) -> f64 {
    match (impute(user, population), residual(value, user, population)) {
        (Some(expected), Some(z)) => (huber(z, k) - 1.0) * (value - expected.value),
        _ => 0.0,
    }
}

proptest! {
    #[test]
    fn a_weight_lies_in_0_to_1_and_falls_with_the_residual(z in -1e12..1e12_f64, more in 1.0..10.0_f64, k in 0.01..10.0_f64) {
        let weight = huber(z, k);
        prop_assert!((0.0..=1.0).contains(&weight));
        prop_assert!(huber(z * more, k) <= weight);
        prop_assert!((huber(-z, k) - weight).abs() == 0.0);
        prop_assert!((weight * z).abs() <= k * (1.0 + 1e-12), "influence is bounded");
    }

    #[test]
    fn a_value_is_drawn_to_what_was_expected_and_never_past_it(own in values(0..30), all in values(2..30), value in -1e9..1e9_f64) {
        let (own, all) = (moments(&own), moments(&all));
        let expected = impute(&own, &all).unwrap();
        let drawn = value + delta(value, &own, &all, HUBER_K);
        let (before, after) = (value - expected.value, drawn - expected.value);
        let error = 1e-6 * (1.0 + before.abs());
        prop_assert!(after.abs() <= before.abs() + error && before * after >= -error);
        if expected.deviation > 0.0 {
            prop_assert!(after.abs() <= HUBER_K * expected.deviation + error);
            let weight = huber(residual(value, &own, &all).unwrap(), HUBER_K);
            prop_assert!((after - weight * before).abs() <= error, "delta and weight say the same");
        }
    }
}

#[test]
fn a_missing_value_moves_from_the_population_to_the_user() {
    let population = moments(&[2.0, 4.0, 3.0, 3.0]);
    let nobody = Moments::default();
    assert_eq!(impute(&nobody, &nobody), None);
    let fresh = impute(&nobody, &population).unwrap();
    assert!((fresh.value - 3.0).abs() < 1e-12);
    assert!((fresh.deviation - (2.0 / 3.0 * 1.1_f64).sqrt()).abs() < 1e-12, "{fresh:?}");
    let ten = moments(&[5.0; 10]);
    let believed = impute(&ten, &population).unwrap();
    assert!((believed.value - 4.0).abs() < 1e-12, "ten own events count as the prior does: {believed:?}");
    assert!(believed.deviation < fresh.deviation, "the user is steady");
    let alone = impute(&ten, &nobody).unwrap();
    assert!((alone.value - 5.0).abs() < 1e-12 && alone.deviation == 0.0);
    assert_eq!(residual(9.0, &ten, &nobody), None, "without any spread nothing is known to be far");
}

#[test]
fn weights_at_their_edges() {
    for (z, k, weight) in [
        (0.0, 1.5, 1.0),
        (1.5, 1.5, 1.0),
        (-3.0, 1.5, 0.5),
        (f64::INFINITY, 1.5, 0.0),
        (f64::NAN, 1.5, 0.0),
        (1.0, 0.0, 0.0),
        (1.0, f64::NAN, 0.0),
    ] {
        assert!((huber(z, k) - weight).abs() < 1e-12, "{z} {k}");
    }
}
