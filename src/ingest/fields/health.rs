//! Health: steps, sleep, workouts, heart rate, doses taken and missed, articles read.
//!
//! Users live by a routine: a morning and an evening at fixed hours ([`Habits::slots`]). In the morning sleep is told and a dose is
//! due, in the evening steps, perhaps a workout, perhaps an article. *Planted*: a dose is taken with probability `adherence`
//! (0.5 to 1); in *lapses* of 5 to 20 days, the more the lower the adherence, doses are missed and there are neither workouts nor
//! articles. Workouts are those of the user's taste.

use super::people::{Person, Taste};
use super::rhythm::{DAY_MS, HOUR_MS, Habits, hour_of};
use super::stream::{Act, Behaviour, World};
use super::world::{
    Shelf, age, chance, count, date, days_ms, home, known, list, pick, popularity, shelves, text, topics, wait_ms,
    whole,
};
use super::{FieldKind, FieldOptions, ItemRow, UserRow};
use crate::base::{Id, Rng};
use crate::ingest::generate::below;
use crate::model::Value;

pub(super) const KINDS: &[FieldKind] = &[
    FieldKind { name: "content_read", range: Some((0.0, 7_200.0)) },
    FieldKind { name: "step_count", range: Some((0.0, 100_000.0)) },
    FieldKind { name: "sleep", range: Some((0.0, 86_400.0)) },
    FieldKind { name: "workout", range: Some((0.0, 43_200.0)) },
    FieldKind { name: "heart_rate", range: Some((20.0, 250.0)) },
    FieldKind { name: "medication_taken", range: Some((0.0, 20.0)) },
    FieldKind { name: "missed_dose", range: Some((0.0, 20.0)) },
];

pub(super) const USER_ATTRIBUTES: &[&str] =
    &["enrolled", "birth_date", "age", "country", "height_cm", "weight_kg", "conditions", "goal", "coached"];

pub(super) const ITEM_ATTRIBUTES: &[&str] = &["title", "type", "topic", "level", "length_s", "reviewed"];

/// Items that are measured or taken: they come first.
const MEASURES: [(&str, &str); 9] = [
    ("steps", "measure"),
    ("sleep", "measure"),
    ("heart-rate", "measure"),
    ("statin", "medication"),
    ("metformin", "medication"),
    ("inhaler", "medication"),
    ("blood-pressure-tablet", "medication"),
    ("thyroid-tablet", "medication"),
    ("vitamin-d", "medication"),
];
const STEPS: usize = 0;
const SLEEP: usize = 1;
const HEART: usize = 2;
const MEDICATIONS: usize = 3;

const TOPICS: [&str; 8] = ["cardio", "strength", "yoga", "nutrition", "sleep_better", "stress", "diabetes", "mobility"];
const LEVELS: [&str; 3] = ["easy", "medium", "hard"];
const CONDITIONS: [&str; 5] = ["none", "hypertension", "diabetes_2", "asthma", "hypothyroid"];
const GOALS: [&str; 4] = ["lose_weight", "sleep", "fitness", "stay_healthy"];

const HABITS: Habits = Habits {
    peak_hour: (18.5, 1.5),
    sharpness: 3.0,
    weekend: (0.8, 1.2),
    // Hours from the peak: the morning first.
    slots: &[-11.0, 0.0],
    gap_ms: 2 * HOUR_MS,
    session_ms: HOUR_MS,
};

#[derive(Debug)]
struct Patient {
    taste: Taste,
    adherence: f64,
    lapses: Vec<(i64, i64)>,
    medication: usize,
    peak_hour: f64,
    /// Usual steps a day, hours of sleep, and heart beats a minute at rest.
    steps: f64,
    sleep_h: f64,
    resting: f64,
}

#[derive(Debug)]
struct Clinic {
    patients: Vec<Patient>,
    /// Of workouts and of articles, by topic, as items.
    workouts: Vec<Shelf>,
    articles: Vec<Shelf>,
}

pub(super) fn build(options: &FieldOptions, rng: &mut Rng) -> World {
    let (items, mut clinic) = programmes(options, rng);
    let (mut users, mut people) = (Vec::new(), Vec::new());
    for id in 1..=u64::from(options.users) {
        let person = Person::draw(options, HABITS, rng);
        let adherence = 0.5 + 0.5 * rng.unit();
        let patient = Patient {
            taste: Taste::draw(TOPICS.len(), rng),
            adherence,
            lapses: lapses(options, adherence, rng),
            medication: MEDICATIONS + below(rng, MEASURES.len() - MEDICATIONS),
            peak_hour: person.rhythm.peak_hour,
            steps: 7_000.0 * (0.35 * rng.normal()).exp(),
            sleep_h: 7.1 + 0.7 * rng.normal(),
            resting: 66.0 + 7.0 * rng.normal(),
        };
        let mut truth = person.truth(&patient.taste, &TOPICS);
        truth.adherence = adherence;
        truth.lapses.clone_from(&patient.lapses);
        let attributes = describe(options, &person, rng);
        users.push(UserRow { id: Id::Int(id), attributes, truth });
        people.push(person);
        clinic.patients.push(patient);
    }
    World { habits: HABITS, users, items, people, behaviour: Box::new(clinic) }
}

fn programmes(options: &FieldOptions, rng: &mut Rng) -> (Vec<ItemRow>, Clinic) {
    let measure = |(name, tag): &(&str, &str)| ItemRow {
        id: Id::parse(name),
        tags: vec![(*tag).to_owned()],
        attributes: vec![("title", text(name)), ("type", text(tag))],
    };
    let mut items: Vec<ItemRow> = MEASURES.iter().map(measure).collect();
    let count = options.items as usize - MEASURES.len();
    // A workout and an article of each topic at least: the second half of the topics begins anew.
    let workouts = count / 3;
    let mut of_items = topics(TOPICS.len(), workouts, rng);
    of_items.extend(topics(TOPICS.len(), count - workouts, rng));
    let popularity = popularity(count, rng);
    for (at, &topic) in of_items.iter().enumerate() {
        let workout = at < workouts;
        let kind = if workout { "workout" } else { "article" };
        let minutes = if workout { 35.0 + 15.0 * rng.normal() } else { 6.0 + 2.5 * rng.normal() };
        let attributes = vec![
            ("title", Value::Text(format!("{} {kind} {}", TOPICS[topic], at + 1))),
            ("type", text(kind)),
            ("topic", text(TOPICS[topic])),
            ("level", text(pick(&LEVELS, rng))),
            ("length_s", Value::Number((minutes.clamp(1.0, 90.0) * 60.0).round())),
            ("reviewed", date(options.start_ms - days_ms(1.0, 900.0, rng))),
        ];
        let tags = vec![TOPICS[topic].to_owned(), kind.to_owned()];
        items.push(ItemRow { id: Id::Int(at as u64 + 1), tags, attributes });
    }
    let shelf = |from: usize, to: usize| {
        let mut by_topic = shelves(TOPICS.len(), &of_items[from..to], &popularity[from..to]);
        by_topic.iter_mut().flat_map(|shelf| &mut shelf.items).for_each(|item| *item += MEASURES.len() + from);
        by_topic
    };
    let (workouts, articles) = (shelf(0, workouts), shelf(workouts, count));
    (items, Clinic { patients: Vec::new(), workouts, articles })
}

/// Times off the routine, apart from each other.
fn lapses(options: &FieldOptions, adherence: f64, rng: &mut Rng) -> Vec<(i64, i64)> {
    // In 90 days from none, if every dose is taken, to about three.
    let mean_gap_days = 90.0 / (6.0 * (1.0 - adherence)).max(0.05);
    let end_ms = options.start_ms + (1.2 * options.days * DAY_MS as f64) as i64;
    let mut lapses = Vec::new();
    let mut at_ms = options.start_ms;
    loop {
        at_ms += wait_ms(mean_gap_days * 86_400.0, rng);
        if at_ms >= end_ms {
            return lapses;
        }
        let last_ms = at_ms + days_ms(5.0, 20.0, rng);
        lapses.push((at_ms, last_ms));
        at_ms = last_ms + DAY_MS;
    }
}

fn describe(options: &FieldOptions, person: &Person, rng: &mut Rng) -> Vec<(&'static str, Value)> {
    let (country, _) = home(rng);
    let age = age(48.0, 15.0, rng);
    let years = if let Value::Number(years) = age { years } else { 48.0 };
    let birth_ms = options.start_ms - ((years + 0.9 * rng.unit()) * 365.25 * DAY_MS as f64) as i64;
    let attributes = vec![
        ("enrolled", date(person.joined_at_ms)),
        ("birth_date", date(birth_ms)),
        ("age", age),
        ("country", country),
        ("height_cm", Value::Number((171.0 + 9.5 * rng.normal()).round().clamp(140.0, 210.0))),
        ("weight_kg", Value::Number((76.0 + 14.0 * rng.normal()).round().clamp(40.0, 180.0))),
        ("conditions", list(&CONDITIONS, 1, rng)),
        ("goal", text(pick(&GOALS, rng))),
        ("coached", Value::Bool(chance(0.3, rng))),
    ];
    known(attributes, 1, rng)
}

impl Clinic {
    fn morning(patient: &Patient, lapsed: bool, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let seconds = whole((patient.sleep_h + 0.8 * rng.normal()) * 3_600.0, 3_600.0, 50_400.0);
        acts.push(Act { time_ms, item: SLEEP, kind: "sleep", value: seconds });
        let beats = whole(patient.resting + 3.0 * rng.normal(), 38.0, 120.0);
        acts.push(Act { time_ms: time_ms + 1_000, item: HEART, kind: "heart_rate", value: beats });
        let at_ms = time_ms + wait_ms(300.0, rng);
        let taken = !lapsed && chance(patient.adherence, rng);
        let kind = if taken { "medication_taken" } else { "missed_dose" };
        acts.push(Act { time_ms: at_ms, item: patient.medication, kind, value: 1.0 });
        at_ms
    }

    fn evening(&self, patient: &Patient, lapsed: bool, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let mut at_ms = time_ms;
        let mut steps = patient.steps * (0.25 * rng.normal()).exp();
        let topic = |rng: &mut Rng| {
            if patient.taste.roams(rng) { below(rng, TOPICS.len()) } else { patient.taste.topic(rng) }
        };
        if lapsed {
            steps *= 0.6;
        } else if chance(0.45, rng)
            && let Some(item) = self.workouts[topic(rng)].draw(rng)
        {
            let minutes = (38.0 + 12.0 * rng.normal()).clamp(8.0, 120.0);
            for _ in 0..count(2.0, 6, rng) {
                let beats = whole(patient.resting + 62.0 + 14.0 * rng.normal(), 60.0, 205.0);
                acts.push(Act { time_ms: at_ms, item: HEART, kind: "heart_rate", value: beats });
                at_ms += (minutes * 60_000.0 / 6.0) as i64;
            }
            let value = whole(minutes * 60.0, 60.0, 43_200.0);
            acts.push(Act { time_ms: at_ms, item, kind: "workout", value });
        }
        acts.push(Act { time_ms: at_ms, item: STEPS, kind: "step_count", value: whole(steps, 50.0, 60_000.0) });
        if !lapsed && chance(0.5, rng) {
            for _ in 0..count(1.6, 5, rng) {
                at_ms += wait_ms(60.0, rng);
                let Some(item) = self.articles[topic(rng)].draw(rng) else { continue };
                let seconds = whole(180.0 * (0.8 * rng.normal()).exp(), 3.0, 3_600.0);
                acts.push(Act { time_ms: at_ms, item, kind: "content_read", value: seconds });
                at_ms += (seconds * 1_000.0) as i64;
            }
        }
        at_ms
    }
}

impl Behaviour for Clinic {
    fn session(&mut self, user: usize, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let patient = &self.patients[user];
        let lapsed = |at_ms: i64| patient.lapses.iter().any(|&(from_ms, to_ms)| (from_ms..=to_ms).contains(&at_ms));
        // What takes an hour may run into a lapse: one that begins meanwhile counts already.
        let lapsed = lapsed(time_ms) || lapsed(time_ms + 3 * HOUR_MS);
        if (hour_of(time_ms) - patient.peak_hour).abs() < 5.0 {
            self.evening(patient, lapsed, time_ms, rng, acts)
        } else {
            Self::morning(patient, lapsed, time_ms, rng, acts)
        }
    }
}
