//! H7: events of finite but hostile values. What is stored stays finite and within bounds, and values too small for a
//! whole mantissa cost no more than others.
//!
//! * `MIRRA_HOSTILE_UPDATES=1000000` learns as many events with each set of strategies and each scale of judgements.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use mirra::base::{Id, Rng};
use mirra::learn::Strategy;
use mirra::model::{self, Kind, Schema};
use mirra::state::{self, Op, Shard};
use mirra::wire::commands::{EventBatch, Predict, ProfileGet, Refit};
use mirra::wire::types::Event;

use crate::runs::number;
use crate::server::{SOME, assert_finite, options, stop};
use crate::support::{Connection, TestServer};

/// Strategies that learn an event in microseconds.
const CHEAP: [&str; 6] = ["biased_mf", "isgd", "mean", "decay", "fold_in", "popularity"];

const USERS: u64 = 7;
const ITEMS: u64 = 40;

/// Events of one batch: as many as one may have.
const BATCH: u64 = 4_096;

/// A schema whose kind 5 is judged on this scale.
fn schema(scale: Option<(f32, f32)>) -> Schema {
    let buy = Kind { unit: "money".into(), half_life_s: 60.0, ..Kind::new(4, "purchase", 2.0) };
    let rate = Kind { explicit: true, range: scale, ..Kind::new(5, "rate", 1.0) };
    let kinds = Schema::of([Kind::new(0, "event", 1.0), buy, rate]).kinds;
    Schema { kinds, ..crate::corpus::schema() }
}

/// A server with this schema and two shards.
fn start(dir: &Path, scale: Option<(f32, f32)>, strategies: &[&str]) -> TestServer {
    let mut options = options(dir, 2, strategies);
    options.state.schema = schema(scale);
    TestServer::start(options)
}

fn now_ms() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("in range")
}

fn pick<T: Copy>(of: &[T], rng: &mut Rng) -> T {
    of[usize::try_from(rng.below(of.len() as u64)).expect("small")]
}

fn hostile(rng: &mut Rng, now_ms: i64) -> Event {
    let values = [1e9, -1e9, 1e-30, -1e-30, f32::MIN_POSITIVE, f32::MIN_POSITIVE / 4.0, -0.0, 0.0, 1.0, 5.0, 3.0e8];
    let times = [0, 1, now_ms, now_ms + 86_000_000, 1_000];
    Event {
        event_id: Id::Int(0),
        user: Id::Int(rng.below(USERS)),
        item: Id::Int(rng.below(ITEMS)),
        kind: pick(&[0, 4, 5], rng),
        value: pick(&values, rng),
        time_ms: pick(&times, rng),
    }
}

/// Sends hostile events until so many were learned; says how many were sent.
fn teach(connection: &mut Connection, least: u64) -> u64 {
    let (mut rng, now_ms) = (Rng::new(23), now_ms());
    let (mut sent, mut learned) = (0, 0);
    while learned < least {
        let events = (0..BATCH).map(|_| hostile(&mut rng, now_ms)).collect();
        let reply = connection.ask(&EventBatch { durability: 1, want: 0, events });
        let reply = reply.expect("some are refused, for the scale of their kind, others are not");
        sent += BATCH;
        learned += u64::from(reply.accepted);
        assert!(reply.accepted > 0, "{reply:?}");
    }
    sent
}

/// Every score that a strategy has for every user is a finite number: one that is none is left out of lists.
fn assert_scores_finite(connection: &mut Connection, strategies: &[&str]) {
    for (user, strategy) in (0..USERS).flat_map(|user| strategies.iter().map(move |strategy| (user, *strategy))) {
        let items = (0..ITEMS).map(Id::Int).collect();
        let scores = connection.ask(&Predict { user: Id::Int(user), items, strategy: strategy.to_owned() });
        let scores = scores.expect("known").scores;
        assert!(scores.iter().all(|score| score.score.is_finite()), "{strategy}, user {user}: {scores:?}");
    }
}

/// What is stored of a user by a strategy is a mean, or a sum over events, or as large as a judgement: times this, its norm.
const NORM_MAX: f64 = 10.0;

/// The greatest norm of what is stored of any user by each strategy, each within [`NORM_MAX`].
fn assert_norms(connection: &mut Connection, judgement: f64) -> BTreeMap<String, f64> {
    let mut norms = BTreeMap::new();
    for user in 0..USERS {
        let profile = connection.ask(&ProfileGet { user: Id::Int(user), recent_max: 0, factors: true }).expect("known");
        let bound = NORM_MAX * (1.0 + profile.events as f64 + judgement);
        for arm in profile.arms {
            let norm = arm.factor.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            assert!(norm <= bound, "{}, user {user}: norm {norm} over {bound}", arm.strategy);
            let most = norms.entry(arm.strategy).or_insert(norm);
            *most = most.max(norm);
        }
    }
    norms
}

/// Half of the events before there is an item model, half with one.
fn no_update_makes_anything_infinite(scale: Option<(f32, f32)>) {
    let judgement = scale.map_or(1e9, |(_, high)| f64::from(high));
    for (strategies, least) in [(&CHEAP[..], number("UPDATES", 50_000)), (&SOME[..], number("UPDATES", 4_000))] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = start(dir.path(), scale, strategies);
        let mut connection = Connection::open(server.addr);
        let mut sent = teach(&mut connection, least / 2);
        connection.ask(&Refit { seed: 1 }).expect("an item model");
        sent += teach(&mut connection, least / 2);
        for user in 0..USERS {
            assert_finite(&mut connection, &Id::Int(user), strategies);
        }
        assert_scores_finite(&mut connection, strategies);
        let norms = assert_norms(&mut connection, judgement);
        println!("seed 23, scale {scale:?}: {least} learned of {sent} events, greatest norms {norms:.3?}");
        stop(server, connection);
    }
}

#[test]
fn no_update_makes_anything_stored_infinite() {
    no_update_makes_anything_infinite(Some((1.0, 5.0)));
}

/// The built-in kind `rate` has no scale: any value up to the limit is a judgement.
#[test]
fn no_judgement_without_a_scale_makes_anything_stored_infinite() {
    no_update_makes_anything_infinite(None);
}

/// What the events of one run are like.
#[derive(Clone, Copy)]
struct Sort {
    name: &'static str,
    /// Times a number from 1 to 5.
    unit: f32,
    /// Every other event is so much older than now.
    age_ms: i64,
}

const DAY_MS: i64 = 86_400_000;

/// The first is what others are compared with. `tiny` ones are the smallest that are not subnormal: products of them are.
/// `faded` is so late that by the half-life of `decay` (30 days) its weight is subnormal; that of `late` is small, and is not.
const SORTS: [Sort; 5] = [
    Sort { name: "normal", unit: 1.0, age_ms: 0 },
    Sort { name: "subnormal", unit: f32::MIN_POSITIVE / 16.0, age_ms: 0 },
    Sort { name: "tiny", unit: f32::MIN_POSITIVE, age_ms: 0 },
    Sort { name: "late", unit: 1.0, age_ms: 30 * 60 * DAY_MS },
    Sort { name: "faded", unit: 1.0, age_ms: 30 * 135 * DAY_MS },
];

fn batch(sort: Sort, rng: &mut Rng, now_ms: i64) -> EventBatch {
    let event = |at| Event {
        event_id: Id::Int(0),
        user: Id::Int(rng.below(2_000)),
        item: Id::Int(rng.below(500)),
        kind: pick(&[4, 5], rng),
        value: sort.unit * (1.0 + rng.below(5) as f32),
        time_ms: now_ms - if at % 2 == 0 { sort.age_ms } else { 0 },
    };
    EventBatch { durability: 1, want: 0, events: (0..BATCH).map(event).collect() }
}

/// What is measured together.
const SETS: [&[&str]; 4] = [&["decay"], &["biased_mf"], &CHEAP, &["auto"]];

/// Turns of a measurement; the first does not count.
const TURNS: usize = 7;

/// Seconds that each sort took, in turns, each on a runner of its own; prints events a second and their ratios to the first.
fn measure<R>(
    strategies: &[&str],
    start: impl FnMut(&Sort) -> R,
    run: impl Fn(&mut R, &EventBatch) -> Duration,
) -> Vec<R> {
    let (per_turn, now_ms) = (number("BATCHES", 10), now_ms());
    let mut runners: Vec<R> = SORTS.iter().map(start).collect();
    let mut rngs = SORTS.map(|_| Rng::new(5));
    let mut speeds = SORTS.map(|_| Vec::new());
    for turn in 0..TURNS {
        for (at, sort) in SORTS.iter().enumerate() {
            let took: Duration =
                (0..per_turn).map(|_| run(&mut runners[at], &batch(*sort, &mut rngs[at], now_ms))).sum();
            if turn > 0 {
                speeds[at].push((per_turn * BATCH) as f64 / took.as_secs_f64());
            }
        }
    }
    let medians = speeds.map(|mut speeds| {
        speeds.sort_by(f64::total_cmp);
        speeds[speeds.len() / 2]
    });
    for (sort, speed) in SORTS.iter().zip(medians) {
        println!("{strategies:?} {}: {speed:.0} events/s, {:.2} of normal", sort.name, speed / medians[0]);
    }
    runners
}

/// Through a server, where values that are subnormal become 0. `MIRRA_HOSTILE_BATCHES=100` sends so many a turn.
#[test]
#[ignore = "a measurement: it prints, and nothing is decided by it"]
fn throughput_of_subnormal_values() {
    for strategies in SETS {
        let begin = |_: &Sort| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let server = start(dir.path(), None, strategies);
            let connection = Connection::open(server.addr);
            (dir, server, connection)
        };
        let runners = measure(strategies, begin, |(_, _, connection), batch| {
            let began = Instant::now();
            let learned = connection.ask(batch).expect("learned").accepted;
            assert_eq!(u64::from(learned), BATCH);
            began.elapsed()
        });
        runners.into_iter().for_each(|(_, server, connection)| stop(server, connection));
    }
}

/// In a shard alone, which gets subnormal values as they are: nothing else hides what they cost. Not of `auto`: in a server,
/// too, nearly all of its time is learning, and taught in step it takes minutes.
#[test]
#[ignore = "a measurement: it prints, and nothing is decided by it"]
fn learning_of_subnormal_values() {
    for strategies in &SETS[..3] {
        let begin = |_: &Sort| {
            let strategies = strategies.iter().map(|name| Strategy::default_named(name).expect("listed")).collect();
            Shard::new(0, state::Options { strategies, schema: schema(None), ..state::Options::default() })
        };
        measure(strategies, begin, |shard, batch| {
            let began = Instant::now();
            for event in &batch.events {
                let Event { user, item, kind, value, time_ms, .. } = event;
                let (user, item) = (user.as_ref(), item.as_ref());
                shard.apply(&Op::Event(model::Event {
                    event_id: 0,
                    user,
                    item,
                    kind: *kind,
                    value: *value,
                    time_ms: *time_ms,
                }));
            }
            began.elapsed()
        });
    }
}
