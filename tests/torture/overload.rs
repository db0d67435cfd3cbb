//! Bars of overload: more than a shard can learn, more than memory holds, and what makes a shard panic.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mirra::base::{Id, IdRef, Routing, SystemClock};
use mirra::engine::{self, Engine, Options, TurnError};
use mirra::learn::Strategy;
use mirra::model::Durability;
use mirra::server::{self, Server};
use mirra::shard::{Answer, Query, Refusal, Step, StepDone};
use mirra::telemetry::Metric;
use mirra::wire::Status;
use mirra::wire::commands::{EventBatch, ProfileGet};
use serde_json::{Value, json};

use crate::load::{figure, load, pin, pins};
use crate::process::quantile;
use crate::support::{Connection, ServeProcess, event};
use crate::{Found, Work};

/// Events of one request, connections, and how long a request may wait.
const BATCH: &str = "16";
const CONNECTIONS: &str = "16";
const DEADLINE_MS: &str = "5";

/// Seconds after the load within which all is to be as before.
const AGAIN_S: f64 = 5.0;

/// An open loop at so many events a second, for so many seconds.
fn offered(server: &ServeProcess, rate: f64, seconds: f64) -> Value {
    let (rate, seconds) = (format!("{rate:.0}"), format!("{seconds:.1}"));
    let shape = ["--batch", BATCH, "--connections", CONNECTIONS, "--deadline-ms", DEADLINE_MS];
    load(server, &[&shape[..], &["--rate", &rate, "--seconds", &seconds]].concat())
}

fn told(report: &Value) -> Value {
    json!({
        "goodput": figure(report, &["events_per_s"]),
        "p50_ms": figure(report, &["latency_us", "p50"]) / 1e3,
        "p99_ms": figure(report, &["latency_us", "p99"]) / 1e3,
        "refused": figure(report, &["overloaded"]),
        "refused_p50_ms": figure(report, &["overloaded_latency_us", "p50"]) / 1e3,
        "refused_p99_ms": figure(report, &["overloaded_latency_us", "p99"]) / 1e3,
        "errors": figure(report, &["errors"]),
    })
}

/// O1: one shard with the default strategy on one core, the load on the other. What it can learn is found in the closed loop;
/// then 0.7, 1, 2 and 4 times as much is offered, and 0.7 times again.
pub fn open_loop(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = ServeProcess::start(dir.path(), &["--shards", "1"]);
    pin(&server);
    let seconds = (60.0 * work.share).max(4.0);
    let shape = ["--batch", BATCH, "--connections", "4", "--in-flight", "4", "--seconds"];
    // Users come to be known first: what is new costs otherwise than what is known.
    let capacity = figure(&load(&server, &[&shape[..], &["15"]].concat()), &["events_per_s"]);
    let quiet = offered(&server, 0.7 * capacity, seconds);
    let loaded: Vec<Value> = [1.0, 2.0, 4.0].map(|times| offered(&server, times * capacity, seconds)).into();
    let resident = server.status_bytes("VmHWM");
    let again = offered(&server, 0.7 * capacity, AGAIN_S);
    server.stop();
    let goodput = |report: &Value| figure(report, &["events_per_s"]);
    let p99 = |report: &Value| figure(report, &["latency_us", "p99"]);
    let peak = loaded.iter().map(goodput).fold(goodput(&quiet), f64::max);
    let kept = goodput(&loaded[2]) / peak;
    let slower = p99(&loaded[2]) / p99(&quiet);
    let refused_ms = figure(&loaded[2], &["overloaded_latency_us", "p99"]) / 1e3;
    let refused_share = |report: &Value, seconds: f64| {
        figure(report, &["overloaded"]) / (figure(report, &["requests_per_s"]) * seconds)
    };
    let [share_quiet, share_again] = [refused_share(&quiet, seconds), refused_share(&again, AGAIN_S)];
    let recovered = share_again <= 0.01 && p99(&again) <= 1.5 * p99(&quiet);
    let figures = json!({
        "pinned": pins(),
        "capacity": capacity,
        "seconds_each": seconds,
        "at_0.7": told(&quiet),
        "at_1": told(&loaded[0]),
        "at_2": told(&loaded[1]),
        "at_4": told(&loaded[2]),
        "at_0.7_again": told(&again),
        "goodput_of_peak_at_4": kept, "goodput_goal": 0.9,
        "p99_of_that_at_0.7": slower, "p99_goal": 3.0,
        "refused_p99_ms_at_4": refused_ms, "refused_goal_ms": 5.0,
        "resident_mib": resident >> 20,
        "refused_share_at_0.7": [share_quiet, share_again], "back_to_normal": recovered,
    });
    (kept >= 0.9 && slower <= 3.0 && refused_ms <= 5.0 && recovered, figures)
}

fn one_write(ops: &[u8]) -> Vec<Step> {
    vec![Step::Write { bytes: ops.len(), count: 1, durability: Durability::Journaled, each: false }]
}

fn engine_options(dir: &Path, shards: u16) -> Options {
    let mut options = crate::support::options(dir);
    (options.state.shards, options.state.routing) = (shards, Routing::Plain);
    options.state.strategies = vec![Strategy::default_named("decay").expect("a strategy")];
    options
}

/// O2: messages thrown at one shard as fast as they can be made: what is sent is what is learned and what is refused, and the
/// queue is never longer than it may be.
pub fn burst(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (options, sent) = (engine_options(dir.path(), 1), work.of(1_000_000));
    let most = options.queue_events_max;
    let found = engine::run(options, Arc::new(SystemClock), |engine| async move {
        let (mut waiting, mut refused, mut deepest) = (Vec::new(), 0_u64, 0);
        for number in 0..sent {
            let ops = event(number % 10_000, number % 100);
            let steps = one_write(&ops);
            match engine.submit(0, ops, steps, 1) {
                Ok(done) => waiting.push(done),
                Err(TurnError::Overloaded { .. }) => refused += 1,
                Err(TurnError::Stopping) => panic!("nobody stops it"),
            }
            deepest = deepest.max(engine.unanswered(0));
        }
        let (accepted, mut learned) = (waiting.len() as u64, 0_u64);
        for done in waiting {
            let done = done.await.expect("an answer").pop();
            learned += u64::from(matches!(done, Some(StepDone::Written(_))));
        }
        let known = engine.events().await.expect("the shard answers");
        (accepted, learned, refused, deepest, known)
    });
    let (accepted, learned, refused, deepest, known) = found.expect("the engine starts");
    let unaccounted = sent.abs_diff(accepted + refused) + accepted.abs_diff(learned) + learned.abs_diff(known);
    let figures = json!({
        "sent": sent, "accepted": accepted, "refused": refused, "learned": known,
        "unaccounted": unaccounted, "deepest_queue": deepest, "queue_limit": most,
    });
    (unaccounted == 0 && deepest <= most && refused > 0, figures)
}

/// One event of each of 1,000 users from `first` on.
fn users_from(first: u64, item: u64) -> EventBatch {
    let event = |user: u64| mirra::wire::types::Event {
        event_id: Id::Int(0),
        user: Id::Int(first + user),
        item: Id::Int(item),
        kind: 0,
        value: 1.0,
        time_ms: 0,
    };
    EventBatch { durability: 0, want: 0, events: (0..1_000).map(event).collect() }
}

/// New users without end over one connection: how many were taken, and how many refused.
fn flood(addr: SocketAddr, number: u64, over: &AtomicBool) -> (u64, u64) {
    let (mut door, mut taken, mut refused) = (Connection::open(addr), 0, 0);
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        match door.ask(&users_from((number << 40) + 1_000 * round, round % 5_000)) {
            Ok(reply) => {
                taken += u64::from(reply.accepted);
                // One shard may have been too busy for its half of a batch; nothing is refused for another reason.
                let of = |status: Status| reply.errors.iter().filter(|error| error.status == status.number()).count();
                let (of_memory, of_load) = (of(Status::Memory), of(Status::Overloaded));
                assert_eq!(of_memory + of_load, reply.rejected as usize, "every refusal has one of two reasons");
                refused += of_memory as u64;
            }
            Err((Status::Memory, _)) => refused += 1_000,
            Err((Status::Overloaded, _)) => {}
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    (taken, refused)
}

/// O8: users without end against a limit of 512 MiB. Users known before go on meanwhile and afterwards.
pub fn memory(work: Work) -> Found {
    const LIMIT: u64 = 512 << 20;
    const KNOWN: u64 = 1 << 60;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let limit = LIMIT.to_string();
    let settings = [("MIRRA__MEMORY__LIMIT_BYTES", limit.as_str())];
    let server = ServeProcess::start_with(dir.path(), &["--shards", "2"], &settings);
    let mut door = Connection::open(server.addr);
    let (mut updates, mut not_taken) = (0_u64, 0_u64);
    let (over, time) = (AtomicBool::new(false), Duration::from_secs_f64((60.0 * work.share).max(20.0)));
    let flooded = std::thread::scope(|scope| {
        let over = &over;
        let floods: Vec<_> = (1..=4).map(|number| scope.spawn(move || flood(server.addr, number, over))).collect();
        let began = Instant::now();
        for round in 0.. {
            match door.ask(&users_from(KNOWN, round % 5)) {
                Ok(reply) => updates += u64::from(reply.accepted),
                Err((status, _)) if status.is_retryable() => not_taken += 1_000,
                Err(refusal) => panic!("{refusal:?}"),
            }
            if began.elapsed() > time {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        over.store(true, Ordering::Relaxed);
        floods.into_iter().map(|flood| flood.join().expect("it ends")).collect::<Vec<_>>()
    });
    let (taken, refused) = flooded.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let profile = door.ask(&ProfileGet { user: Id::Int(KNOWN + 1), recent_max: 100, factors: false });
    let read = profile.expect("a known user is read").events;
    let counted = door.stat("rejected_memory");
    let peak = server.status_bytes("VmHWM");
    drop(door);
    server.stop();
    let of_limit = peak as f64 / LIMIT as f64;
    let figures = json!({
        "limit_mib": LIMIT >> 20, "peak_mib": peak >> 20, "peak_of_limit": of_limit, "goal": 1.05,
        "new_users_taken": taken, "new_users_refused": refused, "counted_as_refused": counted,
        "updates_of_known_users": updates, "of_them_not_taken": not_taken, "events_read_back": read,
    });
    (of_limit <= 1.05 && refused > 0 && counted == refused as f64 && not_taken == 0 && read == updates / 1_000, figures)
}

/// O10: what panics in one shard, 100 times under load. Others are people of the other shard: asked in the process, and over a
/// connection whose thread is that of the shard that panics.
pub fn panics(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let panics = work.of(100).max(5);
    let found = engine::run(engine_options(dir.path(), 2), Arc::new(SystemClock), |engine| async move {
        for shard in 0..2 {
            for user in of(shard) {
                write(&engine, shard, event(user, user % 1_000)).await;
            }
        }
        let door = Server::open(engine.clone(), server::Options::default()).expect("the door opens");
        let others = Others::begin(&engine, door.addr());
        actix_rt::time::sleep(Duration::from_secs(5)).await;
        let quiet = others.felt().await;
        let others = Others::begin(&engine, door.addr());
        let (mut ready_ms, mut lost, mut acknowledged) = (Vec::new(), 0, 0_u64);
        let mut user = of(0).cycle();
        for number in 0..panics {
            for _ in 0..100 {
                acknowledged += u64::from(write(&engine, 0, event(user.next().expect("endless"), 7)).await);
            }
            let before = events(&engine).await;
            let began = Instant::now();
            // Bytes that no door lets through, others each time.
            let mut bytes = vec![0xFF; 9];
            bytes[1..].copy_from_slice(&number.to_le_bytes());
            let steps = one_write(&bytes);
            let done = engine.submit(0, bytes, steps, 1).expect("room").await.expect("an answer").pop();
            assert!(matches!(done, Some(StepDone::Refused(Refusal::Broken))), "{done:?}");
            lost += before.abs_diff(events(&engine).await);
            ready_ms.push(1e3 * began.elapsed().as_secs_f64());
        }
        let during = others.felt().await;
        door.close(Duration::from_secs(5)).await;
        let count = engine.metrics(0).get(Metric::Panics);
        (quiet, during, ready_ms, lost, acknowledged, count)
    });
    let (quiet, during, ready_ms, lost, acknowledged, count) = found.expect("the engine starts");
    let slowest = quantile(&ready_ms, 1.0);
    let felt = |quiet: &[f64], during: &[f64]| {
        let [quiet_us, during_us] = [quiet, during].map(|latencies| quantile(latencies, 0.99));
        let max_us = quantile(during, 1.0);
        json!({ "p99_us_quiet": quiet_us, "p99_us_during": during_us, "max_us_during": max_us, "ratio": during_us / quiet_us })
    };
    let ([asked_quiet, door_quiet], [asked_during, door_during]) = (quiet, during);
    let (asked, door) = (felt(&asked_quiet, &asked_during), felt(&door_quiet, &door_during));
    let ratio = figure(&asked, &["ratio"]).max(figure(&door, &["ratio"]));
    let figures = json!({
        "panics": count, "acknowledged_meanwhile": acknowledged, "events_lost": lost,
        "ready_ms_p50": quantile(&ready_ms, 0.5), "ready_ms_max": slowest, "ready_goal_ms": 5_000.0,
        "writes_of_the_other_shard": asked, "reads_of_it_on_the_thread_of_the_broken": door,
        "ratio": ratio, "ratio_goal": 1.5,
    });
    (lost == 0 && count == panics && slowest <= 5_000.0 && ratio <= 1.5, figures)
}

/// Users of one of two shards.
fn of(shard: u16) -> impl Iterator<Item = u64> + Clone {
    (0..200_000_u64).filter(move |user| IdRef::Int(*user).shard(2) == shard)
}

/// What people of the other shard feel, in microseconds.
struct Others {
    over: Arc<AtomicBool>,
    asking: actix_rt::task::JoinHandle<Vec<f64>>,
    reading: std::thread::JoinHandle<Vec<f64>>,
}

impl Others {
    fn begin(engine: &Engine, addr: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ended, engine) = (Arc::clone(&over), engine.clone());
        let asking = actix_rt::spawn(async move { until(&engine, &ended).await });
        let ended = Arc::clone(&over);
        let reading = std::thread::spawn(move || read_until(addr, &ended));
        Self { over, asking, reading }
    }

    /// Latencies of single events, and of reads through the thread of the shard that panics.
    async fn felt(self) -> [Vec<f64>; 2] {
        self.over.store(true, Ordering::Relaxed);
        [self.asking.await.expect("it ends"), self.reading.join().expect("it ends")]
    }
}

/// Reads of people of shard 1 over the port of shard 0, one after another with a pause.
fn read_until(addr: SocketAddr, over: &AtomicBool) -> Vec<f64> {
    let map = Connection::open(addr).hello.shard_map;
    let own = map.iter().find(|place| place.shard == 0).expect("every shard has a port");
    let mut door = Connection::open(own.addr.parse().expect("an address"));
    let (mut latencies, mut user) = (Vec::new(), of(1).cycle());
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let user = Id::Int(user.next().expect("endless"));
        door.ask(&ProfileGet { user, recent_max: 10, factors: false }).expect("the other shard serves");
        latencies.push(1e6 * began.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_millis(1));
    }
    latencies
}

async fn write(engine: &Engine, shard: u16, ops: Vec<u8>) -> bool {
    let steps = one_write(&ops);
    let done = engine.submit(shard, ops, steps, 1).expect("room").await.expect("an answer").pop();
    matches!(done, Some(StepDone::Written(_)))
}

async fn events(engine: &Engine) -> u64 {
    match engine.ask(0, Query::Events).await {
        Ok(Ok(Answer::Events(events))) => events,
        other => panic!("{other:?}"),
    }
}

/// Latencies of single events of the other shard, in microseconds, one after another with a pause.
async fn until(engine: &Engine, over: &AtomicBool) -> Vec<f64> {
    let (mut latencies, mut user) = (Vec::new(), of(1).cycle());
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        assert!(write(engine, 1, event(user.next().expect("endless"), 9)).await, "the other shard serves");
        latencies.push(1e6 * began.elapsed().as_secs_f64());
        actix_rt::time::sleep(Duration::from_millis(1)).await;
    }
    latencies
}
