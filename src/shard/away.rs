//! A machine that is made anew elsewhere, while the thread of its actor goes on.
//!
//! Coming back from disk takes a tenth of a second, or minutes: the thread has connections whose users are of other shards.
//! So after a panic the machine and its journal leave for a thread of their own; what comes for them waits (its credits are
//! held, and who is refused is told that nothing moves), and goes on in its order when they are back. The turn that broke
//! goes on first, behind the operation that broke it.

use std::ops::{Deref, DerefMut};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use actix::{AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::actor::ShardActor;
use super::answer::answer;
use super::journaled::Journaled;
use super::messages::{Refusal, Step, StepDone, Turn, Written};
use super::priority::give_way_a_little;
use super::queue::Credits;
use super::sync::Held;
use crate::base::Reader;
use crate::model::Durability;
use crate::state::Op;
use crate::telemetry::Metric;

/// A machine and its journal, or the place that they have left. Whoever looks into it has asked [`Core::is_away`].
pub(super) struct Core(Option<Box<Journaled>>);

impl Core {
    /// A machine that leaves after a panic, instead of coming back where it is.
    pub(super) fn new(mut core: Journaled) -> Self {
        core.leaves = true;
        Self(Some(Box::new(core)))
    }

    pub(super) fn is_away(&self) -> bool {
        self.0.is_none()
    }
}

impl Deref for Core {
    type Target = Journaled;

    fn deref(&self) -> &Journaled {
        self.0.as_deref().expect("what needs the machine waits while it is away")
    }
}

impl DerefMut for Core {
    fn deref_mut(&mut self) -> &mut Journaled {
        self.0.as_deref_mut().expect("what needs the machine waits while it is away")
    }
}

/// A turn that is being carried out.
pub(super) struct Work {
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

impl Work {
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
    fn is_done(&mut self, done: StepDone) {
        let step = &self.steps[self.done.len()];
        (self.at, self.durability) = (self.at + step.bytes(), self.durability.max(step.durability()));
        self.done.push(done);
    }
}

/// What waits until the machine is back.
pub(super) type Later = Box<dyn FnOnce(&mut ShardActor, &mut Context<ShardActor>) + Send>;

impl ShardActor {
    /// Goes through the steps of a turn; gives it back if the machine broke at one.
    #[must_use]
    pub(super) fn go_through(&mut self, mut work: Work) -> Option<Work> {
        while let Some((step, ops)) = work.next() {
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
            if self.core.is_ruined() {
                return Some(work);
            }
            work.is_done(done);
        }
        let Work { done: steps, durability, credits, reply, .. } = work;
        let held = Held { steps, durability, credits, reply };
        match durability {
            Durability::Applied => held.release(Durability::Applied),
            Durability::Journaled | Durability::Durable => self.held.push(held),
        }
        None
    }

    /// Does what needs the machine, or keeps it until the machine is back.
    pub(super) fn when_here(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Self, &mut Context<Self>) + Send + 'static,
    ) {
        if self.core.is_away() {
            return self.later.push_back(Box::new(work));
        }
        work(self, ctx);
        self.send_away_if_ruined(None, ctx);
    }

    /// After anything at which a machine may break: sends it away to be made anew, with the turn that broke it.
    pub(super) fn send_away_if_ruined(&mut self, broken: Option<Work>, ctx: &mut Context<Self>) {
        if !self.core.is_ruined() {
            return;
        }
        let Some(core) = self.core.0.take() else { return };
        self.queue.stands_still(true);
        // A thread that is there already takes it: where there is none, nothing is lost with what it would have been given.
        let (give, taken) = mpsc::channel::<Box<Journaled>>();
        let (back, came_back) = oneshot::channel();
        let mending = move || {
            if let Ok(mut core) = taken.recv() {
                give_way_a_little(); // the others have their own to wait for
                let began = Instant::now();
                let written = core.mend();
                tracing::info!(shard = core.shard.index(), took_ms = began.elapsed().as_millis(), "the shard is back");
                let _ = back.send((core, written));
            }
        };
        let thread = thread::Builder::new().name(format!("mirra-mend-{}", core.shard.index())).spawn(mending);
        let left = match thread {
            Ok(_) => give.send(core).map_err(|mpsc::SendError(core)| core),
            Err(error) => {
                tracing::warn!(%error, "no thread to make a shard anew on: its own stands still meanwhile");
                Err(core)
            }
        };
        if let Err(mut core) = left {
            let written = core.mend();
            return self.is_back(Back { core, written, broken }, ctx);
        }
        let me = ctx.address();
        actix_rt::spawn(async move {
            if let Ok((core, written)) = came_back.await {
                let _ = me.send(Back { core, written, broken }).await; // fails only when the actor is gone
            }
        });
    }

    fn is_back(&mut self, back: Back, ctx: &mut Context<Self>) {
        let Back { core, written, broken } = back;
        self.core.0 = Some(core);
        self.queue.stands_still(false);
        let broken = broken.and_then(|mut work| {
            let done = written.unwrap_or(Err(Refusal::Broken)).map_or_else(StepDone::Refused, StepDone::Written);
            if let Some((Step::Join { .. }, op)) = work.next()
                && let Ok(Op::Exposure { decision, .. } | Op::Outcome { decision, .. }) =
                    Op::decode(&mut Reader::new(op))
            {
                self.joined(decision, &done);
            }
            work.is_done(done);
            self.go_through(work)
        });
        self.flush(ctx);
        self.send_away_if_ruined(broken, ctx);
        while !self.core.is_away()
            && let Some(work) = self.later.pop_front()
        {
            self.when_here(ctx, work);
        }
        if !self.core.is_away() {
            self.take_turns(ctx);
        }
    }
}

/// The machine is back, with what became of the operations that broke it.
#[derive(Message)]
#[rtype(result = "()")]
struct Back {
    core: Box<Journaled>,
    written: Option<Result<Written, Refusal>>,
    broken: Option<Work>,
}

impl Handler<Back> for ShardActor {
    type Result = ();

    fn handle(&mut self, back: Back, ctx: &mut Self::Context) {
        self.is_back(back, ctx);
    }
}
