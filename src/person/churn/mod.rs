//! Risk of churn, learned from the stream itself: no labels are brought, none are kept for later.
//!
//! A user is *churned at time tau* if no event of theirs lies in `(tau, tau + horizon]`. Whether that is so is known a
//! horizon later, so the model asks itself: a *probe* takes a user's features at some tau, waits for the label, records
//! what would have been predicted (test, then learn), and learns.
//!
//! **When and of whom to ask.** A read comes at any time and for any user, while an event comes when its user is active: a
//! model taught at events never sees the silence that it is asked about. Probes after a user's own event, dropped when
//! the user comes back before tau, would also drop the active ones: who is still there at tau then depends on what came
//! after the event. So probes go by the shard's time. Whenever the largest event time moves from `w` to `t`, and
//! a probe is due, tau is drawn uniformly from the gap `[w, t)`; nothing happened in it, so the features at tau are those
//! of the present state, and none of the future is in them. The user is, by chance,
//!
//! * one of all known users (what a report over everybody asks), or
//! * one who had an event at a random time within the past horizon (what a service asks that shows the user something):
//!   the author of the event at which a random pending probe was taken.
//!
//! Both depend on the past alone, so the share that churns given the features is the true one, whatever the mixture.
//!
//! **Bounds.** The gap to the next probe is drawn from one to three times `horizon / PENDING_MAX`, so that at most
//! [`PENDING_MAX`] wait, in the order of their labels: a ring, no heap. An event takes at most one probe and settles at
//! most [`SETTLED_MAX`]; after a long silence those that wait longer are settled at the following events.
//!
//! Labels are of what came in the order of the journal: an event that comes late, after its probe was settled, is not
//! noticed. Deterministic: the generator stands in the state, and the same calls give the same bits.

mod inputs;
mod learner;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use inputs::{ChurnInputs, FEATURE_NAMES, FEATURES};

use self::learner::Learner;
use crate::base::{CursorError, Reader, Rng, Writer};

/// Most probes that wait for their label: 1.3 MB.
pub const PENDING_MAX: usize = 16_384;
/// Most probes that one event settles. More than the one that it may take, so that what waits too long gets less.
pub const SETTLED_MAX: usize = 3;

const VERSION: u8 = 1;
/// Bytes of a stored probe.
const PROBE_BYTES: usize = 8 + 4 + 4 + 4 * FEATURES;

/// The users of a shard, as they were after the latest event that was applied.
pub trait Users {
    /// How many are known: their slots lie below.
    fn known(&self) -> u32;

    /// The features at `at_ms`, which is not before any event applied; `None` for who never had an event.
    fn features(&self, slot: u32, at_ms: i64) -> Option<[f32; FEATURES]>;

    /// Whether the user had an event later than `after_ms` and not later than `until_ms`; `None` if that cannot be told
    /// any more, which drops the probe. It is asked before any event later than `until_ms` was applied, so that the time
    /// of the user's latest event tells, except for probes that wait on after a long silence.
    fn came(&self, slot: u32, after_ms: i64, until_ms: i64) -> Option<bool>;
}

/// What the model says of one user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Risk {
    /// That no event comes within the horizon.
    pub probability: f64,
    /// Standard deviation of that probability, as far as it comes from not knowing the weights.
    pub deviation: f64,
    /// Labels learned from. With none, the probability is one half and says nothing.
    pub evidence: u64,
}

/// A probe whose label has come, before it is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged<'a> {
    /// Of whom.
    pub slot: u32,
    /// Tau.
    pub at_ms: i64,
    /// The features then.
    pub features: &'a [f32; FEATURES],
    /// What the model predicts from them with all that it learned before this label.
    pub probability: f64,
    /// The label.
    pub churned: bool,
}

#[derive(Clone, Debug)]
struct Probe {
    at_ms: i64,
    slot: u32,
    /// Whose event it was at which the probe was taken.
    visitor: u32,
    features: [f32; FEATURES],
}

/// The model of one shard.
#[derive(Clone, Debug)]
pub struct Churn {
    horizon_ms: i64,
    rng: Rng,
    /// Largest event time so far, and when the next probe is due.
    clock: Option<Clock>,
    /// By rising time.
    pending: VecDeque<Probe>,
    learner: Learner,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Clock {
    watermark_ms: i64,
    due_ms: i64,
}

impl Churn {
    /// A model that has learned nothing. A horizon below one second is taken for one second.
    #[must_use]
    pub fn new(horizon_ms: i64, seed: u64) -> Self {
        Self {
            horizon_ms: horizon_ms.max(1_000),
            rng: Rng::new(seed),
            clock: None,
            pending: VecDeque::new(),
            learner: Learner::new(),
        }
    }

    /// Within which a user who stays away counts as churned, in milliseconds.
    #[must_use]
    pub fn horizon_ms(&self) -> i64 {
        self.horizon_ms
    }

    /// Labels learned from, and how many of them were of churned users.
    #[must_use]
    pub fn labels(&self) -> (u64, u64) {
        (self.learner.labels(), self.learner.churned())
    }

    /// Probes that wait for their label.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The risk of a user with these features.
    #[must_use]
    pub fn predict(&self, features: &[f32; FEATURES]) -> Risk {
        self.learner.predict(features)
    }

    /// Why: what each feature, by [`FEATURE_NAMES`], and last the base rate add to the log-odds of the probability.
    #[must_use]
    pub fn parts(&self, features: &[f32; FEATURES]) -> [f64; FEATURES + 1] {
        self.learner.parts(features)
    }

    /// Tells of an event of the user `slot` at `time_ms`, *before* it is applied to `users` (to whom the user may be new).
    /// Probes whose label this makes known go through `judged`, before they are learned, and a new one may be taken.
    pub fn observe(&mut self, slot: u32, time_ms: i64, users: &impl Users, judged: &mut impl FnMut(&Judged<'_>)) {
        let Some(clock) = self.clock else {
            let due_ms = time_ms.saturating_add(self.spacing_ms());
            self.clock = Some(Clock { watermark_ms: time_ms, due_ms });
            return;
        };
        if time_ms <= clock.watermark_ms {
            return;
        }
        self.settle(time_ms, users, judged);
        let due_ms = self.probe(slot, time_ms, clock, users);
        self.clock = Some(Clock { watermark_ms: time_ms, due_ms });
    }

    /// Learns from probes whose horizon ended before `time_ms`.
    fn settle(&mut self, time_ms: i64, users: &impl Users, judged: &mut impl FnMut(&Judged<'_>)) {
        for _ in 0..SETTLED_MAX {
            let ended = |probe: &Probe| probe.at_ms.saturating_add(self.horizon_ms) < time_ms;
            let Some(probe) = self.pending.pop_front_if(|probe| ended(probe)) else { return };
            let Probe { at_ms, slot, features, .. } = probe;
            if let Some(came) = users.came(slot, at_ms, at_ms.saturating_add(self.horizon_ms)) {
                let probability = self.learner.predict(&features).probability;
                judged(&Judged { slot, at_ms, features: &features, probability, churned: !came });
                self.learner.learn(&features, !came);
            }
        }
    }

    /// Takes a probe between the watermark and `time_ms`, if one is due. Returns when the next one is.
    fn probe(&mut self, visitor: u32, time_ms: i64, clock: Clock, users: &impl Users) -> i64 {
        let from_ms = clock.due_ms.max(clock.watermark_ms);
        let known = users.known();
        if from_ms >= time_ms || known == 0 || self.pending.len() >= PENDING_MAX {
            return clock.due_ms;
        }
        let at_ms = from_ms.saturating_add_unsigned(self.rng.below(time_ms.abs_diff(from_ms)));
        let slot = self.draw(known);
        if let Some(features) = users.features(slot, at_ms) {
            self.learner.meet(&features);
            self.pending.push_back(Probe { at_ms, slot, visitor, features });
        }
        at_ms.saturating_add(self.spacing_ms())
    }

    /// Somebody, or somebody who was here within the past horizon.
    fn draw(&mut self, known: u32) -> u32 {
        let anybody = self.rng.below(2) == 0 || self.pending.is_empty();
        if !anybody {
            let place = self.rng.below(self.pending.len() as u64);
            let visitor = usize::try_from(place).ok().and_then(|place| self.pending.get(place)).map(|of| of.visitor);
            // A visitor whose event could not be learned may not be known.
            if let Some(visitor) = visitor.filter(|visitor| *visitor < known) {
                return visitor;
            }
        }
        u32::try_from(self.rng.below(u64::from(known))).unwrap_or(0)
    }

    /// One to three times the least distance at which all that wait have room.
    fn spacing_ms(&mut self) -> i64 {
        let step = self.horizon_ms.unsigned_abs().div_ceil(PENDING_MAX as u64);
        i64::try_from(step + self.rng.below(2 * step + 1)).unwrap_or(i64::MAX)
    }

    /// The model of a shard to which users of the shards of `models` have come: what the most experienced one has learned,
    /// and of all probes that wait those whose user has come, the newest [`PENDING_MAX`]. `slot_of` gives the slot that a
    /// user of a model's shard has now; a probe whose visitor went elsewhere stands for its own user. `None` without models.
    #[must_use]
    pub fn of_moved(models: &[&Self], slot_of: impl Fn(usize, u32) -> Option<u32>) -> Option<Self> {
        // The first of equal ones.
        let taught = models.iter().rev().max_by_key(|model| model.learner.labels())?;
        let mut moved = Self { pending: VecDeque::new(), ..(*taught).clone() };
        let latest = |time: fn(Clock) -> i64| models.iter().filter_map(|model| model.clock).map(time).max();
        moved.clock = match (latest(|clock| clock.watermark_ms), latest(|clock| clock.due_ms)) {
            (Some(watermark_ms), Some(due_ms)) => Some(Clock { watermark_ms, due_ms }),
            _ => None,
        };
        let waiting =
            models.iter().enumerate().flat_map(|(at, model)| model.pending.iter().map(move |probe| (at, probe)));
        let mut pending: Vec<Probe> = waiting
            .filter_map(|(at, probe)| {
                let slot = slot_of(at, probe.slot)?;
                Some(Probe { slot, visitor: slot_of(at, probe.visitor).unwrap_or(slot), ..probe.clone() })
            })
            .collect();
        pending.sort_by_key(|probe| probe.at_ms);
        pending.drain(..pending.len().saturating_sub(PENDING_MAX));
        moved.pending = pending.into();
        Some(moved)
    }

    /// Drops what waits of a user: who was erased teaches nothing. What was learned are sums over many.
    pub fn forget(&mut self, slot: u32) {
        self.pending.retain(|probe| probe.slot != slot && probe.visitor != slot);
    }

    /// Appends: version `u8` = 1; horizon `i64`; generator 4 `u64`; `u8` 1 and watermark, due `i64`, or 0; count of probes, each
    /// time `i64`, slot `u32`, visitor `u32`, features `f32`; then the learner.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u8(VERSION).i64(self.horizon_ms);
        for word in self.rng.words() {
            out.u64(word);
        }
        match self.clock {
            Some(Clock { watermark_ms, due_ms }) => out.u8(1).i64(watermark_ms).i64(due_ms),
            None => out.u8(0),
        };
        out.count(self.pending.len());
        for probe in &self.pending {
            out.i64(probe.at_ms).u32(probe.slot).u32(probe.visitor);
            for feature in probe.features {
                out.f32(feature);
            }
        }
        self.learner.encode(out);
    }

    /// Takes what [`Self::encode`] put.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that cannot have been put.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        match from.u8()? {
            VERSION => {}
            other => return Err(bad("version of the risk of churn", offset, u64::from(other), "1")),
        }
        let offset = from.at();
        let horizon_ms = from.i64()?;
        if horizon_ms < 1_000 {
            return Err(bad("horizon in ms", offset, horizon_ms.cast_unsigned(), "at least 1,000"));
        }
        let rng = Rng::from_words([from.u64()?, from.u64()?, from.u64()?, from.u64()?]);
        let offset = from.at();
        let clock = match from.u8()? {
            0 => None,
            1 => Some(Clock { watermark_ms: from.i64()?, due_ms: from.i64()? }),
            other => return Err(bad("mark of the clock", offset, u64::from(other), "0 or 1")),
        };
        let count = from.count(PROBE_BYTES, PENDING_MAX)?;
        let mut pending: VecDeque<Probe> = VecDeque::with_capacity(count);
        for _ in 0..count {
            let offset = from.at();
            let (at_ms, slot, visitor) = (from.i64()?, from.u32()?, from.u32()?);
            if pending.back().is_some_and(|before| before.at_ms > at_ms) {
                return Err(bad("time of a probe", offset, at_ms.cast_unsigned(), "not before the one in front"));
            }
            let mut features = [0.0; FEATURES];
            from.f32s(&mut features)?;
            pending.push_back(Probe { at_ms, slot, visitor, features });
        }
        Ok(Self { horizon_ms, rng, clock, pending, learner: Learner::decode(from)? })
    }
}

fn bad(what: &'static str, offset: usize, found: u64, allowed: &'static str) -> CursorError {
    CursorError::Bad { what, offset, found, allowed }
}
