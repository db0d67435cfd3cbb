//! Data directories with two generations and a journal behind them, to be damaged, and starts of what is then left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirra::base::{Id, Rng, SystemClock};
use mirra::cli;
use mirra::engine::{self, Engine, EngineError, Opened, Options, StartReport};
use mirra::learn::Strategy;
use mirra::storage::StorageError;
use mirra::wire::commands::{EventBatch, Refit, Snapshot};
use mirra::wire::types::Event;

use crate::support::{Connection, TestServer, options};

/// Shards of a prepared directory.
pub const SHARDS: u16 = 2;

/// Where each shard came back to, and the digest of what it knows.
pub type State = Vec<(u64, u64)>;

/// A directory at rest, and what it comes back as.
pub struct Prepared {
    pub dir: tempfile::TempDir,
    pub state: State,
}

/// The options that prepared directories are written and started with: nothing in them goes on by itself.
pub fn state_options(dir: &Path) -> Options {
    let mut options = options(dir);
    let named = |name| Strategy::default_named(name).expect("listed");
    options.state.strategies = ["decay", "popularity"].map(named).to_vec();
    options.state.shards = SHARDS;
    options
}

impl Prepared {
    /// Two generations, one item model, and a journal that begins with the first event; with `trimmed`, one that begins later.
    pub fn new(seed: u64, trimmed: bool) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut rng = Rng::new(seed);
        let mut sent = 0;
        let mut session = |snapshots: usize, refit: bool| {
            let server = TestServer::start(state_options(dir.path()));
            let mut door = Connection::open(server.addr);
            for _ in 0..snapshots {
                put(&mut door, &mut rng, &mut sent);
                if refit {
                    door.ask(&Refit { seed: 1 }).expect("REFIT");
                }
                door.ask(&Snapshot {}).expect("SNAPSHOT");
            }
            put(&mut door, &mut rng, &mut sent);
            at_rest(&mut door);
            drop(door);
            server.stop();
        };
        if trimmed {
            (0..3).for_each(|n| session(1, n == 0));
        } else {
            session(2, true);
            session(0, false);
        }
        let first = dir.path().join("journal/shard-000/0000000001.mjl");
        assert_eq!(first.exists(), !trimmed, "the journal begins where it should");
        let mut prepared = Self { dir, state: Vec::new() };
        // Of a copy: every start tells other shards some rows again, and so goes on by some operations.
        prepared.state = Self::of(prepared.copy().path()).expect("an undamaged directory comes back").1;
        prepared
    }

    /// A copy of it to damage.
    pub fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a temporary directory");
        copy_tree(self.dir.path(), copy.path());
        copy
    }

    /// Starts an engine over `dir`, looks at it and stops it again; what it refuses comes as people read it.
    pub fn of(dir: &Path) -> Result<(StartReport, State), String> {
        Self::started(dir, false)
    }

    /// As [`Self::of`], and takes a snapshot in between.
    pub fn with_snapshot(dir: &Path) -> Result<(StartReport, State), String> {
        Self::started(dir, true)
    }

    fn started(dir: &Path, snapshot: bool) -> Result<(StartReport, State), String> {
        engine::block_on(async {
            // A child of another test may hold the lock that it was born with until it becomes another program.
            let until = Instant::now() + Duration::from_secs(10);
            let started = loop {
                match Engine::start(state_options(dir), Arc::new(SystemClock)) {
                    Err(EngineError::Storage(StorageError::Locked { .. })) if Instant::now() < until => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    started => break started,
                }
            };
            let Opened { engine, report } = started.map_err(|error| cli::error::report(&error, None))?;
            let digests = engine.digests().await.map_err(|error| error.to_string())?;
            let state = report.sequences.iter().copied().zip(digests.into_iter().map(|(_, digest)| digest)).collect();
            if snapshot {
                engine
                    .snapshot()
                    .await
                    .map_err(|error| format!("no snapshot: {}", cli::error::report(&error, None)))?;
            }
            match engine.stop().await {
                true => Ok((report, state)),
                false => Err("the journals are not synced".to_owned()),
            }
        })
    }
}

fn put(door: &mut Connection, rng: &mut Rng, sent: &mut u64) {
    for _ in 0..4 {
        let mut event = || {
            *sent += 1;
            let (user, item) = (Id::Int(rng.below(100)), Id::Int(rng.below(80)));
            let time_ms = 1_700_000_000_000 + *sent as i64;
            Event { event_id: Id::Int(*sent), user, item, kind: 0, value: 1.0, time_ms }
        };
        let events = (0..200).map(|_| event()).collect();
        let reply = door.ask(&EventBatch { durability: 3, want: 0, events }).expect("events");
        assert_eq!((reply.accepted, reply.rejected), (200, 0));
    }
}

/// Waits until shards have told each other everything.
fn at_rest(door: &mut Connection) {
    let mut before = Vec::new();
    loop {
        let now = door.digests();
        if now == before {
            return;
        }
        before = now;
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// Every file below `dir`, sorted; symbolic links are none.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("it has a type").is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// Names and bytes of every file below `dir` but the lock, which holds the pid of the latest owner.
pub fn bytes_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("readable");
        (path, bytes)
    };
    files(dir).into_iter().filter(|path| !path.ends_with("LOCK")).map(read).collect()
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("it has a type").is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), &target).expect("copied")),
        }
    }
}
