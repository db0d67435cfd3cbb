//! Test-then-learn accumulators: every event is first predicted and scored, then learned (Dawid 1984).
//!
//! What is recorded goes into sums by cohort and window ([`ledger`](super::ledger)); what can be asked of them is in
//! [`measures`](super::measures). Cumulative measures are over all that was recorded; in faded ones each newer record
//! multiplies what older ones weigh by [`PrequentialOptions::fading`], so that they tell how good things are now. Values
//! and ranks fade separately, each by its own records.
//!
//! Sums are `f64`; nothing recorded can make them infinite or not a number. Bytes: see [`Prequential::encode`].

use super::distinct::Distinct;
use super::ledger::{Cohort, Ledger, NO_COHORT, Window};
use super::measures::{
    ABSOLUTE, BINS, COUNT, ERROR_COLUMNS, FIRST_BIN, GAIN, HITS_LONG, HITS_SHORT, LISTS, Measures, NOT_FINITE,
    RANK_COLUMNS, RECIPROCAL, Report, SQUARED, SURPRISED,
};
use crate::base::{CursorError, Reader, Writer};

/// Version of the bytes that [`Prequential::encode`] writes. Version 1, without cohorts, is read as well.
pub const VERSION: u8 = 2;

/// Ranks up to this are hits of the short list.
pub const SHORT_LIST: u32 = 10;

/// Ranks up to this are hits of the long list.
pub const LONG_LIST: u32 = 100;

/// Largest error that is summed as it is: its square, and sums of 2^64 such squares, stay finite.
const ERROR_MAX: f64 = 1e100;

/// Every so many-th record of values gets its log loss, whose logarithm and exponential cost more than all else here.
const SURPRISED_EVERY: u32 = 8;

/// Most that one wrong guess costs in log loss, in nats: a prediction that was sure by 30 standard deviations.
const SURPRISE_MAX: f64 = 30.0;

/// The logistic function of 1.702 z is the normal distribution's to within 0.0095 (Haley 1952).
const LOGISTIC: f64 = 1.702;

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

/// A prediction of a value, and what there was to judge it by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// What was predicted, clipped to the range.
    pub prediction: f64,
    /// What came.
    pub value: f64,
    /// Mean of the values before: above it means liked. Not a number if there was none.
    pub mean: f64,
    /// Range of the values, if there is one: calibration is by its tenths.
    pub range: Option<(f32, f32)>,
}

/// Accumulators of one model, or of one group of users, or of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Prequential {
    fading: f64,
    /// One over `fading`.
    growth: f64,
    errors: Ledger<ERROR_COLUMNS>,
    ranks: Ledger<RANK_COLUMNS>,
    noise: Noise,
    listed: Distinct,
}

/// How far off this model is of late: what its predictions are taken to be spread by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Noise {
    count: f64,
    squared: f64,
}

impl Prequential {
    /// Nothing recorded. A fading factor outside `(0, 1]` (or NaN) is taken for 1.
    #[must_use]
    pub fn new(options: PrequentialOptions) -> Self {
        let fading = if valid_fading(options.fading) { options.fading } else { 1.0 };
        let (errors, ranks) = (Ledger::default(), Ledger::default());
        let (noise, listed) = (Noise::default(), Distinct::default());
        Self { fading, growth: 1.0 / fading, errors, ranks, noise, listed }
    }

    /// Records what was predicted for a value that then came, of no cohort and judged by its error alone.
    pub fn record_error(&mut self, prediction: f64, value: f64) {
        self.judge(NO_COHORT, &Judgement { prediction, value, mean: f64::NAN, range: None });
    }

    /// Records what was predicted for a value that then came.
    #[inline]
    pub fn record_judgement(&mut self, cohort: Cohort, judgement: &Judgement) {
        self.judge(cohort as usize, judgement);
    }

    #[inline]
    fn judge(&mut self, row: usize, judgement: &Judgement) {
        let &Judgement { prediction, value, mean, range } = judgement;
        let error = (prediction - value).abs();
        let sums = &mut self.errors;
        if !error.is_finite() {
            sums.begin(1.0);
            return sums.add(row, NOT_FINITE, [1.0]);
        }
        let number = sums.begin(self.growth);
        let error = error.min(ERROR_MAX);
        let (judged, liked, foreseen) = (mean.is_finite(), value > mean, prediction > mean);
        let one = |holds: bool| f64::from(u8::from(holds));
        // Columns COUNT to BOTH, which stand together.
        let columns = [1.0, error * error, error, one(judged), one(liked), one(foreseen), one(liked && foreseen)];
        sums.add(row, COUNT, columns);
        if let Some((low, high)) = range {
            let share = (prediction - f64::from(low)) / f64::from(high - low);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bins")]
            let bin = (share * BINS as f64).clamp(0.0, BINS as f64 - 1.0) as usize;
            sums.add(row, FIRST_BIN + 3 * bin, [1.0, prediction, value]);
        }
        if judged && number % SURPRISED_EVERY == 1 {
            sums.add(row, SURPRISED, [1.0, self.noise.surprise(prediction - mean, liked)]);
        }
        self.noise.count = self.noise.count * self.fading + 1.0;
        self.noise.squared = self.noise.squared * self.fading + error * error;
    }

    /// Records the rank, from 1, of the item that then came, of no cohort; `None` is a miss (the item could not be ranked
    /// at all). A rank of 0 is taken for 1.
    pub fn record_rank(&mut self, rank: Option<u32>) {
        self.rank(NO_COHORT, rank);
    }

    /// Records the rank, from 1, of the item that then came; `None` is a miss.
    pub fn record_ranking(&mut self, cohort: Cohort, rank: Option<u32>) {
        self.rank(cohort as usize, rank);
    }

    fn rank(&mut self, row: usize, rank: Option<u32>) {
        let rank = rank.map_or(u32::MAX, |rank| rank.max(1));
        let sums = &mut self.ranks;
        sums.begin(self.growth);
        sums.add(row, COUNT, [1.0]);
        if rank <= SHORT_LIST {
            sums.add(row, HITS_SHORT, [1.0]);
            sums.add(row, GAIN, [1.0 / (f64::from(rank) + 1.0).log2(), 1.0 / f64::from(rank)]);
        }
        if rank <= LONG_LIST {
            sums.add(row, HITS_LONG, [1.0]);
        }
    }

    /// Records the list that the latest rank was found in: hashes of its items, and the mean of what they tell, in bits.
    /// To be called after [`Self::record_ranking`].
    pub fn record_list(&mut self, cohort: Cohort, items: impl Iterator<Item = u64>, information: f64) {
        items.for_each(|hash| self.listed.insert(hash));
        self.ranks.add(cohort as usize, LISTS, [1.0, information.clamp(0.0, 64.0)]);
    }

    /// About how many different items were in the lists recorded.
    #[must_use]
    pub fn listed(&self) -> f64 {
        self.listed.estimate()
    }

    /// What was measured so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::new(&self.measures(None, Window::Lifetime), &self.measures(None, Window::Faded))
    }

    /// What was measured of one cohort (`None`: of all records) in one window.
    #[must_use]
    pub fn measures(&self, cohort: Option<Cohort>, window: Window) -> Measures {
        let row = cohort.map(|cohort| cohort as usize);
        Measures::new(&self.errors.sums(row, window), &self.ranks.sums(row, window))
    }

    /// Adds what another recorded. Cumulative measures become those of both records together, in whatever order;
    /// faded ones become the mean of both, each weighted by its faded count (both are as of "now"). The fading factor
    /// stays this one's.
    pub fn merge(&mut self, other: &Self) {
        self.errors.merge(&other.errors);
        self.ranks.merge(&other.ranks);
        self.noise.count += other.noise.count;
        self.noise.squared += other.noise.squared;
        self.listed.merge(&other.listed);
    }

    /// Appends: version `u8` = 2; fading `f64`; noise count and squared `f64`; the ledger of errors, that of ranks
    /// (columns as in `measures.rs`); the items listed.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u8(VERSION).f64(self.fading).f64(self.noise.count).f64(self.noise.squared);
        self.errors.encode(out);
        self.ranks.encode(out);
        self.listed.encode(out);
    }

    /// Takes what [`Prequential::encode`] put, in this version or in version 1, whose sums are of no cohort.
    ///
    /// # Errors
    /// [`CursorError::Short`]; [`CursorError::Bad`] for a version, factor or sum that cannot have been put.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        let version = from.u8()?;
        if !(1..=VERSION).contains(&version) {
            return Err(bad("version of prequential sums", offset, u64::from(version), "1 or 2"));
        }
        let offset = from.at();
        let fading = from.f64()?;
        if !valid_fading(fading) {
            return Err(bad("fading factor (bits)", offset, fading.to_bits(), "above 0 and at most 1"));
        }
        if version == 1 {
            return Self::decode_version_1(fading, from);
        }
        let noise = Noise { count: sum(from)?, squared: sum(from)? };
        let (errors, ranks) = (Ledger::decode(from)?, Ledger::decode(from)?);
        Ok(Self { fading, growth: 1.0 / fading, errors, ranks, noise, listed: Distinct::decode(from)? })
    }

    /// Errors: count, not finite (`u64`), squared, absolute, faded count, faded squared, faded absolute (`f64`); ranks:
    /// count, hits at 10, hits at 100 (`u64`), gain, reciprocal, faded count, faded hits, faded gain (`f64`).
    #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]
    fn decode_version_1(fading: f64, from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (mut total, mut faded) = ([0.0; ERROR_COLUMNS], [0.0; ERROR_COLUMNS]);
        (total[COUNT], total[NOT_FINITE]) = (from.u64()? as f64, from.u64()? as f64);
        (total[SQUARED], total[ABSOLUTE]) = (sum(from)?, sum(from)?);
        (faded[COUNT], faded[SQUARED], faded[ABSOLUTE]) = (sum(from)?, sum(from)?, sum(from)?);
        let noise = Noise { count: faded[COUNT], squared: faded[SQUARED] };
        let errors = Ledger::earlier(total, faded);
        let (mut total, mut faded) = ([0.0; RANK_COLUMNS], [0.0; RANK_COLUMNS]);
        let offset = from.at();
        let (count, short, long) = (from.u64()?, from.u64()?, from.u64()?);
        if short > long || long > count {
            return Err(bad("hits at 10", offset + 8, short, "at most the hits at 100, and these the ranks recorded"));
        }
        (total[COUNT], total[HITS_SHORT], total[HITS_LONG]) = (count as f64, short as f64, long as f64);
        (total[GAIN], total[RECIPROCAL]) = (sum(from)?, sum(from)?);
        (faded[COUNT], faded[HITS_SHORT], faded[GAIN]) = (sum(from)?, sum(from)?, sum(from)?);
        let (ranks, listed) = (Ledger::earlier(total, faded), Distinct::default());
        Ok(Self { fading, growth: 1.0 / fading, errors, ranks, noise, listed })
    }
}

impl Noise {
    /// Log loss, in nats, of the probability that this model gives to the value being above the mean, where it predicts
    /// `above` more than the mean: the value is taken to be spread around the prediction as the values before were.
    fn surprise(&self, above: f64, liked: bool) -> f64 {
        if self.count == 0.0 {
            return std::f64::consts::LN_2; // nothing to judge by: even odds
        }
        let deviation = (self.squared / self.count).sqrt().max(f64::MIN_POSITIVE);
        let odds = LOGISTIC * above / deviation;
        let against = if liked { -odds } else { odds };
        (against.max(0.0) + (-against.abs()).exp().ln_1p()).min(SURPRISE_MAX)
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

fn bad(what: &'static str, offset: usize, found: u64, allowed: &'static str) -> CursorError {
    CursorError::Bad { what, offset, found, allowed }
}
