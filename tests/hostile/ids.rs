//! H9: ids that no client of ours would send, and many of them.

use std::time::Instant;

use mirra::base::limits::ID_BYTES_MAX;
use mirra::base::{Id, IdRef, Routing};
use mirra::learn::Strategy;
use mirra::model;
use mirra::state::{Op, Options, Shard};
use mirra::wire::commands::{EventBatch, EventPut, UserGet};
use mirra::wire::types::Event;
use mirra::wire::{Command, Status};

use crate::requests::frame;
use crate::server::{send, start, stop};
use crate::support::Connection;

/// Events of one batch.
const BATCH: usize = 4_000;

fn event(user: Id) -> Event {
    Event { event_id: Id::Int(0), user, item: Id::Int(1), kind: 0, value: 1.0, time_ms: 0 }
}

/// The body of an EVENT_PUT whose user is these bytes, the length among them.
fn with_user(user: &[u8]) -> Vec<u8> {
    [&[0; 9][..], user, &[0; 9], &[0, 0, 0, 0x80, 0x3F], &[0; 8], &[1]].concat()
}

#[test]
fn ids_that_are_none_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &["decay"]);
    let mut connection = Connection::open(server.addr);
    let before = connection.digests();
    let wrong: [&[u8]; 7] = [
        &[129; 130],
        &[255; 256],
        &[2, 0xC3, 0x28],
        &[3, 0xED, 0xA0, 0x80],
        &[4, 0xF4, 0x90, 0x80, 0x80],
        &[1, 0x80],
        &[2, 0xC0, 0x80],
    ];
    for user in wrong {
        let (status, _) = send(&mut connection, &frame(EventPut::OPCODE, 3, &with_user(user)));
        assert_eq!((status, connection.digests()), (Status::BadRequest, before.clone()), "{user:02x?}");
    }
    stop(server, connection);
}

/// What is a text is an id, whatever stands in it: it comes back as it was sent.
#[test]
fn strange_ids_are_users_of_their_own() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &["decay"]);
    let mut connection = Connection::open(server.addr);
    let longest = "x".repeat(ID_BYTES_MAX);
    let strange =
        ["\0", "a\0b", "\u{202E}abc", "../../etc/passwd", "a\nb", " 7", "7 ", "007", "+7", "-0", "1e3", &longest];
    for (at, text) in strange.iter().enumerate() {
        let event = EventPut { event: event(Id::parse(text)), durability: 1 };
        let reply = connection.ask(&event).expect("it is learned");
        assert_eq!(reply.profile_version, 1, "{text:?} is another's ({at})");
        let user = connection.ask(&UserGet { user: Id::parse(text) }).expect("known");
        assert_eq!(user.user, Id::Text((*text).into()));
    }
    stop(server, connection);
}

/// FNV-1a, and the multiplication that hash maps without a key are often built on: of the first, ids that fall into one
/// of 1,024 buckets; of the second, integers whose low bits are all alike.
fn flooding(of: usize) -> Vec<Id> {
    let fnv = |text: &str| {
        text.bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
    };
    let texts = (0_u64..).map(|n| format!("u{n:x}")).filter(|text| fnv(text).is_multiple_of(256));
    let integers = (0_u64..).map(|n| Id::Int(n << 44));
    texts.map(|text| Id::parse(&text)).take(of / 2).chain(integers.take(of / 2)).collect()
}

/// Ids that all belong to one shard of 16 where there is no key.
fn of_one_shard(of: usize) -> Vec<Id> {
    let texts = (0_u64..).map(|n| Id::parse(&format!("name-{n}")));
    texts.filter(|id| Routing::Plain.shard(id.as_ref(), 16) == 5).take(of).collect()
}

#[test]
fn floods_of_ids_are_spread_over_the_shards() {
    let plain = |n: u64| [Id::Int(n), Id::parse(&format!("user-{n}@example.org")), Id::Int(n << 32)];
    let families = (0..3).map(|family| (0..100_000).map(|n| plain(n)[family].clone()).collect());
    let keyed = Routing::Keyed([0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344]);
    for ids in families.chain([flooding(20_000)]) {
        let ids: Vec<Id> = ids;
        [Routing::Plain, keyed].into_iter().for_each(|routing| assert_spread(routing, &ids));
    }
    assert_spread(keyed, &of_one_shard(20_000));
}

fn assert_spread(routing: Routing, ids: &[Id]) {
    for shards in [2_u16, 3, 8, 16] {
        let mut counts = vec![0_u64; usize::from(shards)];
        ids.iter().for_each(|id| counts[usize::from(routing.shard(id.as_ref(), shards))] += 1);
        let (most, mean) = (counts.iter().max().copied().unwrap_or(0), ids.len() as f64 / f64::from(shards));
        assert!(most as f64 <= 1.2 * mean, "{routing:?}, {shards} shards, ids like {}: {counts:?}", ids[0]);
    }
}

#[test]
fn a_flood_of_ids_is_learned() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &["decay"]);
    let mut connection = Connection::open(server.addr);
    let ids = flooding(2 * BATCH);
    for batch in ids.chunks(BATCH) {
        let events = batch.iter().cloned().map(event).collect();
        let reply = connection.ask(&EventBatch { durability: 1, want: 0, events }).expect("learned");
        assert!(reply.errors.is_empty(), "{:?}", reply.errors.first());
    }
    for id in ids.iter().step_by(997) {
        assert_eq!(connection.ask(&UserGet { user: id.clone() }).expect("known").user, *id);
    }
    stop(server, connection);
}

/// Seconds in which a shard gets to know these users.
fn seconds_to_know(ids: &[Id]) -> f64 {
    let strategies = vec![Strategy::default_named("decay").expect("listed")];
    let mut shard = Shard::new(0, Options { strategies, ..Options::default() });
    let began = Instant::now();
    for user in ids {
        let (user, item) = (user.as_ref(), IdRef::Int(1));
        shard.apply(&Op::Event(model::Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: 1_000 }));
    }
    began.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement: cargo test --release --test hostile -- --ignored floods_take --nocapture"]
fn floods_take_no_longer_than_others() {
    let random = |id: &Id| match (id, id.as_ref().stable_hash()) {
        (Id::Int(_), hash) => Id::Int(hash),
        (Id::Text(_), hash) => Id::parse(&format!("u{hash:x}")),
    };
    let hostile = flooding(100_000);
    let others: Vec<Id> = hostile.iter().map(random).collect();
    for _ in 0..5 {
        let [flood, other] = [&hostile, &others].map(|ids| seconds_to_know(ids));
        println!("100,000 hostile ids {flood:.3} s, others {other:.3} s: {:.2} x", flood / other);
    }
}

/// A map whose hash has no key of this process is where floods are aimed at: no source names one.
#[test]
fn maps_of_foreign_keys_are_keyed_at_random() {
    fn look(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                look(&path, found);
            } else if let Ok(source) = std::fs::read_to_string(&path) {
                let unkeyed = ["FixedState", "FxHash", "BuildHasherDefault", "SeedableRandomState"];
                let named = unkeyed.iter().filter(|name| source.contains(**name));
                found.extend(named.map(|name| format!("{}: {name}", path.display())));
            }
        }
    }
    let mut found = Vec::new();
    look(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.is_empty(), "{found:?}");
    assert_ne!(IdRef::Int(0).stable_hash(), 0, "the hash that routes is no identity");
}
