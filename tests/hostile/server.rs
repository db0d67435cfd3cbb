//! What the tests of this folder do to a server: the one of the integration tests, with strategies of every kind, and a
//! connection that can send anything.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use mirra::base::Clock;
use mirra::engine;
use mirra::learn::Strategy;
use mirra::wire::commands::{ProfileGet, Recommend};
use mirra::wire::message::decode_error;
use mirra::wire::{HEADER_BYTES, Header, Status};

use crate::support::{self, Connection, TestServer};

/// A schema with something in every list, and these strategies. With one shard nothing changes but by requests: several
/// send each other rows meanwhile.
pub fn options(dir: &Path, shards: u16, strategies: &[&str]) -> engine::Options {
    let named = |name: &&str| Strategy::default_named(name).expect("listed");
    let mut options = support::options(dir);
    options.state.shards = shards;
    options.state.schema = crate::corpus::schema();
    options.state.strategies = strategies.iter().map(named).collect();
    options
}

/// Strategies that learn event by event, by folding in, by counting, and all together.
pub const SOME: [&str; 5] = ["auto", "biased_mf", "fold_in", "decay", "popularity"];

/// With one shard.
pub fn start(dir: &Path, strategies: &[&str]) -> TestServer {
    TestServer::start(options(dir, 1, strategies))
}

pub fn start_at(dir: &Path, strategies: &[&str], clock: Arc<dyn Clock>) -> TestServer {
    TestServer::start_at(options(dir, 1, strategies), mirra::server::Options::default(), clock)
}

/// Sends one frame and waits for its reply.
pub fn send(connection: &mut Connection, frame: &[u8]) -> (Status, Vec<u8>) {
    connection.stream.write_all(frame).expect("the server reads");
    let (header, body) = connection.read();
    let sent = Header::decode(*frame.first_chunk().expect("a header"));
    assert_eq!(header.request_id, sent.request_id, "a reply to another request");
    let status = Status::from_number(header.code).expect("a known status");
    if !status.is_success() {
        decode_error(&body).expect("a well-formed refusal");
    }
    (status, body)
}

/// Everything that comes until the server closes: whole frames, nothing behind them.
pub fn read_to_end(connection: &mut Connection) -> Vec<(Header, Vec<u8>)> {
    let mut bytes = Vec::new();
    // A reset after the last byte is an end, too.
    let ended = connection.stream.read_to_end(&mut bytes);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    let (mut replies, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let header = Header::decode(*rest.first_chunk().expect("a whole header"));
        let end = HEADER_BYTES + header.length as usize;
        replies.push((header, rest[HEADER_BYTES..end].to_vec()));
        rest = &rest[end..];
    }
    replies
}

/// Everything about a user that is a number of learning is finite.
pub fn assert_finite(connection: &mut Connection, user: &mirra::base::Id, strategies: &[&str]) {
    let profile = connection.ask(&ProfileGet { user: user.clone(), recent_max: 4_096, factors: true });
    let profile = profile.expect("a known user");
    // No number where there is none: nothing that is liked has a value.
    assert!(!profile.value_mean.is_infinite(), "mean {}", profile.value_mean);
    for arm in &profile.arms {
        assert!(arm.factor.iter().all(|value| value.is_finite()), "{}: {:?}", arm.strategy, arm.factor);
    }
    assert!(profile.recent.iter().all(|event| event.value.is_finite() && !event.value.is_subnormal()));
    for strategy in strategies {
        let list = connection.ask(&Recommend {
            user: user.clone(),
            k: 1_000,
            exclude_seen: false,
            allow_items: Vec::new(),
            deny_items: Vec::new(),
            allow_tags: Vec::new(),
            deny_tags: Vec::new(),
            strategy: (*strategy).to_owned(),
        });
        let list = list.expect("a list");
        assert!(list.items.iter().all(|item| item.score.is_finite()), "{strategy}: {:?}", list.items);
    }
}

/// The server lives, has not panicked, and stops well.
pub fn stop(server: TestServer, mut connection: Connection) {
    assert!(connection.stat("panics").abs() < 0.5, "a shard panicked");
    drop(connection);
    server.stop();
}
