//! Raw frames against a real server: every command, pipelining, refusals, restart.

use std::io::{Read, Write};

use mirra::base::Id;
use mirra::engine::Options;
use mirra::learn::Strategy;
use mirra::wire::commands::*;
use mirra::wire::types::{Attribute, AttributeValue, Event};
use mirra::wire::{Command, HEADER_BYTES, Header, Status, put_request};

use crate::support::{Connection, TestServer, options};

fn event(event_id: u64, user: u64, item: u64, value: f32) -> Event {
    let (event_id, user, item) = (Id::Int(event_id), Id::Int(user), Id::Int(item));
    Event { event_id, user, item, kind: 5, value, time_ms: 1_700_000_000_000 }
}

fn put(event: Event) -> EventPut {
    EventPut { event, durability: 0 }
}

fn with_shards(dir: &std::path::Path, shards: u16) -> Options {
    let mut options = options(dir);
    options.state.shards = shards;
    options.state.strategies = ["biased_mf", "decay", "mean", "fold_in", "popularity"]
        .iter()
        .map(|name| Strategy::default_named(name).expect("listed"))
        .collect();
    options
}

/// What is predicted and how that is explained, both of one moment: until the events of others have gone round, rows of
/// items come back from other shards at any time.
fn predicted_and_explained(door: &mut Connection, explain: &Explain) -> (f32, ExplainReply) {
    let predicted = |door: &mut Connection| {
        let items = vec![explain.item.clone(), Id::Int(999_999)];
        let predict = Predict { user: explain.user.clone(), items, strategy: String::new() };
        let scores = door.ask(&predict).expect("PREDICT").scores;
        assert_eq!((scores[0].basis, scores[1].basis), (0, 2));
        scores[0].score
    };
    loop {
        let (before, why) = (predicted(door), door.ask(explain).expect("EXPLAIN"));
        if predicted(door) == before {
            return (before, why);
        }
    }
}

#[test]
fn every_command_answers() {
    for shards in [1, 2] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = TestServer::start(with_shards(dir.path(), shards));
        let mut door = Connection::open(server.addr);
        assert_eq!((door.hello.version, door.hello.shards), (1, shards));
        assert_eq!(door.hello.strategies[0], "biased_mf");
        assert_eq!(door.hello.shard_map.len(), if shards == 1 { 0 } else { 2 });
        assert!(door.ask(&Ping {}).expect("PING").server_ms > 1_700_000_000_000);

        let tags = vec!["red".to_owned()];
        let colour = Attribute { name: "colour".into(), value: AttributeValue::Text("red".into()) };
        let upsert = ItemUpsert { item: Id::Int(7), time_ms: 0, tags, attributes: vec![colour.clone()], durability: 0 };
        assert_eq!(door.ask(&upsert).expect("ITEM_UPSERT").version, 1);
        let upsert = UserUpsert { user: Id::Int(1), time_ms: 0, attributes: vec![colour], durability: 3 };
        assert_eq!(door.ask(&upsert).expect("USER_UPSERT").durability, 3);

        let (status, first) = door.ask_status(&put(event(100, 1, 7, 5.0))).expect("EVENT_PUT");
        assert_eq!((status, first.profile_version, first.durability), (Status::Ok, 2, 2));
        let (status, again) = door.ask_status(&put(event(100, 1, 7, 5.0))).expect("EVENT_PUT again");
        assert_eq!((status, again.profile_version), (Status::Duplicate, 2));

        // Every user judges high and low: what is high for a shard, and so counts for a refit, hangs on who is in it.
        let rating = |n: u64| 1.0 + (n / 7 % 5) as f32;
        let mut events: Vec<Event> = (0..300).map(|n| event(1_000 + n, n % 40, n % 23, rating(n))).collect();
        events[17].value = f32::NAN;
        let (status, batch) = door.ask_status(&EventBatch { durability: 0, want: 1, events }).expect("EVENT_BATCH");
        assert_eq!((status, batch.accepted, batch.rejected, batch.duplicates), (Status::Partial, 299, 1, 0));
        assert_eq!((batch.errors[0].index, batch.results.len()), (17, 300));
        assert_eq!(batch.results[17].status, Status::BadRequest.number());
        assert!(batch.results.iter().enumerate().all(|(n, result)| n == 17 || result.sequence > 0));

        let user = door.ask(&UserGet { user: Id::Int(1) }).expect("USER_GET");
        assert_eq!((user.attributes.len(), user.events), (1, 9));
        let profile = door.ask(&ProfileGet { user: Id::Int(1), recent_max: 3, factors: true }).expect("PROFILE_GET");
        assert_eq!((profile.arms.len(), profile.recent.len(), profile.events), (5, 3, 9));
        let (user, item, strategy) = (Id::Int(1), Id::Int(7), String::new());
        let explain = Explain { user, item, strategy, ranking: false, events_max: 3 };
        let (score, why) = predicted_and_explained(&mut door, &explain);
        assert!((why.score - score).abs() < 1e-6, "{why:?} of {score}");
        assert!((why.parts.iter().map(|part| part.value).sum::<f32>() - why.score).abs() < 1e-5, "{why:?}");
        let unknown = door.ask(&Explain { item: Id::Int(999_999), ..explain }).expect_err("no such item");
        assert_eq!(unknown.0, Status::NotFound);

        let recommend = Recommend {
            user: Id::Int(1),
            k: 5,
            exclude_seen: true,
            allow_items: vec![],
            deny_items: vec![],
            allow_tags: vec![],
            deny_tags: vec![],
            strategy: "biased_mf".into(),
        };
        let list = door.ask(&recommend).expect("RECOMMEND");
        let seen: Vec<Id> = profile.recent.iter().map(|event| event.item.clone()).collect();
        assert!(list.items.len() == 5 && list.items.iter().all(|scored| !seen.contains(&scored.item)));
        let similar = SimilarItems { item: Id::Int(7), k: 3, strategy: String::new() };
        assert_eq!(door.ask(&similar).expect("SIMILAR_ITEMS").items.len(), 3);
        assert_eq!(door.ask(&ItemGet { item: Id::Int(7) }).expect("ITEM_GET").tags, ["red"]);

        let metrics = door.ask(&Metrics { strategy: "biased_mf".into() }).expect("METRICS").strategies;
        assert_eq!((metrics.len(), metrics[0].scored), (1, 300));
        let refit = door.ask(&Refit { seed: 0 }).expect("REFIT");
        assert_eq!((refit.epoch, refit.users), (1, 40), "{refit:?}");
        let fold_in = Recommend { strategy: "fold_in".into(), ..recommend };
        assert_eq!(door.ask(&fold_in).expect("RECOMMEND by fold_in").basis, 0);
        let snapshot = door.ask(&Snapshot {}).expect("SNAPSHOT");
        assert_eq!((snapshot.generation, snapshot.shards.len()), (1, usize::from(shards)));
        let stats = door.ask(&Stats {}).expect("STATS").stats;
        let stat = |name: &str| stats.iter().find(|stat| stat.name == name).map(|stat| stat.value);
        assert_eq!((stat("events_duplicate"), stat("panics")), (Some(1.0), Some(0.0)));
        assert_eq!(door.ask(&Digest {}).expect("DIGEST").shards.len(), usize::from(shards));
        drop(door);
        server.stop();
    }
}

#[test]
fn refusals_say_what_was_wrong_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TestServer::start(with_shards(dir.path(), 1));
    let mut door = Connection::open(server.addr);
    let refused = |door: &mut Connection, request: EventPut| door.ask(&request).expect_err("refused");
    let (status, body) = refused(&mut door, put(event(0, 1, 1, f32::INFINITY)));
    assert_eq!(status, Status::BadRequest);
    assert!(body.message.contains("not finite"), "{}", body.message);
    let (status, body) = refused(&mut door, put(Event { kind: 77, ..event(0, 1, 1, 1.0) }));
    assert!(status == Status::BadRequest && body.message.contains("kind 77 is not configured"), "{}", body.message);
    let (status, _) = refused(&mut door, EventPut { durability: 9, ..put(event(0, 1, 1, 1.0)) });
    assert_eq!(status, Status::BadRequest);
    let unknown = door.ask(&UserGet { user: Id::parse("nobody") }).expect_err("not there");
    assert_eq!(unknown.0, Status::NotFound);
    let strategy = Predict { user: Id::Int(1), items: vec![Id::Int(1)], strategy: "magic".into() };
    assert_eq!(door.ask(&strategy).expect_err("no such strategy").0, Status::BadRequest);

    let mut raw = Header::new(0x7777, 5, 0).encode().to_vec();
    raw.extend(Header { flags: 1, ..Header::new(Ping::OPCODE, 6, 0) }.encode());
    raw.extend(Header { version: 9, ..Header::new(Ping::OPCODE, 7, 0) }.encode());
    door.stream.write_all(&raw).expect("written");
    for id in [5, 6, 7] {
        let (header, _) = door.read();
        assert_eq!((header.request_id, header.code), (id, Status::Unsupported.number()));
    }
    door.ask(&Ping {}).expect("the connection goes on");

    // A frame that is too long ends the connection, after the replies to what came before it.
    let mut bytes = Vec::new();
    put_request(&mut bytes, 50, &Ping {}).expect("a ping");
    bytes.extend(Header::new(Ping::OPCODE, 51, u32::MAX).encode());
    door.stream.write_all(&bytes).expect("written");
    let mut codes = [door.read().0, door.read().0].map(|header| (header.code, header.request_id));
    codes.sort_unstable();
    assert_eq!(codes, [(Status::Ok.number(), 50), (Status::BadRequest.number(), 0)]);
    assert_eq!(door.stream.read(&mut [0; HEADER_BYTES]).expect("closed in order"), 0);
    server.stop();
}

#[test]
fn hello_comes_first() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TestServer::start(with_shards(dir.path(), 1));
    let mut stream = std::net::TcpStream::connect(server.addr).expect("the port answers");
    let mut bytes = Vec::new();
    put_request(&mut bytes, 1, &Ping {}).expect("a ping");
    let hello = Hello { client: "old".into(), version_min: 7, version_max: 9, token: String::new() };
    put_request(&mut bytes, 2, &hello).expect("a hello");
    stream.write_all(&bytes).expect("written");
    for expected in [Status::Unauthorised, Status::Unsupported] {
        let mut raw = [0; HEADER_BYTES];
        stream.read_exact(&mut raw).expect("a reply");
        let header = Header::decode(raw);
        assert_eq!(header.code, expected.number());
        std::io::copy(&mut (&stream).take(u64::from(header.length)), &mut std::io::sink()).expect("its body");
    }
    server.stop();
}

/// What was answered before a stop is there after a start, to the bit; with and without a snapshot.
#[test]
fn a_restart_brings_back_the_same_bits() {
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = TestServer::start(with_shards(dir.path(), shards));
        let mut door = Connection::open(server.addr);
        let batch = |from: u64| EventBatch {
            durability: 0,
            want: 0,
            events: (from..from + 500).map(|n| event(n + 1, n % 61, n % 37, 1.0 + (n % 5) as f32)).collect(),
        };
        door.ask(&batch(0)).expect("first batch");
        door.ask(&Refit { seed: 0 }).expect("REFIT");
        door.ask(&batch(500)).expect("second batch");
        door.ask(&Snapshot {}).expect("SNAPSHOT");
        door.ask(&batch(1_000)).expect("third batch");
        std::thread::sleep(std::time::Duration::from_millis(150)); // exchange between shards comes to rest
        let profiles = |door: &mut Connection| -> Vec<u64> {
            let get = |user| ProfileGet { user: Id::Int(user), recent_max: 0, factors: false };
            (0..61).map(|user| door.ask(&get(user)).expect("known").digest).collect()
        };
        let (before, digests) = (profiles(&mut door), door.ask(&Digest {}).expect("DIGEST").shards);
        drop(door);
        server.stop();

        let server = TestServer::start(with_shards(dir.path(), shards));
        assert_eq!(server.report.generation, 1);
        assert!(server.report.replayed >= 500, "{:?}", server.report);
        let mut door = Connection::open(server.addr);
        assert_eq!(profiles(&mut door), before);
        assert_eq!(door.ask(&batch(1_000)).expect("repeated").duplicates, 500, "ids are remembered over a restart");
        if shards == 1 {
            let after = door.ask(&Digest {}).expect("DIGEST").shards;
            assert!(after[0].sequence > digests[0].sequence);
        }
        drop(door);
        server.stop();
    }
}
