//! The program as people run it: `mirra serve` as a process, and every subcommand against it.

use mirra::wire::commands::{Digest, EventPut};
use mirra::wire::types::Event;

use crate::support::{Connection, ServeProcess};

/// What was journaled before the kill is there after it; a stop ends well.
#[test]
fn a_killed_server_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let server = ServeProcess::start(&data, &["--shards", "2"]);
    let mut door = Connection::open(server.addr);
    for n in 0..50_u64 {
        let (event_id, user, item) = ((n + 1).into(), (n % 7).into(), (n % 5).into());
        let event = Event { event_id, user, item, kind: 5, value: 3.0, time_ms: 1_700_000_000_000 };
        assert_eq!(door.ask(&EventPut { event, durability: 2 }).expect("EVENT_PUT").durability, 2);
    }
    let before = door.ask(&Digest {}).expect("DIGEST").shards;
    assert!(server.log().contains("serving") && server.pid() > 0);
    server.kill();
    let server = ServeProcess::start(&data, &["--shards", "2"]);
    let after = Connection::open(server.addr).ask(&Digest {}).expect("DIGEST").shards;
    assert_eq!(before, after);
    server.stop();
}
