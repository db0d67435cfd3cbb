//! Cleaning: which events are not learned, and what those that are weigh. The schema says how strictly.
//!
//! The profile is a weighted mean of behaviour with a noise term (`pipeline/noise.rs`, `docs/cleaning.md`). *Outliers*: an
//! event whose value stands `z` deviations from what is usual for its user weighs `min(1, k / |z|)` of what it would.
//! *Missing values* are made up from the user's mean drawn to the population's, and weigh half. *Machines*: users whose
//! events come like a timer's (`pipeline/abuse.rs`) are set aside until they stop.

use super::Shard;
use crate::base::Moments;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::model::{Event, Kind, RejectReason};
use crate::pipeline::noise::{huber, impute, residual};
use crate::pipeline::{AbuseLimits, Verdict};

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
        if !value.is_nan() {
            self.of_mut(code).count_by(f64::from(value), by);
        }
    }

    /// Adds other values of a kind.
    pub(super) fn merge(&mut self, code: u8, values: &Moments) {
        if values.count() > 0 {
            self.of_mut(code).merge(values);
        }
    }

    /// Takes `part` out, kind by kind where it can be among these values, and gives what was taken.
    pub(super) fn split_off(&mut self, part: &Self) -> Self {
        let mut taken = Self::default();
        for (code, values) in &part.by_kind {
            taken.merge(*code, &self.of_mut(*code).split_off(values));
        }
        taken
    }

    /// All kinds that have values, by rising code.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(u8, Moments)> {
        self.by_kind.iter()
    }

    fn of_mut(&mut self, code: u8) -> &mut Moments {
        let place = self.by_kind.binary_search_by_key(&code, |(held, _)| *held).unwrap_or_else(|place| {
            self.by_kind.insert(place, (code, Moments::default()));
            place
        });
        &mut self.by_kind[place].1
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
        let all = self.values.of(kind.code).filter(|all| most > 0.0 && measures && all.count() >= OUTLIER_VALUES);
        let z = all.and_then(|all| residual(f64::from(event.value), &self.own_values(slot, kind.code), all));
        z.map_or(1.0, |z| huber(z, most))
    }

    /// A value for an event that came without one; `None` where nobody has given any.
    pub(super) fn made_up(&self, slot: Option<usize>, code: u8) -> Option<f32> {
        Some(impute(&self.own_values(slot, code), self.values.of(code)?)?.value as f32)
    }

    /// The user's own values of a kind.
    fn own_values(&self, slot: Option<usize>, code: u8) -> Moments {
        let sums = slot.and_then(|slot| self.users.get(slot).person.behaviours.of(code));
        sums.map(|sums| sums.values).unwrap_or_default()
    }

    /// Whether a user is set aside at a time.
    pub(super) fn is_held(&self, slot: usize, time_ms: i64) -> bool {
        self.schema.cleaning.quarantine && self.users.get(slot).pulse.verdict(time_ms) != Verdict::Clear
    }

    /// Takes note of an event, and says whether its user behaves like a machine.
    pub(super) fn is_machine(&mut self, slot: usize, event: &Event<'_>) -> bool {
        if !self.schema.cleaning.quarantine {
            return false;
        }
        self.grain.observe(event.time_ms);
        let pulse = &mut self.users.get_mut(slot).pulse;
        let limits = AbuseLimits::default();
        let suspicion = pulse.observe(event.time_ms, event.item.stable_hash(), &self.grain, &limits);
        suspicion.verdict != Verdict::Clear
    }
}
