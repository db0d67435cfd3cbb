//! Bars of crowds: one user, or one item, that half of all events are about (what is new without end is in `caps`), and many
//! clients that come back at once. The largest answers beside single events are in `answers`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use mirra::base::{Id, IdRef, Rng, Routing};
use mirra::wire::commands::{EventBatch, EventPut, Hello, ProfileGet, RoutingGet, RoutingGetReply};
use mirra::wire::types::Event;
use mirra::wire::{HEADER_BYTES, Header, Status, put_request};
use serde_json::{Value, json};

use crate::load::load;
use crate::process::quantile;
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work, answers, caps};

/// Most that the p99 of others may rise.
pub const RATIO_GOAL: f64 = 1.5;

/// Whom and what the load is about.
const USERS: u64 = 10_000;
const ITEMS: u64 = 2_000;

/// Events of one request of the load, and events a second of all shards: an eighth of what one core learns.
const BATCH: u64 = 16;
const RATE: f64 = 8_000.0;

/// Fits are work of their own, at times of their own.
pub const NO_REFIT: (&str, &str) = ("MIRRA__REFIT__AUTOMATIC", "false");

/// Every event has an id of its own: without one, a second event of a user and an item within a second is a repeat.
static NEXT_EVENT: AtomicU64 = AtomicU64::new(1);

/// An event of a user and an item, now.
pub fn event(user: u64, item: u64) -> Event {
    let event_id = Id::Int(NEXT_EVENT.fetch_add(1, Ordering::Relaxed));
    Event { event_id, user: Id::Int(user), item: Id::Int(item), kind: 0, value: 1.0, time_ms: 0 }
}

/// What half of all events are about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Half {
    /// Nothing in particular.
    Spread,
    /// One user of shard 0.
    OneUser,
    /// One item of shard 0.
    OneItem,
}

const HALVES: [Half; 3] = [Half::Spread, Half::OneUser, Half::OneItem];

/// A server of two shards, from outside: where each answers, and what it owns.
#[derive(Clone, Copy, Debug)]
struct Shards {
    ports: [SocketAddr; 2],
    routing: Routing,
}

impl Shards {
    fn of(server: &ServeProcess) -> Self {
        let mut door = Connection::open(server.addr);
        let RoutingGetReply { rule, key_low, key_high } = door.ask(&RoutingGet {}).expect("it tells");
        let place = |shard: u16| door.hello.shard_map.iter().find(|place| place.shard == shard);
        let port = |shard| place(shard).expect("every shard has a port").addr.parse().expect("an address");
        Self { ports: [0, 1].map(port), routing: Routing::of(rule, [key_low, key_high]).expect("a known rule") }
    }

    /// The numbers up to `count` that a shard owns.
    fn owned(&self, shard: u16, count: u64) -> Vec<u64> {
        (1..=count).filter(|id| self.routing.shard(IdRef::Int(*id), 2) == shard).collect()
    }
}

/// What became of a load.
#[derive(Clone, Copy, Debug, Default)]
struct Poured {
    sent: u64,
    learned: u64,
    late_max_s: f64,
}

/// Events of people of one shard through its own port, at a steady pace.
fn pour(shards: Shards, shard: u16, half: Half, seed: u64, over: &AtomicBool) -> Poured {
    let (people, hot_user, hot_item) =
        (shards.owned(shard, USERS), shards.owned(0, USERS)[0], shards.owned(0, ITEMS)[0]);
    let share = match (half, shard) {
        (Half::OneUser, 0) => 0.75,
        (Half::OneUser, _) => 0.25,
        _ => 0.5,
    };
    let (gap_s, mut rng) = (BATCH as f64 / (RATE * share), Rng::new(seed + u64::from(shard)));
    let mut one = |_| {
        let (mut user, mut item) = (people[rng.below(people.len() as u64) as usize], 1 + rng.below(ITEMS));
        match half {
            // Half of all are two thirds of these.
            Half::OneUser if shard == 0 && rng.below(3) < 2 => user = hot_user,
            Half::OneItem if rng.below(2) == 0 => item = hot_item,
            _ => {}
        }
        event(user, item)
    };
    let mut door = Connection::open(shards.ports[usize::from(shard)]);
    let (mut poured, began) = (Poured::default(), Instant::now());
    for round in 0.. {
        let ahead_s = gap_s * f64::from(round) - began.elapsed().as_secs_f64();
        sleep(Duration::from_secs_f64(ahead_s.max(0.0)));
        if over.load(Ordering::Relaxed) {
            break;
        }
        poured.late_max_s = poured.late_max_s.max(-ahead_s);
        let events = (0..BATCH).map(&mut one).collect();
        let reply = door.ask(&EventBatch { durability: 0, want: 0, events }).expect("there is room");
        (poured.sent, poured.learned) = (poured.sent + BATCH, poured.learned + u64::from(reply.accepted));
    }
    poured
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Default)]
struct Felt {
    puts: Vec<f64>,
    gets: Vec<f64>,
}

/// An event and a read of people of shard 1 through its own port, one after another with a pause.
fn others(shards: Shards, over: &AtomicBool) -> Felt {
    let (mut door, mut felt, people) = (Connection::open(shards.ports[1]), Felt::default(), shards.owned(1, USERS));
    for (user, item) in people.into_iter().cycle().zip((1..=ITEMS).cycle()) {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let put = EventPut { event: event(user, item), durability: 0 };
        felt.puts.push(microseconds(|| {
            door.ask(&put).expect("the other shard serves");
        }));
        let get = ProfileGet { user: Id::Int(user), recent_max: 10, factors: false };
        felt.gets.push(microseconds(|| {
            door.ask(&get).expect("the other shard serves");
        }));
        sleep(Duration::from_millis(1));
    }
    felt
}

fn microseconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    1e6 * began.elapsed().as_secs_f64()
}

/// A load for some seconds, and what the others feel of it.
fn under(shards: Shards, half: Half, seconds: f64, seed: u64) -> (Felt, [Poured; 2]) {
    let over = &AtomicBool::new(false);
    scope(|scope| {
        let pouring = [0, 1].map(|shard| scope.spawn(move || pour(shards, shard, half, seed, over)));
        sleep(Duration::from_millis(300)); // it is under way
        let feeling = scope.spawn(move || others(shards, over));
        sleep(Duration::from_secs_f64(seconds));
        over.store(true, Ordering::Relaxed);
        (feeling.join().expect("it ends"), pouring.map(|pouring| pouring.join().expect("it ends")))
    })
}

/// What was found of one kind of load over all rounds.
#[derive(Debug, Default)]
struct Rounds {
    felt: Felt,
    put_p99_us: Vec<f64>,
    get_p99_us: Vec<f64>,
    poured: Poured,
}

impl Rounds {
    fn add(&mut self, (felt, poured): (Felt, [Poured; 2])) {
        self.put_p99_us.push(quantile(&felt.puts, 0.99));
        self.get_p99_us.push(quantile(&felt.gets, 0.99));
        self.felt.puts.extend(felt.puts);
        self.felt.gets.extend(felt.gets);
        for one in poured {
            self.poured.sent += one.sent;
            self.poured.learned += one.learned;
            self.poured.late_max_s = self.poured.late_max_s.max(one.late_max_s);
        }
    }

    /// How much longer the others wait than in another load.
    fn ratios(&self, even: &Self) -> [f64; 2] {
        let ratio = |one: &[f64], other: &[f64]| quantile(one, 0.99) / quantile(other, 0.99);
        [ratio(&self.felt.puts, &even.felt.puts), ratio(&self.felt.gets, &even.felt.gets)]
    }

    fn told(&self) -> Value {
        let Self { felt, put_p99_us, get_p99_us, poured: Poured { sent, learned, late_max_s } } = self;
        let quantiles = |latencies: &[f64]| [0.5, 0.99].map(|share| quantile(latencies, share));
        json!({
            "put_us_p50_p99": quantiles(&felt.puts), "get_us_p50_p99": quantiles(&felt.gets),
            "put_p99_us_by_round": put_p99_us, "get_p99_us_by_round": get_p99_us,
            "asked": felt.puts.len() + felt.gets.len(),
            "sent": sent, "learned": learned, "sent_late_s_max": late_max_s,
        })
    }
}

/// Half of all events of one user of shard 0, or about one of its items: what people of shard 1 feel, against the same number of
/// events spread over all. In turn, in one run: even, user, item, even...
fn hot(work: Work) -> Found {
    const ROUNDS: u64 = 4;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = ServeProcess::start_with(&dir.path().join("data"), &["--shards", "2"], &[NO_REFIT]);
    let (users, items) = (USERS.to_string(), ITEMS.to_string());
    load(&server, &["--events", "200000", "--batch", "256", "--users", &users, "--items", &items]);
    let shards = Shards::of(&server);
    let mut found: [Rounds; 3] = Default::default();
    for round in 0..ROUNDS {
        for (half, found) in HALVES.into_iter().zip(&mut found) {
            found.add(under(shards, half, (5.0 * work.share).max(2.0), work.seed + 10 * round));
        }
    }
    server.stop();
    let [even, user, item] = &found;
    let (of_user, of_item) = (user.ratios(even), item.ratios(even));
    let most = of_user.into_iter().chain(of_item).fold(0.0, f64::max);
    let all_learned = found.iter().all(|one| one.poured.learned == one.poured.sent);
    let figures = json!({
        "events_per_s": RATE, "rounds": ROUNDS,
        "even": even.told(), "hot_user": user.told(), "hot_item": item.told(),
        "hot_user_put_get_ratio": of_user, "hot_item_put_get_ratio": of_item, "ratio_goal": RATIO_GOAL,
    });
    (most <= RATIO_GOAL && all_learned, figures)
}

/// O9: a hot key hurts only its shard, and what is new without end has an end.
pub fn hot_and_new(work: Work) -> Found {
    let (cool, hot) = hot(work);
    let (capped, new) = caps::floods(work);
    (cool && capped, json!({ "hot_key": hot, "hot_key_well": cool, "new_without_end": new, "new_well": capped }))
}

/// Single events of known users, one after another with a pause: when each was sent, in seconds from `began`, and the latency in
/// microseconds: without end for one that was refused as too much.
pub fn updates(addr: SocketAddr, began: Instant, over: &AtomicBool) -> Vec<(f64, f64)> {
    let (mut door, mut felt) = (Connection::open(addr), Vec::new());
    for (user, item) in (1..=1_000).cycle().zip((1..=ITEMS).cycle()) {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let (sent_s, put) = (began.elapsed().as_secs_f64(), EventPut { event: event(user, item), durability: 0 });
        let mut told = Ok(());
        let us = microseconds(|| told = door.ask(&put).map(|_| ()));
        match told {
            Ok(()) => felt.push((sent_s, us)),
            Err((Status::Overloaded, _)) => felt.push((sent_s, f64::INFINITY)),
            Err(refusal) => panic!("{refusal:?}"),
        }
        sleep(Duration::from_millis(1));
    }
    felt
}

/// Clients that came back.
#[derive(Default)]
struct Returned {
    streams: Vec<TcpStream>,
    /// Those that were not served at once, by why.
    turned_away: BTreeMap<&'static str, u64>,
    /// When the last of them had its HELLO answered, and its read.
    greeted_s: f64,
    served_s: f64,
}

/// A connection, or why there is none any more.
type Opened = Result<TcpStream, &'static str>;

fn opened(addr: SocketAddr) -> Opened {
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5)).map_err(|_| "not connected")?;
    let set = stream.set_read_timeout(Some(Duration::from_secs(10))).and_then(|()| stream.set_nodelay(true));
    set.map(|()| stream).map_err(|_| "not connected")
}

fn sent(mut stream: TcpStream, request: &[u8]) -> Opened {
    stream.write_all(request).map(|()| stream).map_err(|_| "closed before it asked")
}

fn answered(mut stream: TcpStream) -> Opened {
    let mut raw = [0; HEADER_BYTES];
    stream.read_exact(&mut raw).map_err(|_| "closed, or silent for 10 s")?;
    let header = Header::decode(raw);
    let mut body = vec![0; header.length as usize];
    stream.read_exact(&mut body).map_err(|_| "closed within an answer")?;
    match Status::from_number(header.code) {
        Some(status) if status.is_success() => Ok(stream),
        status => Err(status.map_or("no status", |status| status.info().name)),
    }
}

/// Opens so many connections at once, greets, and reads a profile over each. Who is not served comes again, for a minute.
fn come_back(addr: SocketAddr, count: usize, began: Instant) -> Returned {
    let (mut hello, mut read) = (Vec::new(), Vec::new());
    let greeting = Hello { client: "storm".to_owned(), version_min: 1, version_max: 1, token: String::new() };
    put_request(&mut hello, 1, &greeting).expect("it can be sent");
    put_request(&mut read, 2, &ProfileGet { user: Id::Int(1), recent_max: 10, factors: false }).expect("likewise");
    let mut back = Returned::default();
    while back.streams.len() < count && began.elapsed() < Duration::from_secs(60) {
        let missing = count - back.streams.len();
        let mut go_on = |opened: Vec<Opened>| {
            let (well, not): (Vec<Opened>, Vec<Opened>) = opened.into_iter().partition(Result::is_ok);
            for why in not.into_iter().filter_map(Result::err) {
                *back.turned_away.entry(why).or_default() += 1;
            }
            well.into_iter().filter_map(Result::ok).collect::<Vec<_>>()
        };
        let greets = go_on((0..missing).map(|_| sent(opened(addr)?, &hello)).collect());
        let asks = go_on(greets.into_iter().map(answered).collect());
        let greeted_s = began.elapsed().as_secs_f64();
        let waits = go_on(asks.into_iter().map(|stream| sent(stream, &read)).collect());
        let served = go_on(waits.into_iter().map(answered).collect());
        back.streams.extend(served);
        (back.greeted_s, back.served_s) = (greeted_s, began.elapsed().as_secs_f64());
    }
    back
}

/// All of them, from a few threads.
fn come_all(addr: SocketAddr, count: usize, began: Instant) -> Returned {
    const THREADS: usize = 8;
    let part = |thread: usize| count / THREADS + usize::from(thread < count % THREADS);
    let parts = scope(|scope| {
        let coming = |thread| scope.spawn(move || come_back(addr, part(thread), began));
        let coming: Vec<_> = (0..THREADS).map(coming).collect();
        coming.into_iter().map(|coming| coming.join().expect("it ends")).collect::<Vec<_>>()
    });
    parts.into_iter().fold(Returned::default(), |mut all, part| {
        all.streams.extend(part.streams);
        part.turned_away.into_iter().for_each(|(why, count)| *all.turned_away.entry(why).or_default() += count);
        all.greeted_s = all.greeted_s.max(part.greeted_s);
        all.served_s = all.served_s.max(part.served_s);
        all
    })
}

/// Longest until the updates of others take as long as before, in seconds.
const AGAIN_S: f64 = 10.0;

/// 2,000 clients are cut and come back at once, three times, beside single events. How many handshakes there may be at a time is
/// for TLS to limit: without it one costs some microseconds, and they are told, not judged.
fn storm(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = [("MIRRA__SERVER__CONNECTIONS_MAX", "4096"), NO_REFIT];
    let server = ServeProcess::start_with(&dir.path().join("data"), &["--shards", "2"], &settings);
    load(&server, &["--events", "100000", "--batch", "256", "--users", "1000", "--items", "2000"]);
    let (clients, addr, began, over) =
        (work.of(5_000).min(2_000) as usize, server.addr, Instant::now(), AtomicBool::new(false));
    let (felt, times) = scope(|scope| {
        let updating = scope.spawn(|| updates(addr, began, &over));
        let (mut all, mut times) = (come_all(addr, clients, Instant::now()), Vec::new());
        for _ in 0..3 {
            sleep(Duration::from_secs(5));
            let (cut, cut_s) = (Instant::now(), began.elapsed().as_secs_f64());
            drop(std::mem::take(&mut all.streams));
            all = come_all(addr, clients, cut);
            times.push((cut_s, all.greeted_s, all.served_s, all.streams.len(), std::mem::take(&mut all.turned_away)));
            sleep(Duration::from_secs_f64(AGAIN_S + 1.0).saturating_sub(cut.elapsed()));
        }
        over.store(true, Ordering::Relaxed);
        (updating.join().expect("it ends"), times)
    });
    server.stop();
    let p99 = |from_s: f64, to_s: f64| {
        let within = felt.iter().filter(|(sent_s, _)| (from_s..to_s).contains(sent_s));
        quantile(&within.map(|(_, us)| *us).collect::<Vec<_>>(), 0.99)
    };
    let mut well = true;
    let storms = times.into_iter().map(|(cut_s, greeted_s, served_s, served, turned_away)| {
        let before = p99(cut_s - 4.5, cut_s);
        let during = felt.iter().filter(|(sent_s, _)| (cut_s..cut_s + served_s).contains(sent_s));
        let (taken, refused): (Vec<f64>, Vec<f64>) = during.map(|(_, us)| *us).partition(|us| us.is_finite());
        let second = |tenth: u32| cut_s + 0.1 * f64::from(tenth);
        let normal = |tenth: &u32| p99(second(*tenth), second(*tenth) + 1.0) <= RATIO_GOAL * before;
        let again_s = (0..(10.0 * AGAIN_S) as u32).find(normal).map(|tenth| 0.1 * f64::from(tenth));
        well &= served == clients && again_s.is_some();
        json!({
            "served": served, "turned_away_at_first": turned_away, "handshakes_per_s": clients as f64 / greeted_s, "all_served_s": served_s,
            "p99_us_before": before, "p99_us_during": quantile(&taken, 0.99),
            "max_us_during": quantile(&taken, 1.0), "updates_during": taken.len(), "updates_refused": refused.len(),
            "normal_again_s": again_s, "normal_goal_s": AGAIN_S,
        })
    });
    let storms: Vec<Value> = storms.collect();
    (well, json!({ "clients": clients, "storms": storms }))
}

/// O14: many clients that come back at once, and the largest answers beside small writes.
pub fn back_and_large(work: Work) -> Found {
    let (calm, storms) = storm(work);
    let (chunked, beside) = answers::beside_updates(work);
    (
        calm && chunked,
        json!({ "reconnects": storms, "reconnects_well": calm, "answers": beside, "answers_well": chunked }),
    )
}
