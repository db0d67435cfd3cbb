//! Late events at the door: counted by source in any case, refused where the configuration says how late one may be.

use mirra::base::{Clock, Id, SystemClock};
use mirra::server;
use mirra::wire::Status;
use mirra::wire::commands::{EventBatch, EventPut, Rejects, Stats};
use mirra::wire::types::Event;

use crate::support::{Connection, TestServer, options};

const MINUTE_MS: i64 = 60_000;

/// An event so many minutes ago, of a user of its own: its user's own newest event has no say.
fn event(minutes: i64, now_ms: i64) -> Event {
    let (user, item) = (Id::Int(minutes.unsigned_abs()), Id::Int(1));
    Event { event_id: Id::Int(0), user, item, kind: 5, value: 3.0, time_ms: now_ms - minutes * MINUTE_MS }
}

fn figure(door: &mut Connection, name: &str) -> Option<f64> {
    let stats = door.ask(&Stats {}).expect("STATS").stats;
    stats.into_iter().find(|stat| stat.name == name).map(|stat| stat.value)
}

/// Minutes ago, as one connection sends them; what is more than five behind the newest is late by more than is allowed.
const STREAM: [i64; 6] = [90, 60, 64, 66, 61, 120];

#[test]
fn late_events_are_counted_and_refused_only_where_that_is_asked_for() {
    for (source_late_ms, late, farthest) in [(0, 6.0, 60.0), (5 * MINUTE_MS as u64, 3.0, 55.0)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let limits = server::Options { source_late_ms, ..server::Options::default() };
        let server = TestServer::start_with(options(dir.path()), limits);
        let (mut door, mut other) = (Connection::open(server.addr), Connection::open(server.addr));
        let now_ms = SystemClock.now_ms();
        assert!(figure(&mut door, "lag_ms").is_some_and(f64::is_nan), "nothing came yet");

        let events: Vec<Event> = STREAM.iter().map(|minutes| event(*minutes, now_ms)).collect();
        let reply = door.ask(&EventBatch { durability: 0, want: 0, events }).expect("EVENT_BATCH");
        let refused: Vec<u32> = reply.errors.iter().map(|error| error.index).collect();
        let expected = if source_late_ms == 0 { vec![] } else { vec![3, 5] };
        assert_eq!((reply.accepted as usize, &refused), (STREAM.len() - expected.len(), &expected));
        // A file of old events over a connection of its own is in time.
        other.ask(&EventPut { event: event(5_000, now_ms), durability: 0 }).expect("EVENT_PUT");
        let single = door.ask(&EventPut { event: event(70, now_ms), durability: 0 });
        match single {
            Ok(_) => assert_eq!(source_late_ms, 0),
            Err((status, error)) => {
                assert_eq!(status, Status::TooLate);
                assert!(error.message.contains("600000 ms behind") && error.message.contains("300000 ms"), "{error:?}");
                let kept = door.ask(&Rejects { from: 0, max: 9, reason: 7 }).expect("REJECTS").rejects;
                assert_eq!(kept.len(), 3, "{kept:?}");
            }
        }
        // A clock ahead of the server's does not make late what comes after it.
        other.ask(&EventPut { event: event(-300, now_ms), durability: 0 }).expect("EVENT_PUT");
        other.ask(&EventPut { event: event(1, now_ms), durability: 0 }).expect("EVENT_PUT");

        drop(other); // what came over it still counts
        for name in ["events_late", "source it: late"] {
            assert_eq!(figure(&mut door, name), Some(late), "{name}");
        }
        assert_eq!(figure(&mut door, "late_max_ms"), Some(farthest * MINUTE_MS as f64));
        assert!(figure(&mut door, "lag_ms").is_some_and(|lag| (0.0..60_000.0).contains(&lag)));
        drop(door);
        server.stop();
    }
}
