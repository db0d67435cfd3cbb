//! Cleaning: which events are not learned, and what those that are weigh. The schema says how strictly.
//!
//! The profile is a weighted mean of behaviour with a noise term, `p = sum w_i (g(x_i) + d_i) / sum w_i`; here is what
//! stands for `d_i` (`docs/cleaning.md`). *Outliers*: an event whose value stands `z` deviations from what is usual for its
//! user weighs `min(1, k / |z|)` of what it would (Huber, "Robust estimation of a location parameter", 1964). *Missing
//! values* are made up from the user's mean drawn to the population's, `(n m_u + 5 m) / (n + 5)`, and weigh half.

use super::Shard;
use crate::base::Moments;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::model::{Event, Kind, RejectReason};

/// Values whose worth the population's mean has against a user's own.
const PRIOR_VALUES: f64 = 5.0;

/// What an event with a made-up value weighs, against one with a value.
const MISSING_WEIGHT: f64 = 0.5;

/// Newest events that are looked through for repeats.
const BURST_EVENTS: usize = 16;

/// Least number of values before one can be an outlier.
const OUTLIER_VALUES: u64 = 30;

/// Values of all users, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values {
    by_kind: Vec<(u8, Moments)>,
}

impl Values {
    /// Counts a value (`by` 1), or takes it away (`by` -1).
    pub(super) fn count(&mut self, code: u8, value: f32, by: i64) {
        if value.is_nan() {
            return;
        }
        let place = self.by_kind.binary_search_by_key(&code, |(held, _)| *held).unwrap_or_else(|place| {
            self.by_kind.insert(place, (code, Moments::default()));
            place
        });
        self.by_kind[place].1.count(f64::from(value), by);
    }

    fn of(&self, code: u8) -> Option<&Moments> {
        let place = self.by_kind.binary_search_by_key(&code, |(held, _)| *held).ok()?;
        Some(&self.by_kind[place].1)
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.count(self.by_kind.len());
        for (code, moments) in &self.by_kind {
            moments.encode(out.u8(*code));
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let count = from.count(41, 256)?;
        let by_kind =
            (0..count).map(|_| Ok((from.u8()?, Moments::decode(from)?))).collect::<Result<_, CursorError>>()?;
        Ok(Self { by_kind })
    }
}

impl Shard {
    /// Why an event of a known user is not learned; `None` if it is.
    pub(super) fn refusal(&self, slot: usize, event: &Event<'_>) -> Option<RejectReason> {
        let cleaning = &self.schema.cleaning;
        let user = self.users.get(slot);
        if user.merged.as_ref().is_some_and(|merged| merged.into.is_some()) {
            return Some(RejectReason::Merged);
        }
        if self.is_paused(slot) {
            return Some(RejectReason::Paused);
        }
        let behind_ms = user.last_ms.saturating_sub(event.time_ms);
        if cleaning.late_ms > 0 && user.events > 0 && behind_ms > cleaning.late_ms {
            return Some(RejectReason::TooLate);
        }
        let repeats = cleaning.burst_ms > 0 && event.event_id == 0 && user.events > 0;
        (repeats && self.is_repeat(slot, event, cleaning.burst_ms)).then_some(RejectReason::Burst)
    }

    fn is_repeat(&self, slot: usize, event: &Event<'_>, burst_ms: i64) -> bool {
        let newest = self.users.get(slot).history.newest_first().take(BURST_EVENTS);
        let mut near = newest.filter(|entry| entry.kind == event.kind && entry.event_id == 0);
        near.any(|entry| {
            (entry.time_ms - event.time_ms).abs() <= burst_ms
                && self.items.get(entry.item as usize).id.as_ref() == event.item
        })
    }

    /// The share of its weight that an event keeps.
    pub(super) fn trust(&self, slot: Option<usize>, event: &Event<'_>, kind: &Kind) -> f64 {
        if event.value.is_nan() {
            return MISSING_WEIGHT;
        }
        let most = self.schema.cleaning.outlier_deviations;
        let measures = kind.explicit || !kind.unit.is_empty();
        let Some(all) =
            self.values.of(kind.code).filter(|all| most > 0.0 && measures && all.number() >= OUTLIER_VALUES)
        else {
            return 1.0;
        };
        let deviation = all.variance().sqrt();
        let off = (f64::from(event.value) - self.usual(slot, kind.code, all)).abs();
        if off > most * deviation { most * deviation / off } else { 1.0 }
    }

    /// A value for an event that came without one; `None` where nobody has given any.
    pub(super) fn made_up(&self, slot: Option<usize>, code: u8) -> Option<f32> {
        let all = self.values.of(code).filter(|all| all.number() > 0)?;
        Some(self.usual(slot, code, all) as f32)
    }

    /// The user's mean value of a kind, drawn to the population's where it rests on few.
    #[expect(clippy::cast_precision_loss, reason = "a count of values")]
    fn usual(&self, slot: Option<usize>, code: u8, all: &Moments) -> f64 {
        let sums = slot.and_then(|slot| self.users.get(slot).person.behaviours.of(code));
        let own = sums.map(|sums| sums.values);
        let (count, sum) = own.map_or((0.0, 0.0), |own| (own.number() as f64, own.sum()));
        (sum + PRIOR_VALUES * all.mean()) / (count + PRIOR_VALUES)
    }
}
