//! Tests of the noise term: exact sums under any order, and the bounds of the weights.

use proptest::prelude::*;

use super::*;

fn moments(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    assert!(values.iter().all(|value| moments.add(*value)), "{values:?}");
    moments
}

/// Small ones, with fractions, and the largest that are allowed.
fn values(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![-5.0..5.0, Just(0.0), -1e9..1e9, Just(1e9), Just(-1e9), Just(3.5)];
    proptest::collection::vec(value, count)
}

proptest! {
    #[test]
    fn any_order_gives_the_same_bits((values, shuffled) in values(0..60).prop_flat_map(|values| {
        (Just(values.clone()), Just(values).prop_shuffle())
    })) {
        prop_assert_eq!(moments(&values), moments(&shuffled));
    }

    #[test]
    fn removal_undoes_addition(kept in values(0..40), gone in values(1..40)) {
        let mut both = moments(&kept);
        prop_assert!(gone.iter().all(|value| both.add(*value)));
        prop_assert!(gone.iter().rev().all(|value| both.remove(*value)));
        prop_assert_eq!(both, moments(&kept));
    }

    #[test]
    fn merged_parts_are_the_whole(values in values(1..60), at in 0_usize..60) {
        let (left, right) = values.split_at(at.min(values.len()));
        let mut merged = moments(left);
        prop_assert!(merged.merge(&moments(right)));
        prop_assert_eq!(merged, moments(&values));
    }

    #[test]
    fn mean_and_variance_are_those_of_the_definition(values in proptest::collection::vec(-1e3..1e3_f64, 2..50), base in -9e8..9e8_f64) {
        // Far from 0 the naive difference of sums would lose all digits.
        let rounded: Vec<f64> = values.iter().map(|value| ((value + base) * STEPS).round() / STEPS).collect();
        let count = rounded.len() as f64;
        let centred: Vec<f64> = rounded.iter().map(|value| value - base).collect();
        let mean = centred.iter().sum::<f64>() / count;
        let variance = centred.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let sums = moments(&rounded);
        prop_assert!((sums.mean().unwrap() - (base + mean)).abs() < 1e-6);
        prop_assert!((sums.variance().unwrap() - variance).abs() <= 1e-6 * (1.0 + variance), "{variance} {sums:?}");
    }

    #[test]
    fn moments_round_trip_and_damage_is_refused(values in values(0..30)) {
        let sums = moments(&values);
        let mut bytes = Vec::new();
        sums.encode(&mut Writer::new(&mut bytes));
        prop_assert_eq!(bytes.len(), 40);
        prop_assert_eq!(Moments::decode(&mut Reader::new(&bytes)), Ok(sums));
        for cut in 0..bytes.len() {
            prop_assert!(Moments::decode(&mut Reader::new(&bytes[..cut])).is_err());
        }
        bytes[7] = 1;
        prop_assert!(Moments::decode(&mut Reader::new(&bytes)).is_err(), "2^56 values");
    }

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
fn what_cannot_be_counted_changes_nothing() {
    let mut sums = moments(&[1.0, 2.0]);
    let before = sums;
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.1e9, -1.1e9] {
        assert!(!sums.add(bad) && !sums.remove(bad), "{bad}");
    }
    assert!(!sums.remove(3.0), "its square alone is more than all");
    assert!(!Moments::default().remove(0.0));
    let full = Moments { count: COUNT_MAX, ..Moments::default() };
    assert!(!full.clone().add(0.0) && !sums.merge(&full));
    assert_eq!(sums, before);
}

/// The bound that the sums rest on, at its end.
#[test]
fn the_largest_sums_fit() {
    let largest = steps(1e9).unwrap();
    let count = i128::from(COUNT_MAX);
    let sums = Moments {
        count: COUNT_MAX,
        sum: largest.checked_mul(count).unwrap(),
        squares: (largest * largest).checked_mul(count).unwrap(),
    };
    assert!(sums.is_possible());
    assert_eq!((sums.mean(), sums.variance()), (Some(1e9), Some(0.0)));
    let half = Moments { sum: 0, ..sums };
    assert!((half.variance().unwrap() - 1e18).abs() < 1e9, "half at each end: {half:?}");
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
fn weights_and_scales_at_their_edges() {
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
    let z = Scale::z(&moments(&[1.0, 2.0, 3.0])).unwrap();
    let e = std::f64::consts::E;
    for (value, scale, expected) in [
        (e - 1.0, Scale::Log1p, 1.0),
        (1.0 - e, Scale::Log1p, -1.0),
        (4.0, Scale::MinMax(1.0, 5.0), 0.75),
        (9.0, Scale::MinMax(1.0, 5.0), 1.0),
        (9.0, Scale::MinMax(5.0, 5.0), 0.0),
        (4.0, z, 2.0),
        (4.0, Scale::Z { mean: 1.0, deviation: 0.0 }, 0.0),
    ] {
        assert!((normalise(value, scale) - expected).abs() < 1e-12, "{value} on {scale:?}");
    }
    assert_eq!(Scale::z(&moments(&[1.0])), None);
}
