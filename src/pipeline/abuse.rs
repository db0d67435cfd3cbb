//! Does a user behave like a machine? A few sums a user, updated in constant time with every event.
//!
//! ```text
//! level_T <- level_T e^(-dt / T) + 1 (0.1 if dt = 0)       events within about T: T = 1 min and 30 min
//! d        = ln(gap) - m,  m <- m + a d,  v <- (1 - a)(v + a min(|d|, 1)^2),  a = max(1 / n, 1 / 32)
//! regularity = sqrt(v)                                    near the coefficient of variation of the gaps
//! breadth <- breadth + a (1 if the item is none of the last 8 else 0 - breadth)
//! ```
//!
//! A person's gaps are heavy-tailed (Barabasi, *The origin of bursts and heavy tails in human dynamics*, Nature 435,
//! 2005): the deviation of their logarithm is near 1. A timer's is near 0, with a jitter of 10 % near 0.1. Automation on
//! Twitter was told by that regularity before (Chu et al., *Detecting automation of Twitter accounts*, IEEE TDSC 2012).
//! Deviations count as 1 at most, so that a machine that rests now and then does not pass for a person.
//!
//! *Coarse time stamps are no regularity.* A [`Grain`] learns how finely a stream's stamps are told apart. Gaps of fewer
//! than [`GRAINS_MIN`] grains prove nothing, equal stamps are one report of several things (a page that tells all that it
//! shows), and within one grain as many events as would fit it at the allowed rate are allowed. Gaps from [`BREAK_MS`]
//! on are nights and holidays, not rhythm.
//!
//! *Machines come back.* A crawler runs every night, and the first event of a run shows neither rhythm nor haste. Who was
//! found is therefore on *probation* once the quarantine is over: held still, until [`PROOF`] events in a row have come as
//! a person's do or [`PROBATION_MS`] have gone by.
//!
//! *What it cannot see*: a machine of fewer than `rate_per_min_max` events a minute that waits as people do, ticks in
//! fewer than four grains, or invents its event times. A player that reports the same item again and again is narrow,
//! and left alone on purpose.

use crate::base::cursor::{CursorError, Reader, Writer};

/// Windows of the two rates, in milliseconds.
const SHORT_MS: f64 = 60_000.0;
const LONG_MS: f64 = 30.0 * 60_000.0;

/// Gaps below this are one moment: a script that reports several things at once. Faster machines are told by rate.
const MOMENT_MS: i64 = 250;

/// What an event counts into the rates that has the stamp of the one before.
const REPEATED: f32 = 0.1;

/// Gaps from this on are breaks and say nothing of rhythm.
pub const BREAK_MS: i64 = 4 * 3_600_000;

/// Mean gap, in grains, from which on regularity means something: people's gaps of 4 seconds told in seconds vary still.
pub const GRAINS_MIN: f64 = 4.0;

/// Events that the running means look back on.
const MEMORY: u16 = 32;

/// How long after its quarantine a user is on probation: a machine that runs once a week is still known.
pub const PROBATION_MS: i64 = 8 * 24 * 3_600_000;

/// Events in a row that end a probation, as many as the means look back on. Those of the quarantine count, which they do
/// not shorten.
pub const PROOF: u8 = 32;

/// Share of the allowed rate up to which an event is proof. Whoever goes faster than allowed passes it before [`PROOF`]
/// events are done: `20 (1 - e^-t) = 15` after 28 of them.
const PROOF_RATE: f32 = 0.75;

/// Items that count as met lately.
const LATELY: usize = 8;

/// Where machines begin. The defaults leave real people alone: `cargo run --example suspicion` measures that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbuseLimits {
    /// Events a minute, kept up for half an hour. Film lovers were seen to rate 10 a minute for an hour.
    pub rate_per_min_max: f32,
    /// Events within about a minute.
    pub burst_events: f32,
    /// Regularity below this is a machine's, 0 to 1. The steadiest of 454 film lovers came to 0.27, of 4,599 readers of
    /// news to 0.43; a timer with a jitter of 10 % to 0.11.
    pub regularity_cv_min: f32,
    /// Gaps that must be known before regularity is judged, at least 2.
    pub min_events: u16,
    /// Regularity below this needs half as many gaps. In as few, the steadiest of 14,389 readers of news came to 0.186, of
    /// 700 film lovers to 0.206.
    pub early_cv_min: f32,
    /// Share of events to items not met lately from which on regularity counts, 0 to 1.
    pub breadth_min: f32,
    /// How long a quarantine goes on after the last suspicious event, in seconds; a probation follows. Longer than
    /// [`BREAK_MS`], else a slow machine is let out between two of its events.
    pub hold_s: u32,
}

impl Default for AbuseLimits {
    fn default() -> Self {
        Self {
            rate_per_min_max: 20.0,
            burst_events: 120.0,
            regularity_cv_min: 0.17,
            min_events: 32,
            early_cv_min: 0.12,
            breadth_min: 0.5,
            hold_s: 21_600,
        }
    }
}

/// Why a user is in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too many events within about a minute.
    Burst,
    /// Too many events a minute over half an hour.
    Rate,
    /// Many items at the rhythm of a timer.
    Regular,
}

/// What to do with a user's event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Clear,
    /// Keep it from what others are told: counts, pairs, item factors.
    Quarantined {
        /// What it was last suspected for.
        reason: Reason,
    },
}

/// How much a user's events look like a machine's, at the newest one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspicion {
    /// Events a minute, the larger of both windows; one with the stamp of the one before counts a tenth.
    pub rate_per_min: f32,
    /// Deviation of the logarithm of the gaps, deviations cut at 1; `None` until it is known well enough to be judged.
    pub regularity: Option<f32>,
    /// Share of events to items not met lately, 0 to 1.
    pub breadth: f32,
    /// What follows.
    pub verdict: Verdict,
}

/// How finely the time stamps of a stream are told apart: the greatest common divisor of the gaps between its events.
/// One a source: it is coarse until events prove it fine, and coarse means that nobody is suspected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grain {
    latest_ms: Option<i64>,
    /// 0 until two different stamps were seen.
    grain_ms: u64,
}

impl Grain {
    /// Takes note of an event, of any user.
    #[inline]
    pub fn observe(&mut self, time_ms: i64) {
        if self.grain_ms == 1 {
            return;
        }
        let gap_ms = self.latest_ms.map_or(0, |latest_ms| latest_ms.abs_diff(time_ms));
        self.latest_ms = Some(time_ms);
        self.refine(gap_ms);
    }

    /// Takes over what another source has proved: its stamps come with these from now on.
    pub fn merge(&mut self, other: &Self) {
        self.latest_ms = self.latest_ms.max(other.latest_ms);
        self.refine(other.grain_ms);
    }

    /// Another number that the grain divides; 0 says nothing.
    fn refine(&mut self, gap_ms: u64) {
        let (mut left, mut right) = (self.grain_ms, gap_ms);
        while right != 0 {
            (left, right) = (right, left % right);
        }
        self.grain_ms = left;
    }

    /// The grain in milliseconds; `None` until two different stamps were seen.
    #[must_use]
    pub fn ms(&self) -> Option<u64> {
        (self.grain_ms > 0).then_some(self.grain_ms)
    }

    /// Appends `seen u8 | latest_ms i64 | grain_ms u64`.
    pub fn encode(&self, out: &mut Writer<'_>) {
        let latest_ms = self.latest_ms.unwrap_or(0);
        out.u8(u8::from(self.latest_ms.is_some())).i64(latest_ms).u64(self.grain_ms);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError::Short`].
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (seen, latest_ms, grain_ms) = (from.u8()?, from.i64()?, from.u64()?);
        Ok(Self { latest_ms: (seen != 0).then_some(latest_ms), grain_ms })
    }
}

/// What is kept of one user: 64 bytes.
///
/// Invariant: `gaps` and `events` say how much the means rest on; all numbers are finite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pulse {
    /// Newest event time.
    latest_ms: i64,
    /// End of the quarantine, 0 when clear. Kept through the probation.
    held_until_ms: i64,
    short: f32,
    long: f32,
    /// Mean and variance of the logarithm of the gaps in milliseconds.
    gap_mean: f32,
    gap_variance: f32,
    breadth: f32,
    gaps: u16,
    events: u16,
    /// Marks of the items met lately, a ring whose oldest place is `next`; 0 where none is.
    lately: [u16; LATELY],
    next: u8,
    reason: u8,
    /// Whether a stamp with a part of a second was seen.
    fine: bool,
    /// Newest events that came as a person's do, at most [`PROOF`]; 0 when clear.
    proof: u8,
}

const _: () = assert!(size_of::<Pulse>() <= 64, "one cache line a user");

impl Pulse {
    /// Takes note of an event and judges its user. `item_hash` is any well-mixed hash of the item, `grain` that of the
    /// stream after this event. An event older than the newest counts into the rates as much as it would have by now.
    pub fn observe(&mut self, time_ms: i64, item_hash: u64, grain: &Grain, limits: &AbuseLimits) -> Suspicion {
        let gaps = self.gaps;
        self.count(time_ms);
        self.meet(item_hash);
        let grain_ms = self.grain_ms(grain);
        let within = grain_ms.unwrap_or(f64::INFINITY);
        let rate = |level: f32, window_ms: f64| f64::from(level) * 60_000.0 / (window_ms + within);
        #[expect(clippy::cast_possible_truncation, reason = "a rate for people")]
        let rate_per_min = rate(self.short, SHORT_MS).max(rate(self.long, LONG_MS)) as f32;
        let suspected = self.suspect(grain_ms, limits);
        if self.held_until_ms != 0 {
            let person = suspected.is_none() && rate_per_min <= PROOF_RATE * limits.rate_per_min_max;
            self.proof = if person { (self.proof + 1).min(PROOF) } else { 0 };
            let proven = self.proof == PROOF && time_ms >= self.held_until_ms;
            if proven || time_ms >= self.held_until_ms.saturating_add(PROBATION_MS) {
                (self.held_until_ms, self.proof) = (0, 0);
            }
        }
        // Rhythm that was shown is held against a user anew at the next beat of it, not at what comes after a break: one
        // gap of a person is enough to be rid of it.
        let beat = self.gaps != gaps || gaps == u16::MAX;
        if let Some(reason) = suspected.filter(|reason| beat || *reason != Reason::Regular) {
            self.held_until_ms = time_ms.max(self.latest_ms).saturating_add(i64::from(limits.hold_s) * 1_000).max(1);
            (self.reason, self.proof) = (reason as u8, 0);
        }
        let regularity = self.regularity(grain_ms, limits);
        Suspicion { rate_per_min, regularity, breadth: self.breadth, verdict: self.verdict(time_ms) }
    }

    /// The verdict at a time, without an event: quarantine, and the probation that follows it.
    #[must_use]
    pub fn verdict(&self, time_ms: i64) -> Verdict {
        if self.held_until_ms == 0 || time_ms >= self.held_until_ms.saturating_add(PROBATION_MS) {
            return Verdict::Clear;
        }
        let reason = match self.reason {
            0 => Reason::Burst,
            1 => Reason::Rate,
            _ => Reason::Regular,
        };
        Verdict::Quarantined { reason }
    }

    /// Rates and rhythm.
    #[expect(clippy::cast_possible_truncation, reason = "levels and logarithms")]
    fn count(&mut self, time_ms: i64) {
        self.fine |= time_ms % 1_000 != 0;
        if self.events == 0 {
            self.latest_ms = time_ms;
        }
        let gap_ms = time_ms.saturating_sub(self.latest_ms);
        let kept = |window_ms: f64| (-(gap_ms.unsigned_abs() as f64) / window_ms).exp() as f32;
        if gap_ms >= 0 {
            let more = if gap_ms == 0 && self.events > 0 { REPEATED } else { 1.0 };
            self.short = self.short * kept(SHORT_MS) + more;
            self.long = self.long * kept(LONG_MS) + more;
            self.latest_ms = time_ms;
        } else {
            self.short += kept(SHORT_MS);
            self.long += kept(LONG_MS);
        }
        if (MOMENT_MS..BREAK_MS).contains(&gap_ms) {
            self.gaps = self.gaps.saturating_add(1);
            let share = 1.0 / f32::from(self.gaps.min(MEMORY));
            let off = (gap_ms as f64).ln() as f32 - if self.gaps == 1 { 0.0 } else { self.gap_mean };
            if self.gaps == 1 {
                self.gap_mean = off;
            } else {
                self.gap_mean += share * off;
                let cut = off.abs().min(1.0);
                self.gap_variance = (1.0 - share) * (self.gap_variance + share * cut * cut);
            }
        }
    }

    /// Breadth.
    fn meet(&mut self, item_hash: u64) {
        // The high bits; 0 stands for an empty place.
        let mark = u16::try_from(item_hash >> 48).unwrap_or(0).max(1);
        self.events = self.events.saturating_add(1);
        let share = 1.0 / f32::from(self.events.min(MEMORY));
        let new = !self.lately.contains(&mark);
        self.breadth += share * (f32::from(u8::from(new)) - self.breadth);
        if new {
            self.lately[usize::from(self.next) % LATELY] = mark;
            self.next = (self.next + 1) % LATELY as u8;
        }
    }

    /// The grain of this user's stamps in milliseconds: a second at least for one who never had a part of one, as users
    /// of a source in seconds are beside others.
    fn grain_ms(&self, grain: &Grain) -> Option<f64> {
        grain.ms().map(|grain_ms| (grain_ms as f64).max(if self.fine { 1.0 } else { 1_000.0 }))
    }

    fn regularity(&self, grain_ms: Option<f64>, limits: &AbuseLimits) -> Option<f32> {
        let told_apart = f64::from(self.gap_mean) >= (GRAINS_MIN * grain_ms?).ln();
        let (regularity, needed) = (self.gap_variance.sqrt(), limits.min_events.max(2));
        let needed = if regularity < limits.early_cv_min { needed.div_ceil(2) } else { needed };
        (told_apart && self.gaps >= needed).then_some(regularity)
    }

    fn suspect(&self, grain_ms: Option<f64>, limits: &AbuseLimits) -> Option<Reason> {
        // Within one grain, as many as would fit it at the allowed rate.
        let within = f64::from(limits.rate_per_min_max) * grain_ms? / 60_000.0;
        let sustained = f64::from(limits.rate_per_min_max) * LONG_MS / 60_000.0;
        let machine = |cv: f32| cv < limits.regularity_cv_min && self.breadth >= limits.breadth_min;
        if f64::from(self.short) > f64::from(limits.burst_events) + within {
            Some(Reason::Burst)
        } else if f64::from(self.long) > sustained + within {
            Some(Reason::Rate)
        } else {
            self.regularity(grain_ms, limits).is_some_and(machine).then_some(Reason::Regular)
        }
    }

    /// Appends the pulse: 59 bytes. The last one holds `fine` in its lowest bit and the proof above it; before there were
    /// probations it was `fine` alone.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.i64(self.latest_ms).i64(self.held_until_ms);
        for number in [self.short, self.long, self.gap_mean, self.gap_variance, self.breadth] {
            out.f32(number);
        }
        out.u16(self.gaps).u16(self.events);
        for mark in self.lately {
            out.u16(mark);
        }
        out.u8(self.next).u8(self.reason).u8(u8::from(self.fine) | self.proof << 1);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for short bytes or a number that is none.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (latest_ms, held_until_ms) = (from.i64()?, from.i64()?);
        let mut numbers = [0.0_f32; 5];
        for number in &mut numbers {
            let offset = from.at();
            *number = from.f32()?;
            if !number.is_finite() {
                let found = u64::from(number.to_bits());
                return Err(CursorError::Bad { what: "number of a pulse", offset, found, allowed: "a finite number" });
            }
        }
        let [short, long, gap_mean, gap_variance, breadth] = numbers;
        let (gaps, events) = (from.u16()?, from.u16()?);
        let mut lately = [0; LATELY];
        for mark in &mut lately {
            *mark = from.u16()?;
        }
        let (next, reason, last) = (from.u8()? % LATELY as u8, from.u8()?, from.u8()?);
        let (fine, proof) = (last & 1 != 0, (last >> 1).min(PROOF));
        Ok(Self {
            latest_ms,
            held_until_ms,
            short,
            long,
            gap_mean,
            gap_variance,
            breadth,
            gaps,
            events,
            lately,
            next,
            reason,
            fine,
            proof,
        })
    }
}

#[cfg(test)]
mod tests;
