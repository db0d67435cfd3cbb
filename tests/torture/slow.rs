//! A device that takes seconds to sync: the server in this process, on the machine's disk with syncs that sleep first.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mirra::base::{Id, Rng};
use mirra::learn::Strategy;
use mirra::server;
use mirra::storage::disk::Lock;
use mirra::storage::{Disk, DiskFile, JournalOptions, OsDisk};
use mirra::wire::Status;
use mirra::wire::commands::{EventBatch, EventPut, ProfileGet};
use mirra::wire::types::Event;
use serde_json::json;

use crate::crowds::event;
use crate::process::quantile;
use crate::support::{Connection, TestServer, options};
use crate::{Found, Work};

#[path = "../sim/watched.rs"]
#[allow(dead_code, reason = "other tests look at other calls")]
mod watched;
use watched::{Call, Watch, WatchedDisk};

const SHARDS: u16 = 2;
const USERS: u64 = 2_000;

/// Events that wait for one shard at most.
const QUEUE: usize = 16_384;

/// How many times the quiet p99 the one of reads may be.
const READS_RATIO: f64 = 2.0;

/// The machine's device, whose syncs take 1 to 5 seconds more while it is slow.
#[derive(Debug)]
struct Device {
    slow: AtomicBool,
    rng: Mutex<Rng>,
    /// Of each shard's journal: when syncs began and ended.
    syncs: [Mutex<Vec<(Instant, Instant)>>; SHARDS as usize],
}

impl Watch for Device {
    fn before(&self, call: Call<'_>) -> io::Result<()> {
        let Call::Sync(path) = call else { return Ok(()) };
        let began = Instant::now();
        if self.slow.load(Ordering::Relaxed) {
            let ms = 1_000 + self.rng.lock().expect("no panic").below(4_000);
            std::thread::sleep(Duration::from_millis(ms));
        }
        match path.is_dir() {
            true => OsDisk.sync_dir(path)?,
            false => OsDisk.sync_file(path)?,
        }
        let of = |shard: &usize| path.to_string_lossy().contains(&format!("shard-{shard:03}/"));
        if let Some(shard) = (0..self.syncs.len()).find(of) {
            self.syncs[shard].lock().expect("no panic").push((began, Instant::now()));
        }
        Ok(())
    }
}

/// A connection that waits for as long as some syncs take, one after another.
fn patient(addr: SocketAddr) -> Connection {
    let door = Connection::open(addr);
    door.stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
    door
}

/// What all who ask add to.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
    deepest: AtomicU64,
    reads_us: Mutex<Vec<f64>>,
    /// Of writes acknowledged as durable: the shard, when it was sent, when it was answered.
    durable: Mutex<Vec<(u16, Instant, Instant)>>,
}

impl Tally {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

/// Batches at this level, one after another: what is not taken is OVERLOADED.
fn write_batches(addr: SocketAddr, durability: u8, events: u64, pause: Duration, tally: &Tally) {
    let mut door = patient(addr);
    let mut rng = Rng::new(events);
    while tally.goes_on() {
        let events: Vec<Event> = (0..events).map(|_| event(rng.below(USERS), rng.below(500))).collect();
        let sent = events.len() as u64;
        match door.ask(&EventBatch { durability, want: 0, events }) {
            Ok(reply) => {
                let overloaded = |error: &mirra::wire::types::EventError| error.status == Status::Overloaded.number();
                assert!(reply.errors.iter().all(overloaded), "{:?}", reply.errors.first());
                tally.accepted.fetch_add(reply.accepted.into(), Ordering::Relaxed);
                tally.refused.fetch_add(reply.rejected.into(), Ordering::Relaxed);
            }
            Err((Status::Overloaded, _)) => drop(tally.refused.fetch_add(sent, Ordering::Relaxed)),
            Err(refusal) => panic!("{refusal:?}"),
        }
        std::thread::sleep(pause);
    }
}

/// Single events that are to survive the loss of power.
fn write_durably(addr: SocketAddr, user: u64, tally: &Tally) {
    let mut door = patient(addr);
    while tally.goes_on() {
        let sent = Instant::now();
        let reply = door.ask(&EventPut { event: event(user, user), durability: 3 }).expect("it is taken");
        assert_eq!(reply.durability, 3, "it says what it reached");
        tally.durable.lock().expect("no panic").push((reply.shard, sent, Instant::now()));
        tally.accepted.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read(addr: SocketAddr, tally: &Tally) {
    let mut door = Connection::open(addr);
    let mut latencies = Vec::new();
    for user in (0..USERS).cycle() {
        if !tally.goes_on() {
            break;
        }
        let began = Instant::now();
        door.ask(&ProfileGet { user: Id::Int(user), recent_max: 10, factors: false }).expect("reads go on");
        latencies.push(1e6 * began.elapsed().as_secs_f64());
        if latencies.len().is_multiple_of(50) {
            let deepest = door.stat("queued") as u64;
            tally.deepest.fetch_max(deepest, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    tally.reads_us.lock().expect("no panic").extend(latencies);
}

/// A steady load for so long, with `floods` connections more that write as much as they can.
fn load(addr: SocketAddr, seconds: f64, floods: usize) -> Tally {
    let tally = Tally::default();
    std::thread::scope(|scope| {
        let tally = &tally;
        scope.spawn(move || read(addr, tally));
        scope.spawn(move || write_batches(addr, 2, 100, Duration::from_millis(5), tally));
        (0..8).for_each(|user| drop(scope.spawn(move || write_durably(addr, user, tally))));
        (0..floods).for_each(|_| drop(scope.spawn(move || write_batches(addr, 3, 1_000, Duration::ZERO, tally))));
        std::thread::sleep(Duration::from_secs_f64(seconds));
        tally.over.store(true, Ordering::Relaxed);
    });
    tally
}

/// Acknowledgements of durable writes before which no sync of that shard had begun and ended since they were sent.
fn faked(device: &Device, tally: &Tally) -> usize {
    let syncs = device.syncs.each_ref().map(|syncs| syncs.lock().expect("no panic").clone());
    let covered = |(shard, sent, answered): &(u16, Instant, Instant)| {
        syncs[usize::from(*shard)].iter().any(|(began, ended)| began >= sent && ended <= answered)
    };
    tally.durable.lock().expect("no panic").iter().filter(|answer| !covered(answer)).count()
}

/// D16: reads go on as before while a sync takes 1 to 5 s; durable writes are answered late and truly; what waits is bounded.
pub fn disk(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let syncs = [const { Mutex::new(Vec::new()) }; SHARDS as usize];
    let device = Arc::new(Device { slow: AtomicBool::new(false), rng: Mutex::new(Rng::new(work.seed)), syncs });
    let with = |disk: Arc<dyn Disk>| {
        let mut options = options(dir.path());
        (options.disk, options.queue_events_max, options.state.shards) = (disk, QUEUE, SHARDS);
        options.state.strategies = vec![Strategy::default_named("decay").expect("a strategy")];
        // Small ones, so that some become full while syncs are slow.
        options.journal = JournalOptions { segment_bytes: 4 << 20, ..JournalOptions::default() };
        options
    };
    let server = TestServer::start_with(with(Arc::new(WatchedDisk(Arc::clone(&device)))), server::Options::default());
    let seconds = (30.0 * work.share).max(6.0);
    let everybody = EventBatch { durability: 2, want: 0, events: (0..USERS).map(|user| event(user, user)).collect() };
    let first = Connection::open(server.addr).ask(&everybody).expect("an idle server takes them").accepted;
    let quiet = load(server.addr, seconds, 0);
    device.slow.store(true, Ordering::Relaxed);
    let slow = load(server.addr, seconds, 0);
    let flooded = load(server.addr, seconds, 48);
    device.slow.store(false, Ordering::Relaxed);
    let faked: usize = [&quiet, &slow, &flooded].map(|tally| faked(&device, tally)).iter().sum();
    server.stop();
    let server = TestServer::start(with(Arc::new(OsDisk)));
    let mut door = Connection::open(server.addr);
    let known: u64 = (0..USERS)
        .filter_map(|user| door.ask(&ProfileGet { user: Id::Int(user), recent_max: 0, factors: false }).ok())
        .map(|profile| profile.events)
        .sum();
    drop(door);
    server.stop();
    let accepted = [&quiet, &slow, &flooded].map(|tally| tally.accepted.load(Ordering::Relaxed));
    let accepted = u64::from(first) + accepted.iter().sum::<u64>();
    let reads_ms = |tally: &Tally| quantile(&tally.reads_us.lock().expect("no panic"), 0.99) / 1e3;
    let waited_ms = |tally: &Tally| {
        let waits = tally.durable.lock().expect("no panic");
        let waits: Vec<f64> = waits.iter().map(|(_, sent, told)| 1e3 * (*told - *sent).as_secs_f64()).collect();
        json!({ "count": waits.len(), "p50": quantile(&waits, 0.5), "max": quantile(&waits, 1.0) })
    };
    let ratio = reads_ms(&slow) / reads_ms(&quiet);
    let (deepest, refused) = (flooded.deepest.load(Ordering::Relaxed), flooded.refused.load(Ordering::Relaxed));
    let lost = accepted.abs_diff(known);
    let figures = json!({
        "reads_p99_ms": { "quiet": reads_ms(&quiet), "slow": reads_ms(&slow), "slow_and_flooded": reads_ms(&flooded) },
        "ratio": ratio, "ratio_goal": READS_RATIO,
        "durable_ms": { "quiet": waited_ms(&quiet), "slow": waited_ms(&slow), "slow_and_flooded": waited_ms(&flooded) },
        "durable_faked": faked, "accepted": accepted, "lost": lost,
        "shed": { "quiet": quiet.refused.load(Ordering::Relaxed), "slow": slow.refused.load(Ordering::Relaxed),
            "slow_and_flooded": refused },
        "deepest_queues": deepest, "queue_limit": QUEUE * usize::from(SHARDS),
    });
    let bounded = deepest as usize <= QUEUE * usize::from(SHARDS) && refused > 0;
    (ratio <= READS_RATIO && faked == 0 && lost == 0 && bounded, figures)
}
