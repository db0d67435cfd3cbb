//! What is new without end, kind by kind, against a limit of memory: every kind is refused with a clear status, or what is kept of
//! it has an end of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use mirra::base::Id;
use mirra::base::limits::{ATTRIBUTES_MAX, CONTROLS_MAX, ITEM_TAGS_MAX};
use mirra::person::facets::FACETS_MAX;
use mirra::wire::commands::{
    EmbeddingPut, EventBatch, EventPut, ItemGet, ItemUpsert, ProfileGet, ProfileParts, UserControl, UserGet, UserMerge,
    UserUpsert,
};
use mirra::wire::types::{Attribute, AttributeValue, Event};
use mirra::wire::{Command, Status, put_request};
use serde_json::{Map, Value, json};

use crate::answers::recommend;
use crate::crowds::{NO_REFIT, event};
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work, limits};

/// Bytes that the server may hold, and most of them that it may hold in the end.
const LIMIT: u64 = 256 << 20;
const GOAL: f64 = 1.05;

/// Share of the limit at which a flood is given up: it has missed by far, and the machine is others' as well.
const ENOUGH: f64 = 1.4;

/// Share of the limit by which a flood that nothing refuses may still grow in its last quarter.
const STILL: f64 = 0.005;

/// Longest that a flood goes on which nothing has refused and which still grows, in seconds.
const MOST_S: f64 = 40.0;

/// Users and items that are known from the beginning; requests that are sent before the first answer is read.
const KNOWN: u64 = 1_000;
const AT_ONCE: u64 = 32;

/// Looks how much one user or item holds, and tells how much that may be.
type Held = fn(&mut Connection) -> (usize, usize);

/// One kind of thing that is new with every request.
struct Flood {
    name: &'static str,
    /// Whether new users have filled the memory up to where they are refused before it begins.
    full: bool,
    /// The status that refuses it.
    refused: Status,
    /// Writes the n-th request.
    put: fn(&mut Vec<u8>, u64),
    /// How much of it one user or item holds in the end, and how much that may be.
    held: Option<Held>,
}

fn known(n: u64) -> Id {
    Id::Int(1 + n % KNOWN)
}

/// An id that nothing had before.
fn new(n: u64) -> Id {
    Id::Int((1 << 60) + n)
}

fn put<C: Command>(out: &mut Vec<u8>, n: u64, request: &C) {
    put_request(out, n, request).expect("it can be sent");
}

fn item(item: Id, tags: Vec<String>, attributes: Vec<Attribute>) -> ItemUpsert {
    ItemUpsert { item, time_ms: 0, tags, attributes, durability: 0 }
}

fn user(user: Id, attributes: Vec<Attribute>) -> UserUpsert {
    UserUpsert { user, time_ms: 0, attributes, durability: 0 }
}

/// As many names as one request holds, none of which was there before.
fn names(n: u64, count: usize) -> Vec<String> {
    (0..count as u64).map(|more| format!("name {:x}", n * count as u64 + more)).collect()
}

fn attributes(n: u64) -> Vec<Attribute> {
    names(n, ATTRIBUTES_MAX).into_iter().map(|name| Attribute { name, value: AttributeValue::Bool(true) }).collect()
}

fn control(n: u64, control: u8, name: String, item: Option<Id>) -> UserControl {
    UserControl { user: known(n), control, on: true, name, item, share: 0.5, time_ms: 0, durability: 0 }
}

/// Rows of the controls of a user: items and facets muted, facets limited.
fn controls(door: &mut Connection) -> (usize, usize) {
    let parts = door.ask(&ProfileParts { user: known(0), parts: 64, facets_max: 0 }).expect("known");
    (parts.controls.len(), CONTROLS_MAX)
}

const FLOODS: [Flood; 18] = [
    Flood {
        name: "items_by_events",
        full: true,
        refused: Status::Memory,
        put: |out, n| {
            put(out, n, &EventPut { event: Event { item: new(n), ..event(1 + n % KNOWN, 1) }, durability: 0 });
        },
        held: None,
    },
    Flood {
        name: "items_by_upserts",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &item(new(n), Vec::new(), Vec::new())),
        held: None,
    },
    Flood {
        name: "users_by_upserts",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &user(new(n), Vec::new())),
        held: None,
    },
    Flood {
        name: "tags_of_known_items",
        full: false,
        refused: Status::Memory,
        put: |out, n| put(out, n, &item(known(n), names(n, ITEM_TAGS_MAX), Vec::new())),
        held: Some(|door| (door.ask(&ItemGet { item: known(0) }).expect("known").tags.len(), ITEM_TAGS_MAX)),
    },
    Flood {
        name: "tags_met_by_events",
        full: true,
        refused: Status::Memory,
        put: |out, n| {
            if n.is_multiple_of(2) {
                put(out, n, &item(known(n / 2), names(n, ITEM_TAGS_MAX), Vec::new()));
            } else {
                put(out, n, &EventPut { event: event(1 + n % 7, 1 + n / 2 % KNOWN), durability: 0 });
            }
        },
        held: Some(|door| {
            let parts = door.ask(&ProfileParts { user: Id::Int(1), parts: 4, facets_max: u16::MAX }).expect("known");
            (parts.facets.len(), FACETS_MAX)
        }),
    },
    Flood {
        name: "attributes_of_known_items",
        full: false,
        refused: Status::Memory,
        put: |out, n| put(out, n, &item(known(n), Vec::new(), attributes(n))),
        held: Some(|door| (door.ask(&ItemGet { item: known(0) }).expect("known").attributes.len(), ATTRIBUTES_MAX)),
    },
    Flood {
        name: "attributes_of_known_users",
        full: false,
        refused: Status::Memory,
        put: |out, n| put(out, n, &user(known(n), attributes(n))),
        held: Some(|door| (door.ask(&UserGet { user: known(0) }).expect("known").attributes.len(), ATTRIBUTES_MAX)),
    },
    Flood {
        name: "values_of_one_attribute",
        full: false,
        refused: Status::Memory,
        put: |out, n| {
            let value = AttributeValue::Text(format!("{n:x}"));
            put(out, n, &user(known(n), vec![Attribute { name: "segment".to_owned(), value }]));
        },
        held: None,
    },
    Flood {
        name: "muted_facets",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &control(n, 1, format!("facet {n:x}"), None)),
        held: Some(controls),
    },
    Flood {
        name: "limited_facets",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &control(n, 3, format!("facet {n:x}"), None)),
        held: Some(controls),
    },
    Flood {
        name: "muted_items",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &control(n, 2, String::new(), Some(new(n)))),
        held: Some(controls),
    },
    Flood {
        name: "merged_users",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &UserMerge { user: new(n), into: known(n) }),
        held: None,
    },
    Flood {
        name: "event_ids",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &EventPut { event: event(1 + n % 100, 1 + n / 7 % KNOWN), durability: 0 }),
        held: Some(|door| {
            let read = ProfileGet { user: known(0), recent_max: u16::MAX, factors: false };
            (door.ask(&read).expect("known").recent.len(), 256)
        }),
    },
    Flood {
        name: "lists_served",
        full: true,
        refused: Status::Memory,
        put: |out, n| put(out, n, &recommend(known(n), 100, Vec::new(), "")),
        held: None,
    },
    Flood {
        name: "users_read",
        full: true,
        refused: Status::NotFound,
        put: |out, n| put(out, n, &ProfileGet { user: new(n), recent_max: 10, factors: true }),
        held: None,
    },
    Flood {
        name: "kinds",
        full: true,
        refused: Status::BadRequest,
        put: |out, n| {
            let kind = 200 + (n % 50) as u8;
            put(out, n, &EventPut { event: Event { kind, ..event(1 + n % KNOWN, 1) }, durability: 0 });
        },
        held: None,
    },
    Flood {
        name: "modalities",
        full: true,
        refused: Status::BadRequest,
        put: |out, n| {
            let (item, modality) = (known(n), format!("modality {n:x}"));
            put(out, n, &EmbeddingPut { item, modality, vector: vec![1.0; 64], time_ms: 0, durability: 0 });
        },
        held: None,
    },
    Flood {
        name: "strategies",
        full: true,
        refused: Status::BadRequest,
        put: |out, n| put(out, n, &recommend(known(n), 100, Vec::new(), &format!("strategy {n:x}"))),
        held: None,
    },
];

/// What was answered, by status.
type Answers = BTreeMap<&'static str, u64>;

/// Sends without end over one connection, some requests before each answer.
fn flood(addr: SocketAddr, put: fn(&mut Vec<u8>, u64), number: u64, over: &AtomicBool) -> Answers {
    let (mut door, mut answers) = (Connection::open(addr), Answers::new());
    let mut n = number << 40;
    while !over.load(Ordering::Relaxed) {
        let mut bytes = Vec::new();
        (0..AT_ONCE).for_each(|more| put(&mut bytes, n + more));
        n += AT_ONCE;
        door.stream.write_all(&bytes).expect("the server reads");
        for _ in 0..AT_ONCE {
            let status = Status::from_number(door.read().0.code).expect("a known status");
            *answers.entry(status.info().name).or_default() += 1;
        }
    }
    answers
}

/// A server with a limit of memory, and some users and items that it knows.
fn serve(dir: &Path) -> ServeProcess {
    let limit = LIMIT.to_string();
    // Few lists are remembered, so that they are soon as many as they may be.
    let settings = [("MIRRA__MEMORY__LIMIT_BYTES", limit.as_str()), ("MIRRA__DECISIONS__KEPT_MAX", "1024"), NO_REFIT];
    let server = ServeProcess::start_with(&dir.join("data"), &["--shards", "2"], &settings);
    let events = |round: u64| (1..=KNOWN).map(|n| event(n, 1 + (n + round) % KNOWN)).collect();
    let mut door = Connection::open(server.addr);
    for round in 0..10 {
        door.ask(&EventBatch { durability: 0, want: 0, events: events(round) }).expect("events");
    }
    server
}

/// New users until they are refused, all of some batch.
fn fill(server: &ServeProcess) {
    let (mut door, began) = (Connection::open(server.addr), Instant::now());
    for round in 0.. {
        let events = (0..2_000).map(|n| event((1 << 50) + 2_000 * round + n, 1 + n % KNOWN)).collect();
        match door.ask(&EventBatch { durability: 0, want: 0, events }) {
            Ok(reply) if reply.accepted > 0 => {}
            Err((Status::Overloaded, _)) => {}
            Ok(_) | Err((Status::Memory, _)) => return,
            Err(refusal) => panic!("{refusal:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the memory is never full");
    }
}

fn of_limit(bytes: u64) -> f64 {
    bytes as f64 / LIMIT as f64
}

/// How much was grown by in the last quarter of the time, as a share of the limit.
fn grown(bytes: &[u64]) -> f64 {
    let at = |place: usize| bytes.get(place).copied().map_or(0.0, of_limit);
    at(bytes.len().saturating_sub(1)) - at(bytes.len() * 3 / 4)
}

/// Lets it flood from four connections: the answers, bytes held by time, and seconds.
fn let_in(server: &ServeProcess, put: fn(&mut Vec<u8>, u64), seconds: f64) -> (Answers, Vec<u64>, f64) {
    let (over, began, mut held) = (&AtomicBool::new(false), Instant::now(), Vec::new());
    scope(|scope| {
        let floods: Vec<_> = (1..=4).map(|number| scope.spawn(move || flood(server.addr, put, number, over))).collect();
        loop {
            let (now, passed_s) = (server.status_bytes("VmRSS"), began.elapsed().as_secs_f64());
            held.push(now);
            let decided = grown(&held) <= STILL || of_limit(now) > GOAL || passed_s > MOST_S;
            if passed_s > seconds && decided || of_limit(now) > ENOUGH {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        let took_s = began.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        let mut all = Answers::new();
        for (status, count) in floods.into_iter().flat_map(|flood| flood.join().expect("it ends")) {
            *all.entry(status).or_default() += count;
        }
        (all, held, took_s)
    })
}

/// Floods a server of its own with one kind, and tells what became of it.
fn tried(flood: &Flood, seconds: f64) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(dir.path());
    if flood.full {
        fill(&server);
    }
    let before = server.status_bytes("VmRSS");
    let (answers, bytes, took_s) = let_in(&server, flood.put, seconds);
    let mut door = Connection::open(server.addr);
    let holds = flood.held.map(|held| held(&mut door));
    let (peak, end) = (of_limit(server.status_bytes("VmHWM")), bytes.last().copied().map_or(0.0, of_limit));
    let grown = grown(&bytes);
    let refused = answers.get(flood.refused.info().name).copied().unwrap_or(0);
    let within = holds.is_none_or(|(held, most)| held <= most);
    let well = peak <= GOAL && within && (refused > 0 || grown <= STILL);
    let figures = json!({
        "well": well, "answers": answers, "refused_by": flood.refused.info().name, "memory_was_full": flood.full,
        "before_of_limit": of_limit(before), "end_of_limit": end, "peak_of_limit": peak,
        "grown_in_last_quarter": grown, "one_holds": holds.map(|(held, _)| held), "one_may_hold": holds.map(|(_, most)| most),
        "seconds": took_s,
    });
    (well, figures)
}

/// Every kind of new thing without end; and what no request may hold more of.
pub fn floods(work: Work) -> Found {
    let (mut figures, mut missed) = (Map::new(), Vec::new());
    for flood in &FLOODS {
        let (well, told) = tried(flood, (8.0 * work.share).max(3.0));
        figures.insert(flood.name.to_owned(), told);
        if !well {
            missed.push(flood.name);
        }
    }
    let (bounded, requests) = limits::of_requests();
    let figures: Value = json!({
        "limit_mib": LIMIT >> 20, "goal": GOAL, "missed": missed, "floods": figures,
        "requests_well": bounded, "requests": requests,
    });
    (missed.is_empty() && bounded, figures)
}
