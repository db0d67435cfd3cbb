//! O12: clocks that step, and events of times that cannot be.

use std::sync::Arc;

use mirra::base::{Clock, Id, ManualClock};
use mirra::wire::Status;
use mirra::wire::commands::{EventPut, ProfileHistory, ProfileParts, UserUpsert};
use mirra::wire::types::{Attribute, AttributeValue, Event};

use crate::server::{SOME, assert_finite, start_at, stop};
use crate::support::Connection;

const NOW_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;

fn put(time_ms: i64, item: u64) -> EventPut {
    let event = Event { event_id: Id::Int(0), user: Id::Int(7), item: Id::Int(item), kind: 0, value: 1.0, time_ms };
    EventPut { event, durability: 1 }
}

/// Every share, weight and trait of a portrait is a number or known not to be one; nothing decays below zero.
fn assert_sound(connection: &mut Connection, what: &str) {
    assert_finite(connection, &Id::Int(7), &SOME);
    let person = connection.ask(&ProfileParts { user: Id::Int(7), parts: 255, facets_max: 100 }).expect("a person");
    for behaviour in &person.behaviours {
        let sums = behaviour.counts.iter().chain(&behaviour.amounts);
        assert!(sums.clone().all(|sum| sum.is_finite()), "{what}: {behaviour:?}");
        assert!(behaviour.counts.iter().all(|count| *count >= 0.0), "{what}: {behaviour:?}");
    }
    assert!(person.traits.iter().all(|of| !of.value.is_infinite()), "{what}: {:?}", person.traits);
}

#[test]
fn clocks_that_step_break_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let clock = Arc::new(ManualClock::default());
    clock.set_ms(NOW_MS);
    let server = start_at(dir.path(), &SOME, clock.clone());
    let mut connection = Connection::open(server.addr);
    // Back by an hour, on by ten years, still, back to the beginning of time, on beyond what dates hold.
    let steps =
        [0, -HOUR_MS, 10 * YEAR_MS, 10 * YEAR_MS, 0, 1 - NOW_MS, 290_000 * YEAR_MS / 1_000, i64::MAX - NOW_MS, 0];
    for (at, step) in steps.into_iter().enumerate() {
        clock.set_ms(NOW_MS.saturating_add(step));
        for item in 0..5 {
            connection.ask(&put(0, item)).expect("an event of now is always good");
        }
        assert_sound(&mut connection, &format!("step {at}, {step} ms"));
        assert!(clock.now_ms() > 0);
    }
    stop(server, connection);
}

#[test]
fn times_that_cannot_be_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let clock = Arc::new(ManualClock::default());
    clock.set_ms(NOW_MS);
    let server = start_at(dir.path(), &SOME, clock);
    let mut connection = Connection::open(server.addr);
    connection.ask(&put(0, 1)).expect("learned");
    let before = connection.digests();
    let cannot_be = [i64::MIN, i64::MIN + 1, -1, NOW_MS + 25 * HOUR_MS, NOW_MS * 1_000, i64::MAX - 1, i64::MAX];
    for time_ms in cannot_be {
        let (status, error) = connection.ask(&put(time_ms, 2)).expect_err("it cannot be");
        assert_eq!(status, Status::BadRequest, "{time_ms}: {}", error.message);
        let attributes = vec![Attribute { name: "a".into(), value: AttributeValue::Bool(true) }];
        let upsert = UserUpsert { user: Id::Int(7), time_ms, attributes, durability: 1 };
        assert_eq!(connection.ask(&upsert).expect_err("it cannot be").0, Status::BadRequest, "{time_ms}");
        assert_eq!(connection.digests(), before, "{time_ms}");
    }
    for (from_ms, to_ms) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (i64::MIN, i64::MIN), (0, 0), (1, -1)] {
        let history = ProfileHistory { user: Id::Int(7), from_ms, to_ms, kinds: Vec::new(), skip: 0, max: u16::MAX };
        let reply = connection.ask(&history).expect("any span is one");
        assert_eq!(reply.matching as usize, reply.events.len());
    }
    // What can be, in any order: the oldest there is, the farthest ahead that is allowed, and between.
    for (at, time_ms) in [1, NOW_MS + 24 * HOUR_MS, 2, NOW_MS, 1, NOW_MS - YEAR_MS].into_iter().enumerate() {
        connection.ask(&put(time_ms, at as u64)).expect("it can be");
        assert_sound(&mut connection, &format!("an event at {time_ms}"));
    }
    stop(server, connection);
}
