//! What is asked of recorded sums: quotients of columns. `docs/measures.md` says what each measure means.
//!
//! Columns of values: `COUNT` to `SURPRISE`, then [`BINS`] tenths of the range with three columns each: how many
//! predictions lay there, their sum, and the sum of what came. Columns of ranks: `COUNT`, then `HITS_SHORT` to
//! `INFORMATION`. The order is part of the stored bytes.

/// Records.
pub(super) const COUNT: usize = 0;
/// Squared errors.
pub(super) const SQUARED: usize = 1;
/// Absolute errors.
pub(super) const ABSOLUTE: usize = 2;
/// Records that could be told liked or not.
pub(super) const JUDGED: usize = 3;
/// Values above the mean of those before.
pub(super) const LIKED: usize = 4;
/// Predictions above it.
pub(super) const FORESEEN: usize = 5;
/// Both.
pub(super) const BOTH: usize = 6;
/// Predictions or values that were not finite.
pub(super) const NOT_FINITE: usize = 7;
/// Records with a log loss.
pub(super) const SURPRISED: usize = 8;
/// Log loss of liked or not, in nats.
pub(super) const SURPRISE: usize = 9;
/// First column of the tenths.
pub(super) const FIRST_BIN: usize = 10;
/// Tenths of the range.
pub const BINS: usize = 10;
pub(super) const ERROR_COLUMNS: usize = FIRST_BIN + 3 * BINS;

/// Ranks up to 10.
pub(super) const HITS_SHORT: usize = 1;
/// Ranks up to 100.
pub(super) const HITS_LONG: usize = 2;
/// 1 / log2(rank + 1) of ranks up to 10.
pub(super) const GAIN: usize = 3;
/// 1 / rank of ranks up to 10.
pub(super) const RECIPROCAL: usize = 4;
/// Lists recorded.
pub(super) const LISTS: usize = 5;
/// Mean self-information of the items of each list, in bits.
pub(super) const INFORMATION: usize = 6;
pub(super) const RANK_COLUMNS: usize = 7;

/// Everything measured of a set of records; a mean over nothing is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// Predictions scored.
    pub predicted: f64,
    /// Predictions (or values) that were not finite: counted here and scored nowhere.
    pub not_finite: f64,
    /// Mean squared error.
    pub mse: f64,
    /// Its root.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Share of values on the predicted side of the mean of the values before.
    pub accuracy: f64,
    /// Of the values predicted above it, the share that was.
    pub liked_precision: f64,
    /// Of the values above it, the share predicted so.
    pub liked_recall: f64,
    /// Harmonic mean of the two.
    pub liked_f1: f64,
    /// Mean negative logarithm of the probability given to the side that came, in nats, over every eighth record; ln 2
    /// is a coin's.
    pub log_loss: f64,
    /// Mean difference of what was predicted and what came, over tenths of the range, each by its count: the expected
    /// calibration error, in units of the value.
    pub calibration_error: f64,
    /// The tenths of the range.
    pub calibration: [Tenth; BINS],
    /// Ranks and misses scored.
    pub ranked: f64,
    /// Share of ranks up to 10. With one item to be found, this is the recall at 10.
    pub hr_10: f64,
    /// Share of the places of the first 10 that hold the item: a tenth of the hit rate.
    pub precision_10: f64,
    /// Harmonic mean of precision and recall at 10.
    pub f1_10: f64,
    /// Mean of 1 / log2(rank + 1) for ranks up to 10, else 0.
    pub ndcg_10: f64,
    /// Mean of 1 / rank for ranks up to 10, else 0.
    pub mrr_10: f64,
    /// Share of ranks up to 100.
    pub hr_100: f64,
    /// Mean self-information of the first 10, in bits: `-log2` of the item's share of all events.
    pub novelty_10: f64,
}

/// What was predicted within one tenth of the range, and what came; means of nothing are NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tenth {
    /// Predictions.
    pub count: f64,
    /// Their mean.
    pub predicted: f64,
    /// Mean of what came.
    pub observed: f64,
}

impl Measures {
    pub(super) fn new(errors: &[f64; ERROR_COLUMNS], ranks: &[f64; RANK_COLUMNS]) -> Self {
        let (predicted, judged, ranked) = (errors[COUNT], errors[JUDGED], ranks[COUNT]);
        // The difference of two sums may fall a little below 0.
        let mse = errors[SQUARED].max(0.0) / predicted;
        let wrong = errors[LIKED] + errors[FORESEEN] - 2.0 * errors[BOTH];
        let (bins, _) = errors[FIRST_BIN..].as_chunks::<3>();
        let off: f64 = bins.iter().map(|[_, predicted, observed]| (predicted - observed).abs()).sum();
        let binned: f64 = bins.iter().map(|[count, ..]| count).sum();
        let tenth = |at: usize| {
            let [count, predicted, observed] = bins[at];
            Tenth { count, predicted: predicted / count, observed: observed / count }
        };
        let (hr_10, places) = (ranks[HITS_SHORT] / ranked, f64::from(super::prequential::SHORT_LIST));
        Self {
            predicted,
            not_finite: errors[NOT_FINITE],
            mse,
            rmse: mse.sqrt(),
            mae: errors[ABSOLUTE] / predicted,
            accuracy: 1.0 - wrong / judged,
            liked_precision: errors[BOTH] / errors[FORESEEN],
            liked_recall: errors[BOTH] / errors[LIKED],
            liked_f1: 2.0 * errors[BOTH] / (errors[LIKED] + errors[FORESEEN]),
            log_loss: errors[SURPRISE] / errors[SURPRISED],
            calibration_error: off / binned,
            calibration: std::array::from_fn(tenth),
            ranked,
            hr_10,
            precision_10: hr_10 / places,
            // 2 p r / (p + r) with r = 10 p.
            f1_10: 2.0 * hr_10 / (places + 1.0),
            ndcg_10: ranks[GAIN] / ranked,
            mrr_10: ranks[RECIPROCAL] / ranked,
            hr_100: ranks[HITS_LONG] / ranked,
            novelty_10: ranks[INFORMATION] / ranks[LISTS],
        }
    }
}

/// What was measured in short: all records, and all records fading; a mean over nothing is NaN.
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

impl Report {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, exact up to 2^53")]
    pub(super) fn new(all: &Measures, faded: &Measures) -> Self {
        Self {
            predicted: all.predicted as u64,
            not_finite: all.not_finite as u64,
            rmse: all.rmse,
            mae: all.mae,
            faded_rmse: faded.rmse,
            faded_mae: faded.mae,
            ranked: all.ranked as u64,
            hr_at_10: all.hr_10,
            ndcg_at_10: all.ndcg_10,
            mrr_at_10: all.mrr_10,
            hr_at_100: all.hr_100,
            faded_hr_at_10: faded.hr_10,
            faded_ndcg_at_10: faded.ndcg_10,
        }
    }
}
