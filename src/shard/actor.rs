//! The shard actor. One turn: stamp, apply, append to the journal, answer.
//!
//! *Answers.* `applied` goes out at once. `journaled` waits for the next write of the journal's buffer, which comes when
//! the mailbox has been drained (so turns that wait together share one write) or a quantum has passed. `durable` goes on
//! to the sync thread from there.
//!
//! *Quantum.* actix polls a mailbox until it is empty and starves timers and sockets meanwhile. After `quantum_us` of
//! turns the actor puts what comes aside, lets its thread run once, and goes on.
//!
//! *Panics.* Every turn runs inside `catch_unwind`. Operations are appended after they have been applied, so what made
//! the machine panic is not in the journal: the machine is dropped, made anew from disk, and the others never notice.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message};

use super::answer::answer;
use super::decisions::{DecisionOptions, Served};
use super::exchange::Exchange;
use super::messages::{Refusal, Refused, Step, StepDone, Turn, Written};
use super::queue::Queue;
use super::recovery::{Home, recover};
use super::snapshot::SnapshotRun;
use super::sync::{Held, SyncRequest, Syncer};
use super::teacher::Sampler;
use crate::base::{Clock, Reader};
use crate::model::{Durability, SentEvent};
use crate::state::{AHEAD, Op, OutcomeKind, Shard};
use crate::storage::{JournalWriter, StorageError};
use crate::telemetry::{Metric, Metrics};

/// Journal record kind: encoded operations, back to back.
pub const RECORD_OPS: u8 = 1;

/// Messages that may stand in the mailbox; credits bound the events far below.
const MAILBOX_MESSAGES: usize = 1 << 16;

/// Buffered journal bytes after which the buffer is written even if nobody waits.
const BUFFER_BYTES: usize = 1 << 20;

/// Bytes of observations that may wait for slower shards before events are refused as overloaded.
const OUTBOX_BYTES_MAX: usize = 64 << 20;

/// How a shard paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longest time of turns before the thread runs something else, in microseconds.
    pub quantum_us: u64,
    /// Longest time that an appended record stays in memory, in milliseconds.
    pub flush_ms: u64,
    /// Longest time that a written record stays unsynced, in milliseconds; 0: until somebody asks.
    pub sync_interval_ms: u64,
    /// How often changed item rows are published to the other shards, in milliseconds.
    pub publish_ms: u64,
    /// Most rows of one publication.
    pub rows_max: usize,
}

/// What an actor is made of.
pub struct ShardSetup {
    /// The machine, as recovered.
    pub shard: Shard,
    /// Its journal, open behind it.
    pub journal: JournalWriter,
    /// Where it is made anew from after a panic.
    pub home: Arc<Home>,
    /// Its credits.
    pub queue: Queue,
    /// Its figures.
    pub metrics: Arc<Metrics>,
    /// Stamps records.
    pub clock: Arc<dyn Clock>,
    /// Its pace.
    pub pace: Pace,
    /// Share of its time for describing examples to a teacher.
    pub sample_share: f64,
    /// How long it remembers what it served.
    pub decisions: DecisionOptions,
}

/// One shard.
pub struct ShardActor {
    pub(super) shard: Shard,
    pub(super) journal: JournalWriter,
    home: Arc<Home>,
    queue: Queue,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pace: Pace,
    syncer: Syncer,
    held: Vec<Held>,
    flush_due: bool,
    pub(super) aside: VecDeque<Turn>,
    pausing: bool,
    quantum_began: Option<Instant>,
    broken: bool,
    synced_at: Instant,
    pub(super) exchange: Exchange,
    pub(super) snapshot: Option<SnapshotRun>,
    pub(super) sampler: Sampler,
    pub(super) served: Served,
}

impl ShardActor {
    /// An actor, to be started on its arbiter.
    ///
    /// # Errors
    /// The system's, if its sync thread cannot be started.
    pub fn new(setup: ShardSetup) -> std::io::Result<Self> {
        let ShardSetup { shard, journal, home, queue, metrics, clock, pace, sample_share, decisions } = setup;
        let syncer = Syncer::start(shard.index())?;
        let exchange = Exchange::new(shard.options().shards);
        let served = Served::new(decisions, shard.index(), clock.now_ms());
        Ok(Self {
            shard,
            journal,
            home,
            queue,
            metrics,
            clock,
            pace,
            syncer,
            held: Vec::new(),
            flush_due: false,
            aside: VecDeque::new(),
            pausing: false,
            quantum_began: None,
            broken: false,
            synced_at: Instant::now(),
            exchange,
            snapshot: None,
            sampler: Sampler::new(sample_share),
            served,
        })
    }

    fn take(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        let began = *self.quantum_began.get_or_insert_with(Instant::now);
        self.carry_out(turn);
        if began.elapsed() >= Duration::from_micros(self.pace.quantum_us) {
            self.flush(ctx);
            self.pause(ctx);
        } else if !self.flush_due {
            self.flush_due = true;
            ctx.notify(Flush);
        }
    }

    /// Lets the thread run something else before the next turn.
    fn pause(&mut self, ctx: &mut Context<Self>) {
        self.pausing = true;
        let me = ctx.address();
        actix_rt::spawn(async move {
            tokio::task::yield_now().await;
            let _ = me.send(Resume).await; // fails only when the actor is gone
        });
    }

    pub(super) fn carry_out(&mut self, turn: Turn) {
        let Turn { ops, steps, credits, reply } = turn;
        self.metrics.add(Metric::Turns, 1);
        self.sampler.begin();
        let mut done = Vec::with_capacity(steps.len());
        let mut durability = Durability::Applied;
        let mut at = 0;
        for step in steps {
            done.push(match step {
                Step::Write { bytes, count, durability: wanted, each } => {
                    durability = durability.max(wanted);
                    at += bytes;
                    self.write(&ops[at - bytes..at], count, each)
                }
                Step::Join { bytes, durability: wanted } => {
                    durability = durability.max(wanted);
                    at += bytes;
                    self.join(&ops[at - bytes..at])
                }
                Step::Ask(query) => {
                    self.metrics.add(Metric::Queries, 1);
                    match self.guarded(|actor| answer(&mut actor.shard, &query)) {
                        Ok(mut answer) => {
                            self.number(&query, &mut answer);
                            StepDone::Answered(answer)
                        }
                        Err(refusal) => StepDone::Refused(refusal),
                    }
                }
            });
        }
        let held = Held { steps: done, durability, credits, reply };
        match durability {
            Durability::Applied => held.release(Durability::Applied),
            Durability::Journaled | Durability::Durable => self.held.push(held),
        }
    }

    /// Applies operations and appends them to the journal's buffer as one record.
    pub(super) fn write(&mut self, ops: &[u8], count: u32, each: bool) -> StepDone {
        if self.journal.is_poisoned() {
            return StepDone::Refused(Refusal::ReadOnly);
        }
        if self.shard.outbox_bytes() > OUTBOX_BYTES_MAX && !is_exchange(ops) {
            self.metrics.add(Metric::EventsOverloaded, u64::from(count));
            return StepDone::Refused(Refusal::Behind);
        }
        let (first_sequence, events_before) = (self.shard.sequence() + 1, self.shard.event_count());
        let written = match self.guarded(|actor| apply_all(&mut actor.shard, &mut actor.sampler, ops, count, each)) {
            Ok(written) => written,
            Err(refusal) => return StepDone::Refused(refusal),
        };
        let stamp_ms = self.clock.now_ms();
        if let Err(error) = self.journal.append(RECORD_OPS, first_sequence, count, stamp_ms, &[ops]) {
            self.journal_failed(&error);
            if self.journal.is_poisoned() {
                return StepDone::Refused(Refusal::ReadOnly);
            }
            // The machine is ahead of a journal that goes on: it must forget what the journal does not hold.
            self.rebuild();
            return StepDone::Refused(Refusal::Broken);
        }
        // A retraction leaves fewer than there were.
        self.metrics.add(Metric::EventsApplied, self.shard.event_count().saturating_sub(events_before));
        self.metrics.add(Metric::EventsDuplicate, u64::from(written.duplicates));
        self.metrics.add(Metric::JournalBytes, ops.len() as u64);
        if self.journal.buffered_bytes() >= BUFFER_BYTES {
            self.write_journal();
        }
        StepDone::Written(written)
    }

    /// Runs `work` on the machine; a panic costs the machine, not the server.
    pub(super) fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Result<T, Refusal> {
        if self.broken {
            return Err(Refusal::Broken);
        }
        // After a panic nothing of the machine is used again: it is replaced whole.
        catch_unwind(AssertUnwindSafe(|| work(self))).map_err(|_| {
            self.rebuild();
            Refusal::Broken
        })
    }

    fn rebuild(&mut self) {
        self.metrics.add(Metric::Panics, 1);
        tracing::error!(shard = self.shard.index(), "a turn panicked: the shard is made anew from disk");
        self.write_journal();
        self.snapshot = None;
        match recover(&self.home, self.shard.index(), self.shard.options().clone()) {
            Ok(recovered) => self.shard = recovered.shard,
            Err(error) => {
                tracing::error!(shard = self.shard.index(), error = %error, "the shard could not be made anew");
                self.broken = true;
            }
        }
    }

    /// Writes the journal's buffer; says whether the journal is well.
    pub(super) fn write_journal(&mut self) -> bool {
        match self.journal.write() {
            Ok(()) => true,
            Err(error) => {
                self.journal_failed(&error);
                false
            }
        }
    }

    pub(super) fn journal_failed(&self, error: &StorageError) {
        self.metrics.set(Metric::JournalsPoisoned, 1);
        tracing::error!(shard = self.shard.index(), error = %error, "the journal failed: the shard takes no more writes");
    }

    /// Writes the buffer and lets go what waited for it.
    pub(super) fn flush(&mut self, ctx: &mut Context<Self>) {
        self.flush_due = false;
        if !self.held.is_empty() {
            let well = self.write_journal();
            let mut durable = Vec::new();
            for held in self.held.drain(..) {
                match held.durability {
                    _ if !well => held.refuse(Refusal::ReadOnly),
                    Durability::Durable => durable.push(held),
                    Durability::Applied | Durability::Journaled => held.release(Durability::Journaled),
                }
            }
            self.sync(durable);
        }
        self.pump_exchange(ctx);
    }

    /// Hands answers to the sync thread; where too many wait there, they wait here for the next flush.
    fn sync(&mut self, durable: Vec<Held>) {
        if durable.is_empty() {
            return;
        }
        self.synced_at = Instant::now();
        let request = SyncRequest { handle: self.journal.sync_handle(), answers: durable };
        if let Err(answers) = self.syncer.ask(request) {
            self.held = answers;
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.journal.buffered_bytes() > 0 || !self.held.is_empty() {
            self.write_journal();
            self.flush(ctx);
        }
        self.pump_exchange(ctx);
        let interval = Duration::from_millis(self.pace.sync_interval_ms);
        if self.journal.durable_sequence() == self.journal.next_sequence() {
            // At rest: say once what is synced, so that damage there is not taken for a torn tail.
            let _ = self.journal.mark(); // a journal that fails here has failed already
            self.write_journal();
        } else if !interval.is_zero() && self.synced_at.elapsed() >= interval {
            self.synced_at = Instant::now();
            // A full queue means that a sync is under way and another comes: nothing is lost by not asking.
            let _ = self.syncer.ask(SyncRequest { handle: self.journal.sync_handle(), answers: Vec::new() });
        }
        self.gauges();
    }

    fn gauges(&self) {
        let (shard, metrics) = (&self.shard, &self.metrics);
        metrics.set(Metric::Queued, self.queue.waiting() as u64);
        metrics.set(Metric::Users, shard.user_count() as u64);
        metrics.set(Metric::Items, shard.item_count() as u64);
        metrics.set(Metric::ColumnBytes, shard.column_bytes() as u64);
        metrics.set(Metric::Sequence, shard.sequence());
        metrics.set(Metric::DurableSequence, self.journal.durable_sequence().saturating_sub(1));
        metrics.set(Metric::Epoch, u64::from(shard.epoch()));
        self.served_gauge();
    }
}

/// Whether operations come from another shard: refusing those as well would leave two full outboxes waiting for each
/// other.
fn is_exchange(ops: &[u8]) -> bool {
    matches!(Op::decode(&mut Reader::new(ops)), Ok(Op::Merge { .. } | Op::Rows { .. }))
}

fn apply_all(shard: &mut Shard, sampler: &mut Sampler, ops: &[u8], count: u32, each: bool) -> Written {
    let first_sequence = shard.sequence() + 1;
    let mut reader = Reader::new(ops);
    let mut outcomes = Vec::with_capacity(if each { count as usize } else { 1 });
    let (mut applied, mut duplicates, mut refused) = (0, 0, Vec::new());
    for at in 0..count as usize {
        if at % AHEAD == 0 && count > 1 {
            let mut ahead = reader.clone();
            shard.look_ahead(std::iter::from_fn(|| match Op::decode(&mut ahead) {
                Ok(Op::Event(event)) => Some(event),
                _ => None,
            }));
        }
        let op = Op::decode(&mut reader).expect("operations are encoded by this process, or checksummed");
        if sampler.has_time()
            && let Some(event) = op.event()
        {
            sampler.take(|| shard.example(event));
        }
        let outcome = shard.apply(&op);
        match outcome.kind {
            OutcomeKind::Applied => applied += 1,
            OutcomeKind::Duplicate => duplicates += 1,
            OutcomeKind::NotFound => {}
            OutcomeKind::Refused(reason) => {
                let event = op.event().map(SentEvent::from);
                refused.extend(event.map(|event| Refused { at, reason, event }));
            }
        }
        if !each {
            outcomes.clear();
        }
        outcomes.push(outcome);
    }
    Written { first_sequence, applied, duplicates, durability: Durability::Applied, refused, outcomes }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
        ctx.run_interval(Duration::from_millis(self.pace.flush_ms.max(1)), Self::tick);
        if self.shard.options().shards > 1 {
            ctx.run_interval(Duration::from_millis(self.pace.publish_ms.max(1)), Self::publish);
        }
    }
}

impl Handler<Turn> for ShardActor {
    type Result = ();

    fn handle(&mut self, turn: Turn, ctx: &mut Self::Context) {
        if self.pausing {
            self.aside.push_back(turn);
        } else {
            self.take(turn, ctx);
        }
    }
}

/// The mailbox was drained: write what waits.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl Handler<Flush> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) {
        self.flush(ctx);
        self.quantum_began = None;
    }
}

/// The thread has run something else: go on.
#[derive(Message)]
#[rtype(result = "()")]
struct Resume;

impl Handler<Resume> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Resume, ctx: &mut Self::Context) {
        self.pausing = false;
        self.quantum_began = None;
        while !self.pausing
            && let Some(turn) = self.aside.pop_front()
        {
            self.take(turn, ctx);
        }
    }
}
