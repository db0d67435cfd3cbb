//! What this shard served, by decision id, until somebody says what came of it.
//!
//! Beside the state, because reads change nothing that is kept: lists stand here until an exposure or an outcome names
//! them, and travel into the state within that operation. A restart forgets those that were not named before it.

use super::actor::ShardActor;
use super::messages::{Answer, Query, Refusal, StepDone};
use crate::base::ids::mix;
use crate::base::{IdRef, Reader};
use crate::model::{Recall, Remembered, ServedList};
use crate::state::{Join, Op};
use crate::telemetry::Metric;

/// How long lists are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionOptions {
    /// Most lists that wait for what comes of them; 0: none are remembered.
    pub kept_max: usize,
    /// How long after a list outcomes count, in milliseconds.
    pub wait_ms: i64,
}

impl Default for DecisionOptions {
    fn default() -> Self {
        Self { kept_max: 65_536, wait_ms: 86_400_000 }
    }
}

/// The lists that a shard served.
#[derive(Debug)]
pub(super) struct Served {
    options: DecisionOptions,
    lists: Remembered<ServedList<'static>>,
    seed: u64,
    count: u64,
}

impl Served {
    /// Nothing served. Ids of decisions are unique over shards and restarts: the seed is of both.
    pub(super) fn new(options: DecisionOptions, shard: u16, now_ms: i64) -> Self {
        let seed = mix(mix(now_ms.unsigned_abs()) ^ u64::from(shard));
        Self { options, lists: Remembered::new(options.kept_max), seed, count: 0 }
    }

    /// Remembers a list; returns its decision id, never 0.
    fn remember(&mut self, list: ServedList<'static>) -> u64 {
        self.count += 1;
        let decision = mix(self.seed ^ self.count).max(1);
        let served_ms = list.served_ms;
        self.lists.forget_while(|oldest| oldest.until_ms < served_ms);
        if self.options.kept_max > 0 {
            self.lists.insert(decision, list.items.len(), list);
        }
        decision
    }

    /// The list of a decision, if it is this user's.
    fn find(&self, decision: u64, user: IdRef<'_>) -> Recall<&ServedList<'static>> {
        match self.lists.recall(decision) {
            Recall::Known(list) if list.user != user.stable_hash() => Recall::Unknown,
            found => found,
        }
    }
}

impl ShardActor {
    /// Numbers a list that answers a question, and remembers it.
    pub(super) fn number(&mut self, query: &Query, answer: &mut Answer) {
        let (Query::Recommend { user, .. }, Answer::Ranking(strategy, ranking, decision)) = (query, answer) else {
            return;
        };
        let served_ms = self.core.clock.now_ms();
        *decision = self.served.remember(ServedList {
            user: user.as_ref().stable_hash(),
            strategy,
            served_ms,
            until_ms: served_ms.saturating_add(self.served.options.wait_ms),
            items: ranking.items.iter().map(|scored| scored.item.as_ref().stable_hash()).collect(),
        });
        self.core.metrics.add(Metric::ListsServed, 1);
    }

    /// Carries out an exposure or an outcome, with the list that it names if that stands here.
    pub(super) fn join(&mut self, op: &[u8]) -> StepDone {
        let (decision, bytes) = match Op::decode(&mut Reader::new(op)) {
            Ok(Op::Exposure { decision, user, places, time_ms, .. }) => {
                let list = cloned(self.served.find(decision, user));
                (decision, encoded(&Op::Exposure { decision, user, places, time_ms, list }))
            }
            Ok(Op::Outcome { decision, event, .. }) => {
                let list = cloned(self.served.find(decision, event.user));
                (decision, encoded(&Op::Outcome { decision, event, list }))
            }
            Ok(_) | Err(_) => return StepDone::Refused(Refusal::Broken), // encoded by the door: a fault of ours
        };
        let done = self.write(&bytes, 1, true);
        self.settle(decision, &done);
        done
    }

    /// An exposure or an outcome was carried out after all, or was not.
    pub(super) fn joined(&mut self, op: &[u8], done: &StepDone) {
        if let Ok(Op::Exposure { decision, .. } | Op::Outcome { decision, .. }) = Op::decode(&mut Reader::new(op)) {
            self.settle(decision, done);
        }
    }

    fn settle(&mut self, decision: u64, done: &StepDone) {
        if let StepDone::Written(written) = done
            && let Some(outcome) = written.outcomes.first()
        {
            let metric = match outcome.join {
                Join::None | Join::Shown { again: true, .. } => return,
                Join::Shown { .. } => Metric::ListsShown,
                Join::Listed { .. } => Metric::OutcomesListed,
                Join::NotListed { .. } => Metric::OutcomesNotListed,
                Join::Expired => Metric::DecisionsExpired,
                Join::Unknown => Metric::DecisionsUnknown,
            };
            self.core.metrics.add(metric, 1);
            if !matches!(outcome.join, Join::Expired | Join::Unknown) {
                self.served.lists.take(decision); // the state has it
            }
        }
    }

    pub(super) fn served_gauge(&self) {
        self.core.metrics.set(Metric::ListsWaiting, self.served.lists.len() as u64);
    }
}

fn cloned(found: Recall<&ServedList<'static>>) -> Recall<ServedList<'static>> {
    match found {
        Recall::Known(list) => Recall::Known(list.clone()),
        Recall::Forgotten => Recall::Forgotten,
        Recall::Unknown => Recall::Unknown,
    }
}

fn encoded(op: &Op<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    op.encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(user: u64, served_ms: i64) -> ServedList<'static> {
        let user = IdRef::Int(user).stable_hash();
        ServedList { user, strategy: "decay", served_ms, until_ms: served_ms + 100, items: vec![1, 2, 3] }
    }

    #[test]
    fn lists_are_found_by_their_user_until_they_are_old() {
        let mut served = Served::new(DecisionOptions { kept_max: 10, wait_ms: 100 }, 0, 5);
        let first = served.remember(list(1, 1_000));
        assert!(matches!(served.find(first, IdRef::Int(1)), Recall::Known(_)));
        assert_eq!(served.find(first, IdRef::Int(2)), Recall::Unknown, "not his");
        served.remember(list(2, 1_200));
        assert_eq!(served.find(first, IdRef::Int(1)), Recall::Forgotten);
    }

    #[test]
    fn no_room_is_no_memory_and_ids_differ_all_the_same() {
        let mut one = Served::new(DecisionOptions { kept_max: 0, wait_ms: 100 }, 0, 5);
        let mut two = Served::new(DecisionOptions { kept_max: 0, wait_ms: 100 }, 1, 5);
        let mut ids: Vec<u64> =
            (0..100).map(|n| if n % 2 == 0 { &mut one } else { &mut two }.remember(list(1, 0))).collect();
        assert_eq!(one.find(ids[0], IdRef::Int(1)), Recall::Unknown);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 100);
    }
}
