//! A machine that is made anew: what its thread, the other shards and who waits for it see meanwhile.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Engine, Options, TurnError, block_on, run};
use crate::base::{Id, IdRef, SystemClock};
use crate::learn::Strategy;
use crate::model::{Durability, Event};
use crate::shard::{Answer, Query, Refusal, Step, StepDone};
use crate::state::op;
use crate::telemetry::Metric;

/// How long a queue lets wait.
const WAIT_MAX: Duration = Duration::from_millis(250);

fn options(dir: &std::path::Path) -> Options {
    let mut options = Options::new(dir);
    options.state.shards = 2;
    options.state.strategies = vec![Strategy::default_named("decay").expect("a strategy")];
    options.queue_wait_max = WAIT_MAX;
    options
}

fn event(item: u64) -> Vec<u8> {
    let (user, item) = (IdRef::Int(1), IdRef::Int(item));
    let mut bytes = Vec::new();
    op::put_event(&mut bytes, &Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: 1_000 });
    bytes
}

fn submit(engine: &Engine, shard: u16, ops: Vec<u8>) -> Result<oneshot::Receiver<Vec<StepDone>>, TurnError> {
    let step = Step::Write { bytes: ops.len(), count: 1, durability: Durability::Journaled, each: true };
    engine.submit(shard, ops, vec![step], 1)
}

async fn done(answer: oneshot::Receiver<Vec<StepDone>>) -> StepDone {
    answer.await.expect("an answer").pop().expect("of one step")
}

async fn write(engine: &Engine, shard: u16, ops: Vec<u8>) -> StepDone {
    done(submit(engine, shard, ops).expect("room")).await
}

/// Keeps whoever comes back from disk waiting, until it is dropped.
struct Gate(Option<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Gate {
    fn close(engine: &Engine) -> Self {
        let (home, (open, opened), (tell, told)) = (Arc::clone(&engine.inner.home), mpsc::channel(), mpsc::channel());
        let keeper = std::thread::spawn(move || {
            let _closed = home.manifest.lock().expect("nobody panics with it");
            tell.send(()).expect("somebody waits");
            let _ = opened.recv();
        });
        told.recv().expect("it is closed");
        Self(Some((open, keeper)))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some((open, keeper)) = self.0.take() {
            drop(open);
            keeper.join().expect("the keeper ends");
        }
    }
}

/// Breaks the machine of shard 0 with bytes that no door lets through.
async fn break_it(engine: &Engine) -> oneshot::Receiver<Vec<StepDone>> {
    let broken = submit(engine, 0, vec![0xFF; 9]).expect("room");
    while engine.metrics(0).get(Metric::Panics) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    broken
}

#[test]
fn its_thread_and_the_others_go_on_and_what_waits_is_carried_out_in_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let found = run(options(dir.path()), Arc::new(SystemClock), |engine| async move {
        let StepDone::Written(first) = write(&engine, 0, event(1)).await else { panic!("not written") };
        let gate = Gate::close(&engine);
        let mut broken = break_it(&engine).await;
        let (tell, told) = oneshot::channel();
        engine.inner.shards[0].arbiter.spawn_fn(move || tell.send(()).expect("it is waited for"));
        told.await.expect("its thread goes on");
        assert!(matches!(write(&engine, 1, event(2)).await, StepDone::Written(_)), "the other shard learns");
        let mut waiting = submit(&engine, 0, event(3)).expect("it may be back in a moment");
        let snapshot = actix_rt::spawn({
            let engine = engine.clone();
            async move { engine.snapshot().await }
        });
        tokio::time::sleep(2 * WAIT_MAX).await;
        let refused = submit(&engine, 0, event(4));
        assert!(matches!(refused, Err(TurnError::Overloaded { .. })), "nobody is let in to wait for ever: {refused:?}");
        assert!(broken.try_recv().is_err() && waiting.try_recv().is_err(), "they wait");
        drop(gate);
        assert!(matches!(done(broken).await, StepDone::Refused(Refusal::Broken)));
        let StepDone::Written(written) = done(waiting).await else { panic!("not written") };
        assert!(written.first_sequence > first.first_sequence, "behind what was there");
        snapshot.await.expect("it ends").expect("the snapshot was taken when the shard was back");
        let query = Query::Profile { user: Id::Int(1), factors: false, recent_max: 10 };
        let Ok(Ok(Answer::Profile(profile))) = engine.ask(0, query).await else { panic!("no profile") };
        (profile.events, engine.metrics(0).get(Metric::Panics))
    });
    assert_eq!(found.expect("the engine starts"), (2, 1));
}

#[test]
fn a_stop_waits_for_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    block_on(async {
        let engine = Engine::start(options(dir.path()), Arc::new(SystemClock)).expect("it starts").engine;
        let gate = Gate::close(&engine);
        let (broken, waiting) = (break_it(&engine).await, submit(&engine, 0, event(1)).expect("room"));
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(gate);
        });
        assert!(engine.stop().await, "all is kept");
        assert!(matches!(done(broken).await, StepDone::Refused(Refusal::Broken)));
        assert!(matches!(done(waiting).await, StepDone::Written(_)));
    });
}

/// r19: a shard that could not come back was imaged as the empty one that it was then, and two such generations would have been all
/// that was kept of it.
#[test]
fn no_image_is_taken_of_a_shard_that_does_not_come_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let kept = run(options(dir.path()), Arc::new(SystemClock), |engine| async move {
        assert!(matches!(write(&engine, 0, event(1)).await, StepDone::Written(_)));
        let kept = engine.snapshot().await.expect("there is a generation").generation;
        {
            let mut newest = engine.inner.home.manifest.lock().expect("nobody panics with it");
            newest.as_mut().expect("it is known").generation += 7; // which is not there
        }
        let broken = break_it(&engine).await;
        assert!(matches!(done(broken).await, StepDone::Refused(Refusal::Broken)));
        assert!(matches!(write(&engine, 0, event(2)).await, StepDone::Refused(Refusal::Broken)));
        assert!(matches!(write(&engine, 1, event(2)).await, StepDone::Written(_)), "the other shard learns");
        let snapshot = engine.snapshot().await;
        assert!(snapshot.is_err(), "{snapshot:?}");
        kept
    });
    let (kept, user) = (kept.expect("the engine starts"), Id::Int(1));
    let opened = run(options(dir.path()), Arc::new(SystemClock), |engine| async move {
        let newest = engine.inner.home.manifest.lock().expect("nobody panics with it").as_ref().map(|it| it.generation);
        let query = Query::Profile { user, factors: false, recent_max: 10 };
        let Ok(Ok(Answer::Profile(profile))) = engine.ask(0, query).await else { panic!("no profile") };
        (newest, profile.events)
    });
    assert_eq!(opened.expect("it starts again"), (Some(kept), 1));
}
