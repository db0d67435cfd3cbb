//! Areas against their definition, intervals against the truth, bytes against what was put.

use proptest::prelude::*;

use super::*;
use crate::base::Rng;

fn recorded(forecasts: &[(f64, bool)]) -> Forecasts {
    let mut all = Forecasts::default();
    forecasts.iter().for_each(|(probability, came)| all.record(*probability, *came));
    all
}

/// The area by its definition: over all pairs.
fn exact(forecasts: &[(f64, bool)]) -> f64 {
    let (mut ordered, mut pairs) = (0.0, 0.0);
    for (yes, _) in forecasts.iter().filter(|(_, came)| *came) {
        for (no, _) in forecasts.iter().filter(|(_, came)| !came) {
            pairs += 1.0;
            ordered += f64::from(u8::from(yes > no)) + 0.5 * f64::from(u8::from(yes == no));
        }
    }
    ordered / pairs
}

proptest! {
    #[test]
    fn the_area_is_the_one_over_all_pairs(
        forecasts in prop::collection::vec((0.0..=1.0, any::<bool>()), 2..120),
        rare in any::<bool>(),
    ) {
        let forecasts: Vec<(f64, bool)> =
            forecasts.iter().map(|(p, came): &(f64, bool)| (if rare { p * p / 50.0 } else { *p }, *came)).collect();
        let report = recorded(&forecasts).report();
        let truth = exact(&forecasts);
        if truth.is_nan() {
            prop_assert!(report.auc.is_nan() && report.auc_low.is_nan());
        } else {
            prop_assert!((report.auc - truth).abs() <= report.auc_rounding + 1e-12, "{report:?} {truth}");
            prop_assert!(report.auc_low <= report.auc && report.auc <= report.auc_high);
            // Exactly, once forecasts are rounded as bins round them.
            let rounded: Vec<(f64, bool)> =
                forecasts.iter().map(|(p, came)| (f64::from(u16::try_from(bin_of(*p)).unwrap()), *came)).collect();
            prop_assert!((report.auc - exact(&rounded)).abs() < 1e-12);
        }
    }

    #[test]
    fn shards_together_are_one(forecasts in prop::collection::vec((0.0..=1.0, any::<bool>()), 2..200)) {
        let (one, two) = forecasts.split_at(forecasts.len() / 3);
        let mut merged = recorded(one);
        merged.merge(&recorded(two));
        let (merged, whole) = (merged.report(), recorded(&forecasts).report());
        prop_assert_eq!((merged.count, merged.yes, merged.auc.to_bits()), (whole.count, whole.yes, whole.auc.to_bits()));
        prop_assert!((merged.log_loss - whole.log_loss).abs() < 1e-12);
        prop_assert!((merged.brier - whole.brier).abs() < 1e-12);
    }

    #[test]
    fn bins_rise_with_the_probability(one in 0.0..=1.0_f64, two in 0.0..=1.0_f64) {
        let (low, high) = (one.min(two), one.max(two));
        prop_assert!(bin_of(low) <= bin_of(high));
        prop_assert!(bin_of(high) < BINS);
    }
}

#[test]
fn losses_by_hand() {
    let report =
        recorded(&[(0.8, true), (0.3, false), (0.6, false), (0.0, true), (f64::NAN, true), (1.5, false)]).report();
    assert_eq!((report.count, report.yes, report.not_finite), (4, 2, 2));
    let loss = (-(0.8_f64.ln()) - 0.7_f64.ln() - 0.4_f64.ln() + LOSS_MAX) / 4.0;
    assert!((report.log_loss - loss).abs() < 1e-12, "{report:?}");
    assert!((report.brier - (0.04 + 0.09 + 0.36 + 1.0) / 4.0).abs() < 1e-12);
    assert!((report.auc - 0.5).abs() < 1e-12, "0.8 lies over both, 0 below both");
    assert!(Forecasts::default().report().auc.is_nan() && Forecasts::default().is_empty());
}

/// The example of the paper: 51 abnormal and 58 normal images, area 0.893; its standard error is stated as 0.032 to
/// 0.033 by the ways of computing it.
#[test]
fn the_interval_of_the_paper() {
    let (low, high) = interval(0.893, 51.0, 58.0);
    let error = (high - low) / 2.0 / NORMAL_975;
    assert!((0.032..0.033).contains(&error), "{error}");
    assert_eq!(interval(1.0, 5.0, 5.0), (1.0, 1.0));
}

/// Yes and no are drawn from two normals one apart, whose area is Phi(1 / sqrt 2) = 0.7602.
#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let (mut rng, truth, rounds) = (Rng::new(5), 0.760_25, 500);
    let mut held = 0;
    for _ in 0..rounds {
        let mut all = Forecasts::default();
        for at in 0..200 {
            let came = at % 4 == 0;
            let score = rng.normal() + f64::from(u8::from(came));
            all.record(1.0 / (1.0 + (-score).exp()), came);
        }
        let report = all.report();
        held += u32::from(report.auc_low <= truth && truth <= report.auc_high);
    }
    let share = f64::from(held) / f64::from(rounds);
    assert!((0.92..=0.98).contains(&share), "{share}");
}

#[test]
fn forecasts_that_are_meant_are_calibrated() {
    let mut rng = Rng::new(9);
    let (mut meant, mut doubled) = (Forecasts::default(), Forecasts::default());
    for _ in 0..50_000 {
        let probability = 0.4 * rng.unit() * rng.unit();
        let came = rng.unit() < probability;
        meant.record(probability, came);
        doubled.record(2.0 * probability, came);
    }
    let (meant, doubled) = (meant.report(), doubled.report());
    assert!(meant.calibration_error < 0.01, "{meant:?}");
    assert!((doubled.calibration_error - 0.1).abs() < 0.02, "{doubled:?}");
    assert!((meant.auc - doubled.auc).abs() < 0.01 && meant.log_loss < doubled.log_loss);
    assert!(meant.calibration.iter().all(|group| (4_000.0..6_000.0).contains(&group.count)), "{meant:?}");
}

#[test]
fn round_trip_and_refusals() {
    let all = recorded(&[(0.1, false), (0.9, true), (1.0, true), (0.0, false), (2.0, true)]);
    let mut bytes = Vec::new();
    all.encode(&mut Writer::new(&mut bytes));
    let mut reader = Reader::new(&bytes);
    assert_eq!(Forecasts::decode(&mut reader), Ok(all));
    assert_eq!(reader.finish(), Ok(()));
    for cut in 0..bytes.len() {
        assert!(Forecasts::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
    }
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        Forecasts::decode(&mut Reader::new(&bytes))
    };
    assert!(matches!(changed(0, 9), Err(CursorError::Bad { what: "version of sums of forecasts", .. })));
    assert!(changed(8, 0xff).is_err(), "a negative sum");
    assert!(changed(30, 0xff).is_err(), "a bin that is not there");
    assert!(changed(38, 0xff).is_err(), "a count that cannot be");
}
