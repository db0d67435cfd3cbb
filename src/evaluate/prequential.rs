//! Test-then-learn accumulators: every event is first predicted and scored, then learned (Dawid 1984).
//!
//! Two views of each measure: *cumulative*, over all that was recorded, and *faded* (Gama, Sebastião & Rodrigues 2013),
//! where each newer record multiplies what older ones weigh by [`PrequentialOptions::fading`], so that it tells how good
//! things are now. Errors and ranks fade separately, each by its own records.
//!
//! Measures: mean squared and absolute error; hit rate at 10 and 100, NDCG at 10 (1 / log2(rank + 1)) and mean reciprocal
//! rank at 10, with rank 1 the best and a miss counting as 0. Sums are `f64`; nothing recorded can make them infinite
//! or not a number. Bytes: see [`Prequential::encode`].

use crate::base::{CursorError, Reader, Writer};

/// Version of the bytes that [`Prequential::encode`] writes.
pub const VERSION: u8 = 1;

/// Ranks up to this are hits of the short list.
pub const SHORT_LIST: u32 = 10;

/// Ranks up to this are hits of the long list.
pub const LONG_LIST: u32 = 100;

/// Largest error that is summed as it is: its square, and sums of 2^64 such squares, stay finite.
const ERROR_MAX: f64 = 1e100;

/// How measures fade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrequentialOptions {
    /// Factor on the weight of older records per newer one, above 0 and at most 1 (1: no fading).
    pub fading: f64,
}

impl Default for PrequentialOptions {
    /// Half of the weight lies on the newest 693 records.
    fn default() -> Self {
        Self { fading: 0.999 }
    }
}

/// Accumulators of one model, or of one group of users, or of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Prequential {
    fading: f64,
    errors: Errors,
    ranks: Ranks,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Errors {
    count: u64,
    not_finite: u64,
    squared: f64,
    absolute: f64,
    faded_count: f64,
    faded_squared: f64,
    faded_absolute: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ranks {
    count: u64,
    hits_short: u64,
    hits_long: u64,
    gain: f64,
    reciprocal: f64,
    faded_count: f64,
    faded_hits: f64,
    faded_gain: f64,
}

/// What was measured; a mean over nothing is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Predictions scored.
    pub predicted: u64,
    /// Predictions (or values) that were not finite: they are counted here and scored nowhere.
    pub not_finite: u64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Faded root of the mean squared error.
    pub faded_rmse: f64,
    /// Faded mean absolute error.
    pub faded_mae: f64,
    /// Ranks and misses scored.
    pub ranked: u64,
    /// Share of ranks up to 10.
    pub hr_at_10: f64,
    /// Mean of 1 / log2(rank + 1) for ranks up to 10, else 0.
    pub ndcg_at_10: f64,
    /// Mean of 1 / rank for ranks up to 10, else 0.
    pub mrr_at_10: f64,
    /// Share of ranks up to 100.
    pub hr_at_100: f64,
    /// Faded share of ranks up to 10.
    pub faded_hr_at_10: f64,
    /// Faded NDCG at 10.
    pub faded_ndcg_at_10: f64,
}

impl Prequential {
    /// Nothing recorded. A fading factor outside `(0, 1]` (or NaN) is taken for 1.
    #[must_use]
    pub fn new(options: PrequentialOptions) -> Self {
        let fading = if valid_fading(options.fading) { options.fading } else { 1.0 };
        Self { fading, errors: Errors::default(), ranks: Ranks::default() }
    }

    /// Records what was predicted for a value that then came.
    pub fn record_error(&mut self, prediction: f64, value: f64) {
        let sums = &mut self.errors;
        let error = (prediction - value).abs();
        if !error.is_finite() {
            sums.not_finite += 1;
            return;
        }
        let error = error.min(ERROR_MAX);
        sums.count += 1;
        sums.squared += error * error;
        sums.absolute += error;
        sums.faded_count = sums.faded_count * self.fading + 1.0;
        sums.faded_squared = sums.faded_squared * self.fading + error * error;
        sums.faded_absolute = sums.faded_absolute * self.fading + error;
    }

    /// Records the rank, from 1, of the item that then came; `None` is a miss (the item could not be ranked at all).
    /// A rank of 0 is taken for 1.
    pub fn record_rank(&mut self, rank: Option<u32>) {
        let rank = rank.map_or(u32::MAX, |rank| rank.max(1));
        let short = rank <= SHORT_LIST;
        let hit = f64::from(u8::from(short));
        let gain = if short { 1.0 / (f64::from(rank) + 1.0).log2() } else { 0.0 };
        let sums = &mut self.ranks;
        sums.count += 1;
        sums.hits_short += u64::from(short);
        sums.hits_long += u64::from(rank <= LONG_LIST);
        sums.gain += gain;
        sums.reciprocal += hit / f64::from(rank);
        sums.faded_count = sums.faded_count * self.fading + 1.0;
        sums.faded_hits = sums.faded_hits * self.fading + hit;
        sums.faded_gain = sums.faded_gain * self.fading + gain;
    }

    /// What was measured so far.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]
    pub fn report(&self) -> Report {
        let (errors, ranks) = (&self.errors, &self.ranks);
        let (predicted, ranked) = (errors.count as f64, ranks.count as f64);
        Report {
            predicted: errors.count,
            not_finite: errors.not_finite,
            rmse: (errors.squared / predicted).sqrt(),
            mae: errors.absolute / predicted,
            faded_rmse: (errors.faded_squared / errors.faded_count).sqrt(),
            faded_mae: errors.faded_absolute / errors.faded_count,
            ranked: ranks.count,
            hr_at_10: ranks.hits_short as f64 / ranked,
            ndcg_at_10: ranks.gain / ranked,
            mrr_at_10: ranks.reciprocal / ranked,
            hr_at_100: ranks.hits_long as f64 / ranked,
            faded_hr_at_10: ranks.faded_hits / ranks.faded_count,
            faded_ndcg_at_10: ranks.faded_gain / ranks.faded_count,
        }
    }

    /// Adds what another recorded. Cumulative measures become those of both records together, in whatever order;
    /// faded ones become the mean of both, each weighted by its faded count (both are as of "now"). The fading factor
    /// stays this one's.
    pub fn merge(&mut self, other: &Self) {
        let (to, from) = (&mut self.errors, &other.errors);
        to.count += from.count;
        to.not_finite += from.not_finite;
        to.squared += from.squared;
        to.absolute += from.absolute;
        to.faded_count += from.faded_count;
        to.faded_squared += from.faded_squared;
        to.faded_absolute += from.faded_absolute;
        let (to, from) = (&mut self.ranks, &other.ranks);
        to.count += from.count;
        to.hits_short += from.hits_short;
        to.hits_long += from.hits_long;
        to.gain += from.gain;
        to.reciprocal += from.reciprocal;
        to.faded_count += from.faded_count;
        to.faded_hits += from.faded_hits;
        to.faded_gain += from.faded_gain;
    }

    /// Appends: version `u8` = 1; fading `f64`; errors: count, not finite (`u64`), squared, absolute, faded count,
    /// faded squared, faded absolute (`f64`); ranks: count, hits at 10, hits at 100 (`u64`), gain, reciprocal, faded
    /// count, faded hits, faded gain (`f64`). 129 bytes.
    pub fn encode(&self, out: &mut Writer<'_>) {
        let Self { fading, errors: e, ranks: r } = self;
        out.u8(VERSION).f64(*fading).u64(e.count).u64(e.not_finite);
        for sum in [e.squared, e.absolute, e.faded_count, e.faded_squared, e.faded_absolute] {
            out.f64(sum);
        }
        out.u64(r.count).u64(r.hits_short).u64(r.hits_long);
        for sum in [r.gain, r.reciprocal, r.faded_count, r.faded_hits, r.faded_gain] {
            out.f64(sum);
        }
    }

    /// Takes what [`Prequential::encode`] put.
    ///
    /// # Errors
    /// [`CursorError::Short`]; [`CursorError::Bad`] for a version, factor, sum or count that cannot have been put.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        let version = from.u8()?;
        if version != VERSION {
            return Err(bad("version of prequential sums", offset, u64::from(version), "1"));
        }
        let offset = from.at();
        let fading = from.f64()?;
        if !valid_fading(fading) {
            return Err(bad("fading factor (bits)", offset, fading.to_bits(), "above 0 and at most 1"));
        }
        let errors = Errors {
            count: from.u64()?,
            not_finite: from.u64()?,
            squared: sum(from)?,
            absolute: sum(from)?,
            faded_count: sum(from)?,
            faded_squared: sum(from)?,
            faded_absolute: sum(from)?,
        };
        let count = from.u64()?;
        let hits_short = hits(from, u64::MAX)?;
        let hits_long = hits(from, count)?;
        if hits_short > hits_long {
            return Err(bad("hits at 10", from.at() - 16, hits_short, "at most the hits at 100"));
        }
        let ranks = Ranks {
            count,
            hits_short,
            hits_long,
            gain: sum(from)?,
            reciprocal: sum(from)?,
            faded_count: sum(from)?,
            faded_hits: sum(from)?,
            faded_gain: sum(from)?,
        };
        Ok(Self { fading, errors, ranks })
    }
}

fn valid_fading(fading: f64) -> bool {
    fading > 0.0 && fading <= 1.0
}

fn sum(from: &mut Reader<'_>) -> Result<f64, CursorError> {
    let offset = from.at();
    let sum = from.f64()?;
    if sum.is_finite() && sum >= 0.0 {
        return Ok(sum);
    }
    Err(bad("sum (bits)", offset, sum.to_bits(), "finite, at least 0"))
}

fn hits(from: &mut Reader<'_>, most: u64) -> Result<u64, CursorError> {
    let offset = from.at();
    let hits = from.u64()?;
    if hits <= most { Ok(hits) } else { Err(bad("hits", offset, hits, "at most the ranks recorded")) }
}

fn bad(what: &'static str, offset: usize, found: u64, allowed: &'static str) -> CursorError {
    CursorError::Bad { what, offset, found, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-12 * expected.abs().max(1.0)
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
        assert!(close(report.rmse, 1.0));
        for _ in 0..1_000 {
            sums.record_error(f64::MAX, 0.0);
        }
        assert!(sums.report().rmse.is_finite() && sums.report().faded_rmse.is_finite());
        assert_eq!(Prequential::new(PrequentialOptions { fading: f64::NAN }).fading.to_bits(), 1.0_f64.to_bits());
    }

    /// Golden: these bytes are in snapshots and may never change.
    #[test]
    fn bytes_are_frozen() {
        let mut sums = Prequential::new(PrequentialOptions { fading: 0.5 });
        sums.record_error(3.0, 1.0);
        sums.record_error(f64::NAN, 1.0);
        sums.record_rank(Some(1));
        sums.record_rank(Some(50));
        let mut bytes = Vec::new();
        sums.encode(&mut Writer::new(&mut bytes));
        let mut expected = vec![1];
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
            expected.extend_from_slice(&word.to_le_bytes());
        }
        assert_eq!(bytes, expected);
        assert_eq!(Prequential::decode(&mut Reader::new(&bytes)), Ok(sums));
        for cut in 0..bytes.len() {
            let error = Prequential::decode(&mut Reader::new(&bytes[..cut]));
            assert!(matches!(error, Err(CursorError::Short { .. })), "cut at {cut}: {error:?}");
        }
        // A version, factor, sum and count that cannot be.
        for (at, value) in [(0, 2), (8, 0x40), (32, 0xFF), (65, 0), (73, 3), (81, 3)] {
            let mut broken = bytes.clone();
            broken[at] = value;
            let error = Prequential::decode(&mut Reader::new(&broken));
            assert!(matches!(error, Err(CursorError::Bad { .. })), "byte {at} set to {value}: {error:?}");
        }
    }

    fn recorded(events: &[(i16, i16, Option<u32>)], fading: f64) -> Prequential {
        let mut sums = Prequential::new(PrequentialOptions { fading });
        for &(prediction, value, rank) in events {
            sums.record_error(f64::from(prediction), f64::from(value));
            sums.record_rank(rank);
        }
        sums
    }

    fn events() -> impl Strategy<Value = Vec<(i16, i16, Option<u32>)>> {
        proptest::collection::vec((any::<i16>(), any::<i16>(), proptest::option::of(0_u32..200)), 0..60)
    }

    proptest! {
        #[test]
        fn merging_is_recording_together(one in events(), two in events(), fading in 0.1_f64..=1.0) {
            let mut merged = recorded(&one, fading);
            merged.merge(&recorded(&two, fading));
            let together = recorded(&[one, two].concat(), fading);
            // Whole numbers, so these sums carry no rounding; the gains do.
            prop_assert_eq!(merged.errors.count, together.errors.count);
            prop_assert_eq!(merged.errors.squared.to_bits(), together.errors.squared.to_bits());
            prop_assert_eq!(merged.errors.absolute.to_bits(), together.errors.absolute.to_bits());
            let (a, b) = (merged.ranks, together.ranks);
            prop_assert_eq!((a.count, a.hits_short, a.hits_long), (b.count, b.hits_short, b.hits_long));
            prop_assert!(close(a.gain, b.gain) && close(a.reciprocal, b.reciprocal));
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
        fn bytes_read_back(events in events(), fading in 0.1_f64..=1.0) {
            let sums = recorded(&events, fading);
            let mut bytes = Vec::new();
            sums.encode(&mut Writer::new(&mut bytes));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Prequential::decode(&mut reader), Ok(sums));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
