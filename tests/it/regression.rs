//! One test for each bug that was found, with its story.

use std::io::Write;

use mirra::base::Id;
use mirra::server;
use mirra::wire::commands::{EventPut, EventPutReply};
use mirra::wire::types::Event;
use mirra::wire::{decode_reply, put_request};

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
