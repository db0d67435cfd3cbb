//! The shard actor. One turn: stamp, apply, append to the journal, answer.
//!
//! *Answers.* `applied` goes out at once. `journaled` waits for the next write of the journal's buffer, which comes when
//! the mailbox has been drained (so turns that wait together share one write) or a quantum has passed. `durable` goes on
//! to the sync thread from there.
//!
//! *Order.* What comes waits in `waiting` until the mailbox is empty; then those have their turn first who ask for little
//! (`fair`).
//!
//! *Quantum.* actix polls a mailbox until it is empty and starves timers and sockets meanwhile. After `quantum_us` of
//! turns the actor lets its thread run once, and goes on. A turn of which steps are left then stays the first of its
//! connection, and others have theirs before it goes on.
//!
//! *Panics.* Every turn runs inside `catch_unwind`. Operations are appended after they have been applied, so what made
//! the machine panic is not in the journal: the machine is dropped and made anew from disk, on a thread of its own (`away`),
//! and the others never notice.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message};

use super::away::{Core, Later};
use super::decisions::{DecisionOptions, Served};
use super::exchange::Exchange;
use super::fair::Fair;
use super::journaled::{Fate, Journaled};
use super::messages::{Refusal, StepDone, Turn};
use super::queue::{Flow, Queue};
use super::snapshot::SnapshotRun;
use super::sync::{Held, SyncRequest, Syncer};
use super::turn::TurnRun;
use crate::model::Durability;
use crate::telemetry::Metric;

/// Messages that may stand in the mailbox; credits bound the events far below.
const MAILBOX_MESSAGES: usize = 1 << 16;

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
    /// The machine, as recovered, and its journal.
    pub core: Journaled,
    /// Its credits.
    pub queue: Queue,
    /// Its pace.
    pub pace: Pace,
    /// How long it remembers what it served.
    pub decisions: DecisionOptions,
}

/// One shard.
pub struct ShardActor {
    pub(super) core: Core,
    pub(super) queue: Queue,
    flow: Flow,
    pub(super) pace: Pace,
    syncer: Syncer,
    pub(super) held: Vec<Held>,
    pub(super) waiting: Fair,
    /// What else waits while the machine is away.
    pub(super) later: VecDeque<Later>,
    /// Whether a message is on its way at which the next turns are carried out.
    pub(super) called: bool,
    synced_at: Instant,
    pub(super) exchange: Exchange,
    pub(super) snapshot: Option<SnapshotRun>,
    pub(super) served: Served,
}

impl ShardActor {
    /// An actor, to be started on its arbiter.
    ///
    /// # Errors
    /// The system's, if its sync thread cannot be started.
    pub fn new(setup: ShardSetup) -> std::io::Result<Self> {
        let ShardSetup { core, queue, pace, decisions } = setup;
        let syncer = Syncer::start(core.shard.index())?;
        let exchange = Exchange::new(core.shard.options().shards);
        let served = Served::new(decisions, core.shard.index(), core.clock.now_ms());
        Ok(Self {
            core: Core::new(core),
            flow: Flow::new(queue.clone()),
            queue,
            pace,
            syncer,
            held: Vec::new(),
            waiting: Fair::default(),
            later: VecDeque::new(),
            called: false,
            synced_at: Instant::now(),
            exchange,
            snapshot: None,
            served,
        })
    }

    /// Carries out what waits, for a quantum, and writes the journal's buffer.
    pub(super) fn take_turns(&mut self, ctx: &mut Context<Self>) {
        if self.core.is_away() {
            return;
        }
        let until = Instant::now() + Duration::from_micros(self.pace.quantum_us);
        let mut broken = None;
        while let Some(run) = self.waiting.pop() {
            let unfinished = self.carry_out(run, Some(until));
            if self.core.awaits_rebuild() {
                broken = unfinished;
                break;
            }
            if let Some(run) = unfinished {
                self.waiting.put_back(run);
            }
            if Instant::now() >= until {
                break;
            }
        }
        self.flush(ctx);
        self.send_away_if_broken(broken, ctx);
        if self.core.is_away() {
            return;
        }
        self.called = !self.waiting.is_empty();
        if self.called {
            let me = ctx.address();
            actix_rt::spawn(async move {
                tokio::task::yield_now().await; // lets the thread run something else before the next turn
                let _ = me.send(GoOn).await; // fails only when the actor is gone
            });
        }
    }

    /// Carries out a turn, unless its time is over; gives it back if the machine broke at it, or if steps are left at a time.
    #[must_use]
    pub(super) fn carry_out(&mut self, mut run: TurnRun, until: Option<Instant>) -> Option<TurnRun> {
        let (began, units) = (Instant::now(), run.units);
        run.begin();
        if run.is_late(began) {
            self.core.metrics.add(Metric::EventsExpired, units as u64);
            run.expire();
            return None;
        }
        self.core.metrics.add(Metric::Turns, u64::from(run.is_new()));
        self.core.sampler.begin();
        let unfinished = self.go_through(run, until);
        let left = unfinished.as_ref().map_or(0, |run| run.units);
        self.flow.turn(units - left, began, Instant::now());
        unfinished
    }

    /// Applies operations and appends them to the journal's buffer as one record.
    pub(super) fn write(&mut self, ops: &[u8], count: u32, each: bool) -> StepDone {
        self.core.write(ops, count, each).map_or_else(StepDone::Refused, StepDone::Written)
    }

    /// Writes the buffer and lets go what waited for it.
    pub(super) fn flush(&mut self, ctx: &mut Context<Self>) {
        if !self.held.is_empty() {
            let well = self.core.write_journal();
            let mut durable = Vec::new();
            for held in self.held.drain(..) {
                match Fate::of(held.durability, well) {
                    Fate::Refused => held.refuse(Refusal::ReadOnly),
                    Fate::Journaled => held.release(Durability::Journaled),
                    Fate::Durable => durable.push(held),
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
        let request = SyncRequest { handle: self.core.journal.sync_handle(), answers: durable };
        if let Err(answers) = self.syncer.ask(request) {
            self.held = answers;
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.core.is_away() {
            return;
        }
        if self.core.journal.buffered_bytes() > 0 || !self.held.is_empty() {
            self.core.write_journal();
            self.flush(ctx);
        }
        self.pump_exchange(ctx);
        let interval = Duration::from_millis(self.pace.sync_interval_ms);
        if self.core.journal.durable_sequence() == self.core.journal.next_sequence() {
            self.core.rest();
        } else if self.core.journal.awaits_sync() || (!interval.is_zero() && self.synced_at.elapsed() >= interval) {
            self.synced_at = Instant::now();
            // A full queue means that a sync is under way and another comes: nothing is lost by not asking.
            let _ = self.syncer.ask(SyncRequest { handle: self.core.journal.sync_handle(), answers: Vec::new() });
        }
        self.gauges();
    }

    /// Whether nobody waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.unanswered() == 0
    }

    fn gauges(&self) {
        let Journaled { shard, journal, metrics, .. } = &*self.core;
        metrics.set(Metric::Queued, self.queue.unanswered() as u64);
        metrics.set(Metric::QueueWaitUs, u64::try_from(self.queue.wait().as_micros()).unwrap_or(u64::MAX));
        metrics.set(Metric::Users, shard.user_count() as u64);
        metrics.set(Metric::Items, shard.item_count() as u64);
        metrics.set(Metric::ColumnBytes, shard.column_bytes() as u64);
        metrics.set(Metric::Sequence, shard.sequence());
        metrics.set(Metric::DurableSequence, journal.durable_sequence().saturating_sub(1));
        metrics.set(Metric::Epoch, u64::from(shard.epoch()));
        self.served_gauge();
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
        ctx.run_interval(Duration::from_millis(self.pace.flush_ms.max(1)), Self::tick);
        if self.core.shard.options().shards > 1 {
            ctx.run_interval(Duration::from_millis(self.pace.publish_ms.max(1)), Self::publish);
        }
    }
}

impl Handler<Turn> for ShardActor {
    type Result = ();

    fn handle(&mut self, turn: Turn, ctx: &mut Self::Context) {
        self.waiting.push(TurnRun::new(turn));
        if !self.called {
            self.called = true;
            ctx.notify(GoOn);
        }
    }
}

/// The mailbox was drained, or the thread has run something else: carry out what waits.
#[derive(Message)]
#[rtype(result = "()")]
struct GoOn;

impl Handler<GoOn> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: GoOn, ctx: &mut Self::Context) {
        self.take_turns(ctx);
    }
}
