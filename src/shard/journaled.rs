//! A machine and its journal: what a shard is without its actor. Apply, append, write, and come back from disk.
//!
//! No thread, no mailbox, no clock but the one that it is given: the actor and the simulator (`tests/sim`) drive the same
//! code. Operations are appended after they have been applied, so what made the machine panic is not in the journal: the
//! machine is then dropped and made anew from disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::messages::{Refusal, Refused, SnapshotPart, Written};
use super::poison::Poison;
use super::recovery::{Home, recover};
use super::room::{self, Level, Room, Sifted, sift};
use super::teacher::Sampler;
use crate::base::{Clock, Reader};
use crate::model::{Durability, RejectReason, SentEvent};
use crate::state::{AHEAD, EpochModel, Op, OutcomeKind, Parcel, Shard};
use crate::storage::{JournalWriter, StorageError};
use crate::telemetry::{Metric, Metrics};

/// Journal record kind: encoded operations, back to back.
pub const RECORD_OPS: u8 = 1;

/// Buffered journal bytes after which the buffer is written even if nobody waits.
const BUFFER_BYTES: usize = 1 << 20;

/// Bytes of observations that may wait for slower shards before events are refused as overloaded.
const OUTBOX_BYTES_MAX: usize = 64 << 20;

/// A machine and its journal.
pub struct Journaled {
    /// The machine.
    pub shard: Shard,
    /// Its journal, open behind it.
    pub journal: JournalWriter,
    /// Where it is made anew from after a panic.
    pub home: Arc<Home>,
    /// Its figures.
    pub metrics: Arc<Metrics>,
    /// Stamps records.
    pub clock: Arc<dyn Clock>,
    /// Whether there is room for new users and items.
    pub room: Arc<Room>,
    /// What it broke at.
    pub poison: Poison,
    /// Describes examples for a teacher.
    pub sampler: Sampler,
    /// Whether the machine could not be made anew.
    pub broken: bool,
    /// Whether a machine that panicked waits until whoever drives this says [`Self::rebuild`], instead of being made anew at once.
    pub defer_rebuild: bool,
    /// A machine that panicked and waits.
    pub pending: Option<PendingRebuild>,
    /// How often it was made anew: an image that was begun before is of a machine that is gone.
    pub rebuilds: u64,
}

/// What is still to be done once a machine that panicked is back: the write that it panicked at, if it was one.
#[derive(Debug, Default)]
pub struct PendingRebuild(Option<Unfinished>);

/// A write that broke a machine.
#[derive(Debug)]
struct Unfinished {
    ops: Vec<u8>,
    count: u32,
    each: bool,
    /// What was left out of it before.
    sifted: Option<Sifted>,
}

/// What becomes of an answer that waited for the journal, once its buffer was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The journal failed: it is applied in memory, but not kept.
    Refused,
    /// It may go: its record survives a killed process.
    Journaled,
    /// It waits for a sync.
    Durable,
}

impl Fate {
    /// Of an answer of this level, where the journal was `well` when it was written.
    #[must_use]
    pub fn of(level: Durability, well: bool) -> Self {
        match level {
            _ if !well => Self::Refused,
            Durability::Durable => Self::Durable,
            Durability::Applied | Durability::Journaled => Self::Journaled,
        }
    }
}

impl Journaled {
    /// Applies operations, but those that there is no room for and those that it breaks at, and appends them to the journal's
    /// buffer as one record (one each, after a panic).
    ///
    /// # Errors
    /// [`Refusal`]: then nothing of them is kept.
    pub fn write(&mut self, ops: &[u8], count: u32, each: bool) -> Result<Written, Refusal> {
        let level = self.room.level();
        let sifted = match level == Level::Free && self.poison.is_empty() {
            true => None,
            false => self.guarded(|this| sift(&this.shard, level, &this.poison, ops, count))?,
        };
        let (ops, count) = sifted.as_ref().map_or((ops, count), |sifted| (&sifted.ops, sifted.count));
        let written = match self.write_unless_empty(ops, count, each) {
            // What is between shards may not be left out: who sent it sends it again.
            Err(Refusal::Broken) if self.broken || is_exchange(ops) => return Err(Refusal::Broken),
            Err(Refusal::Broken) if self.awaits_rebuild() => {
                self.pending = Some(PendingRebuild(Some(Unfinished { ops: ops.to_vec(), count, each, sifted })));
                return Err(Refusal::Broken);
            }
            Err(Refusal::Broken) => self.write_singly(ops, count, each)?,
            done => done?,
        };
        Ok(match sifted {
            Some(sifted) => sifted.complete(written, each),
            None => written,
        })
    }

    fn write_unless_empty(&mut self, ops: &[u8], count: u32, each: bool) -> Result<Written, Refusal> {
        if count == 0 { Ok(Written::nothing(self.shard.sequence() + 1)) } else { self.write_all(ops, count, each) }
    }

    /// After a panic: each operation on its own, without the one that panics again.
    fn write_singly(&mut self, ops: &[u8], count: u32, each: bool) -> Result<Written, Refusal> {
        let split = room::split(ops, count).ok_or(Refusal::Broken)?;
        let mut whole = Written::nothing(self.shard.sequence() + 1);
        for (at, bytes) in split.into_iter().enumerate() {
            // A single one has panicked alone just now.
            let done = if count == 1 { Err(Refusal::Broken) } else { self.write_all(bytes, 1, true) };
            match done {
                Ok(one) => whole.append(one, at),
                Err(Refusal::Broken) if !self.broken => {
                    self.poison.remember(bytes);
                    whole.leave_out(at, RejectReason::Poison, bytes);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        if !each {
            whole.outcomes.drain(..whole.outcomes.len() - 1);
        }
        Ok(whole)
    }

    fn write_all(&mut self, ops: &[u8], count: u32, each: bool) -> Result<Written, Refusal> {
        if self.journal.is_poisoned() {
            return Err(Refusal::ReadOnly);
        }
        if self.room.is_disk_full() && room::adds(ops, count) {
            self.metrics.add(Metric::WritesDiskFull, u64::from(count));
            return Err(Refusal::DiskFull);
        }
        let behind = self.shard.outbox_bytes() > OUTBOX_BYTES_MAX || self.journal.is_behind();
        if behind && !is_exchange(ops) {
            self.metrics.add(Metric::EventsOverloaded, u64::from(count));
            return Err(Refusal::Behind);
        }
        let (first_sequence, events_before) = (self.shard.sequence() + 1, self.shard.event_count());
        let written = self.guarded(|this| apply_all(&mut this.shard, &mut this.sampler, ops, count, each))?;
        let stamp_ms = self.clock.now_ms();
        if let Err(error) = self.journal.append(RECORD_OPS, first_sequence, count, stamp_ms, &[ops]) {
            self.journal_failed(&error);
            if self.journal.is_poisoned() {
                return Err(Refusal::ReadOnly);
            }
            // The machine is ahead of a journal that goes on: it must forget what the journal does not hold.
            self.panicked();
            return Err(Refusal::Broken);
        }
        // A retraction leaves fewer than there were.
        self.metrics.add(Metric::EventsApplied, self.shard.event_count().saturating_sub(events_before));
        self.metrics.add(Metric::EventsDuplicate, u64::from(written.duplicates));
        self.metrics.add(Metric::JournalBytes, ops.len() as u64);
        if self.journal.buffered_bytes() >= BUFFER_BYTES {
            self.write_journal();
        }
        Ok(written)
    }

    /// Installs an item model and journals that; gives the sequence of it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn install(&mut self, model: &EpochModel) -> Result<u64, Refusal> {
        let mut bytes = Vec::new();
        Op::Epoch { epoch: model.epoch }.encode(&mut bytes);
        let sequence = self.shard.sequence() + 1;
        self.guarded(|this| this.shard.install(model))?;
        let appended = self.journal.append(RECORD_OPS, sequence, 1, self.clock.now_ms(), &[&bytes]);
        appended.and_then(|()| self.journal.write()).map(|()| sequence).map_err(|error| {
            self.journal_failed(&error);
            Refusal::ReadOnly
        })
    }

    /// Runs `work` on the machine; a panic costs the machine, not the server.
    ///
    /// # Errors
    /// [`Refusal::Broken`] after a panic, or if the machine could not be made anew after an earlier one.
    pub fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Result<T, Refusal> {
        if self.broken || self.awaits_rebuild() {
            return Err(Refusal::Broken);
        }
        // After a panic nothing of the machine is used again: it is replaced whole.
        catch_unwind(AssertUnwindSafe(|| work(self))).map_err(|_| {
            self.panicked();
            Refusal::Broken
        })
    }

    fn panicked(&mut self) {
        self.metrics.add(Metric::Panics, 1);
        tracing::error!(shard = self.shard.index(), "a turn panicked: the shard is made anew from disk");
        self.pending = Some(PendingRebuild::default());
        if !self.defer_rebuild {
            self.rebuild();
        }
    }

    /// Whether the machine panicked and waits for [`Self::rebuild`]: nothing of it is to be believed.
    #[must_use]
    pub fn awaits_rebuild(&self) -> bool {
        self.pending.is_some()
    }

    /// Makes a machine anew that panicked, and finishes the write that it panicked at: each operation on its own, without the one
    /// that panics again. Gives what became of that write, if it was one.
    pub fn rebuild(&mut self) -> Option<Result<Written, Refusal>> {
        let PendingRebuild(unfinished) = self.pending.take()?;
        self.recover();
        let Unfinished { ops, count, each, sifted } = unfinished?;
        let defer = std::mem::replace(&mut self.defer_rebuild, false);
        let written = self.write_singly(&ops, count, each);
        self.defer_rebuild = defer;
        Some(match sifted {
            Some(sifted) => written.map(|written| sifted.complete(written, each)),
            None => written,
        })
    }

    fn recover(&mut self) {
        self.write_journal();
        self.rebuilds += 1;
        let (index, options) = (self.shard.index(), self.shard.options().clone());
        // The old one goes first: there may be no room for two.
        self.shard = Shard::new(index, options.clone());
        let recovered = catch_unwind(AssertUnwindSafe(|| recover(&self.home, index, options)));
        let error = match recovered {
            Ok(Ok(recovered)) => return self.shard = recovered.shard,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "what is on disk panics, too".to_owned(),
        };
        tracing::error!(shard = index, error, "the shard could not be made anew");
        self.broken = true;
    }

    /// Writes the journal's buffer; says whether the journal is well.
    pub fn write_journal(&mut self) -> bool {
        match self.journal.write() {
            Ok(()) => true,
            Err(error) => {
                self.journal_failed(&error);
                false
            }
        }
    }

    fn journal_failed(&self, error: &StorageError) {
        self.metrics.set(Metric::JournalsPoisoned, 1);
        tracing::error!(shard = self.shard.index(), error = %error, "the journal failed: the shard takes no more writes");
    }

    /// At rest: says once in the journal what is synced, so that damage there is not taken for a torn tail.
    pub fn rest(&mut self) {
        let _ = self.journal.mark(); // a journal that fails here has failed already
        self.write_journal();
    }

    /// Writes and syncs what is left, for the end; says whether everything is kept.
    pub fn drain(&mut self) -> bool {
        self.write_journal() && self.journal.sync().is_ok() && self.journal.mark().is_ok() && self.write_journal()
    }

    /// The next parcel for a shard, if there is one and none is on its way. Its events are written first: whoever merges it
    /// never knows more than the journal here.
    pub fn next_parcel(&mut self, target: u16) -> Option<Parcel> {
        let waits = self.shard.outbox(target).held_bytes() > 0;
        (waits && self.write_journal()).then(|| self.shard.outbox(target).take()).flatten()
    }

    /// Begins an image of the machine as it is now; `None` if the journal is not well, or the machine is none.
    pub fn begin_image(&mut self) -> Option<SnapshotPart> {
        if self.broken || self.awaits_rebuild() || !self.write_journal() {
            return None;
        }
        self.shard.capture_begin();
        Some(SnapshotPart::Begin {
            shard: self.shard.index(),
            sequence: self.shard.sequence(),
            epoch: self.shard.epoch(),
            sync: self.journal.sync_handle(),
        })
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
            OutcomeKind::NotFound | OutcomeKind::Full => {}
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
    let (durability, left_out) = (Durability::Applied, Vec::new());
    Written { first_sequence, applied, duplicates, durability, refused, left_out, outcomes }
}
