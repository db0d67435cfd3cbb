//! Forecasts of yes or no: how well probabilities tell apart what comes from what does not, and whether they are meant.
//!
//! A forecast falls into one of [`BINS`] bins by its probability, and each bin counts what came. The area under the ROC
//! curve (the share of pairs of a yes and a no in which the yes was given more; ties count one half) is then a sum over
//! bins, exact for forecasts rounded to bins: pairs within one bin count as ties, so the area of the unrounded forecasts
//! is at most [`ForecastReport::auc_rounding`] away. Log loss and Brier score are sums over the unrounded forecasts.
//!
//! Bins are narrow where probabilities are small or large, as forecasts of rare things are all small: equal steps of
//! `sqrt(p / 2)` up to one half, mirrored above. Only a root is taken, so that bins are the same on every machine.
//!
//! The confidence interval is the one of Hanley & McNeil 1982 ("The meaning and use of the area under a ROC curve",
//! Radiology 143, their approximation by exponential distributions). It takes forecasts as independent; forecasts of few
//! people, each asked often, are not, and their interval is too narrow.

#[cfg(test)]
mod tests;

use super::measures::Tenth;
use crate::base::{CursorError, Reader, Writer};

/// Bins of the probability.
pub const BINS: usize = 256;
/// Groups of like size in the calibration.
pub const GROUPS: usize = 10;

const VERSION: u8 = 1;
/// Least bytes of a stored bin.
const BIN_BYTES: usize = 2 + 8 + 8 + 8;
/// Most that one forecast costs in log loss, in nats: what `docs/measures.md` states for all strategies.
const LOSS_MAX: f64 = 30.0;
/// 97.5 % of a normal distribution lie below it.
const NORMAL_975: f64 = 1.959_963_984_540_054;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bin {
    /// Forecasts of what came.
    yes: u64,
    /// Forecasts of what did not.
    no: u64,
    /// Sum of their probabilities.
    forecast: f64,
}

impl Bin {
    fn count(&self) -> u64 {
        self.yes + self.no
    }
}

/// Accumulator of forecasts and of what came: 6 KiB, a few additions a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecasts {
    bins: Box<[Bin; BINS]>,
    /// Sum of `-ln` of the probability given to what came.
    loss: f64,
    /// Sum of squared distances to what came (1 or 0).
    squared: f64,
    not_finite: u64,
}

/// What was measured of forecasts; a mean over nothing, and an area without a yes or a no, is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastReport {
    /// Forecasts.
    pub count: u64,
    /// Forecasts of what came.
    pub yes: u64,
    /// Forecasts outside `[0, 1]` or not numbers: counted here and nowhere else.
    pub not_finite: u64,
    /// Area under the ROC curve: the share of pairs in order, one half is chance.
    pub auc: f64,
    /// Lower end of its 95 % confidence interval.
    pub auc_low: f64,
    /// Upper end of it.
    pub auc_high: f64,
    /// The most by which rounding to bins may have moved the area.
    pub auc_rounding: f64,
    /// Mean negative logarithm of the probability given to what came, in nats.
    pub log_loss: f64,
    /// Mean squared distance of the probability to what came (Brier 1950).
    pub brier: f64,
    /// Mean distance of forecast and share that came over the groups, each by its count.
    pub calibration_error: f64,
    /// Ten groups of like size (as far as bins allow) by the forecast; empty ones have count 0.
    pub calibration: [Tenth; GROUPS],
}

impl Default for Forecasts {
    fn default() -> Self {
        Self { bins: Box::new([Bin::default(); BINS]), loss: 0.0, squared: 0.0, not_finite: 0 }
    }
}

impl Forecasts {
    /// Records that `probability` was given to something, and whether it `came`.
    pub fn record(&mut self, probability: f64, came: bool) {
        if !(0.0..=1.0).contains(&probability) {
            self.not_finite += 1;
            return;
        }
        let (given, target) = if came { (probability, 1.0) } else { (1.0 - probability, 0.0) };
        let bin = &mut self.bins[bin_of(probability)];
        bin.yes += u64::from(came);
        bin.no += u64::from(!came);
        bin.forecast += probability;
        self.loss += (-given.ln()).min(LOSS_MAX);
        self.squared += (probability - target) * (probability - target);
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.not_finite == 0 && self.bins.iter().all(|bin| bin.count() == 0)
    }

    /// Adds what another recorded: counts as if one had recorded all, sums up to rounding.
    pub fn merge(&mut self, other: &Self) {
        for (bin, theirs) in self.bins.iter_mut().zip(other.bins.iter()) {
            bin.yes += theirs.yes;
            bin.no += theirs.no;
            bin.forecast += theirs.forecast;
        }
        self.loss += other.loss;
        self.squared += other.squared;
        self.not_finite += other.not_finite;
    }

    /// What was measured so far.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts, exact up to 2^53")]
    pub fn report(&self) -> ForecastReport {
        let (yes, no) = self.bins.iter().fold((0, 0), |(yes, no), bin| (yes + bin.yes, no + bin.no));
        let count = yes + no;
        // Twice the pairs in order, and the pairs within a bin: whole numbers, so nothing is lost.
        let (mut ordered, mut tied, mut below) = (0_u128, 0_u128, 0_u128);
        for bin in self.bins.iter() {
            let (here_yes, here_no) = (u128::from(bin.yes), u128::from(bin.no));
            ordered += here_yes * (2 * below + here_no);
            tied += here_yes * here_no;
            below += here_no;
        }
        let pairs = yes as f64 * no as f64;
        let auc = ordered as f64 / (2.0 * pairs);
        let (auc_low, auc_high) = interval(auc, yes as f64, no as f64);
        let calibration = self.calibration(count);
        let off: f64 = calibration
            .iter()
            .filter(|group| group.count > 0.0)
            .map(|group| group.count * (group.predicted - group.observed).abs())
            .sum();
        ForecastReport {
            count,
            yes,
            not_finite: self.not_finite,
            auc,
            auc_low,
            auc_high,
            auc_rounding: tied as f64 / (2.0 * pairs),
            log_loss: self.loss / count as f64,
            brier: self.squared / count as f64,
            calibration_error: off / count as f64,
            calibration,
        }
    }

    /// Bins go to the group in which their middle forecast lies.
    #[expect(clippy::cast_precision_loss, reason = "counts, exact up to 2^53")]
    fn calibration(&self, count: u64) -> [Tenth; GROUPS] {
        let (mut groups, mut before) = ([(0_u64, 0_u64, 0.0); GROUPS], 0);
        for bin in self.bins.iter().filter(|bin| bin.count() > 0) {
            let middle = 2 * u128::from(before) + u128::from(bin.count());
            let group = usize::try_from(middle * GROUPS as u128 / (2 * u128::from(count))).unwrap_or(GROUPS);
            let (number, yes, forecast) = &mut groups[group.min(GROUPS - 1)];
            *number += bin.count();
            *yes += bin.yes;
            *forecast += bin.forecast;
            before += bin.count();
        }
        groups.map(|(number, yes, forecast)| {
            let count = number as f64;
            Tenth { count, predicted: forecast / count, observed: yes as f64 / count }
        })
    }

    /// Appends: version `u8` = 1; log loss `f64`, squares `f64`, not finite `u64`; count of bins that are not empty, each
    /// number `u16` (rising), yes `u64`, no `u64`, sum of forecasts `f64`.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u8(VERSION).f64(self.loss).f64(self.squared).u64(self.not_finite);
        out.count(self.bins.iter().filter(|bin| bin.count() > 0).count());
        for (at, bin) in (0_u16..).zip(self.bins.iter()).filter(|(_, bin)| bin.count() > 0) {
            out.u16(at).u64(bin.yes).u64(bin.no).f64(bin.forecast);
        }
    }

    /// Takes what [`Self::encode`] put.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that cannot have been put.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        match from.u8()? {
            VERSION => {}
            other => return Err(bad("version of sums of forecasts", offset, u64::from(other), "1")),
        }
        let mut read = Self { loss: sum(from)?, squared: sum(from)?, not_finite: from.u64()?, ..Self::default() };
        let mut next = 0;
        for _ in 0..from.count(BIN_BYTES, BINS)? {
            let offset = from.at();
            let at = from.u16()?;
            if at < next || usize::from(at) >= BINS {
                return Err(bad("bin of forecasts", offset, u64::from(at), "rising, below 256"));
            }
            next = at + 1;
            let (yes, no) = (from.u64()?, from.u64()?);
            // Counts of all bins together stay countable.
            if yes.max(no) > u64::MAX / (4 * BINS as u64) || yes + no == 0 {
                return Err(bad("count of forecasts", offset + 2, yes.max(no), "at least 1, at most 2^54"));
            }
            read.bins[usize::from(at)] = Bin { yes, no, forecast: sum(from)? };
        }
        Ok(read)
    }
}

/// The bin of a probability in `[0, 1]`: rises with it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number within 0 and 256")]
fn bin_of(probability: f64) -> usize {
    let place = if probability < 0.5 { (probability / 2.0).sqrt() } else { 1.0 - ((1.0 - probability) / 2.0).sqrt() };
    ((place * BINS as f64) as usize).min(BINS - 1)
}

/// Hanley & McNeil's 95 % interval of an area, cut to `[0, 1]`.
fn interval(auc: f64, yes: f64, no: f64) -> (f64, f64) {
    let square = auc * auc;
    // That two of one side both lie right of one of the other, for exponential distributions.
    let (two_yes, two_no) = (auc / (2.0 - auc), 2.0 * square / (1.0 + auc));
    let variance = (auc * (1.0 - auc) + (yes - 1.0) * (two_yes - square) + (no - 1.0) * (two_no - square)) / (yes * no);
    let half_width = NORMAL_975 * variance.max(0.0).sqrt();
    if auc.is_nan() { (f64::NAN, f64::NAN) } else { ((auc - half_width).max(0.0), (auc + half_width).min(1.0)) }
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
