//! When a user's sessions begin: by the hour of the day and the day of the week, or at fixed hours.
//!
//! *Drawn*: a Poisson process whose rate is `per_day x hours(h) x week(d)`, both factors of mean 1, by thinning (Lewis &
//! Shedler 1979). `hours` is a von Mises bump about the peak on a low floor.
//! *Fixed*: slots at the same hours of every day, some minutes early or late, each taken with the probability that gives
//! `per_day`.

use crate::base::Rng;

pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// What all users of a field have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Mean and standard deviation of users' peak hours; a peak stays within 9 hours of the mean.
    pub(super) peak_hour: (f64, f64),
    /// How sharp the bump about the peak is: 1 is broad, 6 some four hours.
    pub(super) sharpness: f64,
    /// Lowest and highest sessions of a weekend day for each of another day.
    pub(super) weekend: (f64, f64),
    /// Hours of slots, from the peak and rising; empty: sessions are drawn.
    pub(super) slots: &'static [f64],
    /// Shortest time between the end of a session and the next: longer than the pauses within one.
    pub(super) gap_ms: i64,
    /// Length of a session, about: with the gap it bounds how many a day can have.
    pub(super) session_ms: i64,
}

impl Habits {
    /// Sessions a day of users who would have `per_day` if sessions took no time: at an hour of rate `r` a session and the
    /// gap after it leave time for `r / (1 + r t)`.
    pub(super) fn effective(&self, levels: &[f64], per_day: f64) -> f64 {
        if !self.slots.is_empty() {
            return per_day.min(self.slots.len() as f64);
        }
        let taken_days = (self.gap_ms + self.session_ms) as f64 / DAY_MS as f64;
        let of = |level: &f64| per_day * level / (1.0 + per_day * level * taken_days);
        levels.iter().map(of).sum::<f64>() / levels.len() as f64
    }

    /// Rates through a day against their mean, which do not depend on where the peak lies.
    pub(super) fn levels(&self) -> Vec<f64> {
        // Half a day: the other half is the same.
        let levels: Vec<f64> = (0..24).map(|at| FLOOR + bump((f64::from(at) + 0.5) / 2.0, self.sharpness)).collect();
        let mean = levels.iter().sum::<f64>() / levels.len() as f64;
        levels.into_iter().map(|level| level / mean).collect()
    }
}

/// One user's.
#[derive(Clone, Debug)]
pub(super) struct Rhythm {
    pub(super) peak_hour: f64,
    pub(super) weekend: f64,
    habits: Habits,
    /// Mean of the bump and its floor over the day.
    hours_mean: f64,
}

/// Rate far from the peak, against 1 at it.
const FLOOR: f64 = 0.04;

impl Rhythm {
    pub(super) fn draw(habits: Habits, rng: &mut Rng) -> Self {
        let (mean, std) = habits.peak_hour;
        let peak_hour = (mean + (std * rng.normal()).clamp(-9.0, 9.0)).rem_euclid(24.0);
        let weekend = habits.weekend.0 + (habits.weekend.1 - habits.weekend.0) * rng.unit();
        let bump = |at: u8| bump(f64::from(at) / 48.0 * 24.0, habits.sharpness);
        let hours_mean = FLOOR + (0..48).map(bump).sum::<f64>() / 48.0;
        Self { peak_hour, weekend, habits, hours_mean }
    }

    /// When the next session begins, if that is before `until_ms`. `slow` is the share of its rate that the user has
    /// at a time, 0 to 1.
    pub(super) fn next(
        &self,
        after_ms: i64,
        until_ms: i64,
        per_day: f64,
        slow: impl Fn(i64) -> f64,
        rng: &mut Rng,
    ) -> Option<i64> {
        let earliest_ms = after_ms.saturating_add(self.habits.gap_ms);
        if self.habits.slots.is_empty() {
            self.drawn(earliest_ms, until_ms, per_day, slow, rng)
        } else {
            self.fixed(earliest_ms, until_ms, per_day, slow, rng)
        }
    }

    fn drawn(
        &self,
        from_ms: i64,
        until_ms: i64,
        per_day: f64,
        slow: impl Fn(i64) -> f64,
        rng: &mut Rng,
    ) -> Option<i64> {
        let highest = (1.0 + FLOOR) / self.hours_mean * self.week_highest();
        let mut at_ms = from_ms;
        loop {
            let gap_ms = -(1.0 - rng.unit()).ln() / (per_day * highest) * DAY_MS as f64;
            at_ms = at_ms.saturating_add(gap_ms as i64);
            if at_ms >= until_ms {
                return None;
            }
            if rng.unit() * highest < self.hours(at_ms) * self.week(at_ms) * slow(at_ms) {
                return Some(at_ms);
            }
        }
    }

    fn fixed(
        &self,
        from_ms: i64,
        until_ms: i64,
        per_day: f64,
        slow: impl Fn(i64) -> f64,
        rng: &mut Rng,
    ) -> Option<i64> {
        let slots = self.habits.slots.len() as i64;
        let base = per_day / slots as f64;
        let highest = (base * self.week_highest()).clamp(1e-9, 1.0);
        let mut slot = from_ms.div_euclid(DAY_MS) * slots;
        while self.slot_ms(slot) < from_ms {
            slot += 1;
        }
        loop {
            // How many slots are passed over before one is taken: geometric, so that rare users cost no loop.
            let passed = if highest < 1.0 { ((1.0 - rng.unit()).ln() / (1.0 - highest).ln()).floor() } else { 0.0 };
            slot = slot.saturating_add(passed.min(1e12) as i64);
            let late_ms = (rng.normal().clamp(-3.0, 3.0) * JITTER_MS) as i64;
            let at_ms = (self.slot_ms(slot) + late_ms).max(from_ms);
            if at_ms >= until_ms {
                return None;
            }
            if rng.unit() * highest < base * self.week(at_ms) * slow(at_ms) {
                return Some(at_ms);
            }
            slot += 1;
        }
    }

    fn slot_ms(&self, slot: i64) -> i64 {
        let slots = self.habits.slots.len() as i64;
        let hour = self.peak_hour + self.habits.slots[slot.rem_euclid(slots) as usize];
        slot.div_euclid(slots) * DAY_MS + (hour * HOUR_MS as f64) as i64
    }

    fn hours(&self, time_ms: i64) -> f64 {
        (FLOOR + bump(hour_of(time_ms) - self.peak_hour, self.habits.sharpness)) / self.hours_mean
    }

    fn week(&self, time_ms: i64) -> f64 {
        let day = if is_weekend(time_ms) { self.weekend } else { 1.0 };
        day * 7.0 / (5.0 + 2.0 * self.weekend)
    }

    fn week_highest(&self) -> f64 {
        self.weekend.max(1.0) * 7.0 / (5.0 + 2.0 * self.weekend)
    }
}

/// Standard deviation of how early or late a slot is taken: a quarter of an hour.
const JITTER_MS: f64 = 15.0 * 60_000.0;

/// The rate `hours` from the peak, against 1 at it.
fn bump(hours: f64, sharpness: f64) -> f64 {
    (sharpness * ((hours / 24.0 * std::f64::consts::TAU).cos() - 1.0)).exp()
}

/// Hour of the day, UTC, 0 to 24.
pub(super) fn hour_of(time_ms: i64) -> f64 {
    time_ms.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64
}

/// Whether it is Saturday or Sunday, UTC. 1970-01-01 was a Thursday.
pub(super) fn is_weekend(time_ms: i64) -> bool {
    (time_ms.div_euclid(DAY_MS) + 3).rem_euclid(7) >= 5
}

#[cfg(test)]
mod tests {
    use super::*;

    const HABITS: Habits = Habits {
        peak_hour: (20.0, 0.0),
        sharpness: 3.0,
        weekend: (2.0, 2.0),
        slots: &[],
        gap_ms: HOUR_MS,
        session_ms: HOUR_MS,
    };

    fn starts(habits: Habits, per_day: f64, days: i64) -> Vec<i64> {
        let mut rng = Rng::new(3);
        let rhythm = Rhythm::draw(habits, &mut rng);
        let mut starts = Vec::new();
        let mut at = 0;
        while let Some(next) = rhythm.next(at, days * DAY_MS, per_day, |_| 1.0, &mut rng) {
            assert!(next >= at + habits.gap_ms);
            starts.push(next);
            at = next + habits.session_ms;
        }
        starts
    }

    #[test]
    fn sessions_are_as_many_as_foretold_and_follow_day_and_week() {
        let starts = starts(HABITS, 1.5, 4_000);
        let expected = HABITS.effective(&HABITS.levels(), 1.5) * 4_000.0;
        assert!((starts.len() as f64 / expected - 1.0).abs() < 0.1, "{} sessions, {expected} foretold", starts.len());
        let near = |hour: f64| starts.iter().filter(|at| (hour_of(**at) - hour).abs() < 1.0).count();
        assert!(near(20.0) > 8 * near(8.0), "{} at 20, {} at 8", near(20.0), near(8.0));
        let weekend = starts.iter().filter(|at| is_weekend(**at)).count() as f64;
        let ratio = weekend / 2.0 / ((starts.len() as f64 - weekend) / 5.0);
        // A busy day leaves less time for more: the ratio is a little below 2.
        assert!((1.6..2.1).contains(&ratio), "weekend days have {ratio} of the others");
        assert!(is_weekend(2 * DAY_MS) && is_weekend(4 * DAY_MS - 1) && !is_weekend(4 * DAY_MS) && !is_weekend(-1));
    }

    #[test]
    fn slots_are_kept_to_the_quarter_hour_and_taken_as_often_as_asked() {
        let habits = Habits { slots: &[-11.0, 0.0], weekend: (1.0, 1.0), ..HABITS };
        for per_day in [0.01, 1.0, 2.0, 9.0] {
            let starts = starts(habits, per_day, 10_000);
            let expected = habits.effective(&[], per_day) * 10_000.0;
            let slack = 4.0 * expected.sqrt() + 2.0;
            assert!((starts.len() as f64 - expected).abs() < slack, "{per_day} a day: {} sessions", starts.len());
            let off = |at: &i64| (hour_of(*at) - 20.0).abs().min((hour_of(*at) - 9.0).abs());
            assert!(starts.iter().all(|at| off(at) < 0.76));
        }
    }

    #[test]
    fn nothing_begins_after_the_end_or_while_the_rate_is_none() {
        let mut rng = Rng::new(1);
        let rhythm = Rhythm::draw(HABITS, &mut rng);
        let slow = |at: i64| if at < 50 * DAY_MS { 0.0 } else { 1.0 };
        let first = rhythm.next(0, 100 * DAY_MS, 2.0, slow, &mut rng).unwrap();
        assert!(first >= 50 * DAY_MS);
        assert_eq!(rhythm.next(0, 50 * DAY_MS, 2.0, slow, &mut rng), None);
    }
}
