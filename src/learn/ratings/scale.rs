//! The caller's scale and the learners' own: every part of the ensemble sees `(value - mean) / unit`, so that steps,
//! penalties and clips mean the same on 0..1, 1..5 and -50..50.
//!
//! The mean is the running mean of all values, the mu of biased factorisation (Koren, Bell & Volinsky 2009, eq. 3). The
//! unit is a quarter of the scale where the caller names one, otherwise the running standard deviation (Welford 1962)
//! with far-off values pulled in, so that one wild value does not make all others equal.

use crate::base::cursor::{CursorError, Reader, Writer};

/// Values further than this many units from the mean count as this far.
const FAR: f64 = 10.0;

/// Parts that the range is cut into for histograms.
pub(super) const BINS: usize = 5;

/// Running mean, unit and range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    given: Option<(f64, f64)>,
    weight: f64,
    mean: f64,
    squares: f64,
    low: f64,
    high: f64,
}

impl Scale {
    /// A scale without lower and upper end, or with ends that make none, is learned from what comes.
    pub fn new(given: Option<(f32, f32)>) -> Self {
        let given = given.map(|(low, high)| (f64::from(low), f64::from(high)));
        let given = given.filter(|(low, high)| low < high && low.is_finite() && high.is_finite());
        let mean = given.map_or(0.0, |(low, high)| low + (high - low) / 2.0);
        Self { given, weight: 0.0, mean, squares: 0.0, low: f64::INFINITY, high: f64::NEG_INFINITY }
    }

    fn unit(&self) -> f64 {
        if let Some((low, high)) = self.given {
            return (high - low) / 4.0;
        }
        let unit = if self.weight > 0.0 { (self.squares / self.weight).sqrt() } else { 0.0 };
        if unit > 0.0 { unit } else { 1.0 }
    }

    /// The ends: as given, or as seen so far. None before the first value.
    fn ends(&self) -> Option<(f64, f64)> {
        self.given.or((self.low <= self.high).then_some((self.low, self.high)))
    }

    /// The value in units from the mean.
    pub fn inner(&self, value: f32) -> f32 {
        ((f64::from(value) - self.mean) / self.unit()).clamp(-FAR, FAR) as f32
    }

    /// What [`Self::inner`] made of a value, turned back.
    pub fn outer(&self, inner: f32) -> f32 {
        let value = self.mean + self.unit() * f64::from(inner);
        value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }

    /// Units times the caller's scale, for parts of a sum.
    pub fn outer_part(&self, inner: f32) -> f32 {
        (self.unit() * f64::from(inner)).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }

    /// The running mean on the caller's scale.
    pub fn mean(&self) -> f32 {
        self.mean as f32
    }

    /// Lower and upper end in units from the mean.
    pub fn inner_ends(&self) -> (f32, f32) {
        self.ends().map_or((-FAR as f32, FAR as f32), |(low, high)| {
            let inner = |end: f64| ((end - self.mean) / self.unit()).clamp(-FAR, FAR) as f32;
            (inner(low), inner(high))
        })
    }

    /// Which fifth of the range the value lies in.
    pub fn bin(&self, value: f32) -> usize {
        let Some((low, high)) = self.ends().filter(|(low, high)| low < high) else { return 0 };
        let share = (f64::from(value) - low) / (high - low) * BINS as f64;
        (share.max(0.0) as usize).min(BINS - 1)
    }

    /// Takes a value in and returns it in units from the mean before it (0 if it is the first: nothing could be missed).
    pub fn see(&mut self, value: f32, weight: f32) -> f32 {
        let first = self.weight <= 0.0;
        let (value, weight, unit) = (f64::from(value), f64::from(weight), self.unit());
        let known = self.squares > 0.0 && self.weight > 10.0;
        self.weight += weight;
        let distance = value - self.mean;
        self.mean += distance * (weight / self.weight);
        let (before, after) = (distance, value - self.mean);
        let near = |distance: f64| if known { distance.clamp(-FAR * unit, FAR * unit) } else { distance };
        self.squares += weight * near(before) * near(after);
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        if first { 0.0 } else { (distance / self.unit()).clamp(-FAR, FAR) as f32 }
    }

    pub fn encode(&self, out: &mut Writer<'_>) {
        out.f64(self.weight).f64(self.mean).f64(self.squares).f64(self.low).f64(self.high);
    }

    pub fn decode(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.weight = from.f64()?;
        self.mean = from.f64()?;
        self.squares = from.f64()?;
        self.low = from.f64()?;
        self.high = from.f64()?;
        Ok(())
    }
}
