//! `auto` on a server: the same bits after a restart in both ways of training, and refits that give way to everything.

use std::time::{Duration, Instant};

use mirra::base::{Id, Rng};
use mirra::engine::Options;
use mirra::learn::Strategy;
use mirra::learn::auto::Training;
use mirra::linalg::IalsOptions;
use mirra::state;
use mirra::wire::commands::{Digest, EventBatch, Recommend, RecommendReply, Refit, SimilarItems, Snapshot};
use mirra::wire::types::Event;

use crate::support::{Connection, TestServer, options};

fn named(name: &str) -> Strategy {
    Strategy::default_named(name).expect("listed")
}

/// Two circles of users with a half of the items each.
fn events(from: u64, to: u64) -> Vec<Event> {
    let event = |n: u64| {
        let mut rng = Rng::new(n);
        let user = rng.below(300);
        let item = 100 * (user % 2) + rng.below(100);
        let (event_id, user, item) = (Id::Int(0), Id::Int(user), Id::Int(item));
        Event { event_id, user, item, kind: 0, value: 1.0, time_ms: 1_700_000_000_000 + 1_000 * n as i64 }
    };
    (from..to).map(event).collect()
}

fn send(door: &mut Connection, from: u64, to: u64) {
    for batch in events(from, to).chunks(256) {
        let reply = door.ask(&EventBatch { durability: 1, want: 0, events: batch.to_vec() }).expect("a batch");
        assert_eq!(reply.rejected, 0);
    }
}

fn recommend(door: &mut Connection, user: u64) -> RecommendReply {
    let (allow_items, deny_items, allow_tags, deny_tags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (user, strategy) = (Id::Int(user), String::new());
    let request =
        Recommend { user, k: 10, exclude_seen: true, allow_items, deny_items, allow_tags, deny_tags, strategy };
    door.ask(&request).expect("RECOMMEND")
}

/// A snapshot, a tail of the journal, a stop: what starts again answers with the same lists and is the same to the bit, with
/// the ranker in the state, and with a model and a teacher's weights that came as operations.
#[test]
fn a_restart_is_the_same_to_the_bit() {
    for training in [Training::InStep, Training::Apart] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = state::Options { strategies: vec![named("auto")], training, ..state::Options::default() };
        let start = || TestServer::start(Options { state: state.clone(), ..options(dir.path()) });
        let server = start();
        let mut door = Connection::open(server.addr);
        send(&mut door, 0, 2_000);
        if training == Training::Apart {
            assert!(door.ask(&Refit { seed: 0 }).expect("REFIT").epoch > 0);
        } else {
            assert!(door.ask(&Refit { seed: 0 }).is_err(), "in step it fits its own");
        }
        door.ask(&Snapshot {}).expect("SNAPSHOT");
        send(&mut door, 2_000, 2_700);
        let similar = SimilarItems { item: Id::Int(7), k: 5, strategy: String::new() };
        let ask = |door: &mut Connection| {
            let lists: Vec<_> = (0..20).map(|user| recommend(door, user).items).collect();
            (format!("{lists:?}"), door.ask(&similar).expect("SIMILAR").items)
        };
        // A teacher may still be at its last examples.
        let (digest, answers) = loop {
            let before = door.ask(&Digest {}).expect("DIGEST");
            let answers = ask(&mut door);
            std::thread::sleep(Duration::from_millis(300));
            if door.ask(&Digest {}).expect("DIGEST") == before {
                break (before, answers);
            }
        };
        drop(door);
        server.stop();
        let server = start();
        assert!(server.report.generation == 1 && server.report.replayed >= 700, "{:?}", server.report);
        let mut door = Connection::open(server.addr);
        assert_eq!(door.ask(&Digest {}).expect("DIGEST"), digest, "{training:?}");
        assert_eq!(ask(&mut door), answers, "{training:?}");
        drop(door);
        server.stop();
    }
}

/// A refit that would take minutes: events are acknowledged meanwhile, its progress is told, and a stop neither waits for
/// it nor leaves it holding the directory.
#[test]
fn a_stop_does_not_wait_for_a_refit() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = state::Options { strategies: vec![named("fold_in")], ..state::Options::default() };
    let refit = IalsOptions { iterations: 10_000, ..IalsOptions::default() };
    let start = || {
        let (state, refit) = (state.clone(), refit.clone());
        TestServer::start(Options { state, refit, refit_automatically: false, ..options(dir.path()) })
    };
    let server = start();
    let mut door = Connection::open(server.addr);
    send(&mut door, 0, 20_000);
    let addr = server.addr;
    let asking = std::thread::spawn(move || Connection::open(addr).ask(&Refit { seed: 0 }).is_err());
    let until = Instant::now() + Duration::from_secs(20);
    while door.stat("refit_percent") == 0.0 {
        assert!(Instant::now() < until, "the refit does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&mut door, 20_000, 21_000);
    assert!(door.ask(&Refit { seed: 0 }).is_err(), "one at a time");
    drop(door);
    let began = Instant::now();
    server.stop();
    let took = began.elapsed();
    assert!(asking.join().expect("an answer"), "the refit was refused, as the server stopped");
    assert!(took < Duration::from_secs(4), "stopped after {took:?}");
    let server = start();
    let mut door = Connection::open(server.addr);
    assert_eq!((door.stat("epoch"), door.stat("refit_percent")), (0.0, 0.0));
    drop(door);
    server.stop();
}
