//! H3 and H5: what a length or a count says decides nothing about memory.

use mirra::base::limits::FRAME_BYTES_MAX;
use mirra::base::{Id, Writer};
use mirra::wire::commands::{EventBatch, Request};
use mirra::wire::message::decode_request;
use mirra::wire::types::Event;
use mirra::wire::{Command, Header, put_request, split};

use crate::targets::ROOM;
use crate::targets::alloc::measured;

/// A length over the limit is refused from the header alone, and a long one within it costs nothing before it is there.
#[test]
fn lengths_of_headers_take_no_memory() {
    let cap = u32::try_from(FRAME_BYTES_MAX).expect("fits") - 16;
    for (length, error) in [(0, false), (cap, false), (cap + 1, true), (1 << 31, true), (u32::MAX, true)] {
        let bytes = [&Header::new(2, 7, length).encode()[..], &[0; 100]].concat();
        let (found, taken) = measured(|| split(&bytes).next().map(|frame| frame.is_err()));
        assert_eq!(found, if length == cap { None } else { Some(error) }, "length {length}");
        assert_eq!(taken.most, 0, "length {length}");
    }
}

/// r4: a body was decoded into memory as it was read, so 94 KB of a batch with a fault at its end took 316 KB before it was
/// refused: an id takes two bytes of a frame and 24 in memory. Long bodies are looked through first.
#[test]
fn r4_a_body_that_is_refused_takes_no_memory() {
    let event =
        Event { event_id: Id::Int(0), user: Id::parse("u7"), item: Id::Int(1), kind: 0, value: 1.0, time_ms: 0 };
    let batch = EventBatch { durability: 1, want: 0, events: vec![event; 4_096] };
    let mut frame = Vec::new();
    put_request(&mut frame, 7, &batch).expect("a full batch fits a frame");
    let body = &frame[16..frame.len() - 1];
    let (refused, taken) = measured(|| decode_request::<EventBatch>(body).is_err());
    assert!(refused && taken.most <= ROOM, "{taken:?} for {} bytes", body.len());
    let (read, taken) = measured(|| decode_request::<EventBatch>(&frame[16..]));
    assert_eq!(read, Ok(batch));
    assert!(taken.most - taken.held <= ROOM, "{taken:?}");
}

/// Counts that promise more than is there, in the first place where a list stands.
#[test]
fn counts_take_no_memory() {
    for count in [0_u32, 1, 4_096, 4_097, 1 << 31, u32::MAX] {
        let mut body = vec![1, 0];
        Writer::new(&mut body).u32(count).bytes(&[0; 64]);
        let (found, taken) = measured(|| Request::decode(EventBatch::OPCODE, &body).is_ok());
        assert!(!found && taken.most <= 2 * body.len() + ROOM, "count {count}: {taken:?}");
    }
}
