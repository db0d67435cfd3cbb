//! The order of things: sessions of all users, and what is left of them to happen, in one queue by time.
//!
//! How often sessions begin is set so that the wanted number of events takes the wanted days: a trial of some hundred
//! sessions tells the events of one, the users' times and habits tell the rest. The stream ends with its last event, so
//! its length in days is about what was asked for, its number of events exactly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::dirty::Soiled;
use super::people::Person;
use super::rhythm::{DAY_MS, Habits};
use super::{Field, FieldData, FieldEvent, FieldOptions, ItemRow, Label, UserRow};
use super::{ecommerce, finance, health, media, social};
use crate::base::{Id, IdRef, Rng};
use crate::ingest::Row;
use crate::ingest::generate::{Draw, below};

/// One thing that a user does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Act {
    pub(super) time_ms: i64,
    pub(super) item: usize,
    pub(super) kind: &'static str,
    pub(super) value: f32,
}

/// How the users of a field behave.
pub(super) trait Behaviour: std::fmt::Debug + Send {
    /// What the user does in a session that begins now, and what follows from it later. Gives the session's end.
    fn session(&mut self, user: usize, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64;

    /// What it does at set times, whatever its sessions.
    fn set_times(&mut self, _user: usize, _from_ms: i64, _until_ms: i64, _rng: &mut Rng, _acts: &mut Vec<Act>) {}
}

/// A field, drawn.
pub(super) struct World {
    pub(super) habits: Habits,
    pub(super) users: Vec<UserRow>,
    pub(super) items: Vec<ItemRow>,
    pub(super) people: Vec<Person>,
    pub(super) behaviour: Box<dyn Behaviour>,
}

fn build(options: &FieldOptions) -> World {
    let mut rng = Rng::new(options.seed);
    match options.field {
        Field::Ecommerce => ecommerce::build(options, &mut rng),
        Field::Finance => finance::build(options, &mut rng),
        Field::Media => media::build(options, &mut rng),
        Field::Social => social::build(options, &mut rng),
        Field::Health => health::build(options, &mut rng),
    }
}

pub(super) fn generate(options: &FieldOptions) -> FieldData {
    let mut world = build(options);
    // Streams of their own, so that a longer trial would change no event.
    let mut rng = Rng::new(options.seed ^ 0x5EED_0001);
    let (set_share, per_day) = pace(options, &mut world, &mut rng);
    // Built anew: the trial has left its marks on the users.
    let World { habits: _, users, items, people, behaviour } = build(options);
    let ids = items.iter().map(|item| item.id.clone()).collect();
    let mut clean = Clean {
        rng: Rng::new(options.seed ^ 0x5EED_0002),
        ids,
        people,
        behaviour,
        per_day,
        queue: BinaryHeap::new(),
        serial: 0,
        made: 0,
        events: options.events,
        ids_from: ids_from(options),
        start_ms: options.start_ms,
        acts: Vec::new(),
    };
    clean.begin(options, set_share);
    let soiled = options.dirty.map(|dirty| Soiled::new(dirty, options));
    FieldData { users, items, events: FieldStream { clean, soiled, lines: 0 } }
}

/// Where event ids begin: elsewhere for every seed and field, so that one server can take several streams.
pub(super) fn ids_from(options: &FieldOptions) -> u64 {
    let field = IdRef::text(options.field.name()).stable_hash();
    IdRef::Int(options.seed ^ field).stable_hash()
}

/// Sessions of the trial.
const TRIAL: usize = 1_500;
/// Largest share of all events that may come at set times.
const SET_SHARE: f64 = 0.4;

/// Share of users who have acts at set times, and the sessions a day of a user of activity 1.
fn pace(options: &FieldOptions, world: &mut World, rng: &mut Rng) -> (f64, f64) {
    let World { habits, people, behaviour, .. } = world;
    let end_ms = options.start_ms.saturating_add((options.days * DAY_MS as f64) as i64);
    let mut acts = Vec::new();
    let mut set = 0.0;
    for (user, person) in people.iter().enumerate() {
        let last_ms = person.churned_at_ms.unwrap_or(end_ms).min(end_ms);
        behaviour.set_times(user, person.joined_at_ms.max(options.start_ms), last_ms, rng, &mut acts);
        set += acts.drain(..).filter(|act| act.time_ms < last_ms).count() as f64;
    }
    let wanted = options.events as f64;
    let set_share = if set > SET_SHARE * wanted { SET_SHARE * wanted / set } else { 1.0 };
    let busy = Draw::new(people.iter().map(|person| person.activity * person.days(options.start_ms, end_ms)));
    for _ in 0..TRIAL {
        let user = busy.draw(rng);
        // When it begins matters where users have hours; the last part of what follows may fall behind the end.
        let around_ms = options.start_ms + below(rng, (end_ms - options.start_ms).max(1) as usize) as i64;
        let at_ms = people[user].rhythm.next(around_ms, i64::MAX, 1.0, |_| 1.0, rng).unwrap_or(around_ms);
        behaviour.session(user, at_ms, rng, &mut acts);
    }
    let per_session = (acts.len() as f64 / TRIAL as f64).max(1e-3);
    let sessions = (wanted - set * set_share) / per_session;
    let levels = habits.levels();
    let made = |per_day: f64| {
        let of = |person: &Person| {
            habits.effective(&levels, per_day * person.activity) * person.days(options.start_ms, end_ms).max(0.0)
        };
        people.iter().map(of).sum::<f64>()
    };
    // Bisection of the logarithm: what more sessions a day make grows, up to what a day holds.
    let (mut low, mut high) = (1e-9_f64, 1e3_f64);
    for _ in 0..40 {
        let middle = (low * high).sqrt();
        if made(middle) < sessions { low = middle } else { high = middle }
    }
    (set_share, high)
}

/// What will happen.
#[derive(Clone, Copy, Debug)]
enum What {
    Session,
    Act(Act),
}

/// Something that will happen; ordered by time, then by when it was put there.
#[derive(Clone, Copy, Debug)]
struct Due {
    time_ms: i64,
    serial: u64,
    user: usize,
    what: What,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time_ms, self.serial).cmp(&(other.time_ms, other.serial))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

/// Events as they happen, in order of time.
#[derive(Debug)]
struct Clean {
    rng: Rng,
    ids: Arc<[Id]>,
    people: Vec<Person>,
    behaviour: Box<dyn Behaviour>,
    /// Sessions a day of a user of activity 1.
    per_day: f64,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    made: u64,
    events: u64,
    /// Event ids are this and the number of the event.
    ids_from: u64,
    start_ms: i64,
    /// Room for the acts of a session.
    acts: Vec<Act>,
}

impl Clean {
    fn begin(&mut self, options: &FieldOptions, set_share: f64) {
        // A tenth more than asked for: the stream may take a little longer.
        let end_ms = options.start_ms.saturating_add((1.1 * options.days * DAY_MS as f64) as i64);
        for user in 0..self.people.len() {
            let from_ms = self.people[user].joined_at_ms.max(self.start_ms);
            if self.rng.unit() < set_share {
                let mut acts = std::mem::take(&mut self.acts);
                self.behaviour.set_times(user, from_ms, end_ms, &mut self.rng, &mut acts);
                self.put_acts(user, &mut acts);
                self.acts = acts;
            }
            self.put_session(user, from_ms);
        }
    }

    fn put_acts(&mut self, user: usize, acts: &mut Vec<Act>) {
        let person = &self.people[user];
        let (first_ms, left_ms) = (person.joined_at_ms, person.churned_at_ms.unwrap_or(i64::MAX));
        for act in acts.drain(..).filter(|act| act.time_ms >= first_ms && act.time_ms < left_ms) {
            self.serial += 1;
            let due = Due { time_ms: act.time_ms, serial: self.serial, user, what: What::Act(act) };
            self.queue.push(Reverse(due));
        }
    }

    fn put_session(&mut self, user: usize, after_ms: i64) {
        let person = &self.people[user];
        let until_ms = person.churned_at_ms.unwrap_or(i64::MAX);
        let per_day = self.per_day * person.activity;
        let next = person.rhythm.next(after_ms, until_ms, per_day, |at_ms| person.slow(at_ms), &mut self.rng);
        if let Some(time_ms) = next {
            self.serial += 1;
            self.queue.push(Reverse(Due { time_ms, serial: self.serial, user, what: What::Session }));
        }
    }
}

impl Iterator for Clean {
    type Item = FieldEvent;

    fn next(&mut self) -> Option<FieldEvent> {
        while self.made < self.events {
            let Reverse(Due { time_ms, user, what, .. }) = self.queue.pop()?;
            let act = match what {
                What::Act(act) => act,
                What::Session => {
                    let mut acts = std::mem::take(&mut self.acts);
                    let end_ms = self.behaviour.session(user, time_ms, &mut self.rng, &mut acts);
                    self.put_acts(user, &mut acts);
                    self.acts = acts;
                    self.put_session(user, end_ms);
                    continue;
                }
            };
            self.made += 1;
            let row = Row {
                line: self.made,
                user: Id::Int(user as u64 + 1),
                item: self.ids[act.item].clone(),
                value: act.value,
                time_ms,
                kind: Some(act.kind.to_owned()),
                event_id: None,
            };
            let event_id = self.ids_from.wrapping_add(self.made);
            return Some(FieldEvent { event_id, row, arrives_ms: time_ms, label: Label::Clean });
        }
        None
    }
}

/// The events of a field, see [`generate`](super::generate).
#[derive(Debug)]
pub struct FieldStream {
    clean: Clean,
    soiled: Option<Soiled>,
    lines: u64,
}

impl Iterator for FieldStream {
    type Item = FieldEvent;

    fn next(&mut self) -> Option<FieldEvent> {
        let mut event = match &mut self.soiled {
            None => self.clean.next()?,
            Some(soiled) => {
                let ids = Arc::clone(&self.clean.ids);
                soiled.next(&mut self.clean, &ids)?
            }
        };
        self.lines += 1;
        event.row.line = self.lines;
        Some(event)
    }
}
