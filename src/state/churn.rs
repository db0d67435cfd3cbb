//! The risk that a user leaves, in a shard: what the model is told of users, and what it tells of them.

use super::Shard;
use super::users::{User, Users};
use crate::evaluate::{ForecastReport, Forecasts};
use crate::learn::SITTING_MS;
use crate::model::Schema;
use crate::person::churn::{Churn, ChurnInputs, FEATURES, Risk, Users as Known};
use crate::person::{Ladder, behaviours::ladder_of};

/// Newest events that gaps and the latest session are read from: a bound on the work of one look.
const NEWEST: usize = 64;

/// The model, and how well it has foretold.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) churn: Churn,
    pub(super) forecasts: Forecasts,
}

impl Leaving {
    pub(super) fn new(schema: &Schema, seed: u64) -> Self {
        Self { churn: Churn::new(schema.churn_horizon_ms, seed), forecasts: Forecasts::default() }
    }
}

/// Users as the model looks at them.
struct View<'a> {
    users: &'a Users,
    schema: &'a Schema,
}

impl Known for View<'_> {
    fn known(&self) -> u32 {
        u32::try_from(self.users.len()).unwrap_or(u32::MAX)
    }

    fn features(&self, slot: u32, at_ms: i64) -> Option<[f32; FEATURES]> {
        let user = self.users.get(slot as usize);
        (user.events > 0).then(|| inputs(user, self.schema, at_ms).vector())
    }

    fn came(&self, slot: u32, after_ms: i64, until_ms: i64) -> Option<bool> {
        let user = self.users.get(slot as usize);
        if user.last_ms <= until_ms {
            return Some(user.last_ms > after_ms);
        }
        // Something came later than what is asked about: the retained events tell.
        let mut known = false;
        for entry in user.history.newest_first() {
            known |= entry.time_ms <= after_ms;
            if (after_ms + 1..=until_ms).contains(&entry.time_ms) {
                return Some(true);
            }
        }
        (known || user.history.len() as u64 == user.events).then_some(false)
    }
}

/// What the model is told of one user at a time that is not before its latest event.
#[expect(clippy::cast_precision_loss, reason = "times and counts, as doubles")]
fn inputs(user: &User, schema: &Schema, at_ms: i64) -> ChurnInputs {
    let ladder = Ladder::new(schema.half_lives_s);
    let (mut counts, person) = ([0.0; 3], &user.person);
    for sums in person.behaviours.kinds() {
        let ladder = schema.kinds.get(sums.code).map_or(ladder, |kind| ladder_of(schema, kind));
        let faded = sums.recent_counts(&ladder, at_ms);
        counts.iter_mut().zip(faded).for_each(|(count, faded)| *count += faded);
    }
    let seconds = |ms: i64| ms.max(0) as f64 / 1_000.0;
    let (mut gaps, mut squares, mut latest) = (0.0, 0.0, 0.0);
    let mut newer_ms = user.last_ms;
    let mut entries = user.history.newest_first().take(NEWEST);
    entries.next();
    let mut count = 0.0;
    let mut sitting = true;
    for entry in entries {
        let gap = seconds(newer_ms - entry.time_ms);
        (gaps, squares, count) = (gaps + gap, squares + gap * gap, count + 1.0);
        sitting &= newer_ms - entry.time_ms <= SITTING_MS;
        latest += f64::from(u8::from(sitting));
        newer_ms = newer_ms.min(entry.time_ms);
    }
    let mean = gaps / count;
    let value_mean = schema.kinds.iter().find(|kind| kind.explicit && kind.range.is_some()).and_then(|kind| {
        let (sums, (low, high)) = (person.behaviours.of(kind.code)?, kind.range?);
        Some((sums.values.mean()? - f64::from(low)) / f64::from(high - low))
    });
    ChurnInputs {
        horizon_s: seconds(schema.churn_horizon_ms),
        since_s: seconds(at_ms - user.last_ms),
        gap_mean_s: mean,
        gap_deviation_s: if count > 1.0 {
            ((squares - count * mean * mean).max(0.0) / (count - 1.0)).sqrt()
        } else {
            f64::NAN
        },
        counts,
        half_lives_s: schema.half_lives_s,
        events: user.events as f64,
        tenure_s: seconds(at_ms - user.first_ms),
        latest_share: (latest + 1.0) / user.events as f64,
        value_mean: value_mean.unwrap_or(f64::NAN),
        breadth: person.facets.entropy().unwrap_or(f64::NAN),
    }
}

impl Shard {
    /// Before an event is learned: the model looks at somebody, and learns what has come true.
    pub(super) fn foretell(&mut self, slot: usize, time_ms: i64) {
        let Self { users, schema, leaving, .. } = self;
        let (Leaving { churn, forecasts }, view) = (&mut **leaving, View { users, schema });
        let slot = u32::try_from(slot).expect("slots are numbered in u32");
        churn.observe(slot, time_ms, &view, &mut |judged| forecasts.record(judged.probability, judged.churned));
    }

    /// The risk that a user does not come within the schema's horizon from now on.
    pub(super) fn risk(&self, slot: usize, now_ms: i64) -> Option<Risk> {
        let user = self.users.get(slot);
        let known = user.events > 0 && self.leaving.churn.labels().0 > 0;
        known.then(|| self.leaving.churn.predict(&inputs(user, &self.schema, now_ms.max(user.last_ms)).vector()))
    }

    /// How well the risk of leaving was foretold.
    #[must_use]
    pub fn forecast_report(&self) -> ForecastReport {
        self.leaving.forecasts.report()
    }
}
