//! Writing a shard's image while it serves: a few runs of users or items, then whatever else the thread has to do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler, Message};
use crossbeam::channel::{Sender, TrySendError};

use super::actor::ShardActor;
use super::messages::{Snapshot, SnapshotPart};

/// Time after which the rest of the work has its turn.
const STEP: Duration = Duration::from_micros(250);

/// How long to wait for the writer when it has not kept up, and between two steps while events wait.
const WAIT: Duration = Duration::from_millis(1);

/// An image under way.
#[derive(Debug)]
pub(super) struct SnapshotRun {
    parts: Sender<SnapshotPart>,
    waiting: VecDeque<SnapshotPart>,
    captured: bool,
    /// How often the machine had been made anew when it began.
    rebuilds: u64,
}

impl Handler<Snapshot> for ShardActor {
    type Result = ();

    fn handle(&mut self, snapshot: Snapshot, ctx: &mut Self::Context) {
        self.when_here(ctx, move |this, ctx| {
            // Without an image the sender is dropped, which tells the coordinator so.
            let Some(begin) = this.core.begin_image() else { return };
            let (waiting, rebuilds) = (VecDeque::from([begin]), this.core.rebuilds);
            this.snapshot = Some(SnapshotRun { parts: snapshot.parts, waiting, captured: false, rebuilds });
            this.go_on(ctx, Duration::ZERO);
        });
    }
}

impl ShardActor {
    fn go_on(&self, ctx: &mut Context<Self>, wait: Duration) {
        let me = ctx.address();
        actix_rt::spawn(async move {
            if wait.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(wait).await;
            }
            let _ = me.send(Capture).await; // fails only when the actor is gone
        });
    }
}

/// Encode some more.
#[derive(Message)]
#[rtype(result = "()")]
struct Capture;

impl Handler<Capture> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Capture, ctx: &mut Self::Context) {
        let here = !self.core.is_away();
        let Some(run) = self.snapshot.as_mut().filter(|run| here && run.rebuilds == self.core.rebuilds) else {
            self.snapshot = None; // the machine that it was of is gone
            return;
        };
        while let Some(part) = run.waiting.pop_front() {
            match run.parts.try_send(part) {
                Ok(()) => {}
                Err(TrySendError::Full(part)) => {
                    run.waiting.push_front(part);
                    return self.go_on(ctx, WAIT);
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.snapshot = None;
                    self.core.shard.capture_stop();
                    return;
                }
            }
        }
        if run.captured {
            self.snapshot = None;
            return;
        }
        let (index, began, mut all) = (self.core.shard.index(), Instant::now(), Vec::new());
        while !run.captured && began.elapsed() < STEP {
            match self.core.shard.capture_some(1) {
                Some(sections) => all.extend(sections),
                None => run.captured = true,
            }
        }
        if !all.is_empty() {
            run.waiting.push_back(SnapshotPart::Sections(index, all));
        }
        if run.captured {
            run.waiting.push_back(SnapshotPart::End(index));
        }
        let pause = if self.is_idle() { Duration::ZERO } else { WAIT };
        self.go_on(ctx, pause);
    }
}
