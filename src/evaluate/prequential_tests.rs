//! Test-then-learn accumulators: closed forms, merging, and the bytes of both versions.

use proptest::prelude::*;

use super::ledger::{BUCKET, Cohort, Window};
use super::prequential::{Judgement, Prequential, PrequentialOptions};
use crate::base::{CursorError, Reader, Writer};

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-12 * expected.abs().max(1.0)
}

fn bytes_of(sums: &Prequential) -> Vec<u8> {
    let mut bytes = Vec::new();
    sums.encode(&mut Writer::new(&mut bytes));
    bytes
}

#[test]
fn closed_forms() {
    let mut sums = Prequential::new(PrequentialOptions { fading: 0.5 });
    let nothing = sums.report();
    assert!(nothing.rmse.is_nan() && nothing.hr_at_10.is_nan() && nothing.faded_ndcg_at_10.is_nan());
    for (prediction, value) in [(3.0, 1.0), (1.0, 2.0), (4.0, 4.0)] {
        sums.record_error(prediction, value);
    }
    for rank in [Some(1), Some(3), Some(10), Some(11), Some(100), Some(101), None] {
        sums.record_rank(rank);
    }
    let report = sums.report();
    assert_eq!((report.predicted, report.not_finite, report.ranked), (3, 0, 7));
    let ranked = sums.measures(None, Window::Lifetime);
    let expected = [
        (report.rmse, (5.0_f64 / 3.0).sqrt()),
        (report.mae, 1.0),
        // Weights 1/4, 1/2, 1 for the three errors 2, 1, 0.
        (report.faded_rmse, (1.5_f64 / 1.75).sqrt()),
        (report.faded_mae, 1.0 / 1.75),
        (report.hr_at_10, 3.0 / 7.0),
        (report.hr_at_100, 5.0 / 7.0),
        (report.mrr_at_10, (1.0 + 1.0 / 3.0 + 0.1) / 7.0),
        (report.ndcg_at_10, (1.0 + 0.5 + 1.0 / 11.0_f64.log2()) / 7.0),
        // Weights 2^-6, 2^-5, 2^-4 for the three hits, 2 - 2^-6 in all.
        (report.faded_hr_at_10, 7.0 / 64.0 / (2.0 - 1.0 / 64.0)),
        (report.faded_ndcg_at_10, (1.0 / 64.0 + 0.5 / 32.0 + 1.0 / 11.0_f64.log2() / 16.0) / (2.0 - 1.0 / 64.0)),
        (ranked.precision_10, 0.3 / 7.0),
        (ranked.f1_10, 2.0 * (0.3 / 7.0) * (3.0 / 7.0) / (3.3 / 7.0)),
        (ranked.mse, 5.0 / 3.0),
    ];
    for (at, (found, expected)) in expected.into_iter().enumerate() {
        assert!(close(found, expected), "measure {at}: {found} instead of {expected}");
    }
}

#[test]
fn what_is_not_finite_is_counted_and_poisons_nothing() {
    let mut sums = Prequential::new(PrequentialOptions::default());
    sums.record_error(1.0, 2.0);
    for (prediction, value) in [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, f64::NEG_INFINITY)] {
        sums.record_error(prediction, value);
    }
    let report = sums.report();
    assert_eq!((report.predicted, report.not_finite), (1, 3));
    assert!(close(report.rmse, 1.0) && close(report.faded_rmse, 1.0));
    for _ in 0..1_000 {
        sums.record_error(f64::MAX, 0.0);
    }
    assert!(sums.report().rmse.is_finite() && sums.report().faded_rmse.is_finite());
    let odd = Prequential::new(PrequentialOptions { fading: f64::NAN });
    assert_eq!(odd, Prequential::new(PrequentialOptions { fading: 1.0 }));
}

/// Liked or not, its log loss, and calibration, spelt out.
#[test]
fn judgements_in_closed_form() {
    let mut sums = Prequential::new(PrequentialOptions { fading: 1.0 });
    let judged = [(4.0, 5.0, 3.0), (2.0, 4.0, 3.0), (3.5, 2.5, 3.0), (1.0, 2.0, 3.0), (4.0, 5.0, f64::NAN)];
    let (mut squared, mut count, mut loss, mut lost) = (0.0_f64, 0.0, 0.0, 0.0);
    for (number, (prediction, value, mean)) in judged.into_iter().cycle().take(80).enumerate() {
        sums.record_judgement(Cohort::New, &Judgement { prediction, value, mean, range: Some((1.0, 5.0)) });
        if f64::is_finite(mean) && number % 8 == 0 {
            let z: f64 = if count > 0.0 { (prediction - mean) / (squared / count).sqrt() } else { 0.0 };
            let above = 1.0 / (1.0 + (-1.702 * z).exp());
            lost += 1.0;
            loss -= if value > mean { above.ln() } else { (1.0 - above).ln() };
        }
        squared += (prediction - value) * (prediction - value);
        count += 1.0;
    }
    let found = sums.measures(Some(Cohort::New), Window::Lifetime);
    // Of four judged one is liked and foreseen, one liked, one foreseen, one neither.
    let quarters = [found.accuracy, found.liked_precision, found.liked_recall, found.liked_f1];
    assert!(quarters.iter().all(|share| close(*share, 0.5)), "{found:?}");
    assert!(lost > 5.0 && close(found.log_loss, loss / lost), "{} instead of {}", found.log_loss, loss / lost);
    // Tenths of 1 to 5 are 0.4 wide: 4.0 lies in the eighth (7), 3.5 in 6, 2.0 in 2, 1.0 in 0.
    let counts: Vec<f64> = found.calibration.iter().map(|tenth| tenth.count).collect();
    assert_eq!(counts, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0].map(|count| 16.0 * count));
    assert!(close(found.calibration[7].predicted, 4.0) && close(found.calibration[7].observed, 5.0));
    assert!(close(found.calibration_error, (1.0 + 2.0 + 1.0 + 2.0) / 5.0), "{found:?}");
    assert!(sums.measures(Some(Cohort::To3), Window::Lifetime).accuracy.is_nan());
}

#[test]
fn lists_have_novelty_and_coverage() {
    let mut sums = Prequential::new(PrequentialOptions::default());
    sums.record_ranking(Cohort::New, Some(3));
    sums.record_list(Cohort::New, [1, 2, 3].into_iter(), 2.0);
    sums.record_ranking(Cohort::From64, None);
    sums.record_ranking(Cohort::From64, Some(9));
    sums.record_list(Cohort::From64, [3, 4].into_iter(), 5.0);
    assert!((sums.listed() - 4.0).abs() < 0.01, "{}", sums.listed());
    assert!(close(sums.measures(None, Window::Lifetime).novelty_10, 3.5));
    assert!(close(sums.measures(Some(Cohort::New), Window::Faded).novelty_10, 2.0));
}

/// Golden: these bytes are in snapshots and may never change.
#[test]
fn bytes_of_version_1_are_read() {
    let mut bytes = vec![1];
    for word in [
        0x3FE0_0000_0000_0000_u64, // fading 0.5
        1,
        1,
        0x4010_0000_0000_0000, // squared 4
        0x4000_0000_0000_0000, // absolute 2
        0x3FF0_0000_0000_0000, // faded count 1
        0x4010_0000_0000_0000,
        0x4000_0000_0000_0000,
        2,
        1,
        2,
        0x3FF0_0000_0000_0000, // gain 1
        0x3FF0_0000_0000_0000, // reciprocal 1
        0x3FF8_0000_0000_0000, // faded count 1.5
        0x3FE0_0000_0000_0000, // faded hits 0.5
        0x3FE0_0000_0000_0000,
    ] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let mut read = Prequential::decode(&mut Reader::new(&bytes)).unwrap();
    let mut sums = Prequential::new(PrequentialOptions { fading: 0.5 });
    sums.record_error(3.0, 1.0);
    sums.record_error(f64::NAN, 1.0);
    sums.record_rank(Some(1));
    sums.record_rank(Some(50));
    for _ in 0..2 {
        assert_eq!(read.report(), sums.report());
        read.record_error(2.0, 3.0);
        sums.record_error(2.0, 3.0);
        read.record_rank(Some(2));
        sums.record_rank(Some(2));
    }
    assert_eq!(read.measures(None, Window::Last).predicted.to_bits(), 2.0_f64.to_bits(), "the old have no place there");
    for cut in 0..bytes.len() {
        let error = Prequential::decode(&mut Reader::new(&bytes[..cut]));
        assert!(matches!(error, Err(CursorError::Short { .. })), "cut at {cut}: {error:?}");
    }
    // A version, factor, sum and count that cannot be.
    for (at, value) in [(0, 3), (0, 0), (8, 0x40), (32, 0xFF), (65, 0), (73, 3), (81, 3)] {
        let mut broken = bytes.clone();
        broken[at] = value;
        let error = Prequential::decode(&mut Reader::new(&broken));
        assert!(matches!(error, Err(CursorError::Bad { .. })), "byte {at} set to {value}: {error:?}");
    }
}

/// Golden: the same for version 2.
#[test]
fn bytes_of_version_2_are_frozen() {
    let mut sums = Prequential::new(PrequentialOptions { fading: 0.5 });
    sums.record_judgement(Cohort::To3, &Judgement { prediction: 3.0, value: 1.0, mean: 2.0, range: Some((1.0, 5.0)) });
    sums.record_ranking(Cohort::New, Some(1));
    sums.record_list(Cohort::New, [7].into_iter(), 2.5);
    let bytes = bytes_of(&sums);
    let mut words: Vec<u8> = vec![2];
    let mut put = |values: &[f64]| values.iter().for_each(|value| words.extend_from_slice(&value.to_le_bytes()));
    put(&[0.5, 1.0, 4.0, 2.0]); // fading, noise, weight of the newest
    words.extend_from_slice(&[1, 0, 0, 0]); // records in the bucket
    let errors = |weight: f64| {
        let mut row = [0.0; 40];
        row[0..10].copy_from_slice(&[1.0, 4.0, 2.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, std::f64::consts::LN_2]);
        row[25..28].copy_from_slice(&[1.0, 3.0, 1.0]); // 3 opens the sixth tenth of 1 to 5
        row.map(|sum| weight * sum)
    };
    let row = |words: &mut Vec<u8>, row: &[f64]| {
        words.push(1);
        row.iter().for_each(|sum| words.extend_from_slice(&sum.to_le_bytes()));
    };
    for weight in [1.0, 2.0] {
        words.push(0);
        row(&mut words, &errors(weight));
        words.extend_from_slice(&[0; 4]);
    }
    words.extend_from_slice(&[0; 12]);
    words.extend_from_slice(&2.0_f64.to_le_bytes());
    words.extend_from_slice(&[1, 0, 0, 0]);
    for weight in [1.0, 2.0] {
        row(&mut words, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.5].map(|sum| weight * sum));
        words.extend_from_slice(&[0; 5]);
    }
    words.extend_from_slice(&[0; 12]);
    let listed = words.len();
    assert_eq!(bytes[..listed], words, "up to the items listed");
    assert_eq!(bytes[listed..listed + 4], [1, 0, 0, 0], "one word of one item");
    assert_eq!(bytes.len(), listed + 4 + 10);
    assert_eq!(Prequential::decode(&mut Reader::new(&bytes)), Ok(sums));
    for cut in 0..bytes.len() {
        let error = Prequential::decode(&mut Reader::new(&bytes[..cut]));
        assert!(matches!(error, Err(CursorError::Short { .. })), "cut at {cut}: {error:?}");
    }
    // Weight, bucket, mark of a row, sum, word of the items that cannot be.
    for (at, value) in [(32, 0xFF), (36, 9), (37, 2), (listed - 1, 4), (listed + 5, 0xFF)] {
        let mut broken = bytes.clone();
        broken[at] = value;
        let error = Prequential::decode(&mut Reader::new(&broken));
        assert!(matches!(error, Err(CursorError::Bad { .. })), "byte {at} set to {value}: {error:?}");
    }
}

/// Prediction, value, rank, events of the user before.
type Drawn = (i16, i16, Option<u32>, u64);

fn recorded(events: &[Drawn], fading: f64) -> Prequential {
    let mut sums = Prequential::new(PrequentialOptions { fading });
    for &(prediction, value, rank, before) in events {
        let (prediction, value, range) = (f64::from(prediction), f64::from(value), Some((-32_768.0, 32_767.0)));
        sums.record_judgement(Cohort::of(before), &Judgement { prediction, value, mean: 0.0, range });
        sums.record_ranking(Cohort::of(before), rank);
        if let Some(rank) = rank {
            sums.record_list(Cohort::of(before), std::iter::once(u64::from(rank)), f64::from(rank % 8));
        }
    }
    sums
}

fn events() -> impl Strategy<Value = Vec<Drawn>> {
    let event = (any::<i16>(), any::<i16>(), proptest::option::of(0_u32..200), 0_u64..100);
    proptest::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn merging_is_recording_together(one in events(), two in events(), fading in 0.1_f64..=1.0) {
        let mut merged = recorded(&one, fading);
        merged.merge(&recorded(&two, fading));
        let together = recorded(&[one, two].concat(), fading);
        prop_assert_eq!(merged.listed().to_bits(), together.listed().to_bits());
        for cohort in [None].into_iter().chain(Cohort::ALL.map(Some)) {
            for window in [Window::Lifetime, Window::Last] {
                let (a, b) = (merged.measures(cohort, window), together.measures(cohort, window));
                // Whole numbers, so these sums carry no rounding; the gains do. What a model's noise was differs.
                let exact = |m: &crate::evaluate::Measures| {
                    [m.predicted, m.mse, m.mae, m.accuracy, m.calibration_error, m.ranked, m.hr_10, m.hr_100, m.novelty_10]
                        .map(f64::to_bits)
                };
                prop_assert_eq!(exact(&a), exact(&b));
                let near = |a: f64, b: f64| close(a, b) || (a.is_nan() && b.is_nan());
                prop_assert!(near(a.ndcg_10, b.ndcg_10) && near(a.mrr_10, b.mrr_10));
            }
        }
    }

    #[test]
    fn cohorts_add_up_to_all(events in events(), fading in 0.1_f64..=1.0) {
        let sums = recorded(&events, fading);
        for window in Window::ALL {
            let all = sums.measures(None, window);
            let parts = Cohort::ALL.map(|cohort| sums.measures(Some(cohort), window));
            let hits: f64 = parts.iter().filter(|part| part.ranked > 0.0).map(|part| part.hr_10 * part.ranked).sum();
            prop_assert!(close(parts.iter().map(|part| part.ranked).sum(), all.ranked));
            prop_assert!(all.ranked == 0.0 || close(hits / all.ranked, all.hr_10));
        }
    }

    #[test]
    fn fading_by_1_is_the_cumulative_measure(events in events()) {
        prop_assume!(!events.is_empty());
        let report = recorded(&events, 1.0).report();
        prop_assert!(close(report.rmse, report.faded_rmse) && close(report.mae, report.faded_mae));
        prop_assert!(close(report.hr_at_10, report.faded_hr_at_10));
        prop_assert!(close(report.ndcg_at_10, report.faded_ndcg_at_10));
        prop_assert!(report.hr_at_10 >= report.ndcg_at_10 && report.ndcg_at_10 >= report.mrr_at_10);
    }

    #[test]
    fn bytes_read_back_and_go_on_alike(events in events(), fading in 0.1_f64..=1.0) {
        let sums = recorded(&events, fading);
        let bytes = bytes_of(&sums);
        let mut reader = Reader::new(&bytes);
        let read = Prequential::decode(&mut reader);
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert_eq!(read.as_ref(), Ok(&sums));
        let (mut read, mut sums) = (read.unwrap(), sums);
        for sums in [&mut read, &mut sums] {
            for _ in 0..2 * BUCKET / 100 {
                let range = Some((1.0, 5.0));
                sums.record_judgement(Cohort::To15, &Judgement { prediction: 2.5, value: 4.0, mean: 3.0, range });
            }
        }
        prop_assert_eq!(bytes_of(&read), bytes_of(&sums));
    }
}
