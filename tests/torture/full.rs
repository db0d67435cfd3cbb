//! A disk that is full for a while.
//!
//! The room that is to stay free is set to a gigabyte less than there is, and a file of one and a half takes it: nobody has to make
//! a file system for that, and the server looks as it always does.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::quantile;
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work};
use mirra::base::Id;
use mirra::wire::Status;
use mirra::wire::commands::{EventBatch, ProfileGet};
use mirra::wire::types::Event;

const GIB: u64 = 1 << 30;

/// Users, and events of a batch.
const USERS: u64 = 10;

/// Longest until writes are taken again, in milliseconds.
const RESUME_MS_MAX: f64 = 2_000.0;

fn free_bytes(dir: &Path) -> u64 {
    let told = rustix::fs::statvfs(dir).expect("the system tells what is free");
    told.f_bavail * told.f_frsize
}

/// Takes room without writing it, where the file system can do that.
fn take_room(path: &Path, bytes: u64) -> File {
    let file = File::create(path).expect("a file");
    let taken = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
    taken.unwrap_or_else(|error| panic!("{bytes} bytes at {}: {error}", path.display()));
    file
}

/// Somebody who writes and reads all the time.
struct Client {
    door: Connection,
    batches: u64,
    accepted: u64,
    refused: u64,
    write_ms: Vec<f64>,
    reads: u64,
}

impl Client {
    /// A batch of an event of each, and a read; whether the events were taken.
    fn go_on(&mut self) -> bool {
        let event = |n: u64| Event {
            event_id: Id::Int(1 + USERS * self.batches + n),
            user: Id::Int(n),
            item: Id::Int(self.batches % 1_000),
            kind: 0,
            value: 1.0,
            time_ms: 0,
        };
        let events = (0..USERS).map(event).collect();
        let began = Instant::now();
        let reply = self.door.ask(&EventBatch { durability: 2, want: 0, events }).expect("each event is answered");
        self.write_ms.push(1e3 * began.elapsed().as_secs_f64());
        let told = |error: &mirra::wire::types::EventError| error.status == Status::DiskFull.number();
        assert!(reply.errors.iter().all(told), "{:?}", reply.errors.first());
        self.batches += 1;
        self.accepted += u64::from(reply.accepted);
        self.refused += u64::from(reply.rejected);
        self.door.ask(&ProfileGet { user: Id::Int(1), recent_max: 5, factors: false }).expect("reads go on");
        self.reads += 1;
        std::thread::sleep(Duration::from_millis(1));
        reply.rejected == 0
    }
}

/// D7: reads serve, writes fail fast, and go on by themselves when there is room; what was accepted is there after a kill.
pub fn disk(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let free_min = free_bytes(dir.path()).checked_sub(GIB).expect("more than a gigabyte is free").to_string();
    let settings = [("MIRRA__DISK__FREE_MIN_BYTES", free_min.as_str()), ("MIRRA__STRATEGY__ACTIVE", r#"["decay"]"#)];
    let start = || ServeProcess::start_with(&dir.path().join("data"), &["--shards", "2"], &settings);
    let server = start();
    let door = Connection::open(server.addr);
    let mut client = Client { door, batches: 0, accepted: 0, refused: 0, write_ms: Vec::new(), reads: 0 };
    let full = Duration::from_secs_f64((30.0 * work.share).max(2.0));
    (0..1_000).for_each(|_| assert!(client.go_on(), "there is room"));
    let file = dir.path().join("taken");
    let taken = take_room(&file, GIB + GIB / 2);
    let began = Instant::now();
    while client.go_on() {}
    let noticed_ms = 1e3 * began.elapsed().as_secs_f64();
    client.write_ms.clear();
    let before = client.reads;
    while began.elapsed() < full {
        assert!(!client.go_on(), "there is no room");
    }
    let (reads, refused_ms) = (client.reads - before, std::mem::take(&mut client.write_ms));
    drop(taken);
    std::fs::remove_file(&file).expect("it is ours");
    let began = Instant::now();
    while !client.go_on() {
        assert!(began.elapsed() < Duration::from_secs(60), "writes are never taken again");
    }
    let resume_ms = 1e3 * began.elapsed().as_secs_f64();
    (0..1_000).for_each(|_| assert!(client.go_on(), "there is room"));
    let (accepted, refused) = (client.accepted, client.refused);
    drop(client);
    server.kill();
    let server = start();
    let mut door = Connection::open(server.addr);
    let read = |user| ProfileGet { user: Id::Int(user), recent_max: 0, factors: false };
    let known: u64 = (0..USERS).map(|user| door.ask(&read(user)).expect("known").events).sum();
    drop(door);
    server.stop();
    let lost = accepted.abs_diff(known);
    let figures = json!({
        "full_s": full.as_secs_f64(), "accepted": accepted, "refused": refused, "lost": lost,
        "noticed_ms": noticed_ms, "resume_ms": resume_ms, "resume_goal_ms": RESUME_MS_MAX,
        "refused_p99_ms": quantile(&refused_ms, 0.99), "reads_meanwhile": reads,
    });
    (lost == 0 && resume_ms <= RESUME_MS_MAX, figures)
}
