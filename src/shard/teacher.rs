//! The teacher: an actor that trains the ranker of `auto`, off the path of every acknowledgement.
//!
//! Shards hand it examples from a share of their time ([`Sampler`]); it trains for a share of one core and hands weights
//! back as an operation, which every shard journals: what a shard answers follows from its journal, not from when the
//! teacher ran. It learns on one thread of its own; when examples come faster than they are learned, the oldest go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::ShardActor;
use super::messages::{Step, Turn};
use crate::learn::auto::example::Example;
use crate::learn::auto::trainer::Trainer;
use crate::model::Durability;
use crate::state::Op;

/// Most examples that wait.
const WAITING_MAX: usize = 1_024;
/// Time between two rounds of training.
const ROUND: Duration = Duration::from_millis(20);
/// Least time between two versions.
const VERSION_EVERY: Duration = Duration::from_millis(250);
/// Most time of examples that a shard may save up.
const SAVED_MAX: Duration = Duration::from_millis(2);

/// How much time teaching may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeachingPace {
    /// Share of one core for the teacher, 0 to 1.
    pub cpu_share: f64,
    /// Share of a shard's time for describing examples, 0 to 1.
    pub sample_share: f64,
}

/// Trains the ranker.
pub struct Teacher {
    trainer: Trainer,
    cpu_share: f64,
    shards: Vec<Addr<ShardActor>>,
    waiting: VecDeque<Example>,
    /// Examples of the newest version, and when it went out.
    published: (u64, Instant),
}

/// A message: learn from this.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Teach(pub Example);

impl Teacher {
    /// A teacher of these shards, going on from what `trainer` knows.
    #[must_use]
    pub fn new(trainer: Trainer, cpu_share: f64, shards: Vec<Addr<ShardActor>>) -> Self {
        let published = (trainer.examples(), Instant::now());
        Self { trainer, cpu_share, shards, waiting: VecDeque::new(), published }
    }

    /// Trains for its share of the time since the last round.
    fn round(&mut self) {
        let (began, share) = (Instant::now(), ROUND.mul_f64(self.cpu_share));
        while began.elapsed() < share
            && let Some(example) = self.waiting.pop_front()
        {
            self.trainer.learn(example);
        }
        let (examples, at) = self.published;
        // A version a twentieth: early ones come fast, late ones change little and come rarely.
        let due = self.trainer.examples() >= examples + examples / 20 + 16;
        if due && at.elapsed() >= VERSION_EVERY {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.published = (self.trainer.examples(), Instant::now());
        let (mut weights, mut ops) = (Vec::new(), Vec::new());
        self.trainer.weights().encode(&mut crate::base::Writer::new(&mut weights));
        let version = u32::try_from(self.trainer.examples()).unwrap_or(u32::MAX);
        Op::Ranker { version, weights: &weights }.encode(&mut ops);
        for shard in &self.shards {
            let (reply, _) = oneshot::channel();
            let steps = vec![Step::Write { bytes: ops.len(), count: 1, durability: Durability::Applied, each: false }];
            // A shard whose mailbox is full or that is gone does without this version; the next one holds all of it.
            let _ = shard.try_send(Turn { flow: 0, ops: ops.clone(), steps, credits: None, expires: None, reply });
        }
    }
}

impl Actor for Teacher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(WAITING_MAX);
        ctx.run_interval(ROUND, |teacher, _| teacher.round());
    }
}

impl Handler<Teach> for Teacher {
    type Result = ();

    fn handle(&mut self, Teach(example): Teach, _: &mut Context<Self>) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(example);
    }
}

/// Decides, in one shard, which events become examples: as many as its share of the time allows.
pub struct Sampler {
    share: f64,
    teacher: Option<Addr<Teacher>>,
    /// Nanoseconds saved up; below zero where an example took more than there was: it is paid for before the next, or a
    /// share of next to nothing at the begin of every small turn would buy a whole example each time.
    saved_ns: i64,
    counted: Instant,
}

impl Sampler {
    /// One that takes no example until it knows a teacher.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self { share, teacher: None, saved_ns: 0, counted: Instant::now() }
    }

    /// Sends examples to this teacher from now on.
    pub fn send_to(&mut self, teacher: Addr<Teacher>) {
        self.teacher = Some(teacher);
    }

    /// At the begin of a turn: counts the time since the last one.
    pub fn begin(&mut self) {
        if self.teacher.is_some() {
            let now = Instant::now();
            self.earn(now - self.counted);
            self.counted = now;
        }
    }

    /// Whether there is time for an example.
    #[must_use]
    #[inline]
    pub fn has_time(&self) -> bool {
        self.saved_ns > 0
    }

    /// Time has passed: a share of it is saved.
    fn earn(&mut self, passed: Duration) {
        self.saved_ns = self.saved_ns.saturating_add(nanos(passed.mul_f64(self.share))).min(nanos(SAVED_MAX));
    }

    /// An example took this long.
    fn spend(&mut self, took: Duration) {
        self.saved_ns = self.saved_ns.saturating_sub(nanos(took));
    }

    /// Takes an example, if `describe` finds one, and the time that it took off what was saved.
    pub fn take(&mut self, describe: impl FnOnce() -> Option<Example>) {
        let began = Instant::now();
        if let (Some(example), Some(teacher)) = (describe(), &self.teacher) {
            // A teacher with a full mailbox has enough.
            let _ = teacher.try_send(Teach(example));
        }
        self.spend(began.elapsed());
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// The teacher that a shard's examples go to.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Taught(pub Addr<Teacher>);

impl Handler<Taught> for ShardActor {
    type Result = ();

    fn handle(&mut self, Taught(teacher): Taught, ctx: &mut Context<Self>) {
        self.when_here(ctx, |this, _| this.core.sampler.send_to(teacher));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// r13: what an example took beyond what was saved was forgotten, so every small turn took one: 150 microseconds of
    /// examples for each event of 10.
    #[test]
    fn examples_take_their_share_of_the_time_however_small_the_turns() {
        let mut sampler = Sampler::new(0.05);
        let (turn, example) = (Duration::from_micros(20), Duration::from_micros(150));
        let (mut passed, mut spent) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..100_000 {
            sampler.earn(turn);
            passed += turn;
            if sampler.has_time() {
                sampler.spend(example);
                spent += example;
            }
        }
        let share = spent.as_secs_f64() / passed.as_secs_f64();
        assert!((0.049..0.051).contains(&share), "{share}");
    }
}
