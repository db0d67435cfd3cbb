//! The engine inside your own process: no sockets, the same profiles, the same journal.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```

use std::sync::Arc;

use mirra::base::{Id, IdRef, SystemClock};
use mirra::engine::{self, Engine, Options};
use mirra::learn::{BiasedMf, Strategy};
use mirra::model::{Durability, Event};
use mirra::shard::{Answer, Query, Step, StepDone};
use mirra::state::op;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut options = Options::new(dir.path());
    options.state.strategies = vec![Strategy::BiasedMf(BiasedMf::default())];
    engine::run(options, Arc::new(SystemClock), |engine| async move {
        for (user, item, rating) in [(1, 10, 5.0), (2, 10, 4.0), (1, 11, 1.0), (2, 12, 5.0), (3, 11, 2.0)] {
            let before = rate(&engine, user, item, rating).await;
            println!("user {user} rates item {item} {rating}: predicted {before:.2} before learning it");
        }
        let (user, items, strategy) = (Id::Int(1), vec![Id::Int(12)], String::new());
        let query = Query::Predict { user, items, strategy };
        if let Ok(Ok(Answer::Predictions(strategy, version, scores))) = engine.ask(0, query).await {
            println!("{strategy}, profile version {version}: item 12 for user 1 is worth {:.2}", scores[0].score);
        }
    })?;
    Ok(())
}

/// Learns one rating; returns the score that the profile gave before it knew.
async fn rate(engine: &Engine, user: u64, item: u64, value: f32) -> f32 {
    let (user, item) = (IdRef::Int(user), IdRef::Int(item));
    let time_ms = engine.clock().now_ms();
    let mut ops = Vec::new();
    op::put_event(&mut ops, &Event { event_id: 0, user, item, kind: 5, value, time_ms });
    let write = Step::Write { bytes: ops.len(), count: 1, durability: Durability::Journaled, each: true };
    let done = engine.submit(engine.route(user), ops, vec![write], 1).expect("an idle engine takes it");
    match done.await.expect("the shard lives").pop() {
        Some(StepDone::Written(written)) => written.outcomes[0].score_before,
        other => panic!("not learned: {other:?}"),
    }
}
