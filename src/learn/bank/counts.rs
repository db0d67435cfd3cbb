//! How much, how often and how recently each item was met: decayed popularity at a grid of half-lives, popularity among
//! users of like experience, and the ages.
//!
//! The clock is the event counter: a geometric grid of half-lives in events needs no unit and no look at the data, and
//! survives streams with coarse time stamps. Sums are scaled forward (an event weighs `2^((x - base) / half_life)`), so
//! that only the item of the event changes; the base moves on before the scale leaves the range of `f32`.

use crate::base::capture::{Capture, Captured};
use crate::base::cursor::{CursorError, Reader, Writer};

/// Half-lives of decayed popularity, in events; a last grid point that never decays comes with them.
pub const HALF_LIVES: [f64; 6] = [100.0, 400.0, 1_600.0, 6_400.0, 25_600.0, 102_400.0];
/// Grid points with the one that never decays.
pub const GRID: usize = HALF_LIVES.len() + 1;
/// Cohorts: users with 0, 1, 2-3, 4-7, 8-15, 16-31 and more events.
pub const COHORTS: usize = 7;
/// Half-life of popularity within a cohort, in events.
const COHORT_HALF_LIFE: f64 = 20_000.0;
/// Exponent at which a base moves on.
const EXPONENT_MAX: f64 = 60.0;

/// What is counted of one item.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ItemCounts {
    /// Decayed popularity by half-life, scaled forward; the last one plain.
    pub popularity: [f32; GRID],
    /// Popularity by cohort, scaled forward.
    pub cohorts: [f32; COHORTS],
    /// Events.
    pub events: u32,
    /// Their natural logarithm; 0 for none.
    pub log_events: f32,
    /// Event number of the first one.
    pub first: u64,
    /// Event number of the latest one.
    pub last: u64,
}

/// The cohort of a user with `events` events.
#[must_use]
#[inline]
pub fn cohort(events: usize) -> usize {
    (usize::BITS - events.leading_zeros()).min(6) as usize
}

/// Counts of all items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    items: Vec<ItemCounts>,
    totals: [f32; GRID],
    cohort_totals: [f32; COHORTS],
    bases: [u64; GRID],
    capture: Option<Box<Capture>>,
}

/// What turns a stored sum into its value at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Factors by half-life; 1 for the plain one.
    pub popularity: [f32; GRID],
    /// Totals at that moment.
    pub totals: [f32; GRID],
    /// Factor of the cohorts.
    pub cohort: f32,
    /// Totals of the cohorts at that moment.
    pub cohort_totals: [f32; COHORTS],
}

impl Counts {
    /// Adds an item that was not met.
    pub fn insert(&mut self) {
        self.items.push(ItemCounts::default());
    }

    /// Items there are.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.items.len()
    }

    /// Counts of one item.
    #[must_use]
    #[inline]
    pub fn get(&self, item: usize) -> &ItemCounts {
        &self.items[item]
    }

    /// Counts event `x` (from 0) of a user in `cohort` on `item`. Says whether sums were rescaled first.
    pub fn learn(&mut self, item: usize, cohort: usize, x: u64) -> bool {
        let rescaled = self.rescale(x);
        self.keep(item);
        let counts = &mut self.items[item];
        for (at, half_life) in HALF_LIVES.iter().enumerate() {
            let weight = scale(x, self.bases[at], *half_life);
            counts.popularity[at] += weight;
            self.totals[at] += weight;
        }
        let weight = scale(x, self.bases[GRID - 1], COHORT_HALF_LIFE);
        counts.cohorts[cohort] += weight;
        self.cohort_totals[cohort] += weight;
        if counts.events == 0 {
            counts.first = x;
        }
        counts.last = x;
        counts.events = counts.events.saturating_add(1);
        counts.log_events = (counts.events as f32).ln();
        counts.popularity[GRID - 1] = counts.events as f32;
        self.totals[GRID - 1] = (x + 1) as f32;
        rescaled
    }

    /// Moves every base whose scale would grow too large.
    fn rescale(&mut self, x: u64) -> bool {
        let mut any = false;
        for at in 0..GRID {
            let exponent = (x - self.bases[at]) as f64 / half_life(at);
            if exponent <= EXPONENT_MAX {
                continue;
            }
            any = true;
            self.keep_all();
            let factor = (-exponent).exp2() as f32;
            self.bases[at] = x;
            if at < HALF_LIVES.len() {
                self.totals[at] *= factor;
                self.items.iter_mut().for_each(|item| item.popularity[at] *= factor);
            } else {
                self.cohort_totals.iter_mut().for_each(|total| *total *= factor);
                self.items.iter_mut().for_each(|item| item.cohorts.iter_mut().for_each(|sum| *sum *= factor));
            }
        }
        any
    }

    /// How sums read at event number `x`.
    #[must_use]
    pub fn at(&self, x: u64) -> Moment {
        let factor = |at: usize, half_life: f64| 1.0 / scale(x, self.bases[at], half_life);
        let mut popularity = [1.0; GRID];
        for (at, half_life) in HALF_LIVES.iter().enumerate() {
            popularity[at] = factor(at, *half_life);
        }
        let cohort = factor(GRID - 1, COHORT_HALF_LIFE);
        Moment {
            totals: std::array::from_fn(|at| self.totals[at] * popularity[at]),
            popularity,
            cohort_totals: self.cohort_totals.map(|total| total * cohort),
            cohort,
        }
    }
}

/// Half-life at a grid point; the last base is the cohorts'.
fn half_life(at: usize) -> f64 {
    HALF_LIVES.get(at).copied().unwrap_or(COHORT_HALF_LIFE)
}

#[inline]
fn scale(x: u64, base: u64, half_life: f64) -> f32 {
    ((x - base) as f64 / half_life).exp2() as f32
}

impl Counts {
    /// Appends what is counted over all items.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        out.f32s(&self.totals).f32s(&self.cohort_totals);
        self.bases.iter().for_each(|base| {
            out.u64(*base);
        });
    }

    /// Reads what [`Self::encode_head`] wrote, into a table without items.
    ///
    /// # Errors
    /// [`CursorError`] for too few bytes.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        from.f32s(&mut self.totals)?;
        from.f32s(&mut self.cohort_totals)?;
        for base in &mut self.bases {
            *base = from.u64()?;
        }
        Ok(())
    }
}

impl Captured for Counts {
    fn capture(&mut self) -> &mut Option<Box<Capture>> {
        &mut self.capture
    }

    fn count(&self) -> usize {
        self.items.len()
    }

    fn encode_one(&self, item: usize, out: &mut Writer<'_>) {
        let counts = &self.items[item];
        out.f32s(&counts.popularity).f32s(&counts.cohorts);
        out.u32(counts.events).u64(counts.first).u64(counts.last);
    }

    fn decode_one(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let mut counts = ItemCounts::default();
        from.f32s(&mut counts.popularity)?;
        from.f32s(&mut counts.cohorts)?;
        (counts.events, counts.first, counts.last) = (from.u32()?, from.u64()?, from.u64()?);
        counts.log_events = (counts.events.max(1) as f32).ln();
        self.items.push(counts);
        Ok(())
    }
}
