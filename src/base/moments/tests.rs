//! Tests of exact sums: any order, taking back, the largest values.

use proptest::prelude::*;

use super::sample::{moments, values};
use super::*;

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
    fn a_part_is_taken_out_if_it_is_there(values in values(1..60), at in 0_usize..60) {
        let (left, right) = values.split_at(at.min(values.len()));
        let mut whole = moments(&values);
        prop_assert_eq!(whole.split_off(&moments(right)), moments(right));
        prop_assert_eq!(whole, moments(left));
        let more = moments(&[left, &[1.0][..]].concat());
        prop_assert_eq!(whole.split_off(&more), Moments::default());
        prop_assert_eq!(whole, moments(left));
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
