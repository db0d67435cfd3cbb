//! Start-up, in the order that makes it safe: lock, meta, snapshots, newest valid generation, journals, actors. The
//! doors open after all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Instant;

use actix::Actor;
use actix_rt::{Arbiter, ArbiterHandle};

use super::merge::Aliases;
use super::registry::Registry;
use super::{
    Engine, EngineError, Inner, Options, Peers, Queue, ShardActor, ShardHandle, pretrained, rejects, schema, state,
    teach,
};
use crate::base::Clock;
use crate::base::ids::mix;
use crate::model::Schema;
use crate::shard::{Home, Recovered, ShardSetup, recover};
use crate::storage::{DataDir, JournalWriter, Meta, OpenReport, SnapshotOptions, SnapshotStore, TornTail};
use crate::telemetry::Metrics;

/// How ids are routed to shards: the stable hash and multiply-shift of [`crate::base::ids`].
const ROUTING_VERSION: u16 = 1;

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

impl Engine {
    /// Brings the data directory back and starts the shards. Must be called within an actix `System`.
    ///
    /// # Errors
    /// [`EngineError`], which says what is in the way and what to do.
    pub fn start(mut options: Options, clock: Arc<dyn Clock>) -> Result<Opened, EngineError> {
        let started = Instant::now();
        let dir = Arc::new(DataDir::open(&options.data_dir, true)?);
        let wanted = options.state.schema.clone();
        let meta = read_or_make_meta(&dir, &mut options, clock.now_ms())?;
        let (store, opened) = SnapshotStore::open(&dir, meta.cluster_id, SnapshotOptions::default())?;
        let choice = store.newest_valid()?;
        store.sweep_orphans()?;
        let passed_over = choice
            .rejected
            .iter()
            .map(|rejected| format!("generation {}: {}", rejected.generation, rejected.error))
            .collect();
        let home = Arc::new(Home {
            dir,
            store: Arc::new(store),
            cluster_id: meta.cluster_id,
            manifest: std::sync::Mutex::new(choice.manifest),
        });
        let mut recovered = recover_all(&home, &options.state)?;
        let replayed = recovered.iter().map(|shard| shard.replayed).sum();
        let epoch = recovered.iter().map(|shard| shard.shard.epoch()).max().unwrap_or(0);
        let generation = recovered.first().map_or(0, |shard| shard.generation);
        let torn = recovered.iter().flat_map(|shard| shard.torn.iter().map(describe_torn)).collect();
        skip_what_peers_merged(&mut recovered);
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
        let (shards, mut arbiters) = start_actors(recovered, &home, &options, &clock, common)?;
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
            stopping: AtomicBool::new(false),
            registry: Registry::default(),
            schema: schema::InForce::new(schema),
            aliases,
            rejects,
            lookers: Arc::new(tokio::sync::Semaphore::new(rejects::LOOKERS_MAX)),
        };
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let store = describe(&opened);
        let report = StartReport { generation, passed_over, replayed, torn, store, sequences, took_ms };
        let engine = Self { inner: Arc::new(inner) };
        if let Some(given) = &given {
            pretrained::hand_out(&engine, given, &lacking)?;
        }
        engine.finish_merges(unfinished);
        teach::start_refits(&engine, &engine.inner.shards[0].arbiter);
        Ok(Opened { engine, report })
    }
}

/// What the data belongs to. The schema of `options` becomes the one that the journals begin with: what a replay starts
/// from, whatever the configuration says today.
fn read_or_make_meta(dir: &DataDir, options: &mut Options, now_ms: i64) -> Result<Meta, EngineError> {
    let (known, first) = (dir.read_meta()?, dir.read_schema()?);
    if let Some(bytes) = &first {
        options.state.schema = schema::decode(bytes)?;
    }
    let fingerprint = options.state.fingerprint();
    let fits = |meta: &Meta| {
        (meta.fingerprint == fingerprint || meta.fingerprint == options.state.fingerprint_1())
            && meta.routing_version == ROUTING_VERSION
    };
    if first.is_none() && known.as_ref().is_none_or(fits) {
        dir.write_schema(&options.state.schema.to_bytes())?;
    }
    if let Some(meta) = known {
        if !fits(&meta) {
            let path = options.data_dir.clone();
            return Err(EngineError::Fingerprint { path, then: meta.fingerprint, now: fingerprint });
        }
        return Ok(meta);
    }
    // Not a secret: it keeps files of one directory from being taken for those of another.
    let cluster_id = mix(now_ms.unsigned_abs() ^ mix(u64::from(std::process::id())));
    let shards = options.state.shards;
    let meta = Meta { cluster_id, shards, routing_version: ROUTING_VERSION, fingerprint, created_ms: now_ms };
    dir.write_meta(&meta)?;
    Ok(meta)
}

/// All shards at once, a thread each: their journals stand for themselves.
fn recover_all(home: &Home, options: &state::Options) -> Result<Vec<Recovered>, EngineError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..options.shards).map(|index| scope.spawn(move || recover(home, index, options.clone()))).collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(recovered) => recovered.map_err(EngineError::from),
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// After power loss a peer may have merged what its source has lost: the source's next sequence comes after it, so that
/// nothing new is taken for what was merged.
fn skip_what_peers_merged(recovered: &mut [Recovered]) {
    for source in 0..recovered.len() {
        let index = recovered[source].shard.index();
        let merged = recovered.iter().map(|peer| peer.shard.merged(index)).max().unwrap_or(0);
        recovered[source].shard.skip_to(merged);
    }
}

/// What all shards must agree on.
#[derive(Clone, Copy)]
struct Common<'a> {
    epoch: u32,
    schema: &'a Schema,
}

fn start_actors(
    recovered: Vec<Recovered>,
    home: &Arc<Home>,
    options: &Options,
    clock: &Arc<dyn Clock>,
    common: Common<'_>,
) -> Result<(Vec<ShardHandle>, Vec<Arbiter>), EngineError> {
    let (mut shards, mut arbiters) = (Vec::new(), Vec::new());
    for Recovered { mut shard, journal_end, .. } in recovered {
        let place = home.dir.journal(shard.index(), home.cluster_id);
        let next = journal_end.unwrap_or(shard.sequence() + 1);
        let mut journal = JournalWriter::open(&place, next, options.journal)?;
        journal.gap(shard.sequence() + 1)?;
        // A kill between two shards may have left this one behind: it follows now.
        let mut catch_up = |shard: &state::Shard, op: &state::Op<'_>| {
            let mut bytes = Vec::new();
            op.encode(&mut bytes);
            journal.append(crate::shard::actor::RECORD_OPS, shard.sequence(), 1, clock.now_ms(), &[&bytes])
        };
        if shard.epoch() < common.epoch {
            let model = home.model(common.epoch)?;
            shard.install(&model);
            catch_up(&shard, &state::Op::Epoch { epoch: model.epoch })?;
        }
        if shard.schema() != common.schema {
            let bytes = common.schema.to_bytes();
            let op = state::Op::Schema { schema: &bytes };
            shard.apply(&op);
            catch_up(&shard, &op)?;
        }
        journal.write()?;
        let arbiter = Arbiter::new();
        shards.push(start_actor(shard, journal, home, options, clock, arbiter.handle())?);
        arbiters.push(arbiter);
    }
    let addresses: Vec<_> = shards.iter().map(|shard| shard.address.clone()).collect();
    for shard in &shards {
        let full = shard.address.try_send(Peers(addresses.clone())).is_err();
        debug_assert!(!full, "a mailbox that nobody has written to has room");
    }
    Ok((shards, arbiters))
}

fn start_actor(
    shard: state::Shard,
    journal: JournalWriter,
    home: &Arc<Home>,
    options: &Options,
    clock: &Arc<dyn Clock>,
    arbiter: ArbiterHandle,
) -> Result<ShardHandle, EngineError> {
    let (queue, metrics) = (Queue::new(options.queue_events_max), Arc::new(Metrics::default()));
    let actor = ShardActor::new(ShardSetup {
        shard,
        journal,
        home: Arc::clone(home),
        queue: queue.clone(),
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(clock),
        pace: options.pace,
        sample_share: options.teaching.sample_share,
        decisions: options.decisions,
    })
    .map_err(EngineError::Thread)?;
    let address = ShardActor::start_in_arbiter(&arbiter, move |_| actor);
    Ok(ShardHandle { address, arbiter, queue, metrics })
}

fn describe(report: &OpenReport) -> Vec<String> {
    let mut lines: Vec<String> = report.failures.iter().map(|failure| format!("sled said: {failure}")).collect();
    lines.extend(report.removed.iter().map(|path| format!("removed an unfinished page table: {}", path.display())));
    lines.extend(report.set_aside.iter().map(|path| format!("set aside: {}", path.display())));
    lines.extend(report.quarantined.iter().map(|path| format!("set the whole store aside: {}", path.display())));
    lines
}

fn describe_torn(torn: &TornTail) -> String {
    let TornTail { path, offset, bytes_dropped, next_sequence, reason, .. } = torn;
    let path = path.display();
    format!("{path}: {bytes_dropped} bytes after {offset} cut ({reason}); goes on with sequence {next_sequence}")
}
