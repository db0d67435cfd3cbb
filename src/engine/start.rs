//! Start-up, in the order that makes it safe: lock, meta, snapshots, newest valid generation, journals, actors. The
//! doors open after all of it.

use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Instant;

use actix::Actor;
use actix_rt::{Arbiter, ArbiterHandle};

use super::bring_back::{Common, Pieces, go_on, recover_all};
use super::disk;
use super::memory::{self, Memory};
use super::merge::Aliases;
use super::registry::Registry;
use super::{
    Engine, EngineError, Inner, Options, Peers, Queue, ShardActor, ShardHandle, pretrained, rejects, schema, state,
    teach,
};
use crate::base::ids::mix;
use crate::base::{Clock, Routing};
use crate::shard::room::Room;
use crate::shard::{Home, Journaled, RecoverError, Recovered, ShardSetup, StartStep};
use crate::storage::{DataDir, Meta, OpenReport, SnapshotOptions, SnapshotStore, StorageError, TornTail};
use crate::telemetry::Metrics;

/// What a start found.
#[derive(Clone, Debug)]
pub struct StartReport {
    /// Snapshot generation that it started from; 0: none.
    pub generation: u64,
    /// Generations that were newer and not whole, with the reason.
    pub passed_over: Vec<String>,
    /// Operations replayed from the journals.
    pub replayed: u64,
    /// Torn tails that were cut, in words.
    pub torn: Vec<String>,
    /// What had to be done to open the snapshots.
    pub store: Vec<String>,
    /// Newest sequence of each shard.
    pub sequences: Vec<u64>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// An engine that runs, and what its start found.
pub struct Opened {
    /// The engine.
    pub engine: Engine,
    /// What its start found.
    pub report: StartReport,
}

/// Tasks after which a thread looks at its sockets. A task may be the answers to many questions, half a millisecond: with
/// tokio's 61 who asks for little is noticed after 20 ms while many ask without end.
const SOCKETS_EVERY: u32 = 8;

impl Engine {
    /// Brings the data directory back and starts the shards. Must be called within an actix `System`.
    ///
    /// # Errors
    /// [`EngineError`], which says what is in the way and what to do.
    pub fn start(mut options: Options, clock: Arc<dyn Clock>) -> Result<Opened, EngineError> {
        let (started, progress) = (Instant::now(), Arc::clone(&options.progress));
        progress.begin(StartStep::Opening);
        let dir = Arc::new(DataDir::open_on(Arc::clone(&options.disk), &options.data_dir, true)?);
        let wanted = options.state.schema.clone();
        let meta = read_or_make_meta(&dir, &mut options, clock.now_ms())?;
        options.state.routing = meta.routing;
        let proven = SnapshotOptions { prove: true, ..SnapshotOptions::default() };
        let (store, opened) = SnapshotStore::open(&dir, meta.cluster_id, proven)?;
        progress.begin(StartStep::Checking);
        let choice = store.newest_valid()?;
        let passed_over: Vec<String> = choice
            .rejected
            .iter()
            .map(|rejected| format!("generation {}: {}", rejected.generation, rejected.error))
            .collect();
        let (mut store_report, any_generation) = (describe(&opened), choice.manifest.is_some());
        let home = Arc::new(Home {
            dir,
            store: Arc::new(store),
            cluster_id: meta.cluster_id,
            manifest: std::sync::Mutex::new(choice.manifest),
            progress: Arc::clone(&progress),
        });
        progress.begin(StartStep::Reading);
        let recovered = recover_all(&home, &options.state)
            .map_err(|error| told_what_is_missing(error, any_generation, &store_report, &passed_over))?;
        // Not before: where a start is refused, the chunks of a manifest that somebody still has must stay. Orphans only take room.
        if let Err(error) = home.store.sweep_orphans() {
            store_report.push(format!("chunks of unfinished snapshots could not be removed: {error}"));
        }
        let replayed = recovered.iter().map(|shard| shard.replayed).sum();
        let epoch = recovered.iter().map(|shard| shard.shard.epoch()).max().unwrap_or(0);
        let generation = recovered.first().map_or(0, |shard| shard.generation);
        let torn = recovered.iter().flat_map(|shard| shard.torn.iter().map(describe_torn)).collect();
        progress.begin(StartStep::Starting);
        let sequences = recovered.iter().map(|shard| shard.shard.sequence()).collect();
        let weights = recovered.iter().filter_map(|shard| shard.shard.ranker()).max_by_key(|weights| weights.examples);
        let given = options.pretrained.take();
        let lacking = match &given {
            Some(given) => pretrained::without(given, &options.state, &recovered)?,
            None => Vec::new(),
        };
        let schema = schema::at_start(&recovered, wanted)?;
        let (aliases, unfinished) = Aliases::of(&recovered);
        let common = Common { epoch, schema: &schema };
        let rejects = rejects::open_store(&home, options.rejects_bytes_max)?;
        let memory = Memory::default();
        let (shards, mut arbiters) = start_actors(recovered, &home, &options, &clock, &memory.room, common)?;
        let rejects = rejects::start_keeper(rejects, &shards[0].metrics)?;
        let addresses: Vec<_> = shards.iter().map(|shard| shard.address.clone()).collect();
        arbiters.extend(teach::start_teacher(&options, &addresses, weights));
        let inner = Inner {
            options,
            shards,
            arbiters: std::sync::Mutex::new(arbiters),
            home,
            clock,
            started,
            epoch: AtomicU32::new(epoch),
            refitting: AtomicBool::new(false),
            no_refits: AtomicBool::new(false),
            snapshotting: AtomicBool::new(false),
            memory,
            stopping: AtomicBool::new(false),
            registry: Registry::default(),
            schema: schema::InForce::new(schema),
            aliases,
            rejects,
            lookers: Arc::new(tokio::sync::Semaphore::new(rejects::LOOKERS_MAX)),
        };
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let report = StartReport { generation, passed_over, replayed, torn, store: store_report, sequences, took_ms };
        let engine = Self { inner: Arc::new(inner) };
        if let Some(given) = &given {
            pretrained::hand_out(&engine, given, &lacking)?;
        }
        engine.finish_merges(unfinished);
        teach::start_refits(&engine, &engine.inner.shards[0].arbiter);
        memory::watch(&engine, &engine.inner.shards[0].arbiter);
        disk::watch(&engine, &engine.inner.shards[0].arbiter);
        Ok(Opened { engine, report })
    }
}

/// What the data belongs to. The schema of `options` becomes the one that the journals begin with: what a replay starts
/// from, whatever the configuration says today.
fn read_or_make_meta(dir: &DataDir, options: &mut Options, now_ms: i64) -> Result<Meta, EngineError> {
    let known = read_meta(dir, &mut options.state)?;
    if dir.read_schema()?.is_none() {
        dir.write_schema(&options.state.schema.to_bytes())?;
    }
    if let Some(meta) = known {
        return Ok(meta);
    }
    let mut meta = new_meta(&options.state, now_ms);
    if options.draw_key {
        meta.routing = new_routing();
    }
    dir.write_meta(&meta)?;
    Ok(meta)
}

/// What the data belongs to, if there is any; [`EngineError::Fingerprint`] if it was written under other options. The schema
/// of `options` becomes the one that the journals begin with, if that is kept.
fn read_meta(dir: &DataDir, options: &mut state::Options) -> Result<Option<Meta>, EngineError> {
    if let Some(bytes) = dir.read_schema()? {
        options.schema = schema::decode(&bytes)?;
    }
    let known = dir.read_meta()?;
    known.iter().try_for_each(|meta| check_fingerprint(meta, options, dir.path()))?;
    Ok(known)
}

/// Whether the data at `path` were written under these options.
pub(super) fn check_fingerprint(meta: &Meta, options: &state::Options, path: &Path) -> Result<(), EngineError> {
    let now = options.fingerprint();
    if meta.fingerprint == now || meta.fingerprint == options.fingerprint_1() {
        return Ok(());
    }
    Err(EngineError::Fingerprint { path: path.to_path_buf(), then: meta.fingerprint.clone(), now })
}

/// What new data belong to: a cluster of their own.
pub(super) fn new_meta(options: &state::Options, now_ms: i64) -> Meta {
    // Not a secret: it keeps files of one directory from being taken for those of another.
    let cluster_id = mix(now_ms.unsigned_abs() ^ mix(u64::from(std::process::id())));
    let (shards, routing, fingerprint) = (options.shards, options.routing, options.fingerprint());
    Meta { cluster_id, shards, routing, fingerprint, created_ms: now_ms }
}

/// Routing under a key that nobody can foretell: what the system gives to maps that are keyed at random.
pub(super) fn new_routing() -> Routing {
    let random = std::hash::RandomState::new();
    Routing::Keyed([0_u8, 1].map(|half| random.hash_one(half)))
}

fn start_actors(
    recovered: Vec<Recovered>,
    home: &Arc<Home>,
    options: &Options,
    clock: &Arc<dyn Clock>,
    room: &Arc<Room>,
    common: Common<'_>,
) -> Result<(Vec<ShardHandle>, Vec<Arbiter>), EngineError> {
    let (mut shards, mut arbiters) = (Vec::new(), Vec::new());
    for recovered in recovered {
        let metrics = Arc::new(Metrics::default());
        let pieces = Pieces { home, metrics: &metrics, clock, journal: options.journal };
        let mut core = go_on(recovered, &pieces, common, options.teaching.sample_share)?;
        core.room = Arc::clone(room);
        let arbiter = Arbiter::try_with_tokio_rt(runtime).map_err(EngineError::Thread)?;
        shards.push(start_actor(core, options, arbiter.handle())?);
        arbiters.push(arbiter);
    }
    let addresses: Vec<_> = shards.iter().map(|shard| shard.address.clone()).collect();
    for shard in &shards {
        let full = shard.address.try_send(Peers(addresses.clone())).is_err();
        debug_assert!(!full, "a mailbox that nobody has written to has room");
    }
    Ok((shards, arbiters))
}

/// What the thread of a shard runs on.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().event_interval(SOCKETS_EVERY).build()
}

fn start_actor(core: Journaled, options: &Options, arbiter: ArbiterHandle) -> Result<ShardHandle, EngineError> {
    let queue = Queue::new(core.shard.index(), options.queue_events_max, options.queue_wait_max);
    let metrics = Arc::clone(&core.metrics);
    let (pace, decisions) = (options.pace, options.decisions);
    let actor =
        ShardActor::new(ShardSetup { core, queue: queue.clone(), pace, decisions }).map_err(EngineError::Thread)?;
    let address = ShardActor::start_in_arbiter(&arbiter, move |_| actor);
    Ok(ShardHandle { address, arbiter, queue, metrics })
}

/// A journal that begins too late means that a snapshot is missing: what became of those that there were belongs to the message.
fn told_what_is_missing(
    error: EngineError,
    any_generation: bool,
    store: &[String],
    passed_over: &[String],
) -> EngineError {
    match error {
        EngineError::Recover(RecoverError::Storage(source @ StorageError::MissingHistory { .. }))
            if !any_generation =>
        {
            EngineError::NoGeneration { found: [store, passed_over].concat(), source }
        }
        error => error,
    }
}

fn describe(report: &OpenReport) -> Vec<String> {
    let mut lines: Vec<String> = report.failures.iter().map(|failure| format!("sled said: {failure}")).collect();
    lines.extend(report.removed.iter().map(|path| format!("removed an unfinished page table: {}", path.display())));
    lines.extend(report.set_aside.iter().map(|path| format!("set aside: {}", path.display())));
    lines.extend(report.rebuilt.then(|| "wrote all that could be read into a new store".to_owned()));
    lines.extend(report.quarantined.iter().map(|path| format!("set the whole store aside: {}", path.display())));
    lines
}

fn describe_torn(torn: &TornTail) -> String {
    let TornTail { path, offset, bytes_dropped, next_sequence, reason, .. } = torn;
    let path = path.display();
    format!("{path}: {bytes_dropped} bytes after {offset} cut ({reason}); goes on with sequence {next_sequence}")
}
