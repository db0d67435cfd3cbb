//! H10 and H11: good frames among bad ones on real connections, and headers of other versions.

use std::collections::BTreeMap;
use std::io::Write;

use mirra::base::{Id, Rng};
use mirra::server;
use mirra::wire::commands::{EventPut, Hello, HelloReply, Ping, Predict};
use mirra::wire::message::decode_error;
use mirra::wire::types::Event;
use mirra::wire::{COMMANDS, Command, Header, Status, VERSION, decode_reply, put_request};

use crate::requests::frame;
use crate::runs::number;
use crate::server::{read_to_end, send, start, stop};
use crate::support::{Connection, TestServer, options};

/// Sequences of frames; `MIRRA_HOSTILE_SEQUENCES=100000` sends as many, which takes some minutes.
const SEQUENCES: u64 = 1_500;

/// What a frame is to be answered with.
type Expected = BTreeMap<u64, Status>;

fn event(n: u64) -> EventPut {
    let (user, item) = (Id::Int(n % 50), Id::Int(n % 20));
    EventPut { event: Event { event_id: Id::Int(0), user, item, kind: 0, value: 1.0, time_ms: 0 }, durability: 1 }
}

/// Appends a frame, good or wrong in a way that leaves the stream whole.
fn put(bytes: &mut Vec<u8>, id: u64, rng: &mut Rng) -> Status {
    match rng.below(8) {
        0 | 1 => {
            put_request(bytes, id, &Ping {}).expect("a frame");
            Status::Ok
        }
        2 | 3 => {
            put_request(bytes, id, &event(id)).expect("a frame");
            Status::Ok
        }
        4 => {
            let predict = Predict { user: Id::Int(id % 50), items: vec![Id::Int(1)], strategy: "none".to_owned() };
            put_request(bytes, id, &predict).expect("a frame");
            Status::BadRequest
        }
        5 => {
            bytes.extend(frame(0x7777, id, b"whatever"));
            Status::Unsupported
        }
        6 => {
            let mut raw = Header::new(Ping::OPCODE, id, 0);
            let at = rng.below(2);
            (raw.flags, raw.version) = if at == 0 { (0x80, VERSION) } else { (0, 9) };
            bytes.extend(raw.encode());
            Status::Unsupported
        }
        _ => {
            bytes.extend(frame(EventPut::OPCODE, id, &vec![0xFF; usize::try_from(rng.below(40)).expect("small")]));
            Status::BadRequest
        }
    }
}

#[test]
fn good_frames_among_bad_ones_are_answered_each_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let door = server::Options { in_flight_max: 3, ..server::Options::default() };
    let server = TestServer::start_with(options(dir.path()), door);
    for sequence in 0..number("SEQUENCES", SEQUENCES) {
        let mut rng = Rng::new(sequence);
        let mut connection = Connection::open(server.addr);
        let (mut bytes, mut expected) = (Vec::new(), Expected::new());
        for _ in 0..1 + rng.below(12) {
            let id = rng.bits() | 1;
            let status = put(&mut bytes, id, &mut rng);
            expected.insert(id, status);
        }
        let ending = rng.below(3);
        match ending {
            // Longer than any frame may be, and much behind it that must not be taken for frames.
            0 => {
                let length = [(4 << 20) - 15, 0x8000_0000, u32::MAX][usize::try_from(rng.below(3)).expect("small")];
                bytes.extend(Header::new(Ping::OPCODE, 2, length).encode());
                (0..rng.below(200)).for_each(|_| put_request(&mut bytes, 4, &Ping {}).expect("a frame"));
                expected.insert(0, Status::BadRequest);
            }
            // Half a frame: never answered.
            1 => bytes.extend(&frame(Ping::OPCODE, 6, &[0; 64])[..usize::try_from(rng.below(80)).expect("small")]),
            _ => {}
        }
        let cut = usize::try_from(rng.below(bytes.len() as u64)).expect("small");
        let sent = connection.stream.write_all(&bytes[..cut]).and_then(|()| connection.stream.write_all(&bytes[cut..]));
        // The server may have closed already, on a frame that is too long.
        assert!(sent.is_ok() || ending == 0, "sequence {sequence}: {sent:?}");
        let _ = connection.stream.shutdown(std::net::Shutdown::Write);
        let replies = read_to_end(&mut connection);
        let found: Expected = replies
            .iter()
            .map(|(header, _)| (header.request_id, Status::from_number(header.code).expect("a known status")))
            .collect();
        assert_eq!((replies.len(), found), (expected.len(), expected), "sequence {sequence}, ending {ending}");
    }
    let connection = Connection::open(server.addr);
    stop(server, connection);
}

#[test]
fn unknown_opcodes_versions_and_flags_are_unsupported_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &["decay"]);
    let mut connection = Connection::open(server.addr);
    let before = connection.digests();
    let known = |opcode: u16| COMMANDS.iter().any(|row| row.opcode == opcode);
    let mut id = 10;
    for opcode in (0..=u16::MAX).step_by(97).chain([0, 4, u16::MAX]).filter(|opcode| !known(*opcode)) {
        id += 1;
        assert_eq!(send(&mut connection, &frame(opcode, id, &[1, 2, 3])).0, Status::Unsupported, "{opcode:#06x}");
    }
    let write = EventPut::OPCODE;
    for (flags, version) in (0..=255).filter(|v| *v != VERSION).map(|v| (0, v)).chain((1..=255).map(|f| (f, VERSION))) {
        let header = Header { flags, version, ..Header::new(write, 7, 0) };
        assert_eq!(send(&mut connection, &header.encode()).0, Status::Unsupported, "{header:?}");
    }
    // HELLO agrees on a version, or says which is spoken; it may come again.
    for (low, high, good) in [(1, 1, true), (0, 255, true), (2, 255, false), (0, 0, false), (255, 0, false)] {
        let hello = Hello { client: "it".into(), version_min: low, version_max: high, token: String::new() };
        let mut bytes = Vec::new();
        put_request(&mut bytes, 9, &hello).expect("a frame");
        let (status, body) = send(&mut connection, &bytes);
        if good {
            let reply: HelloReply = decode_reply::<Hello>(&body).expect("a reply");
            assert_eq!(reply.version, u8::from(status == Status::Ok));
        } else {
            assert_eq!(status, Status::Unsupported, "{}", decode_error(&body).expect("a refusal").message);
        }
    }
    assert_eq!(connection.digests(), before);
    stop(server, connection);
}

#[test]
fn nothing_is_answered_before_hello() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), &["decay"]);
    let mut stream = std::net::TcpStream::connect(server.addr).expect("the port answers");
    let mut bytes = Vec::new();
    COMMANDS.iter().skip(1).for_each(|row| bytes.extend(frame(row.opcode, u64::from(row.opcode), &[])));
    stream.write_all(&bytes).expect("written");
    stream.shutdown(std::net::Shutdown::Write).expect("ended");
    let mut connection = Connection::open(server.addr);
    let after = std::mem::replace(&mut connection.stream, stream);
    let replies = read_to_end(&mut connection);
    assert_eq!(replies.len(), COMMANDS.len() - 1);
    assert!(replies.iter().all(|(header, _)| header.code == Status::Unauthorised.number()));
    connection.stream = after;
    stop(server, connection);
}
