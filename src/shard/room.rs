//! What a full memory, and a full disk, still take.
//!
//! Users and items are what memory grows by. From 90 % of the limit on, operations that would add one are refused before they
//! are applied or journaled, and everything else goes on; below 85 % they are taken again. Past 102 %, where known users have
//! grown as well, nothing is learned any more, so that the system does not end the process: reads, and what takes something
//! away, go on. Which operations were refused is decided before the journal, so a replay asks nobody.
//!
//! A disk without room is another thing: then nothing that adds to the journal is taken, and a turn is refused whole.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::messages::{Refused, Written};
use super::poison::Poison;
use crate::base::Reader;
use crate::model::{Durability, RejectReason, SentEvent};
use crate::state::{Op, Outcome, OutcomeKind, Shard};

/// Shares of the limit, in per cent: from where on new users are refused, below which they are taken again, and past which
/// nothing is learned.
const FULL: u64 = 90;
const FREE: u64 = 85;
const OVER: u64 = 102;

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// For everything.
    #[default]
    Free = 0,
    /// Not for new users and items.
    Full = 1,
    /// For nothing that grows.
    Over = 2,
}

impl Level {
    /// The level after this one, where so many bytes of a limit are taken and some more are promised to a fit. A limit of 0
    /// is none.
    #[must_use]
    pub fn next(self, bytes: u64, promised: u64, limit: u64) -> Self {
        let per_cent = |share: u64| limit.saturating_mul(share) / 100;
        let taken = bytes.saturating_add(promised);
        match self {
            _ if limit == 0 => Self::Free,
            _ if taken > per_cent(OVER) => Self::Over,
            _ if taken >= per_cent(FULL) => Self::Full,
            Self::Full | Self::Over if taken >= per_cent(FREE) => Self::Full,
            _ => Self::Free,
        }
    }

    /// Whether so many bytes more leave room for what is there.
    #[must_use]
    pub fn fits(bytes: u64, more: u64, limit: u64) -> bool {
        limit == 0 || bytes.saturating_add(more) < limit.saturating_mul(FULL) / 100
    }
}

/// How much room there is, as shards see it.
#[derive(Debug, Default)]
pub struct Room {
    level: AtomicU8,
    disk_full: AtomicBool,
}

impl Room {
    /// The level now.
    #[must_use]
    #[inline]
    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Free,
            1 => Level::Full,
            _ => Level::Over,
        }
    }

    /// Sets it.
    pub fn set(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Whether the disk has too little room for what adds to the journal.
    #[must_use]
    #[inline]
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Sets it.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Relaxed);
    }
}

/// Whether any of these operations adds something; what is between shards and what takes away does not count.
#[must_use]
pub fn adds(ops: &[u8], count: u32) -> bool {
    let mut reader = Reader::new(ops);
    (0..count).map_while(|_| Op::decode(&mut reader).ok()).any(|op| Shard::may_grow(&op))
}

/// Operations without those that there is no room for.
#[derive(Debug)]
pub struct Sifted {
    /// Those that are carried out.
    pub ops: Vec<u8>,
    /// How many they are.
    pub count: u32,
    /// Places of the others among all, rising, why, and their events.
    left_out: Vec<(usize, RejectReason, Option<SentEvent>)>,
}

/// Leaves out what there is no room for, and what the shard broke at before; `None` if that is nothing.
///
/// # Panics
/// If the bytes are no operations, which no door lets through.
#[must_use]
pub fn sift(shard: &Shard, level: Level, poison: &Poison, ops: &[u8], count: u32) -> Option<Sifted> {
    let mut sifted = Sifted { ops: Vec::new(), count: 0, left_out: Vec::new() };
    let mut reader = Reader::new(ops);
    for at in 0..count as usize {
        let from = reader.at();
        let op = Op::decode(&mut reader).expect("operations are encoded by this process");
        let bytes = &ops[from..reader.at()];
        let no_room = match level {
            Level::Free => false,
            Level::Full => shard.would_add(&op),
            Level::Over => shard.would_add(&op) || Shard::may_grow(&op),
        };
        let why =
            if no_room { Some(RejectReason::Memory) } else { poison.knows(bytes).then_some(RejectReason::Poison) };
        if let Some(why) = why {
            sifted.left_out.push((at, why, op.event().map(SentEvent::from)));
        } else {
            sifted.ops.extend_from_slice(bytes);
            sifted.count += 1;
        }
    }
    (!sifted.left_out.is_empty()).then_some(sifted)
}

/// The bytes of each of some operations; `None` if they are no operations.
#[must_use]
pub fn split(ops: &[u8], count: u32) -> Option<Vec<&[u8]>> {
    let mut reader = Reader::new(ops);
    let next = |_| {
        let from = reader.at();
        Op::decode(&mut reader).ok().map(|_| &ops[from..reader.at()])
    };
    (0..count).map(next).collect()
}

impl Written {
    /// What became of a write of which nothing was carried out.
    #[must_use]
    pub fn nothing(next_sequence: u64) -> Self {
        Self {
            first_sequence: next_sequence,
            applied: 0,
            duplicates: 0,
            durability: Durability::Applied,
            refused: Vec::new(),
            left_out: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    /// Adds what became of one more operation, at its place.
    pub fn append(&mut self, one: Written, at: usize) {
        self.applied += one.applied;
        self.duplicates += one.duplicates;
        self.refused.extend(one.refused.into_iter().map(|refused| Refused { at, ..refused }));
        self.outcomes.extend(one.outcomes);
    }

    /// Says that the operation at a place was left out; its outcome is still to be put.
    fn note_left_out(&mut self, at: usize, reason: RejectReason, event: Option<SentEvent>) {
        self.refused.extend(event.map(|event| Refused { at, reason, event }));
        self.left_out.push(at);
    }

    /// Adds that the next operation was left out, at its place.
    pub fn leave_out(&mut self, at: usize, reason: RejectReason, op: &[u8]) {
        let op = Op::decode(&mut Reader::new(op)).ok();
        self.note_left_out(at, reason, op.as_ref().and_then(Op::event).map(SentEvent::from));
        self.outcomes.push(Outcome::refused(reason));
    }
}

impl Sifted {
    /// What became of all operations, given what became of those that were carried out.
    #[must_use]
    pub fn complete(self, mut written: Written, each: bool) -> Written {
        for refusal in &mut written.refused {
            refusal.at = self.place(refusal.at);
        }
        for (at, reason, event) in self.left_out {
            if each || written.outcomes.is_empty() {
                let place = at.min(written.outcomes.len());
                written.outcomes.insert(place, Outcome::refused(reason));
            }
            written.note_left_out(at, reason, event);
        }
        written
    }

    /// The place among all operations of the one that is at `at` among those carried out.
    fn place(&self, at: usize) -> usize {
        self.left_out.iter().fold(at, |place, (left_out, ..)| if *left_out <= place { place + 1 } else { place })
    }
}

/// Why the operation with this outcome never came to the journal, if it did not.
#[must_use]
pub fn left_out(outcome: Outcome) -> Option<RejectReason> {
    match outcome.kind {
        OutcomeKind::Refused(reason @ (RejectReason::Memory | RejectReason::Poison)) => Some(reason),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Id, IdRef};
    use crate::model::{Attributes, Event};
    use crate::state::Options;

    fn event(user: u64, item: u64) -> Op<'static> {
        let (user, item) = (IdRef::Int(user), IdRef::Int(item));
        Op::Event(Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: 1_000 })
    }

    fn encoded(ops: &[Op<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| op.encode(&mut bytes));
        bytes
    }

    fn shard() -> Shard {
        let mut shard = Shard::new(0, Options::default());
        shard.apply(&event(1, 1));
        shard.apply(&event(2, 2));
        shard
    }

    #[test]
    fn the_level_has_a_memory_of_its_own() {
        let mut level = Level::Free;
        let mut at = |bytes| {
            level = level.next(bytes, 0, 1_000);
            level
        };
        let (free, full, over) = (Level::Free, Level::Full, Level::Over);
        assert_eq!([899, 900, 890, 850, 1_020].map(&mut at), [free, full, full, full, full]);
        assert_eq!([1_021, 1_000, 849, 899].map(&mut at), [over, full, free, free]);
        assert_eq!(over.next(u64::MAX, 0, 0), free, "no limit");
        assert_eq!(free.next(700, 250, 1_000), full, "what a fit will take counts before it has");
        assert!(Level::fits(700, 199, 1_000) && !Level::fits(700, 200, 1_000) && Level::fits(u64::MAX, 1, 0));
    }

    #[test]
    fn new_users_and_items_are_left_out_and_everything_keeps_its_place() {
        let shard = shard();
        let upsert = |user| Op::UserUpsert { user: IdRef::Int(user), time_ms: 5, attributes: Attributes::default() };
        let all = [event(1, 2), event(3, 1), event(2, 9), event(2, 1), upsert(7), upsert(1)];
        let ops = encoded(&all);
        let sifted = sift(&shard, Level::Full, &Poison::default(), &ops, 6).expect("some are new");
        assert_eq!((sifted.count, &sifted.ops), (3, &encoded(&[event(1, 2), event(2, 1), upsert(1)])));
        let written =
            Written { refused: vec![Refused { at: 1, reason: RejectReason::Burst, event: sent(2) }], ..done(3) };
        let whole = sifted.complete(written, true);
        let versions: Vec<u32> = whole.outcomes.iter().map(|outcome| outcome.version).collect();
        assert_eq!(versions, [1, 0, 0, 2, 0, 3], "refused ones have no version");
        let reasons: Vec<_> = whole.refused.iter().map(|refused| (refused.at, refused.reason)).collect();
        assert_eq!(reasons, [(3, RejectReason::Burst), (1, RejectReason::Memory), (2, RejectReason::Memory)]);
        assert_eq!([0, 3, 5].map(|at| whole.sequence(at)), [10, 11, 12], "sequences count what is journaled");
        assert!(sift(&shard, Level::Full, &Poison::default(), &encoded(&[event(1, 1)]), 1).is_none());
    }

    #[test]
    fn past_the_limit_only_what_takes_away_is_left() {
        let shard = shard();
        let retract = Op::Retract { user: IdRef::Int(1), event_id: 3 };
        let sifted = sift(&shard, Level::Over, &Poison::default(), &encoded(&[event(1, 1), retract.clone()]), 2)
            .expect("events grow");
        assert_eq!(sifted.ops, encoded(&[retract]));
        let sifted =
            sift(&shard, Level::Over, &Poison::default(), &encoded(&[event(1, 1)]), 1).expect("nothing is left");
        let whole = sifted.complete(Written::nothing(5), false);
        assert_eq!(
            whole.outcomes.iter().map(|outcome| left_out(*outcome)).collect::<Vec<_>>(),
            [Some(RejectReason::Memory)]
        );
    }

    fn sent(user: u64) -> SentEvent {
        let (event_id, user, item) = (Id::Int(0), Id::Int(user), Id::Int(1));
        SentEvent { event_id, user, item, kind: 0, value_bits: 0, time_ms: 0 }
    }

    fn done(count: u32) -> Written {
        let outcome = |version| Outcome { version, ..Outcome::refused(RejectReason::Burst) };
        Written { outcomes: (1..=count).map(outcome).collect(), ..Written::nothing(10) }
    }
}
