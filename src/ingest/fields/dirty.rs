//! What is wrong with events of real sources, planted and labelled.
//!
//! * *Duplicate*: the same event, id and all, arrives again seconds to minutes later.
//! * *Late*: an event arrives a minute to three days after its time, the later the rarer.
//! * *Bad value*: NaN, or far outside the range of its kind.
//! * *Unknown kind*: the name of a kind that nobody configured.
//! * *Bot*: one more user. Each night, and at the end, it runs through as many items as make its share of all events, one
//!   every two seconds.
//!
//! An event has one label. Shares of the first four are of the events of people, so of all events a little less.

use std::collections::BTreeMap;

use super::rhythm::{DAY_MS, HOUR_MS};
use super::stream::ids_from;
use super::world::{pick, wait_ms};
use super::{FieldEvent, FieldKind, FieldOptions};
use crate::base::{Id, Rng};
use crate::ingest::Row;
use crate::ingest::generate::below;

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Label {
    /// Nothing.
    Clean,
    /// It has come before.
    Duplicate,
    /// It comes long after its time.
    Late,
    /// Its value cannot be.
    BadValue,
    /// Its kind is not known.
    UnknownKind,
    /// It was made by a machine.
    Bot,
}

impl Label {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::BadValue => "bad_value",
            Self::UnknownKind => "unknown_kind",
            Self::Bot => "bot",
        }
    }
}

/// How much is wrong, in shares of 0 to 1; the first four together are at most 1, the bot makes at most half of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirty {
    /// Events that come twice.
    pub duplicates: f64,
    /// Events that come late.
    pub late: f64,
    /// Events whose value cannot be.
    pub bad_values: f64,
    /// Events of an unknown kind.
    pub unknown_kinds: f64,
    /// Share of all events that one bot makes.
    pub bot: f64,
}

impl Default for Dirty {
    fn default() -> Self {
        Self { duplicates: 0.02, late: 0.02, bad_values: 0.01, unknown_kinds: 0.01, bot: 0.05 }
    }
}

impl Dirty {
    pub(super) fn clamped(self) -> Self {
        let within = |x: f64, high: f64| if x.is_nan() { 0.0 } else { x.clamp(0.0, high) };
        let duplicates = within(self.duplicates, 1.0);
        let late = within(self.late, 1.0 - duplicates);
        let bad_values = within(self.bad_values, 1.0 - duplicates - late);
        let unknown_kinds = within(self.unknown_kinds, 1.0 - duplicates - late - bad_values);
        Self { duplicates, late, bad_values, unknown_kinds, bot: within(self.bot, 0.5) }
    }
}

/// Kinds that nobody has.
const UNKNOWN_KINDS: [&str; 4] = ["veiw", "legacy_click", "test_event", "undefined"];
/// Hour of the night at which the bot runs.
const BOT_HOUR: i64 = 3;
/// Time between two of its events; less where a day's share would not fit into the day.
const BOT_STEP_MS: i64 = 2_000;
/// Milliseconds after the hour at which it is under way: its clock tells milliseconds, as all clocks of the stream do.
const BOT_LATE_MS: i64 = 137;
/// Where its event ids begin, far from those of people.
const BOT_IDS: u64 = 1 << 40;

/// Dirt over a clean stream.
#[derive(Debug)]
pub(super) struct Soiled {
    dirty: Dirty,
    rng: Rng,
    kinds: &'static [FieldKind],
    bot_user: Id,
    ids_from: u64,
    /// The next event of the clean stream, looked at.
    ahead: Option<FieldEvent>,
    /// Events by when they arrive and the order in which they were put there.
    waiting: BTreeMap<(i64, u64), FieldEvent>,
    serial: u64,
    /// Events that have gone out without the bot's, and those that it has made or planned.
    people: u64,
    planned: u64,
    /// Next run of the bot; none after the last one.
    run_ms: Option<i64>,
    last_ms: i64,
}

impl Soiled {
    pub(super) fn new(dirty: Dirty, options: &FieldOptions) -> Self {
        let day = options.start_ms.div_euclid(DAY_MS) + 1;
        Self {
            dirty,
            rng: Rng::new(options.seed ^ 0xD1_27),
            kinds: options.field.kinds(),
            bot_user: Id::Int(u64::from(options.users) + 1),
            ids_from: ids_from(options),
            ahead: None,
            waiting: BTreeMap::new(),
            serial: 0,
            people: 0,
            planned: 0,
            run_ms: Some(day * DAY_MS + BOT_HOUR * HOUR_MS + BOT_LATE_MS),
            last_ms: options.start_ms,
        }
    }

    /// The next event in the order of arrival; `items` are those that the bot runs through.
    pub(super) fn next(&mut self, clean: &mut impl Iterator<Item = FieldEvent>, items: &[Id]) -> Option<FieldEvent> {
        loop {
            if self.ahead.is_none() {
                self.ahead = clean.next();
            }
            let ahead_ms = self.ahead.as_ref().map(|event| event.arrives_ms);
            let waiting_ms = self.waiting.first_key_value().map(|((arrives_ms, _), _)| *arrives_ms);
            let Some(now_ms) = ahead_ms.into_iter().chain(waiting_ms).min() else {
                // All have gone out: the bot makes up for the time since its last run, once.
                self.run_ms.take()?;
                self.run(self.last_ms + BOT_STEP_MS, items);
                continue;
            };
            if let Some(run_ms) = self.run_ms.filter(|run_ms| *run_ms <= now_ms) {
                self.run_ms = Some(run_ms + DAY_MS);
                self.run(run_ms, items);
                continue;
            }
            let out = if waiting_ms == Some(now_ms) {
                self.waiting.pop_first().map(|(_, event)| event)
            } else {
                self.ahead.take().and_then(|event| self.soil(event))
            };
            if let Some(out) = out {
                self.people += u64::from(out.label != Label::Bot);
                self.last_ms = self.last_ms.max(out.arrives_ms);
                return Some(out);
            }
        }
    }

    /// Makes an event dirty, or not; one that is late is put away.
    fn soil(&mut self, event: FieldEvent) -> Option<FieldEvent> {
        let Dirty { duplicates, late, bad_values, unknown_kinds, .. } = self.dirty;
        let draw = self.rng.unit();
        let mut event = event;
        if draw < duplicates {
            let arrives_ms = event.arrives_ms + wait_ms(60.0, &mut self.rng);
            self.wait(FieldEvent { arrives_ms, label: Label::Duplicate, ..event.clone() });
        } else if draw < duplicates + late {
            // Even in the logarithm: from a minute to three days.
            let longest = 3.0 * DAY_MS as f64 / 60_000.0;
            event.arrives_ms += (60_000.0 * longest.powf(self.rng.unit())) as i64;
            event.label = Label::Late;
            self.wait(event);
            return None;
        } else if draw < duplicates + late + bad_values {
            event.row.value = self.bad_value(&event.row);
            event.label = Label::BadValue;
        } else if draw < duplicates + late + bad_values + unknown_kinds {
            event.row.kind = Some(pick(&UNKNOWN_KINDS, &mut self.rng).to_owned());
            event.label = Label::UnknownKind;
        }
        Some(event)
    }

    fn bad_value(&mut self, row: &Row) -> f32 {
        let kind = self.kinds.iter().find(|kind| Some(kind.name) == row.kind.as_deref());
        match kind.and_then(|kind| kind.range) {
            Some((low, high)) if self.rng.unit() < 0.5 => {
                let far = (high - low) * (1.0 + 9.0 * self.rng.unit() as f32);
                if self.rng.unit() < 0.5 { high + far } else { low - far }
            }
            _ => f32::NAN,
        }
    }

    fn wait(&mut self, event: FieldEvent) {
        self.serial += 1;
        self.waiting.insert((event.arrives_ms, self.serial), event);
    }

    /// Plans as many events of the bot as its share of all lacks.
    fn run(&mut self, from_ms: i64, items: &[Id]) {
        let share = self.dirty.bot;
        let owed = ((self.people as f64 * share / (1.0 - share)).round() as u64).saturating_sub(self.planned);
        let step_ms = BOT_STEP_MS.min(20 * HOUR_MS / (owed as i64).max(1)).max(1);
        // A page seen, a payment of 1 to try a card: the first kind of its field, with as little as that.
        let kind = self.kinds[0];
        let first = below(&mut self.rng, items.len());
        for at in 0..owed {
            let time_ms = from_ms + at as i64 * step_ms;
            let value = kind.range.map_or(1.0, |(low, high)| 1.0_f32.clamp(low, high));
            let row = Row {
                line: 0,
                user: self.bot_user.clone(),
                item: items[(first + at as usize) % items.len()].clone(),
                value,
                time_ms,
                kind: Some(kind.name.to_owned()),
                event_id: None,
            };
            let event_id = self.ids_from.wrapping_add(BOT_IDS + self.planned + at);
            self.wait(FieldEvent { event_id, row, arrives_ms: time_ms, label: Label::Bot });
        }
        self.planned += owed;
    }
}
