//! Tests of the sender against a server that refuses.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;
use crate::base::Rng;
use crate::cli::account::REASONS_MAX;
use crate::client::ClientOptions;
use crate::wire::commands::{Hello, HelloReply, Request};
use crate::wire::types::{Attribute, AttributeValue};
use crate::wire::{put_error, put_reply, split};

/// What each user is in the end.
type Kept = BTreeMap<Id, f64>;

/// A server that refuses one request of three as OVERLOADED, until it has done so `refusals` times, and user 13 for good.
fn server(seed: u64, mut refusals: u32) -> (String, JoinHandle<Kept>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut rng, mut kept, mut input, mut buffer) = (Rng::new(seed), Kept::new(), Vec::new(), vec![0; 1 << 16]);
        loop {
            let read = stream.read(&mut buffer).unwrap();
            if read == 0 {
                return kept;
            }
            input.extend_from_slice(&buffer[..read]);
            let mut out = Vec::new();
            let mut frames = split(&input);
            for frame in frames.by_ref() {
                let (header, body) = frame.unwrap();
                let id = header.request_id;
                match Request::decode(header.code, body).unwrap() {
                    Request::Hello(_) => put_reply::<Hello>(&mut out, id, Status::Ok, &hello()).unwrap(),
                    Request::UserUpsert(_) if refusals > 0 && rng.below(3) == 0 => {
                        refusals -= 1;
                        put_error(&mut out, id, Status::Overloaded, 1, "full");
                    }
                    Request::UserUpsert(asked) if asked.user == Id::Int(13) => {
                        put_error(&mut out, id, Status::BadRequest, 0, "unlucky");
                    }
                    Request::UserUpsert(asked) => {
                        let AttributeValue::Number(number) = asked.attributes[0].value else { panic!("{asked:?}") };
                        kept.insert(asked.user, number);
                        let ack = WriteAck { shard: 0, sequence: 1, version: 1, durability: 2 };
                        put_reply::<UserUpsert>(&mut out, id, Status::Ok, &ack).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
            let consumed = frames.consumed();
            input.drain(..consumed);
            stream.write_all(&out).unwrap();
        }
    });
    (addr, thread)
}

fn hello() -> HelloReply {
    HelloReply {
        version: 1,
        server: "test".to_owned(),
        shards: 1,
        shard_map: Vec::new(),
        kinds: Vec::new(),
        strategies: Vec::new(),
        frame_bytes_max: 1 << 20,
        batch_events_max: 4_096,
        in_flight_max: 16,
        durability: 2,
    }
}

fn row(line: u64, user: u64) -> Waiting<UserUpsert> {
    let value = AttributeValue::Number(line as f64);
    let attributes = vec![Attribute { name: "line".to_owned(), value }];
    Waiting { file: 0, line, request: UserUpsert { user: user.into(), time_ms: 0, attributes, durability: 0 } }
}

#[test]
fn the_last_row_of_a_user_wins_whatever_is_refused_meanwhile() {
    let mut overloaded = 0;
    for seed in 0..20 {
        let (addr, thread) = server(seed, 60);
        let mut sender = Sender::new(BlockingClient::connect(&addr, &ClientOptions::default()).unwrap(), 4_096);
        assert_eq!(sender.window, 16, "the server's limit holds");
        let mut rng = Rng::new(seed + 100);
        let (mut last, mut unlucky) = (Kept::new(), 0);
        for line in 2..302_u64 {
            let user = rng.below(20);
            match user {
                13 => unlucky += 1,
                _ => drop(last.insert(user.into(), line as f64)),
            }
            sender.send(row(line, user)).unwrap();
        }
        sender.finish().unwrap();
        let tally = sender.into_tally();
        assert_eq!(thread.join().unwrap(), last, "seed {seed}");
        assert_eq!(
            (tally.loaded, tally.refused, tally.durability.name()),
            (300 - unlucky, unlucky, Some("journaled")),
            "seed {seed}"
        );
        assert!(tally.reasons[0].message.contains("unlucky (BAD_REQUEST)"), "{tally:?}");
        assert!(tally.reasons.is_sorted() && tally.reasons.len() == REASONS_MAX);
        overloaded += tally.overloaded;
    }
    assert!(overloaded > 500, "{overloaded}");
}

/// What the protocol cannot carry is refused here, and the next row goes on.
#[test]
fn a_request_over_a_limit_is_a_refused_row() {
    let (addr, thread) = server(1, 0);
    let mut sender = Sender::new(BlockingClient::connect(&addr, &ClientOptions::default()).unwrap(), 4);
    let mut long = row(2, 1);
    long.request.attributes[0].name = "x".repeat(100_000);
    sender.send(long).unwrap();
    sender.send(row(3, 2)).unwrap();
    sender.finish().unwrap();
    let tally = sender.into_tally();
    assert_eq!((tally.loaded, tally.refused), (1, 1));
    assert!(tally.reasons[0].line == 2 && tally.reasons[0].message.contains("limit"), "{tally:?}");
    assert_eq!(thread.join().unwrap(), Kept::from([(Id::Int(2), 3.0)]));
}
