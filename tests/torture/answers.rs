//! The largest answers that there are, asked for one at a time without end, beside single events: what an update waits then tells
//! which of them is not made in pieces.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use mirra::base::limits::PROFILES_MAX;
use mirra::base::{Id, Rng};
use mirra::person::facets::FACETS_MAX;
use mirra::wire::commands::{
    Digest, EmbeddingPut, EventBatch, Explain, Predict, ProfileEmbedding, ProfileGet, ProfilesGet, Recommend, Refit,
    Rejects, SimilarItems, Snapshot,
};
use mirra::wire::types::Event;
use mirra::wire::{Status, put_request};
use serde_json::{Value, json};

use crate::crowds::{NO_REFIT, RATIO_GOAL, event, updates};
use crate::load::load;
use crate::process::quantile;
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work};

const USERS: u64 = 20_000;
const ITEMS: u64 = 20_000;

/// Times that each question is tried, and the quiet before it.
const ROUNDS: usize = 3;

/// Asks the n-th time; whether it was answered.
type Ask = fn(&mut Connection, u64) -> bool;

fn user(n: u64) -> Id {
    Id::Int(1 + n % USERS)
}

/// Every question that scans much or answers much, at its largest.
const QUESTIONS: [(&str, Ask); 13] = [
    ("RECOMMEND", |door, n| door.ask(&recommend(user(n), 1_000, Vec::new(), "")).is_ok()),
    ("RECOMMEND_64_at_once", |door, n| {
        let lists: Vec<_> = (0..64).map(|more| recommend(user(n + more), 1_000, Vec::new(), "")).collect();
        all_at_once(door, &lists)
    }),
    ("RECOMMEND_denied", |door, n| {
        door.ask(&recommend(user(n), 1_000, (1..=4_096).map(Id::Int).collect(), "")).is_ok()
    }),
    ("SIMILAR_ITEMS", |door, n| {
        door.ask(&SimilarItems { item: Id::Int(1 + n % 1_000), k: 1_000, strategy: String::new() }).is_ok()
    }),
    ("PREDICT", |door, n| {
        let items = (1..=4_096).map(Id::Int).collect();
        door.ask(&Predict { user: user(n), items, strategy: String::new() }).is_ok()
    }),
    ("EXPLAIN", |door, n| {
        let (item, strategy) = (Id::Int(1 + n % 1_000), String::new());
        door.ask(&Explain { user: user(n), item, strategy, ranking: true, events_max: 100 }).is_ok()
    }),
    ("PROFILE_GET", |door, n| door.ask(&ProfileGet { user: user(n % 100), recent_max: 4_096, factors: true }).is_ok()),
    ("PROFILES_GET", |door, n| {
        let users = (0..PROFILES_MAX as u64).map(|more| user(n + more)).collect();
        door.ask(&ProfilesGet { users, parts: 0, facets_max: FACETS_MAX as u16 }).is_ok()
    }),
    ("PROFILE_EMBEDDING", |door, n| {
        door.ask(&ProfileEmbedding { user: user(n), vector: true, nearest: 1_000 }).is_ok()
    }),
    ("REJECTS", |door, _| door.ask(&Rejects { from: 0, max: 4_096, reason: 0 }).is_ok()),
    ("REJECTS_newest", |door, _| door.ask(&Rejects { from: u64::MAX, max: 4_096, reason: 0 }).is_ok()),
    ("DIGEST", |door, _| door.ask(&Digest {}).is_ok()),
    ("SNAPSHOT", |door, _| door.ask(&Snapshot {}).is_ok()),
];

/// Sends lists' requests in one piece; whether all were answered.
fn all_at_once(door: &mut Connection, requests: &[Recommend]) -> bool {
    let mut bytes = Vec::new();
    for (id, request) in (1_000..).zip(requests) {
        put_request(&mut bytes, id, request).expect("it can be sent");
    }
    door.stream.write_all(&bytes).expect("the server reads");
    let codes = requests.iter().map(|_| door.read().0.code);
    codes.filter(|code| *code == Status::Ok.number()).count() == requests.len()
}

/// A request for a list, of what the user has not met.
pub fn recommend(user: Id, k: u16, deny_items: Vec<Id>, strategy: &str) -> Recommend {
    Recommend {
        user,
        k,
        exclude_seen: true,
        allow_items: Vec::new(),
        deny_items,
        allow_tags: Vec::new(),
        deny_tags: Vec::new(),
        strategy: strategy.to_owned(),
    }
}

/// One shard with much to tell: users and items with histories, embeddings and factors, and refused events.
fn full_server(dir: &Path) -> ServeProcess {
    const DIM: usize = 64;
    let config = dir.join("config.toml");
    std::fs::write(&config, format!("[modalities.picture]\ndim = {DIM}\n")).expect("a file");
    let arguments = ["--shards", "1", "--config", config.to_str().expect("a path of UTF-8")];
    let server = ServeProcess::start_with(&dir.join("data"), &arguments, &[NO_REFIT]);
    let (users, items) = (USERS.to_string(), ITEMS.to_string());
    load(&server, &["--events", "300000", "--batch", "256", "--users", &users, "--items", &items]);
    let mut door = Connection::open(server.addr);
    door.stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a socket takes a timeout"); // a fit takes its time
    for batch in 0..8 {
        let event = |n: u64| Event { kind: 250, ..event(1 + (4_096 * batch + n) % USERS, 1) };
        let events = (0..4_096).map(event).collect();
        let reply = door.ask(&EventBatch { durability: 0, want: 0, events }).expect("each is answered");
        assert_eq!(reply.rejected, 4_096, "there is no such kind");
    }
    let mut rng = Rng::new(1);
    for item in 1..=ITEMS {
        let vector = (0..DIM).map(|_| rng.below(2_001) as f32 - 1_000.0).collect();
        let put =
            EmbeddingPut { item: Id::Int(item), modality: "picture".to_owned(), vector, time_ms: 0, durability: 0 };
        door.ask(&put).expect("a vector is taken");
    }
    door.ask(&Refit { seed: 0 }).expect("a refit");
    server
}

/// Latencies of single events for some seconds, while another connection asks; and how long its answers took, in milliseconds.
fn beside(addr: SocketAddr, ask: Option<Ask>, seconds: f64) -> (Vec<f64>, Vec<f64>) {
    let (began, over) = (Instant::now(), &AtomicBool::new(false));
    scope(|scope| {
        let asking = ask.map(|ask| {
            scope.spawn(move || {
                let (mut door, mut took_ms) = (Connection::open(addr), Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    assert!(ask(&mut door, took_ms.len() as u64), "it is answered");
                    took_ms.push(1e3 * asked.elapsed().as_secs_f64());
                }
                took_ms
            })
        });
        let updating = scope.spawn(move || updates(addr, began, over));
        sleep(Duration::from_secs_f64(seconds));
        over.store(true, Ordering::Relaxed);
        let felt = updating.join().expect("it ends").into_iter().map(|(_, us)| us).collect();
        (felt, asking.map_or_else(Vec::new, |asking| asking.join().expect("it ends")))
    })
}

/// What updates feel of one question: in turn quiet and asked.
fn felt(addr: SocketAddr, ask: Ask, seconds: f64) -> (f64, Value) {
    let (mut quiet, mut asked, mut took_ms, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (before, _) = beside(addr, None, seconds);
        let (during, took) = beside(addr, Some(ask), seconds);
        ratios.push(quantile(&during, 0.99) / quantile(&before, 0.99));
        quiet.extend(before);
        asked.extend(during);
        took_ms.extend(took);
    }
    let ratio = quantile(&asked, 0.99) / quantile(&quiet, 0.99);
    let refused = asked.iter().filter(|us| us.is_infinite()).count();
    let figures = json!({
        "ratio": ratio, "ratios": ratios, "updates": asked.len(), "updates_refused": refused,
        "p99_us_quiet": quantile(&quiet, 0.99), "p99_us_asked": quantile(&asked, 0.99),
        "max_us_quiet": quantile(&quiet, 1.0), "max_us_asked": quantile(&asked, 1.0),
        "answers": took_ms.len(), "answer_ms_p50": quantile(&took_ms, 0.5), "answer_ms_max": quantile(&took_ms, 1.0),
    });
    (ratio, figures)
}

/// Whether single events wait little longer beside any of the largest answers, one shard for all.
pub fn beside_updates(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = full_server(dir.path());
    let (mut figures, mut missed) = (serde_json::Map::new(), Vec::new());
    for (name, ask) in QUESTIONS {
        let (ratio, told) = felt(server.addr, ask, (3.0 * work.share).max(1.0));
        figures.insert(name.to_owned(), told);
        if ratio.is_nan() || ratio > RATIO_GOAL {
            missed.push(name);
        }
    }
    let resident = server.status_bytes("VmRSS");
    server.stop();
    let figures = json!({
        "questions": figures, "missed": missed, "ratio_goal": RATIO_GOAL,
        "users": USERS, "items": ITEMS, "resident_mib": resident >> 20,
    });
    (missed.is_empty(), figures)
}
