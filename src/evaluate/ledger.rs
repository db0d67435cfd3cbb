//! Sums by cohort and window: a few adds a record, whatever is asked later.
//!
//! A *cohort* is how long the user's history was when the event came, so that one can see how a strategy does on those it
//! hardly knows. A *window* is which records count: all of them, all of them fading, or the latest [`BUCKET`] to twice as
//! many. Every cell (cohort, window) holds the same columns of sums; a measure is a quotient of two columns.
//!
//! * Fading (Gama, Sebastião & Rodrigues 2013): instead of multiplying every sum by the factor at every record, the
//!   *newest* record weighs more and more, and quotients do not notice; once the weight is large, all is scaled back.
//! * The latest records are the difference between now and the sums as they were up to two buckets ago: nothing is added
//!   twice. Counts are exact; other sums lose what 53 bits lose by subtracting.

use crate::base::{CursorError, Reader, Writer};

/// How long the user's history was when the event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cohort {
    /// No event before.
    New,
    /// 1 to 3.
    To3,
    /// 4 to 15.
    To15,
    /// 16 to 63.
    To63,
    /// 64 or more.
    From64,
}

impl Cohort {
    /// All, by length.
    pub const ALL: [Self; 5] = [Self::New, Self::To3, Self::To15, Self::To63, Self::From64];

    /// The cohort of a user with this many events.
    #[must_use]
    #[inline]
    pub fn of(events: u64) -> Self {
        // Sums instead of branches, which would be guessed wrong for every other user.
        let at = [1, 4, 16, 64].map(|first| usize::from(events >= first)).iter().sum::<usize>();
        Self::ALL[at]
    }

    /// Its name on paper and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::To3 => "1-3",
            Self::To15 => "4-15",
            Self::To63 => "16-63",
            Self::From64 => "64+",
        }
    }
}

/// Which records count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// All.
    Lifetime,
    /// All, older ones fading.
    Faded,
    /// The latest [`BUCKET`] to `2 BUCKET` of all cohorts together.
    Last,
}

impl Window {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lifetime, Self::Faded, Self::Last];

    /// Its name on paper and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Faded => "faded",
            Self::Last => "last",
        }
    }
}

/// Records of half the window [`Window::Last`].
pub const BUCKET: u32 = 5_000;

/// The row of records that say no cohort.
pub(super) const NO_COHORT: usize = Cohort::ALL.len();
const ROWS: usize = NO_COHORT + 1;

/// Weight of the newest record at which everything is scaled back: with sums of squares of the largest errors, still
/// finite.
const WEIGHT_MAX: f64 = 1e30;

type Table<const N: usize> = [[f64; N]; ROWS];

/// Sums of `N` columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ledger<const N: usize> {
    total: Table<N>,
    faded: Table<N>,
    /// `total` as it was one and two buckets ago.
    marks: [Table<N>; 2],
    /// Weight of the newest record in `faded`.
    weight: f64,
    /// Records since the newer mark.
    in_bucket: u32,
}

impl<const N: usize> Default for Ledger<N> {
    fn default() -> Self {
        let empty = [[0.0; N]; ROWS];
        Self { total: empty, faded: empty, marks: [empty; 2], weight: 1.0, in_bucket: 0 }
    }
}

impl<const N: usize> Ledger<N> {
    /// An empty one with the clock of another, which it is begun together with from now on.
    pub(super) fn beside<const M: usize>(other: &Ledger<M>) -> Self {
        Self { weight: other.weight, in_bucket: other.in_bucket, ..Self::default() }
    }

    /// Begins a record: all before it fade by one over `growth`. Returns its number within its bucket, from 1.
    #[inline]
    pub(super) fn begin(&mut self, growth: f64) -> u32 {
        self.weight *= growth;
        if self.weight > WEIGHT_MAX || self.in_bucket == BUCKET {
            self.turn();
        }
        self.in_bucket += 1;
        self.in_bucket
    }

    #[cold]
    fn turn(&mut self) {
        if self.weight > WEIGHT_MAX {
            let scale = 1.0 / self.weight;
            self.faded.as_flattened_mut().iter_mut().for_each(|sum| *sum *= scale);
            self.weight = 1.0;
        }
        if self.in_bucket == BUCKET {
            self.marks = [self.total, self.marks[0]];
            self.in_bucket = 0;
        }
    }

    /// Adds to columns from `first` on, for the record begun.
    #[inline]
    pub(super) fn add<const K: usize>(&mut self, row: usize, first: usize, values: [f64; K]) {
        let total = &mut self.total[row][first..first + K];
        total.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        let faded = &mut self.faded[row][first..first + K];
        faded.iter_mut().zip(values).for_each(|(sum, value)| *sum += self.weight * value);
    }

    /// The sums of a cohort's row, or of all rows together.
    pub(super) fn sums(&self, row: Option<usize>, window: Window) -> [f64; N] {
        let mut sums = [0.0; N];
        for at in (0..ROWS).filter(|at| row.is_none_or(|row| row == *at)) {
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum += match window {
                    Window::Lifetime => self.total[at][column],
                    Window::Faded => self.faded[at][column] / self.weight,
                    Window::Last => self.total[at][column] - self.marks[1][at][column],
                };
            }
        }
        sums
    }

    /// Adds what another recorded; windows end now in both.
    pub(super) fn merge(&mut self, other: &Self) {
        let scale = self.weight / other.weight;
        let add = |to: &mut Table<N>, from: &Table<N>, scale: f64| {
            let pairs = to.as_flattened_mut().iter_mut().zip(from.as_flattened());
            pairs.for_each(|(to, from)| *to += scale * from);
        };
        add(&mut self.total, &other.total, 1.0);
        add(&mut self.faded, &other.faded, scale);
        self.marks.iter_mut().zip(&other.marks).for_each(|(to, from)| add(to, from, 1.0));
        self.in_bucket = self.in_bucket.max(other.in_bucket);
    }

    /// Sums from before there were cohorts: they count in no cohort and no bucket.
    pub(super) fn earlier(total: [f64; N], faded: [f64; N]) -> Self {
        let mut ledger = Self::default();
        ledger.total[NO_COHORT] = total;
        ledger.faded[NO_COHORT] = faded;
        ledger.marks = [ledger.total; 2];
        ledger
    }

    /// Appends: weight `f64`, records in the bucket `u32`, then the rows of all, faded, one and two buckets ago, each
    /// row as `0`, or as `1` and its sums (`f64`).
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.f64(self.weight).u32(self.in_bucket);
        for row in [&self.total, &self.faded, &self.marks[0], &self.marks[1]].into_iter().flatten() {
            if row.iter().all(|sum| sum.to_bits() == 0) {
                out.u8(0);
                continue;
            }
            out.u8(1);
            for sum in row {
                out.f64(*sum);
            }
        }
    }

    /// Takes what [`Self::encode`] put.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that cannot have been put.
    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let bad = |what, offset, found, allowed| CursorError::Bad { what, offset, found, allowed };
        let mut ledger = Self::default();
        let offset = from.at();
        ledger.weight = from.f64()?;
        if !(1.0..=WEIGHT_MAX).contains(&ledger.weight) {
            return Err(bad("weight (bits)", offset, ledger.weight.to_bits(), "1 to 1e30"));
        }
        let offset = from.at();
        ledger.in_bucket = from.u32()?;
        if ledger.in_bucket > BUCKET {
            return Err(bad("records in the bucket", offset, u64::from(ledger.in_bucket), "at most 5,000"));
        }
        let [one_ago, two_ago] = &mut ledger.marks;
        for row in [&mut ledger.total, &mut ledger.faded, one_ago, two_ago].into_iter().flatten() {
            let offset = from.at();
            match from.u8()? {
                0 => continue,
                1 => {}
                other => return Err(bad("mark of a row", offset, u64::from(other), "0 or 1")),
            }
            for sum in row {
                let offset = from.at();
                *sum = from.f64()?;
                if !sum.is_finite() {
                    return Err(bad("sum (bits)", offset, sum.to_bits(), "finite"));
                }
            }
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cohorts_have_no_gaps() {
        let names: Vec<&str> = [0, 1, 3, 4, 15, 16, 63, 64, u64::MAX].map(|events| Cohort::of(events).name()).into();
        assert_eq!(names, ["new", "1-3", "1-3", "4-15", "4-15", "16-63", "16-63", "64+", "64+"]);
    }

    #[test]
    fn the_latest_window_rolls() {
        let mut ledger = Ledger::<1>::default();
        for record in 0..20_003_u32 {
            ledger.begin(1.0);
            ledger.add(usize::from(record % 2 == 0), 0, [1.0]);
            let counted = ledger.sums(None, Window::Last)[0];
            let expected = if record < 2 * BUCKET { record + 1 } else { BUCKET + record % BUCKET + 1 };
            assert!((counted - f64::from(expected)).abs() < 1e-9, "record {record}: {counted} instead of {expected}");
        }
        assert!((ledger.sums(Some(0), Window::Lifetime)[0] - 10_001.0).abs() < 1e-9);
        assert!((ledger.sums(None, Window::Faded)[0] - 20_003.0).abs() < 1e-9, "fading by 1 is no fading");
    }

    /// Against the definition, over many scalings back.
    #[test]
    fn fading_is_the_definition() {
        let (fading, mut expected) = (0.5_f64, [0.0_f64; 2]);
        let mut ledger = Ledger::<1>::default();
        for record in 0..2_000_u32 {
            let (row, value) = ((record % 2) as usize, f64::from(record % 7));
            expected.iter_mut().for_each(|sum| *sum *= fading);
            expected[row] += value;
            ledger.begin(1.0 / fading);
            ledger.add(row, 0, [value]);
            for row in 0..2 {
                let found = ledger.sums(Some(row), Window::Faded)[0];
                assert!((found - expected[row]).abs() < 1e-12, "record {record}: {found} instead of {}", expected[row]);
            }
        }
    }
}
