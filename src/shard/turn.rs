//! A turn as it is carried out, step by step; it stops where the machine breaks, and goes on when it is back.

use tokio::sync::oneshot;

use super::actor::ShardActor;
use super::answer::answer;
use super::messages::{Refusal, Step, StepDone, Turn, Written};
use super::queue::Credits;
use super::sync::Held;
use crate::model::Durability;
use crate::telemetry::Metric;

/// A turn that is being carried out.
pub(super) struct TurnRun {
    ops: Vec<u8>,
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
        let Turn { ops, steps, credits, reply, .. } = turn;
        let done = Vec::with_capacity(steps.len());
        Self { ops, steps, done, at: 0, durability: Durability::Applied, credits, reply }
    }

    /// The next step and its operations.
    fn next(&self) -> Option<(&Step, &[u8])> {
        let step = self.steps.get(self.done.len())?;
        Some((step, &self.ops[self.at..self.at + step.bytes()]))
    }

    /// The answer to the next step.
    fn answered(&mut self, done: StepDone) {
        let step = &self.steps[self.done.len()];
        (self.at, self.durability) = (self.at + step.bytes(), self.durability.max(step.durability()));
        self.done.push(done);
    }
}

impl ShardActor {
    /// Goes through the steps of a turn; gives it back if the machine broke at one.
    #[must_use]
    pub(super) fn go_through(&mut self, mut run: TurnRun) -> Option<TurnRun> {
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
        self.go_through(run)
    }
}
