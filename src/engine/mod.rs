//! Floor 7: the in-process API. Shards are started, asked, refitted, snapshotted and stopped here; most tests of
//! behaviour need nothing above.
//!
//! [`Engine::start`] brings a data directory back and starts one arbiter (an OS thread) a shard. An [`Engine`] is a
//! handle: clones are cheap and go to every thread. It lives inside an actix `System`; [`run`] makes one.

#[cfg(test)]
mod away_tests;
mod background;
pub mod bring_back;
mod disk;
mod error;
mod memory;
mod merge;
mod pretrained;
mod refit;
mod registry;
mod rejects;
mod reshard;
mod schema;
mod snapshot;
mod start;
mod teach;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::Addr;
use actix_rt::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;

pub use error::EngineError;
pub use refit::{FitFrom, FitSize, fit_epoch, fit_epoch_from};
pub use registry::{Admitted, Connection, Course, OPERATORS_MAX, Registry};
pub use reshard::{ReshardReport, adopt, reshard};
pub use schema::KnownSchema;
pub use snapshot::{GenerationPlan, SnapshotReport, write_generation};
pub use start::{Opened, StartReport};

use crate::base::{Clock, IdRef, Routing};
use crate::learn::auto::Training;
use crate::learn::bank::pretrained::Pretrained;
use crate::linalg::IalsOptions;
use crate::model::Durability;
use crate::shard::actor::Pace;
use crate::shard::control::{Drain, Peers};
use crate::shard::teacher::TeachingPace;
use crate::shard::{
    Answer, DecisionOptions, Home, Query, Queue, Refusal, RejectKeeper, ShardActor, Share, StartProgress, Step,
    StepDone, Turn,
};
use crate::state::{self, Missing, StrategyReport};
use crate::storage::{Disk, JournalOptions, OsDisk};
use crate::telemetry::{Metric, Metrics};

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where journals and snapshots are; made if it is not there.
    pub data_dir: std::path::PathBuf,
    /// The disk that it lies on, but for the store of snapshots, which sled keeps on the machine's.
    pub disk: Arc<dyn Disk>,
    /// What the shards are made with.
    pub state: state::Options,
    /// Whether a new data directory draws a key under which ids are routed, which nobody can foretell; else it routes as
    /// `state` says.
    pub draw_key: bool,
    /// How they pace themselves.
    pub pace: Pace,
    /// Most events and questions that wait for one shard.
    pub queue_events_max: usize,
    /// Longest that one of them is let in to wait.
    pub queue_wait_max: Duration,
    /// Sizes of the journal.
    pub journal: JournalOptions,
    /// Level of answers that ask for none.
    pub durability: Durability,
    /// Snapshot generations that are kept, at least 2.
    pub snapshot_keep: usize,
    /// How item models are fitted; `dim` comes from the strategies.
    pub refit: IalsOptions,
    /// Sweeps of a fit that goes on from the present model; the first takes those of `refit`.
    pub refit_sweeps: usize,
    /// Whether the engine refits by itself as events come.
    pub refit_automatically: bool,
    /// How much time teaching the ranker may take.
    pub teaching: TeachingPace,
    /// How long each shard remembers what it served.
    pub decisions: DecisionOptions,
    /// Bytes of memory near which no new users and items are taken; 0: no limit.
    pub memory_limit_bytes: u64,
    /// Bytes that stay free where the data directory is; 0: down to the last.
    pub disk_free_min_bytes: u64,
    /// Most bytes of refused events that are kept; 0: none, they are only counted.
    pub rejects_bytes_max: u64,
    /// What attention goes on from, unless its data come from there already.
    pub pretrained: Option<Arc<Pretrained>>,
    /// Tells how far the start is.
    pub progress: Arc<StartProgress>,
}

impl Options {
    /// Sensible options for a data directory: one shard, the default strategy, taught off the path of events.
    #[must_use]
    pub fn new(data_dir: impl Into<std::path::PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            disk: Arc::new(OsDisk),
            state: state::Options { training: Training::Apart, ..state::Options::default() },
            draw_key: true,
            pace: Pace { quantum_us: 500, flush_ms: 5, sync_interval_ms: 50, publish_ms: 10, rows_max: 1_024 },
            queue_events_max: 65_536,
            queue_wait_max: Duration::from_millis(250),
            journal: JournalOptions::default(),
            durability: Durability::Journaled,
            snapshot_keep: 2,
            refit: IalsOptions::default(),
            refit_sweeps: 3,
            refit_automatically: true,
            teaching: TeachingPace { cpu_share: 0.25, sample_share: 0.05 },
            decisions: DecisionOptions::default(),
            memory_limit_bytes: 0,
            disk_free_min_bytes: 0,
            rejects_bytes_max: 64 << 20,
            pretrained: None,
            progress: Arc::default(),
        }
    }
}

/// One shard, from outside.
struct ShardHandle {
    address: Addr<ShardActor>,
    arbiter: ArbiterHandle,
    queue: Queue,
    metrics: Arc<Metrics>,
}

/// A running engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    shards: Vec<ShardHandle>,
    /// The threads, until they are stopped.
    arbiters: Mutex<Vec<Arbiter>>,
    home: Arc<Home>,
    clock: Arc<dyn Clock>,
    started: Instant,
    epoch: AtomicU32,
    refitting: AtomicBool,
    no_refits: AtomicBool,
    snapshotting: AtomicBool,
    memory: memory::Memory,
    stopping: AtomicBool,
    registry: Registry,
    schema: schema::InForce,
    aliases: merge::Aliases,
    rejects: RejectKeeper,
    /// How many more may look at refused events now.
    lookers: Arc<tokio::sync::Semaphore>,
}

/// Why a turn was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnError {
    /// The shard's queue is full: try again after so many milliseconds.
    Overloaded {
        /// When to try again.
        retry_after_ms: u32,
    },
    /// The server stops, or the shard has gone.
    Stopping,
}

/// Runs a future on a `System` of its own, on this thread: what an engine needs around it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(future)
}

/// Runs `work` with an engine on a `System` of its own, on this thread; stops the engine afterwards.
///
/// # Errors
/// [`EngineError`] if the engine does not start.
pub fn run<F, T>(options: Options, clock: Arc<dyn Clock>, work: impl FnOnce(Engine) -> F) -> Result<T, EngineError>
where
    F: Future<Output = T>,
{
    block_on(async move {
        let opened = Engine::start(options, clock)?;
        let result = work(opened.engine.clone()).await;
        opened.engine.stop().await;
        Ok(result)
    })
}

impl Engine {
    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// How long the engine runs, in milliseconds.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The control plane's list of connections.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.inner.options.state.shards
    }

    /// The rule that says which shard owns an id.
    #[must_use]
    #[inline]
    pub fn routing(&self) -> Routing {
        self.inner.options.state.routing
    }

    /// The shard that owns an id.
    #[must_use]
    #[inline]
    pub fn route(&self, id: IdRef<'_>) -> u16 {
        self.routing().shard(id, self.shards())
    }

    /// Runs a future on the thread of a shard.
    pub fn spawn_on(&self, shard: u16, future: impl Future<Output = ()> + Send + 'static) -> bool {
        self.inner.shards[usize::from(shard)].arbiter.spawn(future)
    }

    /// The figures of a shard.
    #[must_use]
    pub fn metrics(&self, shard: u16) -> &Metrics {
        &self.inner.shards[usize::from(shard)].metrics
    }

    /// Events and questions that a shard has not answered.
    #[must_use]
    pub fn unanswered(&self, shard: u16) -> usize {
        self.inner.shards[usize::from(shard)].queue.unanswered()
    }

    /// How long what comes now would wait for a shard, by its pace of late.
    #[must_use]
    pub fn queue_wait(&self, shard: u16) -> Duration {
        self.inner.shards[usize::from(shard)].queue.wait()
    }

    /// Hands a shard its part of what a caller wants: `ops` and `steps` as in [`Turn`], `cost` events and questions.
    ///
    /// # Errors
    /// [`TurnError`] at once, if it is not taken; nothing was carried out then.
    pub fn submit(
        &self,
        shard: u16,
        ops: Vec<u8>,
        steps: Vec<Step>,
        cost: usize,
    ) -> Result<oneshot::Receiver<Vec<StepDone>>, TurnError> {
        self.submit_for(Caller::default(), shard, ops, steps, cost)
    }

    /// As [`Self::submit`], for a caller.
    ///
    /// # Errors
    /// [`TurnError`] at once, if it is not taken; nothing was carried out then.
    pub fn submit_for(
        &self,
        caller: Caller<'_>,
        shard: u16,
        ops: Vec<u8>,
        steps: Vec<Step>,
        cost: usize,
    ) -> Result<oneshot::Receiver<Vec<StepDone>>, TurnError> {
        if self.inner.stopping.load(Ordering::Relaxed) {
            return Err(TurnError::Stopping);
        }
        let handle = &self.inner.shards[usize::from(shard)];
        let Caller { share, expires } = caller;
        // Half of the time that is left is for the wait: the pace of late is no promise, and the work and the way back take time, too.
        let within = expires.map(|expires| expires.saturating_duration_since(Instant::now()) / 2);
        let credits = handle.queue.take(cost, within, share).map_err(|wait| {
            handle.metrics.add(Metric::EventsOverloaded, cost as u64);
            TurnError::Overloaded { retry_after_ms: retry_after_ms(wait) }
        })?;
        let (reply, done) = oneshot::channel();
        let turn = Turn { flow: share.map_or(0, Share::number), ops, steps, credits: Some(credits), expires, reply };
        match handle.address.try_send(turn) {
            Ok(()) => Ok(done),
            Err(actix::dev::SendError::Full(_)) => Err(TurnError::Overloaded { retry_after_ms: 1 }),
            Err(actix::dev::SendError::Closed(_)) => Err(TurnError::Stopping),
        }
    }

    /// Asks one shard one question.
    ///
    /// # Errors
    /// [`TurnError`] if it is not taken.
    pub async fn ask(&self, shard: u16, query: Query) -> Result<Result<Answer, Refusal>, TurnError> {
        let done = self.submit(shard, Vec::new(), vec![Step::Ask(query)], 1)?;
        match done.await.map_err(|_| TurnError::Stopping)?.pop() {
            Some(StepDone::Answered(answer)) => Ok(Ok(answer)),
            Some(StepDone::Refused(refusal)) => Ok(Err(refusal)),
            Some(StepDone::Written(_)) | None => Ok(Err(Refusal::Broken)),
        }
    }

    /// Asks every shard the same kind of question; answers by shard.
    ///
    /// # Errors
    /// [`EngineError::ShardFailed`] if one does not answer.
    pub async fn ask_all(&self, what: &'static str, query: impl Fn() -> Query) -> Result<Vec<Answer>, EngineError> {
        let mut waiting = Vec::new();
        for shard in 0..self.shards() {
            waiting.push((shard, self.submit(shard, Vec::new(), vec![Step::Ask(query())], 0)));
        }
        let mut answers = Vec::new();
        for (shard, done) in waiting {
            let failed = || EngineError::ShardFailed { shard, what };
            match done.map_err(|_| failed())?.await.map_err(|_| failed())?.pop() {
                Some(StepDone::Answered(answer)) => answers.push(answer),
                _ => return Err(failed()),
            }
        }
        Ok(answers)
    }

    /// How each strategy has done, over all shards.
    ///
    /// # Errors
    /// [`EngineError::ShardFailed`] if a shard does not answer.
    pub async fn reports(&self) -> Result<Vec<StrategyReport>, EngineError> {
        let mut merged: Vec<StrategyReport> = Vec::new();
        for answer in self.ask_all("metrics", || Query::Reports).await? {
            let Answer::Reports(reports) = answer else { continue };
            for report in reports {
                match merged.iter_mut().find(|known| known.strategy == report.strategy) {
                    Some(known) => known.merge(&report),
                    None => merged.push(report),
                }
            }
        }
        Ok(merged)
    }

    /// Operations that named a decision without a list, in all shards.
    ///
    /// # Errors
    /// [`EngineError::ShardFailed`] if a shard does not answer.
    pub async fn missing_decisions(&self) -> Result<Missing, EngineError> {
        let mut all = Missing::default();
        for answer in self.ask_all("decisions", || Query::Missing).await? {
            if let Answer::Missing(Missing { expired, unknown }) = answer {
                all.expired += expired;
                all.unknown += unknown;
            }
        }
        Ok(all)
    }

    /// Events learned, by all shards.
    ///
    /// # Errors
    /// [`EngineError::ShardFailed`] if a shard does not answer.
    pub async fn events(&self) -> Result<u64, EngineError> {
        let answers = self.ask_all("events", || Query::Events).await?;
        Ok(answers.iter().map(|answer| if let Answer::Events(events) = answer { *events } else { 0 }).sum())
    }

    /// Epoch of the newest item model; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.inner.epoch.load(Ordering::Relaxed)
    }

    /// Sequence and digest of each shard.
    ///
    /// # Errors
    /// [`EngineError::ShardFailed`] if a shard does not answer.
    pub async fn digests(&self) -> Result<Vec<(u64, u64)>, EngineError> {
        let answers = self.ask_all("digest", || Query::Digest).await?;
        let digest = |answer| match answer {
            Answer::Digest(sequence, digest) => Some((sequence, digest)),
            _ => None,
        };
        Ok(answers.into_iter().filter_map(digest).collect())
    }

    /// Takes no more turns, carries out those taken, and syncs the journals. Says whether all of that went well.
    pub async fn stop(&self) -> bool {
        self.give_up_refits();
        self.refits_ended().await;
        self.inner.stopping.store(true, Ordering::Relaxed);
        let mut well = true;
        for handle in &self.inner.shards {
            let (reply, drained) = oneshot::channel();
            well &= handle.address.send(Drain { reply }).await.is_ok() && drained.await.unwrap_or(false);
        }
        self.inner.rejects.stop();
        let arbiters = std::mem::take(&mut *self.inner.arbiters.lock().unwrap_or_else(PoisonError::into_inner));
        for arbiter in &arbiters {
            arbiter.stop();
        }
        // Joining waits until actors and connections are dropped, and with them their hold on the data directory.
        arbiters.into_iter().fold(well, |well, arbiter| well & arbiter.join().is_ok())
    }

    /// Whether [`Self::stop`] has been called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// What its connection has waiting, if it has one: those with little come first.
    pub share: Option<&'a Share>,
    /// When it stops waiting.
    pub expires: Option<Instant>,
}

/// Set while something runs that may run once at a time.
struct Busy<'a>(&'a AtomicBool);

impl<'a> Busy<'a> {
    fn take(flag: &'a AtomicBool, what: &'static str) -> Result<Self, EngineError> {
        match flag.swap(true, Ordering::Acquire) {
            false => Ok(Self(flag)),
            true => Err(EngineError::Busy(what)),
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// When a queue that takes so long to empty is worth another try: once half of it is done.
fn retry_after_ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis() / 2).unwrap_or(u32::MAX).clamp(1, 1_000)
}

fn spawn_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(|_| ()).map_err(EngineError::Thread)
}
