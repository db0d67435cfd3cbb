//! One test for each bug that was found, with its story. Seven stand beside what they need: r3 and r9
//! in `storage/journal/failing_tests.rs`, r4 in `tests/hostile/bounds.rs`, r8 in `state/items.rs`, r11 and r12 in
//! `storage/snapshot/repair.rs`, r13 in `shard/teacher.rs`.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mirra::base::limits::{ATTRIBUTES_MAX, CONTROLS_MAX, ITEM_TAGS_MAX, TEXT_BYTES_MAX};
use mirra::base::{Clock, Id, IdRef, ManualClock};
use mirra::engine::bring_back::{Common, Pieces, go_on, recover_all};
use mirra::model::{self, Kind, Kinds, Schema};
use mirra::server;
use mirra::shard::{Home, Journaled};
use mirra::state::{self, Op};
use mirra::storage::{DataDir, JournalOptions, SnapshotOptions, SnapshotStore, StorageError};
use mirra::wire::commands::{
    EventPut, EventPutReply, Ping, ProfilesGet, SchemaGet, SchemaSet, UserControl, UserUpsert,
};
use mirra::wire::types::{Attribute, AttributeValue, Event};
use mirra::wire::{Command, Header, Status, decode_reply, put_request, split};

use crate::prepared::Prepared;
use crate::support::{Connection, TestServer, options};

/// r1: a durable write was handed to its shard by the task that waits for the device, so a later frame of the same
/// connection could overtake it, although the protocol promises the order of frames to the writes of one user. It took
/// more frames in one read than are carried out at a time, which `in_flight_max = 2` makes the usual case.
#[test]
fn r1_writes_keep_the_order_of_their_frames() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let door = server::Options { in_flight_max: 2, ..server::Options::default() };
    let server = TestServer::start_with(options(dir.path()), door);
    let mut connection = Connection::open(server.addr);
    let mut bytes = Vec::new();
    for n in 0..40_u64 {
        let (event_id, user, item) = (Id::Int(n + 1), Id::Int(7), Id::Int(n));
        let event = Event { event_id, user, item, kind: 0, value: 1.0, time_ms: 0 };
        // Durable and applied in turn, the slow ones first in each pair of frames.
        let durability = if n % 4 < 2 { 3 } else { 1 };
        put_request(&mut bytes, n, &EventPut { event, durability }).expect("a frame");
    }
    connection.stream.write_all(&bytes).expect("written");
    let mut sequences: Vec<(u64, u64)> = (0..40)
        .map(|_| {
            let (header, body) = connection.read();
            let reply: EventPutReply = decode_reply::<EventPut>(&body).expect("a reply");
            (header.request_id, reply.sequence)
        })
        .collect();
    sequences.sort_unstable();
    assert!(sequences.windows(2).all(|pair| pair[0].1 < pair[1].1), "{sequences:?}");
    drop(connection);
    server.stop();
}

/// r2: power was lost before anything of a shard was durable, while a peer had merged its first sequences durably. The start
/// skipped those, and began the shard's journal behind them: the next start then missed the sequences before. Found by the
/// simulator.
#[test]
fn r2_a_journal_begins_where_a_replay_does_whatever_peers_have_merged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = state::Options { shards: 2, ..options(dir.path()).state };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let schema = options.schema.clone();
    let start = || -> Vec<Journaled> {
        // A child of another test may hold the lock that it was born with until it becomes another program.
        let until = Instant::now() + Duration::from_secs(10);
        let data = loop {
            match DataDir::open(dir.path(), true) {
                Err(StorageError::Locked { .. }) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => break opened.expect("it is free"),
            }
        };
        let (store, _) = SnapshotStore::open(&data, 7, SnapshotOptions::default()).expect("it opens");
        let (dir, store, manifest) = (Arc::new(data), Arc::new(store), Mutex::new(None));
        let home = Arc::new(Home { dir, store, cluster_id: 7, manifest, progress: Arc::default() });
        let metrics = Arc::default();
        let pieces = Pieces { home: &home, metrics: &metrics, clock: &clock, journal: JournalOptions::default() };
        let recovered = recover_all(&home, &options).expect("all that is there can be read");
        let common = Common { epoch: 0, schema: &schema };
        recovered.into_iter().map(|shard| go_on(shard, &pieces, common, 0.0).expect("it goes on")).collect()
    };
    let of_shard = |shard| {
        let here = |id: &IdRef<'_>| options.routing.shard(*id, 2) == shard;
        (1..).map(IdRef::Int).find(here).expect("there are some of every shard")
    };
    let mut cores = start();
    let (mut event, mut merge) = (Vec::new(), Vec::new());
    let (user, item, time_ms) = (of_shard(0), of_shard(1), 1_700_000_000_000);
    Op::Event(model::Event { event_id: 1, user, item, kind: 0, value: 1.0, time_ms }).encode(&mut event);
    cores[0].write(&event, 1, false).expect("learned");
    let parcel = cores[0].next_parcel(1).expect("the item is of the other shard");
    Op::Merge { source: 0, upto: parcel.upto, count: 1, bytes: &parcel.bytes }.encode(&mut merge);
    cores[1].write(&merge, 1, false).expect("merged");
    let merged = cores[1].shard.merged(0);
    assert!(merged > 0 && cores.iter_mut().all(Journaled::drain));
    drop(cores);
    std::fs::write(dir.path().join("journal/shard-000/0000000001.mjl"), b"cut").expect("written");
    for _ in 0..3 {
        let mut cores = start();
        assert_eq!(cores[0].shard.sequence(), merged);
        assert!(cores.iter_mut().all(Journaled::drain));
    }
}

/// r5: SCHEMA_SET took any bytes that could be read as a schema, so a weight that is no number went into every shard's journal
/// and from there into every sum. The bytes are held to the limits of the configuration now, and nothing may follow them.
#[test]
fn r5_a_schema_that_cannot_be_reckoned_with_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TestServer::start(options(dir.path()));
    let mut connection = Connection::open(server.addr);
    let good = Schema { version: 2, ..Schema::default() };
    let kinds = |kind: Kind| Kinds::new(good.kinds.iter().cloned().chain([kind]));
    let wrong = [
        Schema { kinds: kinds(Kind::new(9, "x", f32::NAN)), ..good.clone() },
        Schema { kinds: kinds(Kind::new(9, "x", f32::INFINITY)), ..good.clone() },
        Schema { kinds: kinds(Kind { half_life_s: f64::NAN, ..Kind::new(9, "x", 1.0) }), ..good.clone() },
        Schema { session_gap_ms: i64::MIN, ..good.clone() },
        Schema { churn_horizon_ms: i64::MAX, ..good.clone() },
    ];
    let mut wrong: Vec<Vec<u8>> = wrong.iter().map(Schema::to_bytes).collect();
    wrong.push([good.to_bytes(), vec![0]].concat());
    for schema in wrong {
        let (status, error) = connection.ask(&SchemaSet { schema, dry_run: false }).expect_err("it is refused");
        assert_eq!(status, Status::BadRequest, "{}", error.message);
    }
    assert_eq!(connection.ask(&SchemaGet {}).expect("answered").version, 1);
    let taken = connection.ask(&SchemaSet { schema: good.to_bytes(), dry_run: false }).expect("it is taken");
    assert_eq!(taken.version, 2);
    drop(connection);
    server.stop();
}

/// r6: after a framing error the connection was closed with bytes unread, which resets it, and a reset takes replies with it
/// that the client has not read yet: one in some hundred connections lost the refusal and the replies before it.
#[test]
fn r6_replies_before_a_framing_error_arrive() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TestServer::start(options(dir.path()));
    let mut bytes = Vec::new();
    (1..=10).for_each(|id| put_request(&mut bytes, id, &Ping {}).expect("a frame"));
    bytes.extend(Header::new(Ping::OPCODE, 11, u32::MAX).encode());
    (12..=8_000).for_each(|id| put_request(&mut bytes, id, &Ping {}).expect("a frame"));
    for at in 0..100 {
        let mut connection = Connection::open(server.addr);
        connection.stream.write_all(&bytes).expect("all of it is read, and what is behind the error dropped");
        connection.stream.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut replies = Vec::new();
        connection.stream.read_to_end(&mut replies).expect("an end, not a reset");
        let mut ids: Vec<u64> = split(&replies).flatten().map(|(header, _)| header.request_id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..=10).collect::<Vec<u64>>(), "connection {at}");
    }
    server.stop();
}

/// r7: limits that hold one by one let a reply grow beyond a frame: five users with 64 attributes of 64 texts each, asked for
/// at once, were answered INTERNAL, as if the server were at fault. The answer says now what to do.
#[test]
fn r7_a_reply_that_fits_no_frame_is_not_a_fault_of_the_server() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TestServer::start(options(dir.path()));
    let mut connection = Connection::open(server.addr);
    let texts = AttributeValue::Texts(vec!["x".repeat(TEXT_BYTES_MAX); ITEM_TAGS_MAX]);
    let attribute = |at: usize| Attribute { name: format!("a{at}"), value: texts.clone() };
    let users: Vec<Id> = (0..5).map(Id::Int).collect();
    for user in &users {
        let attributes = (0..ATTRIBUTES_MAX).map(attribute).collect();
        let upsert = UserUpsert { user: user.clone(), time_ms: 0, attributes, durability: 1 };
        connection.ask(&upsert).expect("every limit is kept");
    }
    let all = ProfilesGet { users: users.clone(), parts: 1, facets_max: 0 };
    let (status, error) = connection.ask(&all).expect_err("more than a frame");
    assert_eq!(status, Status::BadRequest, "{}", error.message);
    assert!(error.message.ends_with("ask for less at a time"), "{}", error.message);
    let some = ProfilesGet { users: users[..3].to_vec(), ..all };
    assert_eq!(connection.ask(&some).expect("less than a frame").profiles.len(), 3);
    drop(connection);
    server.stop();
}

/// r10: a start swept the chunks of generations without a manifest before it knew whether it could do without them. Where the
/// manifests were gone and the journal trimmed, it was refused, rightly, and had removed what the manifests would have brought
/// back; the refusal told of a journal alone.
#[test]
fn r10_a_refused_start_removes_no_snapshot() {
    let prepared = Prepared::new(10, true);
    let copy = prepared.copy();
    let manifests = copy.path().join("manifests");
    let away = copy.path().join("away");
    std::fs::rename(&manifests, &away).expect("renamed");
    let error = Prepared::of(copy.path()).expect_err("the first events are in no journal");
    assert!(error.contains("no snapshot can be used") && error.contains("snapshot restore --from"), "{error}");
    std::fs::remove_dir(&manifests).expect("it was made anew, empty");
    std::fs::rename(&away, &manifests).expect("renamed");
    let (report, state) = Prepared::of(copy.path()).expect("everything is there again");
    assert_eq!((report.generation, state), (3, prepared.state.clone()));
}

/// r20: the 65th attribute of a user and the 257th mute were answered OK and not kept.
#[test]
fn r20_what_is_not_kept_is_not_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TestServer::start(options(dir.path()));
    let mut connection = Connection::open(server.addr);
    let user = Id::Int(1);
    let attribute = |at: usize| Attribute { name: format!("a{at}"), value: AttributeValue::Number(at as f64) };
    let mut upsert = |range: std::ops::Range<usize>| {
        let attributes = range.map(attribute).collect();
        connection.ask(&UserUpsert { user: user.clone(), time_ms: 0, attributes, durability: 1 })
    };
    upsert(0..ATTRIBUTES_MAX).expect("as many as may be");
    upsert(3..5).expect("known ones are stated again");
    let (status, error) = upsert(ATTRIBUTES_MAX..ATTRIBUTES_MAX + 1).expect_err("one more is not kept");
    assert!(status == Status::BadRequest && error.message.contains("64"), "{}", error.message);
    let mut mute = |item: usize, on: bool| {
        let (name, item) = (String::new(), Some(Id::Int(item as u64)));
        let (user, control, share, time_ms) = (user.clone(), 2, 0.0, 0);
        connection.ask(&UserControl { user, control, on, name, item, share, time_ms, durability: 1 })
    };
    for item in 0..CONTROLS_MAX {
        mute(item, true).expect("as many as may be");
    }
    mute(7, true).expect("it is muted");
    let (status, error) = mute(CONTROLS_MAX, true).expect_err("one more is not kept");
    assert!(status == Status::BadRequest && error.message.contains("256"), "{}", error.message);
    mute(7, false).expect("taken back");
    mute(CONTROLS_MAX, true).expect("there is room again");
    drop(connection);
    server.stop();
}
