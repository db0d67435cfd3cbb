//! A turn as it is carried out, step by step; it stops where the machine breaks, and goes on when it is back. It also stops
//! between two steps when its time is up, for others to have theirs.

use std::time::Instant;

use tokio::sync::oneshot;

use super::actor::ShardActor;
use super::answer::answer;
use super::messages::{Refusal, Step, StepDone, Turn, Written};
use super::queue::Credits;
use super::sync::Held;
use crate::model::Durability;
use crate::telemetry::Metric;

/// A turn that waits or is being carried out.
#[derive(Debug)]
pub(super) struct TurnRun {
    /// Which connection it is of.
    pub(super) flow: u64,
    /// Units that are still to do: what it was let in for, less a unit an operation or question done.
    pub(super) units: usize,
    /// When nobody waits for the answers any more: what is not begun by then is not done.
    expires: Option<Instant>,
    pub(super) ops: Vec<u8>,
    steps: Vec<Step>,
    /// Answers to the first steps.
    done: Vec<StepDone>,
    /// Where the operations of the next step begin.
    at: usize,
    durability: Durability,
    credits: Option<Credits>,
    reply: oneshot::Sender<Vec<StepDone>>,
}

impl TurnRun {
    pub(super) fn new(turn: Turn) -> Self {
        let Turn { flow, ops, steps, credits, expires, reply } = turn;
        let (done, units) = (Vec::with_capacity(steps.len()), credits.as_ref().map_or(0, Credits::count));
        Self { flow, units, expires, ops, steps, done, at: 0, durability: Durability::Applied, credits, reply }
    }

    /// Begins it, or goes on with it: what comes behind it no longer waits for it to begin.
    pub(super) fn begin(&mut self) {
        if let Some(credits) = &mut self.credits {
            credits.begin();
        }
    }

    /// Whether none of it is done.
    pub(super) fn is_new(&self) -> bool {
        self.done.is_empty()
    }

    /// Whether it is over before it was begun.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.is_new() && self.expires.is_some_and(|expires| expires <= now)
    }

    /// Answers that there was no time for it.
    pub(super) fn expire(self) {
        let Self { steps, credits, reply, .. } = self;
        let steps = steps.iter().map(|_| StepDone::Refused(Refusal::Expired)).collect();
        Held { steps, durability: Durability::Applied, credits, reply }.release(Durability::Applied);
    }

    /// The next step and its operations.
    fn next(&self) -> Option<(&Step, &[u8])> {
        let step = self.steps.get(self.done.len())?;
        Some((step, &self.ops[self.at..self.at + step.bytes()]))
    }

    /// The answer to the next step.
    fn answered(&mut self, done: StepDone) {
        let step = &self.steps[self.done.len()];
        self.units = self.units.saturating_sub(step.units());
        (self.at, self.durability) = (self.at + step.bytes(), self.durability.max(step.durability()));
        self.done.push(done);
    }
}

impl ShardActor {
    /// Goes through the steps of a turn; gives it back if the machine broke at one, or if some are left at a time.
    #[must_use]
    pub(super) fn go_through(&mut self, mut run: TurnRun, until: Option<Instant>) -> Option<TurnRun> {
        while let Some((step, ops)) = run.next() {
            let done = match step {
                Step::Write { count, each, .. } => self.write(ops, *count, *each),
                Step::Join { .. } => self.join(ops),
                Step::Ask(query) => {
                    self.core.metrics.add(Metric::Queries, 1);
                    match self.core.guarded(|core| answer(&mut core.shard, query)) {
                        Ok(mut answer) => {
                            self.number(query, &mut answer);
                            StepDone::Answered(answer)
                        }
                        Err(refusal) => StepDone::Refused(refusal),
                    }
                }
            };
            if self.core.awaits_rebuild() {
                return Some(run);
            }
            run.answered(done);
            if run.next().is_some() && until.is_some_and(|until| until <= Instant::now()) {
                return Some(run);
            }
        }
        let TurnRun { done: steps, durability, credits, reply, .. } = run;
        let held = Held { steps, durability, credits, reply };
        match durability {
            Durability::Applied => held.release(Durability::Applied),
            Durability::Journaled | Durability::Durable => self.held.push(held),
        }
        None
    }

    /// Goes on with a turn that the machine broke at, with what became of that step: it was a write that was finished, or is not
    /// tried again.
    #[must_use]
    pub(super) fn go_on_with(
        &mut self,
        mut run: TurnRun,
        written: Option<Result<Written, Refusal>>,
    ) -> Option<TurnRun> {
        let done = written.unwrap_or(Err(Refusal::Broken)).map_or_else(StepDone::Refused, StepDone::Written);
        if let Some((Step::Join { .. }, op)) = run.next() {
            self.joined(op, &done);
        }
        run.answered(done);
        self.go_through(run, None)
    }
}
