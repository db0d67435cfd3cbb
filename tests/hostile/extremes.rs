//! H8 and H14: every number of every command set to its extremes, through a real server.

use mirra::base::Id;
use mirra::model::Schema;
use mirra::wire::commands::{EmbeddingGet, EmbeddingPut, EventPut, SchemaGet, SchemaSet, Shutdown};
use mirra::wire::types::Event;
use mirra::wire::{COMMANDS, Class, Command, Status};

use crate::requests::{Body, Place, floats, frame, integers};
use crate::server::{SOME, assert_finite, send, start, stop};
use crate::support::Connection;

/// The requests that are tried: all but SHUTDOWN, whose only field says whether to write a snapshot first.
fn commands() -> impl Iterator<Item = &'static mirra::wire::CommandInfo> {
    COMMANDS.iter().filter(|row| row.opcode != Shutdown::OPCODE)
}

/// A user and an item that every good request is about.
fn teach(connection: &mut Connection) {
    for row in commands().filter(|row| ["EVENT_PUT", "ITEM_UPSERT", "EMBEDDING_PUT"].contains(&row.name)) {
        let (status, _) = send(connection, &frame(row.opcode, 1, &Body::of(row).bytes));
        assert_eq!(status, Status::Ok, "{}", row.name);
    }
}

/// What was set to what, for messages.
fn told(row: &str, place: &Place, with: &[u8]) -> String {
    format!("{row}: {} ({}) set to {with:02x?}", place.name, place.kind)
}

#[test]
fn extremes_of_every_number_are_answered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &SOME);
    let mut connection = Connection::open(server.addr);
    teach(&mut connection);
    let (mut id, mut tried) = (100, 0);
    for row in commands() {
        let body = Body::of(row);
        // Two users become one, so that only the first of these is carried out.
        let (status, reply) = send(&mut connection, &frame(row.opcode, 2, &body.bytes));
        let good = status.is_success() || status == Status::NotFound || row.name == "REFIT";
        assert!(good, "{}: {status} {}", row.name, String::from_utf8_lossy(&reply));
        for place in &body.places {
            let is_float = place.kind.starts_with('f');
            let values = if is_float { floats(place.width) } else { integers(place.width) };
            for with in values {
                id += 1;
                tried += 1;
                let before = (row.class == Class::Write).then(|| connection.digests());
                let (status, reply) = send(&mut connection, &body.frame(row, id, place, &with));
                let what =
                    || format!("{}: {status}, {}", told(row.name, place, &with), String::from_utf8_lossy(&reply));
                assert_ne!(status, Status::Internal, "{}", what());
                if !status.is_success()
                    && let Some(before) = before
                {
                    assert_eq!(before, connection.digests(), "refused, and changed something: {}", what());
                }
            }
        }
    }
    println!("{tried} requests");
    // Who was `u` became `w` on the way.
    assert_finite(&mut connection, &Id::parse("w"), &SOME);
    stop(server, connection);
}

/// Every number of a schema set to what hurts: refused, or events go on and stay finite.
#[test]
fn schemas_of_hostile_numbers_are_refused_or_harmless() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &SOME);
    let mut connection = Connection::open(server.addr);
    teach(&mut connection);
    let good = crate::corpus::schema();
    let (mut taken, mut refused) = (0_u32, 0_u32);
    for at in 5..good.to_bytes().len() {
        for with in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE / 4.0] {
            for with in [(with as f32).to_le_bytes().to_vec(), with.to_le_bytes().to_vec()] {
                let version = connection.ask(&SchemaGet {}).expect("answered").version + 1;
                let mut schema = Schema { version, ..good.clone() }.to_bytes();
                schema[at..].iter_mut().zip(&with).for_each(|(byte, with)| *byte = *with);
                match connection.ask(&SchemaSet { schema, dry_run: false }) {
                    Ok(_) => {
                        taken += 1;
                        let event = Event {
                            event_id: Id::Int(0),
                            user: Id::parse("u"),
                            item: Id::parse("u"),
                            kind: [0, 4, 5][usize::try_from(taken % 3).expect("small")],
                            value: 3.0,
                            time_ms: 0,
                        };
                        connection.ask(&EventPut { event, durability: 1 }).ok();
                        assert_finite(&mut connection, &Id::parse("u"), &SOME);
                    }
                    Err((status, error)) => {
                        refused += 1;
                        assert_eq!(status, Status::BadRequest, "byte {at} set to {with:02x?}: {}", error.message);
                    }
                }
            }
        }
    }
    println!("{taken} schemas taken, {refused} refused");
    stop(server, connection);
}

#[test]
fn vectors_of_other_lengths_change_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &SOME);
    let mut connection = Connection::open(server.addr);
    teach(&mut connection);
    let before = connection.digests();
    let put = |vector: Vec<f32>, modality: &str| EmbeddingPut {
        item: Id::parse("u"),
        modality: modality.to_owned(),
        vector,
        time_ms: 0,
        durability: 1,
    };
    let lengths = [1, 3, 5, 2_048].map(|length| put(vec![1.0; length], "text"));
    let senseless = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0].map(|x| put(vec![x; 4], "text"));
    let unknown = [put(vec![1.0; 4], ""), put(vec![1.0; 4], "image"), put(Vec::new(), "image")];
    for request in lengths.into_iter().chain(senseless).chain(unknown) {
        let (status, error) = connection.ask(&request).expect_err("it is refused");
        assert_eq!(status, Status::BadRequest, "{request:?}: {}", error.message);
        assert_eq!(connection.digests(), before, "{request:?}");
    }
    // Very long and very short ones have a direction, or are refused: what is kept has length 1.
    for number in [f32::MAX, f32::MIN_POSITIVE, f32::MIN_POSITIVE / 8.0, 1e-45] {
        let (modality, item) = ("text".to_owned(), Id::parse("u"));
        if connection.ask(&put(vec![number; 4], &modality)).is_ok() {
            let vector = connection.ask(&EmbeddingGet { item, modality }).expect("it is kept").vector;
            assert!(vector.iter().all(|x| (x - 0.5).abs() < 1e-3), "{number:e}: {vector:?}");
        }
    }
    stop(server, connection);
}
