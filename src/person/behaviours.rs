//! What a user does: counts, amounts, recency of each behaviour kind, and when in the day and week.
//!
//! All of it are exact sums (`base/moments.rs`, `decayed.rs`): order of arrival has no say, an event can be taken away, two
//! users become one by addition.

use super::decayed::{At, Blocks, Fading, Ladder};
use crate::base::Moments;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::model::schema::RUNGS;
use crate::model::{Kind, Schema};

/// Amounts are summed in multiples of this: values of 10^9 still fit, on a grid of a thousandth.
const AMOUNT: f64 = 1_024.0;

/// The sums of one behaviour kind.
#[derive(Clone, Debug, PartialEq)]
pub struct KindSums {
    /// Code of the kind.
    pub code: u8,
    /// Events.
    pub events: u64,
    /// Latest event, in milliseconds.
    pub last_ms: i64,
    /// Values that came with them.
    pub values: Moments,
    blocks: Blocks,
    counts: Fading,
    amounts: Fading,
}

impl KindSums {
    fn new(code: u8) -> Self {
        let (blocks, fading) = (Blocks::default(), Fading::<RUNGS>::zero());
        Self { code, events: 0, last_ms: i64::MIN, values: Moments::default(), blocks, counts: fading, amounts: fading }
    }

    /// Counts an event (`by` 1) or takes it away (`by` -1). A value that is not known counts as none.
    fn count(&mut self, at: &At, time_ms: i64, value: Option<f64>, by: i64) {
        self.events = self.events.saturating_add_signed(by);
        if by > 0 {
            self.last_ms = self.last_ms.max(time_ms);
        }
        if let Some(steps) = self.blocks.advance(at) {
            self.counts.roll(steps);
            self.amounts.roll(steps);
        }
        self.counts.add(&self.blocks, at, by as f64);
        if let Some(value) = value {
            self.values.count_by(value, by);
            self.amounts.add(&self.blocks, at, by as f64 * value / AMOUNT);
        }
    }

    fn merge(&mut self, mut other: Self) {
        self.events += other.events;
        self.last_ms = self.last_ms.max(other.last_ms);
        self.values.merge(&other.values);
        if let Some(steps) = self.blocks.advance_to(&other.blocks) {
            self.counts.roll(steps);
            self.amounts.roll(steps);
        }
        if let Some(steps) = other.blocks.advance_to(&self.blocks) {
            other.counts.roll(steps);
            other.amounts.roll(steps);
        }
        self.counts.merge(&other.counts);
        self.amounts.merge(&other.amounts);
    }

    /// Events, faded at each half-life.
    #[must_use]
    pub fn recent_counts(&self, ladder: &Ladder, at_ms: i64) -> [f64; RUNGS] {
        self.counts.value(&self.blocks.fade(ladder, at_ms))
    }

    /// Sum of values, faded at each half-life.
    #[must_use]
    pub fn recent_amounts(&self, ladder: &Ladder, at_ms: i64) -> [f64; RUNGS] {
        self.amounts.value(&self.blocks.fade(ladder, at_ms)).map(|amount| AMOUNT * amount)
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(self.code).u64(self.events).i64(self.last_ms);
        self.values.encode(out);
        self.blocks.encode(out);
        self.counts.encode(out);
        self.amounts.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        Ok(Self {
            code: from.u8()?,
            events: from.u64()?,
            last_ms: from.i64()?,
            values: Moments::decode(from)?,
            blocks: Blocks::decode(from)?,
            counts: Fading::decode(from)?,
            amounts: Fading::decode(from)?,
        })
    }
}

/// The half-lives of a kind's sums.
#[must_use]
pub fn ladder_of(schema: &Schema, kind: &Kind) -> Ladder {
    Ladder::new(schema.half_lives_s).with_long(kind.half_life_s)
}

/// The sums of all kinds that a user has shown, by rising code.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviours {
    kinds: Vec<KindSums>,
}

impl Behaviours {
    /// Counts an event or takes it away.
    pub fn count(&mut self, code: u8, at: &At, time_ms: i64, value: Option<f64>, by: i64) {
        let place = match self.kinds.binary_search_by_key(&code, |kind| kind.code) {
            Ok(place) => place,
            Err(_) if by < 0 => return,
            Err(place) => {
                self.kinds.reserve_exact(1);
                self.kinds.insert(place, KindSums::new(code));
                place
            }
        };
        self.kinds[place].count(at, time_ms, value, by);
        if self.kinds[place].events == 0 {
            self.kinds.remove(place);
        }
    }

    /// The latest event of a kind is known to be another: one was taken away.
    pub fn set_last(&mut self, code: u8, last_ms: i64) {
        if let Ok(place) = self.kinds.binary_search_by_key(&code, |kind| kind.code) {
            self.kinds[place].last_ms = last_ms;
        }
    }

    /// The sums of a kind.
    #[must_use]
    pub fn of(&self, code: u8) -> Option<&KindSums> {
        self.kinds.binary_search_by_key(&code, |kind| kind.code).ok().map(|place| &self.kinds[place])
    }

    /// All kinds shown, by rising code.
    #[must_use]
    pub fn kinds(&self) -> &[KindSums] {
        &self.kinds
    }

    /// Adds what another user did.
    pub fn merge(&mut self, other: Self) {
        for sums in other.kinds {
            match self.kinds.binary_search_by_key(&sums.code, |kind| kind.code) {
                Ok(place) => self.kinds[place].merge(sums),
                Err(place) => self.kinds.insert(place, sums),
            }
        }
    }

    /// Heap bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kinds.capacity() * size_of::<KindSums>()
    }

    /// Appends all sums.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.count(self.kinds.len());
        self.kinds.iter().for_each(|kind| kind.encode(out));
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no such sums.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let count = from.count(17, 256)?;
        Ok(Self { kinds: (0..count).map(|_| KindSums::decode(from)).collect::<Result<_, _>>()? })
    }
}

/// Hours of a day.
pub const HOURS: usize = 24;

/// Days of a week.
pub const DAYS: usize = 7;

const HOUR_MS: i64 = 3_600_000;

/// When a user does things: events by hour of the day (UTC) and by day of the week, Monday first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rhythm {
    hours: [u32; HOURS],
    days: [u32; DAYS],
}

impl Rhythm {
    /// Counts an event or takes it away.
    pub fn count(&mut self, time_ms: i64, by: i64) {
        let hour = time_ms.div_euclid(HOUR_MS);
        // 1970-01-01 was a Thursday.
        let (of_day, of_week) = (hour.rem_euclid(24) as usize, (hour.div_euclid(24) + 3).rem_euclid(7) as usize);
        for held in [&mut self.hours[of_day], &mut self.days[of_week]] {
            *held = held.saturating_add_signed(by.signum() as i32);
        }
    }

    /// Events by hour of the day.
    #[must_use]
    pub fn hours(&self) -> &[u32; HOURS] {
        &self.hours
    }

    /// Events by day of the week, Monday first.
    #[must_use]
    pub fn days(&self) -> &[u32; DAYS] {
        &self.days
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        for (held, more) in self.hours.iter_mut().zip(other.hours).chain(self.days.iter_mut().zip(other.days)) {
            *held = held.saturating_add(more);
        }
    }

    /// Appends the counts.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u32s(&self.hours).u32s(&self.days);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError::Short`].
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let mut rhythm = Self::default();
        for held in rhythm.hours.iter_mut().chain(&mut rhythm.days) {
            *held = from.u32()?;
        }
        Ok(rhythm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hours_are_those_of_the_calendar() {
        let mut rhythm = Rhythm::default();
        rhythm.count(1_700_000_000_000, 1); // Tuesday 2023-11-14 22:13:20 UTC
        rhythm.count(0, 1); // Thursday
        rhythm.count(-1, 1); // Wednesday 23:59:59.999
        assert_eq!((rhythm.hours()[22], rhythm.hours()[0], rhythm.hours()[23]), (1, 1, 1));
        assert_eq!(rhythm.days(), &[0, 1, 1, 1, 0, 0, 0]);
        rhythm.count(0, -1);
        assert_eq!(rhythm.days(), &[0, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_kind_goes_with_its_last_event() {
        let ladder = Ladder::new([1.0, 2.0, 3.0]);
        let mut behaviours = Behaviours::default();
        let at = ladder.at(5_000);
        behaviours.count(4, &at, 5_000, Some(20.0), 1);
        behaviours.count(4, &at, 5_000, None, 1);
        let sums = behaviours.of(4).expect("there");
        assert_eq!((sums.events, sums.values.count(), sums.values.sum()), (2, 1, 20.0));
        let faded = sums.recent_amounts(&ladder, 6_000);
        assert!((faded[0] - 10.0).abs() < 1e-2, "{faded:?}");
        behaviours.count(4, &at, 5_000, None, -1);
        behaviours.count(4, &at, 5_000, Some(20.0), -1);
        behaviours.count(9, &at, 5_000, None, -1);
        assert_eq!(behaviours, Behaviours::default());
    }
}
