//! A panic inside one shard costs that shard a recovery, and the others nothing.

use std::sync::Arc;

use mirra::base::{Id, IdRef, SystemClock};
use mirra::engine::{self, Engine};
use mirra::model::{Durability, RejectReason};
use mirra::shard::{Answer, Query, Refusal, Step, StepDone};
use mirra::state::{Op, OutcomeKind};
use mirra::telemetry::Metric;

use crate::support::{event, options};

async fn write(engine: &Engine, shard: u16, ops: Vec<u8>) -> StepDone {
    let step = Step::Write { bytes: ops.len(), count: 1, durability: Durability::Journaled, each: true };
    let done = engine.submit(shard, ops, vec![step], 1).expect("room");
    done.await.expect("the shard answers").pop().expect("one answer")
}

async fn digest(engine: &Engine, user: u64) -> u64 {
    let query = Query::Profile { user: Id::Int(user), factors: true, recent_max: 10 };
    match engine.ask(engine.route(IdRef::Int(user)), query).await {
        Ok(Ok(Answer::Profile(profile))) => profile.digest,
        other => panic!("user {user}: {other:?}"),
    }
}

#[test]
fn it_is_made_anew_from_disk_and_the_others_go_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = options(dir.path());
    options.state.shards = 2;
    engine::run(options, Arc::new(SystemClock), |engine| async move {
        let users: Vec<u64> = (0..40).collect();
        for (user, item) in users.iter().flat_map(|user| [(*user, 1), (*user, 2), (*user, 3)]) {
            let shard = engine.route(IdRef::Int(user));
            assert!(matches!(write(&engine, shard, event(user, item)).await, StepDone::Written(_)));
        }
        let mut before = Vec::new();
        for user in &users {
            before.push(digest(&engine, *user).await);
        }
        // Bytes that no door lets through: decoding them breaks an invariant, which is a panic.
        let broken = write(&engine, 0, vec![0xFF; 9]).await;
        assert!(matches!(broken, StepDone::Refused(Refusal::Broken)), "{broken:?}");
        assert_eq!((engine.metrics(0).get(Metric::Panics), engine.metrics(1).get(Metric::Panics)), (1, 0));

        let mut after = Vec::new();
        for user in &users {
            after.push(digest(&engine, *user).await);
        }
        assert_eq!(before, after, "what was acknowledged is there, to the bit");
        for user in users {
            let shard = engine.route(IdRef::Int(user));
            assert!(matches!(write(&engine, shard, event(user, 4)).await, StepDone::Written(_)), "it learns again");
        }
    })
    .expect("the engine starts");
}

/// One bad operation costs itself: what came with it is learned, and it is not tried again.
#[test]
fn an_operation_that_breaks_the_shard_is_left_out_and_remembered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    engine::run(options(dir.path()), Arc::new(SystemClock), |engine| async move {
        assert!(matches!(write(&engine, 0, event(1, 1)).await, StepDone::Written(_)));
        // What a shard takes over from another is made by a shard: bytes that none makes break an invariant.
        let mut poison = Vec::new();
        Op::Absorb { into: IdRef::Int(1), user: IdRef::Int(2), bytes: &[0xFF; 9] }.encode(&mut poison);
        let ops = [event(1, 2), poison.clone(), event(1, 3)].concat();
        for panics in [2, 2] {
            let step = Step::Write { bytes: ops.len(), count: 3, durability: Durability::Journaled, each: true };
            let done = engine.submit(0, ops.clone(), vec![step], 3).expect("room").await.expect("an answer").pop();
            let Some(StepDone::Written(written)) = done else { panic!("{done:?}") };
            let kinds: Vec<OutcomeKind> = written.outcomes.iter().map(|outcome| outcome.kind).collect();
            let refused = OutcomeKind::Refused(RejectReason::Poison);
            assert_eq!(kinds, [OutcomeKind::Applied, refused, OutcomeKind::Applied]);
            assert_eq!((written.applied, &written.left_out), (2, &vec![1]));
            assert_eq!(written.sequence(2), written.first_sequence + 1);
            assert_eq!(engine.metrics(0).get(Metric::Panics), panics, "once in company, once alone, never again");
        }
        assert!(matches!(write(&engine, 0, poison).await, StepDone::Written(written) if written.applied == 0));
        assert_eq!(engine.metrics(0).get(Metric::Panics), 2);
        let query = Query::Profile { user: Id::Int(1), factors: false, recent_max: 10 };
        let Ok(Ok(Answer::Profile(profile))) = engine.ask(0, query).await else { panic!("no profile") };
        assert_eq!(profile.events, 5);
    })
    .expect("the engine starts");
}
