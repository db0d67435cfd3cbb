//! Refused events through a real server: counted by reason, listed as they were sent, over restarts, exported, sent again.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use mirra::base::{Id, IdRef, SystemClock};
use mirra::engine;
use mirra::ingest::{Table, TableOptions};
use mirra::model::{self, RejectReason};
use mirra::storage::RejectQuery;
use mirra::storage::rejects::NEWEST;
use mirra::wire::commands::*;
use mirra::wire::types::{Event, RejectRow};
use mirra::wire::{Status, put_request};
use serde_json::Value;

use crate::support::{Connection, ServeProcess, TestServer, options, told as mirra};

const NOW_MS: i64 = 1_700_000_000_000;
const YEAR_MS: i64 = 365 * 86_400_000;
/// A kind that is configured later.
const WAVE: u8 = 77;

fn event(number: u64, kind: u8, value: f32, time_ms: i64) -> Event {
    let item = Id::parse(&format!("item-{number}"));
    Event { event_id: Id::Int(number), user: Id::Int(number % 5), item, kind, value, time_ms }
}

/// One event for each way to be refused at the door, with the reason.
fn bad_events(now_ms: i64) -> Vec<(Event, &'static str)> {
    vec![
        (event(1, 1, f32::from_bits(0x7FC0_1234), NOW_MS), "value_not_finite"),
        (event(2, 1, f32::NEG_INFINITY, NOW_MS), "value_not_finite"),
        (event(3, 1, 2.0e9, NOW_MS), "value_out_of_range"),
        (event(4, 5, 5.5, NOW_MS), "value_out_of_range"),
        (event(5, WAVE, 1.0, NOW_MS), "unknown_kind"),
        (Event { event_id: "wave-6".into(), user: "größe".into(), ..event(6, WAVE, 2.0, 0) }, "unknown_kind"),
        (event(7, 1, -1.0, -5), "before_1970"),
        (event(8, 1, 1.0, now_ms + YEAR_MS), "in_the_future"),
        (event(0, WAVE, 3.0, NOW_MS), "unknown_kind"),
    ]
}

fn list(door: &mut Connection, from: u64, max: u16, reason: u8) -> RejectsReply {
    door.ask(&Rejects { from, max, reason }).expect("REJECTS")
}

fn count(reply: &RejectsReply, name: &str) -> u64 {
    reply.counts.iter().find(|each| each.name == name).expect("every reason is counted").count
}

/// Everything about an event, its value bit for bit.
fn bits(event: &Event) -> (Id, Id, Id, u8, u32, i64) {
    let Event { event_id, user, item, kind, value, time_ms } = event.clone();
    (event_id, user, item, kind, value.to_bits(), time_ms)
}

fn assert_as_sent(rows: &[RejectRow], sent: &[(Event, &str)]) {
    assert_eq!(rows.len(), sent.len());
    for (row, (event, reason)) in rows.iter().zip(sent) {
        assert_eq!(bits(&row.event), bits(event));
        let named = RejectReason::from_code(row.reason).map(RejectReason::name);
        assert_eq!((named, row.source.as_str()), (Some(*reason), "it"), "{row:?}");
        assert!(row.at_ms > NOW_MS && !row.message.is_empty(), "{row:?}");
    }
    assert!(rows.windows(2).all(|two| two[0].sequence < two[1].sequence));
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let (code, out, error) = mirra(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
    out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn write_config(path: &Path, more: &str) {
    let text = format!(
        "[shards]\ncount = 2\n[strategy]\nactive = [\"decay\"]\n[refit]\nautomatic = false\n[kinds.rate]\n\
         range = [1.0, 5.0]\n{more}"
    );
    std::fs::write(path, text).expect("written");
}

#[test]
fn refused_events_are_counted_listed_kept_exported_and_sent_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (data, config) = (dir.path().join("data"), dir.path().join("config.toml"));
    write_config(&config, "");
    let config_arg = config.to_str().expect("UTF-8");
    let server = ServeProcess::start(&data, &["--config", config_arg]);
    let mut door = Connection::open(server.addr);
    let nothing = list(&mut door, 0, 10, 0);
    assert_eq!((nothing.counts.iter().map(|each| each.count).sum::<u64>(), nothing.rejects.len()), (0, 0));

    // In one batch with good ones, then a put and an outcome.
    let now_ms = door.ask(&Ping {}).expect("PING").server_ms;
    let mut sent = bad_events(now_ms);
    let mut events: Vec<Event> = sent.iter().map(|(event, _)| event.clone()).collect();
    events.insert(3, event(100, 1, 1.0, NOW_MS));
    let (status, reply) = door.ask_status(&EventBatch { durability: 0, want: 0, events }).expect("EVENT_BATCH");
    assert_eq!((status, reply.accepted, reply.rejected), (Status::Partial, 1, 9));
    for _ in 0..2 {
        let refused = event(9, 1, f32::NAN, NOW_MS);
        let (status, error) = door.ask(&EventPut { event: refused.clone(), durability: 0 }).expect_err("refused");
        assert!(status == Status::BadRequest && error.message.contains("not finite"), "{error:?}");
        sent.push((refused, "value_not_finite"));
    }
    let refused = event(10, 1, 1.0, i64::MAX);
    door.ask(&Outcome { decision_id: 3, event: refused.clone(), durability: 0 }).expect_err("refused");
    sent.push((refused, "in_the_future"));

    let reply = list(&mut door, 0, 4_096, 0);
    assert_as_sent(&reply.rejects, &sent);
    assert_eq!((reply.next, reply.dropped, reply.damaged), (0, 0, 0));
    let expected = [
        ("value_not_finite", 4),
        ("value_out_of_range", 2),
        ("unknown_kind", 3),
        ("before_1970", 1),
        ("in_the_future", 2),
        ("too_late", 0),
    ];
    let stats = door.ask(&Stats {}).expect("STATS").stats;
    let stat = |name: &str| stats.iter().find(|stat| stat.name == name).map(|stat| stat.value);
    for (name, times) in expected {
        assert_eq!(count(&reply, name), times, "{name}");
        assert_eq!(stat(&format!("rejected_{name}")), Some(times as f64), "{name}");
    }
    let figures = ["events_rejected", "rejects_kept", "rejects_dropped"].map(stat);
    assert_eq!(figures, [12.0, 12.0, 0.0].map(Some));

    // By reason, page by page, the newest, and what cannot be asked.
    let of_kind = list(&mut door, 0, 2, RejectReason::UnknownKind.code());
    assert!(of_kind.rejects.len() == 2 && of_kind.next > 0);
    let rest = list(&mut door, of_kind.next, 2, RejectReason::UnknownKind.code());
    let kinds: Vec<_> = of_kind.rejects.iter().chain(&rest.rejects).map(|row| bits(&row.event)).collect();
    let wanted: Vec<_> = sent.iter().filter(|each| each.1 == "unknown_kind").map(|each| bits(&each.0)).collect();
    assert_eq!((kinds, rest.next), (wanted, 0));
    assert_as_sent(&list(&mut door, u64::MAX, 3, 0).rejects, &sent[9..]);
    let (status, error) = door.ask(&Rejects { from: 0, max: 1, reason: 99 }).expect_err("no such reason");
    assert!(status == Status::BadRequest && error.message.contains("4 unknown_kind"), "{error:?}");

    // Many at once are answered, some after others.
    let mut bytes = Vec::new();
    for id in 1_000..1_200 {
        put_request(&mut bytes, id, &Rejects { from: 0, max: 5, reason: 0 }).expect("it fits");
    }
    door.stream.write_all(&bytes).expect("the server reads");
    let mut answer = || {
        let header = door.read().0;
        assert_eq!(Status::from_number(header.code), Some(Status::Ok));
        header.request_id
    };
    let answered: BTreeSet<u64> = (0..200).map(|_| answer()).collect();
    assert_eq!(answered, (1_000..1_200).collect());

    // Over a kill, and over a stop.
    drop(door);
    server.kill();
    let server = ServeProcess::start(&data, &["--config", config_arg]);
    let mut door = Connection::open(server.addr);
    let again = list(&mut door, 0, 100, 0);
    assert_as_sent(&again.rejects, &sent);
    assert_eq!((again.counts, again.dropped), (reply.counts, 0));
    drop(door);
    server.stop();
    let server = ServeProcess::start(&data, &["--config", config_arg]);
    listed_and_exported(&server, dir.path(), &sent);
    // Kinds are part of the data: one more is a new data directory.
    write_config(&config, "[kinds.wave]\ncode = 77\nweight = 1.0\nexplicit = false\n");
    let wiser = ServeProcess::start(&dir.path().join("wiser"), &["--config", config_arg]);
    sent_again(&server, &wiser);
    mended(&wiser, dir.path());
    wiser.stop();
    server.stop();
}

fn listed_and_exported(server: &ServeProcess, dir: &Path, sent: &[(Event, &str)]) {
    let addr = server.addr.to_string();
    let listed = json(&["rejects", "list", "--addr", &addr, "--json", "--max", "100"]);
    assert_eq!((listed.len(), &listed[0]["counts"]["unknown_kind"]), (13, &Value::from(3)));
    assert_eq!((&listed[1]["event"]["value"], &listed[2]["event"]["value"]), (&"NaN".into(), &"-inf".into()));
    assert_eq!((&listed[5]["event"]["kind"], &listed[5]["source"]), (&"77".into(), &"it".into()));
    let (_, out, _) = mirra(&["rejects", "list", "--addr", &addr, "--reason", "before_1970"]);
    for part in ["unknown_kind", "in_the_future", "all", "12", "item-7", "is before 1970", "1969-12-31"] {
        assert!(out.contains(part), "{part:?} is missing in {out}");
    }
    assert!(!out.contains("item-8") && !out.contains("too_late"), "{out}");
    let (code, _, error) = mirra(&["rejects", "list", "--addr", &addr, "--reason", "before_1960"]);
    assert!(code == Some(2) && error.contains("before_1970"), "{error}");

    // The table says what was sent; the rows that can be read are events again.
    let path = dir.join("refused.tsv.gz");
    let file = path.to_str().expect("UTF-8");
    let done = json(&["rejects", "export", file, "--addr", &addr, "--json"]).remove(0);
    assert_eq!((&done["written"], &done["left_out"]), (&Value::from(12), &Value::from(0)));
    let rows: Vec<_> = Table::open(&path, TableOptions::default()).expect("a table").collect();
    assert_eq!(rows.len(), sent.len());
    for (row, (event, reason)) in rows.iter().zip(sent) {
        let readable = event.value.abs() <= 1.0e9 && event.time_ms < 4 * NOW_MS;
        assert_eq!(row.is_ok(), readable, "{row:?} of {event:?}");
        if let Ok(row) = row {
            assert_eq!((&row.user, &row.item, row.value), (&event.user, &event.item, event.value));
            assert!(row.time_ms == event.time_ms || *reason == "before_1970", "{row:?}");
        }
    }
    let waves = dir.join("waves.tsv");
    let done = json(&[
        "rejects",
        "export",
        waves.to_str().expect("UTF-8"),
        "--reason",
        "unknown_kind",
        "--addr",
        &addr,
        "--json",
    ]);
    assert_eq!(done[0]["written"], 3);
    let text = std::fs::read_to_string(&waves).expect("plain text");
    assert!(text.starts_with("event_id\tuser\titem\tvalue\ttimestamp\tkind\treason\tat\tsource\tmessage\n"), "{text}");
    assert!(text.contains("\nwave-6\tgröße\titem-6\t2\t0\t77\tunknown_kind\t"), "{text}");
}

fn sent_again(server: &ServeProcess, wiser: &ServeProcess) {
    // Where the kind is known: learned once, however often it is sent.
    let (addr, to) = (server.addr.to_string(), wiser.addr.to_string());
    let replay = ["rejects", "replay", "--addr", &addr, "--to", &to, "--json", "--reason", "unknown_kind"];
    let dry = json(&[&replay[..], &["--dry-run"]].concat()).remove(0);
    assert_eq!((&dry["events"], &dry["accepted"], &dry["dry_run"]), (&3.into(), &0.into(), &true.into()));
    let mut door = Connection::open(wiser.addr);
    let versions = |door: &mut Connection| -> Vec<u32> {
        let users: [Id; 2] = [Id::Int(0), "größe".into()];
        let version = |user: Id| door.ask(&UserGet { user }).map_or(0, |reply| reply.version);
        users.map(version).into()
    };
    let before = versions(&mut door);
    let done = json(&replay).remove(0);
    assert_eq!((&done["accepted"], &done["duplicates"], &done["rejected"]), (&3.into(), &0.into(), &0.into()));
    let after = versions(&mut door);
    assert_eq!(after, [before[0] + 2, before[1] + 1], "two of the three are of user 0");
    let done = json(&replay).remove(0);
    assert_eq!((&done["accepted"], &done["duplicates"]), (&0.into(), &3.into()), "nothing counts twice");
    assert_eq!(versions(&mut door), after);

    // What is refused again is told and kept again, and one run does not run after itself.
    let mut door = Connection::open(server.addr);
    let (code, out, error) = mirra(&["rejects", "replay", "--addr", &addr, "--reason", "value_not_finite"]);
    assert!(code == Some(1) && error.contains("nothing was accepted: 4 events refused again"), "{out}{error}");
    assert!(
        out.contains("4 refused events sent again: 4 value_not_finite") && out.contains("refused again 4"),
        "{out}"
    );
    let reply = list(&mut door, 0, 100, 0);
    assert_eq!((count(&reply, "value_not_finite"), reply.rejects.len()), (8, 16));
    assert!(
        reply.rejects[12..].iter().all(|row| row.source.starts_with("mirra ")),
        "{:?}",
        reply.rejects[12..].first()
    );
    let done = json(&["rejects", "replay", "--addr", &addr, "--to", &to, "--json"]).remove(0);
    assert_eq!((&done["events"], &done["duplicates"], &done["rejected"]), (&16.into(), &3.into(), &13.into()));
    assert_eq!(list(&mut door, 0, 100, 0).rejects.len(), 16, "refused by the other one: kept there");
}

/// The exported rows of the unknown kind, with the name of the kind in its place: known by their ids, but the one that
/// had none.
fn mended(wiser: &ServeProcess, dir: &Path) {
    let text = std::fs::read_to_string(dir.join("waves.tsv")).expect("exported above");
    let path = dir.join("mended.tsv");
    std::fs::write(&path, text.replace("\t77\tunknown_kind", "\twave\tunknown_kind")).expect("written");
    let addr = wiser.addr.to_string();
    let done = json(&["replay", path.to_str().expect("UTF-8"), "--addr", &addr, "--json"]).remove(0);
    assert_eq!(
        (&done["accepted"], &done["duplicates"], &done["bad_rows"]),
        (&1.into(), &2.into(), &0.into()),
        "{done}"
    );
    assert_eq!(done["files"][0]["kinds"], serde_json::json!({ "wave": 3 }));
}

#[test]
fn a_server_that_keeps_none_still_counts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let send = |door: &mut Connection| {
        let events = bad_events(NOW_MS + 10 * YEAR_MS).into_iter().map(|(event, _)| event).collect();
        assert_eq!(door.ask(&EventBatch { durability: 0, want: 0, events }).expect("EVENT_BATCH").rejected, 8);
    };
    for (bytes_max, rows) in [(1 << 20, 8), (0, 0)] {
        let server = TestServer::start(engine::Options { rejects_bytes_max: bytes_max, ..options(dir.path()) });
        let mut door = Connection::open(server.addr);
        assert_eq!(list(&mut door, 0, 100, 0).rejects.len(), 0);
        // The defaults know no kind 1, and kind 5 has no range: eight are of an unknown kind here, one is good.
        send(&mut door);
        let reply = list(&mut door, 0, 100, 0);
        assert_eq!((count(&reply, "unknown_kind"), reply.rejects.len(), reply.dropped), (8, rows, 0));
        drop(door);
        server.stop();
        let files = std::fs::read_dir(dir.path().join("rejects")).expect("made by the first").count();
        assert_eq!(files, usize::from(rows > 0), "none stays where none are to be kept");
    }
}

/// Many at once, from several threads and from behind the door: every one is in exactly one count, and nobody waits.
#[test]
fn every_refused_event_is_kept_or_counted_as_dropped() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = options(dir.path());
    options.state.shards = 2;
    let engine_ran = engine::run(options, Arc::new(SystemClock), |engine| async move {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let engine = engine.clone();
                std::thread::spawn(move || {
                    for number in 0..10_000_u64 {
                        let event_id = IdRef::Int(thread * 10_000 + number + 1).stable_hash();
                        let (user, item) = (IdRef::Int(number % 100), IdRef::text("x"));
                        let event = model::Event { event_id, user, item, kind: 0, value: 1.0, time_ms: 1 };
                        engine.reject_event(&event, RejectReason::TooLate, "inside", "too late by a year");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        let totals = engine.reject_totals();
        let query = RejectQuery { from: 0, max: usize::MAX, reason: Some(RejectReason::TooLate) };
        let page = engine.rejects(query).await.expect("read");
        let ids: BTreeSet<Id> = page.rows.iter().map(|row| row.1.event.event_id.clone()).collect();
        assert_eq!(ids.len(), page.rows.len(), "none is kept twice");
        assert!(ids.iter().all(|id| matches!(id, Id::Int(1..=40_000))), "ids are those that were sent");
        assert_eq!((totals.sum(), totals.dropped), (40_000, 40_000 - ids.len() as u64));
        let newest = engine.rejects(RejectQuery { from: NEWEST, max: 1, reason: None }).await.expect("read");
        assert_eq!(newest.rows.last(), page.rows.last());
        println!("kept {}, dropped {}", ids.len(), totals.dropped);
    });
    engine_ran.expect("the engine runs");
}
