//! A machine that is made anew elsewhere, while the thread of its actor goes on.
//!
//! Coming back from disk takes a tenth of a second, or minutes: the thread has connections whose users are of other shards.
//! So after a panic the machine and its journal leave for a thread of their own; what comes for them waits (its credits are
//! held, and who is refused is told that nothing moves), and goes on in its order when they are back. The turn that broke
//! goes on first, behind the operation that broke it.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use actix::{AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::actor::ShardActor;
use super::journaled::Journaled;
use super::messages::{Refusal, Written};
use super::priority::give_way_a_little;
use super::turn::TurnRun;

/// A machine and its journal, or the place that they have left. Whoever looks into it has asked [`Core::is_away`].
pub(super) struct Core(Option<Box<Journaled>>);

impl Core {
    /// A machine that leaves after a panic, instead of coming back where it is.
    pub(super) fn new(mut core: Journaled) -> Self {
        core.defer_rebuild = true;
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

/// What waits until the machine is back.
pub(super) type Later = Box<dyn FnOnce(&mut ShardActor, &mut Context<ShardActor>) + Send>;

impl ShardActor {
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
        self.send_away_if_broken(None, ctx);
    }

    /// After anything at which a machine may break: sends it away to be made anew, with the turn that broke it.
    pub(super) fn send_away_if_broken(&mut self, broken: Option<TurnRun>, ctx: &mut Context<Self>) {
        if !self.core.awaits_rebuild() {
            return;
        }
        let Some(core) = self.core.0.take() else { return };
        self.called = true; // what comes meanwhile calls nobody: it has its turn when the machine is back
        self.queue.stands_still(true);
        // The thread first, then what it works on: where there is none, a closure would be dropped with the machine in it.
        let (give, taken) = mpsc::channel::<Box<Journaled>>();
        let (back, came_back) = oneshot::channel();
        let rebuilding = move || {
            if let Ok(core) = taken.recv() {
                give_way_a_little(); // the others have their own to wait for
                let _ = back.send(rebuilt(core)); // nobody waits any more where the actor is gone
            }
        };
        let thread = thread::Builder::new().name(format!("mirra-rebuild-{}", core.shard.index())).spawn(rebuilding);
        let left = match thread {
            Ok(_) => give.send(core).err().map(|mpsc::SendError(core)| core),
            Err(error) => {
                tracing::warn!(%error, "no thread to make a shard anew on: its own stands still meanwhile");
                Some(core)
            }
        };
        if let Some(core) = left {
            let (core, written) = rebuilt(core);
            return ctx.notify(Back { core, written, broken });
        }
        let me = ctx.address();
        actix_rt::spawn(async move {
            if let Ok((core, written)) = came_back.await {
                let _ = me.send(Back { core, written, broken }).await; // fails only when the actor is gone
            }
        });
    }
}

/// Makes a machine anew; gives what became of the write that broke it.
fn rebuilt(mut core: Box<Journaled>) -> (Box<Journaled>, Option<Result<Written, Refusal>>) {
    let began = Instant::now();
    let written = catch_unwind(AssertUnwindSafe(|| core.rebuild())).unwrap_or_else(|_| {
        core.broken = true; // whoever waits for it is told so
        None
    });
    if !core.broken {
        tracing::info!(shard = core.shard.index(), took_ms = began.elapsed().as_millis(), "the shard is back");
    }
    (core, written)
}

/// The machine is back, with what became of the write that broke it.
#[derive(Message)]
#[rtype(result = "()")]
struct Back {
    core: Box<Journaled>,
    written: Option<Result<Written, Refusal>>,
    broken: Option<TurnRun>,
}

impl Handler<Back> for ShardActor {
    type Result = ();

    fn handle(&mut self, back: Back, ctx: &mut Self::Context) {
        let Back { core, written, broken } = back;
        self.core.0 = Some(core);
        self.queue.stands_still(false);
        let broken = broken.and_then(|run| self.go_on_with(run, written));
        self.flush(ctx);
        self.send_away_if_broken(broken, ctx);
        while !self.core.is_away()
            && let Some(work) = self.later.pop_front()
        {
            self.when_here(ctx, work);
        }
        self.take_turns(ctx);
    }
}
