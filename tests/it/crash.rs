//! kill -9 at random moments under load: what was acknowledged as journaled is there, once, to the bit.
//!
//! One connection streams batches of events with ids, several in flight; the process is killed at a random moment, some
//! of the times while it starts. After the restart the newest acknowledged events are sent again (each must be known) and
//! the unacknowledged ones as well (each counts once, whether it had been journaled or not). Then every profile is
//! compared with an oracle: a machine in this process that learned the same events in the same order, once.
//!
//! `MIRRA_CRASH_CYCLES` sets the number of kills (50; a tenth for `auto`), `MIRRA_SEED` the seed.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use mirra::base::{Id, IdRef, Rng};
use mirra::learn::Strategy;
use mirra::learn::auto::Training;
use mirra::model::{Attributes, Event as ModelEvent};
use mirra::model::{Kind, Schema};
use mirra::state::{Op, Options, Shard};
use mirra::wire::commands::{Digest, EventBatch, ItemUpsert, Metrics, Predict, ProfileGet, Snapshot, Stats};
use mirra::wire::types::Event;
use mirra::wire::{HEADER_BYTES, Header, Status, put_request};

use crate::support::{Connection, ServeProcess};

const USERS: u64 = 200;
const ITEMS: u64 = 150;
const BATCH: u64 = 64;
const IN_FLIGHT: u64 = 4;
const HISTORY: usize = 64;

/// The n-th event of the stream: everything follows from its number. With several shards none is rated: what a rating
/// weighs depends on the ratings of the same shard.
fn event(n: u64, rated: bool) -> Event {
    let mut rng = Rng::new(n);
    let (user, item) = (Id::Int(rng.below(USERS)), Id::Int(rng.below(ITEMS)));
    let (kind, value) = if rated && n.is_multiple_of(3) { (5, 1.0 + rng.below(5) as f32) } else { (1, 1.0) };
    Event { event_id: Id::Int(n + 1), user, item, kind, value, time_ms: 1_700_000_000_000 + n as i64 }
}

fn batch(from: u64, to: u64, rated: bool) -> EventBatch {
    EventBatch { durability: 2, want: 0, events: (from..to).map(|n| event(n, rated)).collect() }
}

/// What was answered and what the oracle has learned.
struct Ledger {
    /// Events below are acknowledged.
    acknowledged: u64,
    /// Events below have been sent.
    sent: u64,
    learned: u64,
    /// Whether the stream has ratings.
    rated: bool,
    oracle: Shard,
}

impl Ledger {
    fn learn_to(&mut self, to: u64) {
        for n in self.learned..to {
            let Event { event_id, user, item, kind, value, time_ms } = event(n, self.rated);
            let (user, item) = (user.as_ref(), item.as_ref());
            let event_id = event_id.as_ref().stable_hash();
            self.oracle.apply(&Op::Event(ModelEvent { event_id, user, item, kind, value, time_ms }));
        }
        self.learned = to;
    }
}

#[test]
fn one_shard() {
    run(1, &["biased_mf", "decay", "mean", "popularity"], cycles_of(50), End::Kill);
}

/// As many as `MIRRA_CRASH_CYCLES` says in the place of 50.
fn cycles_of(cycles: u64) -> u64 {
    cycles * number("MIRRA_CRASH_CYCLES", 50) / 50
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// A service manager that stops it: what is under way is answered, and nothing is lost, whatever level it was promised.
#[test]
fn terminated_under_load() {
    let ends = run(2, &["decay", "popularity"], 5, End::Terminate);
    assert!(ends.acknowledged > 0 && ends.end_ms.iter().all(|ms| *ms < 10_000.0), "{ends:?}");
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `kill -9`.
    Kill,
    /// SIGTERM: it ends by itself, and well.
    Terminate,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Ends {
    /// Events acknowledged.
    pub acknowledged: u64,
    /// Starts that were cut short.
    pub starts_cut_short: u64,
    /// How long each start took until the port answered, and each end that was asked for, in milliseconds.
    pub start_ms: Vec<f64>,
    pub end_ms: Vec<f64>,
}

/// `auto`, while a teacher's versions and automatic refits come into the journal at moments of their own: what replay makes of
/// them is what was there, to the bit. A tenth of the kills: every one of them is followed by another, at rest.
#[test]
fn auto_while_it_is_taught() {
    run(1, &["auto"], cycles_of(5), End::Kill);
}

/// With several shards the item side of `biased_mf` depends on when parcels meet, so profiles over an item model are
/// compared; counts and histories in any case.
#[test]
fn two_shards() {
    run(2, &["decay", "mean", "popularity"], cycles_of(50), End::Kill);
}

pub fn run(shards: u16, strategies: &[&str], cycles: u64, end: End) -> Ends {
    let seed = number("MIRRA_SEED", 1);
    let mut ends = Ends::default();
    let taught = strategies.contains(&"auto");
    println!("seed {seed}, {cycles} times {end:?}, {shards} shards");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("mirra.toml");
    let text = format!(
        "[shards]\ncount = {shards}\n[strategy]\nactive = {strategies:?}\n[history]\nevents_max = {HISTORY}\n\
         [journal]\nsegment_bytes = 8388608\n[log]\nlevel = \"warn\"\n\
         [ranker]\ncpu_share = 1.0\nsample_share = 0.5\n[refit]\nautomatic = {taught}\n"
    );
    std::fs::write(&config, text).expect("a configuration");
    let data_dir = dir.path().join("data");
    let mut rng = Rng::new(seed);
    let mut ledger = Ledger { acknowledged: 0, sent: 0, learned: 0, rated: shards == 1, oracle: oracle(strategies) };
    let arguments = ["--config", config.to_str().expect("a UTF-8 path")];
    for cycle in 0..cycles {
        if cycle > 0 && rng.below(5) == 0 {
            kill_while_starting(&data_dir, &arguments, Duration::from_millis(rng.below(100)));
            ends.starts_cut_short += 1;
        }
        let began = Instant::now();
        let mut server = ServeProcess::start(&data_dir, &arguments);
        ends.start_ms.push(1_000.0 * began.elapsed().as_secs_f64());
        let mut door = Connection::open(server.addr);
        if cycle == 0 {
            tag_items(&mut door, &mut ledger.oracle);
        }
        resend(&mut door, &mut ledger, cycle);
        compare(&mut door, &mut ledger.oracle, shards, cycle);
        if rng.below(4) == 0 {
            door.ask(&Snapshot {}).expect("SNAPSHOT");
        }
        if taught {
            (server, door) = killed_at_rest(server, door, (&data_dir, &arguments), cycle);
        }
        let after = Duration::from_millis(if taught { 300 } else { 5 } + rng.below(120));
        std::thread::scope(|scope| {
            let load = scope.spawn(|| stream_until_broken(&mut door, &mut ledger));
            std::thread::sleep(after);
            match end {
                End::Kill => server.kill(),
                End::Terminate => ends.end_ms.push(1_000.0 * server.terminate().as_secs_f64()),
            }
            load.join().expect("the load ends with the connection");
        });
    }
    if taught {
        let operations = ledger.oracle.sequence();
        let server = ServeProcess::start(&data_dir, &arguments);
        let mut door = Connection::open(server.addr);
        // On a busy machine the refit, which is of low priority, may not have come to an end before any kill.
        let until = Instant::now() + Duration::from_secs(120);
        while stat(&mut door, "epoch") == 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(200));
        }
        let (sequence, _) = digest(&mut door);
        let epoch = stat(&mut door, "epoch");
        // Those of the oracle are events and tags; beside them there are epochs, and versions of the teacher.
        println!("{sequence} operations in the journal, {operations} of them by clients, epoch {epoch}");
        assert!(epoch > 0 && sequence > ledger.acknowledged + ITEMS + epoch, "refitted and taught");
    }
    println!(
        "{} events acknowledged and {} sent over {cycles} ends: lost 0, twice 0",
        ledger.acknowledged, ledger.sent
    );
    assert!(ledger.acknowledged > cycles * BATCH, "the load was real");
    Ends { acknowledged: ledger.acknowledged, ..ends }
}

fn oracle(strategies: &[&str]) -> Shard {
    let named = |name: &&str| Strategy::default_named(name).expect("listed");
    let kind = |code, name: &str, weight, explicit| Kind { explicit, ..Kind::new(code, name, weight) };
    let options = Options {
        strategies: strategies.iter().map(named).collect(),
        schema: Schema::of([kind(1, "view", 0.2, false), kind(5, "rate", 1.0, true)]),
        history_max: HISTORY,
        training: Training::Apart,
        ..Options::default()
    };
    Shard::new(0, options)
}

/// Gives every item tags, so that vectors of epoch 0 are not zero; waits until every shard knows.
fn tag_items(door: &mut Connection, oracle: &mut Shard) {
    for item in 0..ITEMS {
        let tags = vec![format!("genre-{}", item % 7), format!("maker-{}", item % 11)];
        let names: Vec<&str> = tags.iter().map(String::as_str).collect();
        let (id, attributes) = (IdRef::Int(item), Attributes::default());
        oracle.apply(&Op::ItemUpsert { item: id, time_ms: 1, tags: names, attributes });
        let upsert = ItemUpsert { item: Id::Int(item), time_ms: 1, tags, attributes: Vec::new(), durability: 2 };
        door.ask(&upsert).expect("ITEM_UPSERT");
    }
    std::thread::sleep(Duration::from_millis(500));
}

/// Kills the server when nothing is under way; what comes back is what was there, ranker and item model included.
fn killed_at_rest(
    server: ServeProcess,
    mut door: Connection,
    (data_dir, arguments): (&Path, &[&str]),
    cycle: u64,
) -> (ServeProcess, Connection) {
    let mut before = digest(&mut door);
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        std::thread::sleep(Duration::from_millis(700)); // longer than a teacher's pause and a look whether a refit is due
        let now = digest(&mut door);
        if now == before {
            break;
        }
        before = now;
        assert!(Instant::now() < until, "kill {cycle}: no rest");
    }
    server.kill();
    let server = ServeProcess::start(data_dir, arguments);
    let mut door = Connection::open(server.addr);
    assert_eq!(digest(&mut door), before, "kill {cycle}: sequence and digest after a kill at rest");
    (server, door)
}

/// Sequence and digest of the one shard.
fn digest(door: &mut Connection) -> (u64, u64) {
    let shards = door.ask(&Digest {}).expect("DIGEST").shards;
    (shards[0].sequence, shards[0].digest)
}

fn stat(door: &mut Connection, name: &str) -> u64 {
    let stats = door.ask(&Stats {}).expect("STATS").stats;
    stats.iter().find(|stat| stat.name == name).map_or(0, |stat| stat.value as u64)
}

/// Starts the server and kills it before it may be ready.
fn kill_while_starting(data_dir: &Path, arguments: &[&str], after: Duration) {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_mirra"));
    program.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).args(arguments);
    program.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = program.spawn().expect("the program starts");
    std::thread::sleep(after);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// Sends again what was acknowledged last (it must be known) and what was not (it may be).
fn resend(door: &mut Connection, ledger: &mut Ledger, cycle: u64) {
    let from = ledger.acknowledged.saturating_sub(4 * BATCH);
    if from < ledger.acknowledged {
        let reply = door.ask(&batch(from, ledger.acknowledged, ledger.rated)).expect("known events");
        assert_eq!((reply.accepted, reply.rejected), (0, 0), "kill {cycle}: acknowledged events are known");
    }
    if ledger.acknowledged < ledger.sent {
        let reply =
            door.ask(&batch(ledger.acknowledged, ledger.sent, ledger.rated)).expect("events whose fate is open");
        assert_eq!(u64::from(reply.accepted + reply.duplicates), ledger.sent - ledger.acknowledged, "kill {cycle}");
    }
    ledger.acknowledged = ledger.sent;
    ledger.learn_to(ledger.sent);
}

fn compare(door: &mut Connection, oracle: &mut Shard, shards: u16, cycle: u64) {
    let taught = oracle.arm_named("auto").is_some();
    let learned = door.ask(&Metrics { strategy: String::new() }).expect("METRICS").strategies[0].events;
    assert_eq!(learned, oracle.event_count(), "kill {cycle}: every event once");
    for user in 0..USERS {
        let user = IdRef::Int(user);
        let Some(expected) = oracle.profile(user, true) else { continue };
        let get = ProfileGet { user: user.to_owned(), recent_max: u16::MAX, factors: true };
        let found = door.ask(&get).expect("known");
        let facts = (found.version, found.events, found.first_ms, found.last_ms);
        let known = expected.user;
        assert_eq!(facts, (known.version, known.events, known.first_ms, known.last_ms), "kill {cycle}, user {user}");
        for (found, expected) in found.arms.iter().zip(&expected.arms) {
            let bits = |factor: &[f32]| factor.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found.factor), bits(&expected.factor), "kill {cycle}, user {user}, {}", found.strategy);
        }
        // After a refit, which comes when it comes, a user's bits say in which epoch they were touched.
        if shards == 1 && !taught {
            assert_eq!(found.digest, expected.digest, "kill {cycle}, user {user}");
        }
        let times: Vec<i64> = known.history.newest_first().map(|entry| entry.time_ms).collect();
        let found: Vec<i64> = found.recent.iter().map(|event| event.time_ms).collect();
        assert_eq!(found, times, "kill {cycle}, user {user}");
        if taught {
            // Values are foretold from events alone, whatever ranker and item model there have been.
            let items: Vec<Id> = (0..ITEMS).step_by(50).map(Id::Int).collect();
            let request = Predict { user: user.to_owned(), items: items.clone(), strategy: String::new() };
            let found = door.ask(&request).expect("PREDICT").scores;
            let expected = oracle.predict(0, user, &items);
            let bits = found.iter().map(|found| found.score.to_bits());
            assert!(bits.eq(expected.iter().map(|expected| expected.score.to_bits())), "kill {cycle}, user {user}");
        }
    }
}

/// Keeps batches in flight until the connection breaks.
fn stream_until_broken(door: &mut Connection, ledger: &mut Ledger) {
    let began = Instant::now();
    let stream = &mut door.stream;
    let mut in_flight = 0;
    loop {
        while in_flight < IN_FLIGHT {
            let mut bytes = Vec::new();
            put_request(&mut bytes, 1_000 + ledger.sent, &batch(ledger.sent, ledger.sent + BATCH, ledger.rated))
                .expect("a batch");
            ledger.sent += BATCH; // counted before it is written: a part may arrive
            if stream.write_all(&bytes).is_err() {
                return;
            }
            in_flight += 1;
        }
        match read_status(stream) {
            Some(status) => assert_eq!(status, Status::Ok),
            None => return,
        }
        in_flight -= 1;
        ledger.acknowledged += BATCH;
        assert!(began.elapsed() < Duration::from_secs(30), "the kill came long ago");
    }
}

/// Status of the next reply; `None` when the connection is broken.
fn read_status(stream: &mut TcpStream) -> Option<Status> {
    let mut raw = [0; HEADER_BYTES];
    let mut read = |into: &mut [u8]| match stream.read_exact(into) {
        Ok(()) => Some(()),
        Err(error) => {
            assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "no reply and no end");
            None
        }
    };
    read(&mut raw)?;
    let header = Header::decode(raw);
    let mut body = vec![0; header.length as usize];
    read(&mut body)?;
    Status::from_number(header.code)
}
