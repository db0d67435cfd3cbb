//! A turn through a shard actor on its own thread: submit, wait for the answer. Everything but the socket: mailbox,
//! wake-up, decoding, learning, journal buffer, answer.
//!
//! `applied` and `journaled` with 256 events, and with one event, where the round trip between two threads is what
//! costs. Events carry ids; 10,000 users, 10,000 items.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mirra::base::{IdRef, Rng, SystemClock};
use mirra::engine::{Engine, Options};
use mirra::learn::Strategy;
use mirra::model::{Durability, Event};
use mirra::shard::{Step, StepDone};
use mirra::state::op;

fn turn(rng: &mut Rng, count: u32, durability: Durability) -> (Vec<u8>, Vec<Step>) {
    let mut ops = Vec::with_capacity(40 * count as usize);
    for _ in 0..count {
        let (user, item) = (IdRef::Int(rng.below(10_000)), IdRef::Int(rng.below(10_000)));
        let time_ms = 1_700_000_000_000;
        op::put_event(&mut ops, &Event { event_id: rng.bits().max(1), user, item, kind: 0, value: 1.0, time_ms });
    }
    let step = Step::Write { bytes: ops.len(), count, durability, each: false };
    (ops, vec![step])
}

async fn carry_out(engine: &Engine, (ops, steps): (Vec<u8>, Vec<Step>), cost: usize) {
    let answer = engine.submit(0, ops, steps, cost).expect("one turn at a time fits the queue");
    let done = answer.await.expect("the shard answers");
    assert!(matches!(done[..], [StepDone::Written(_)]), "{done:?}");
}

fn shard(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory for the journal");
    let system = actix_rt::System::new();
    let mut options = Options::new(dir.path());
    options.state.strategies = vec![Strategy::default_named("decay").expect("listed")];
    let opened = system.block_on(async { Engine::start(options, Arc::new(SystemClock)) });
    let engine = opened.expect("an empty directory is a good start").engine;
    let mut rng = Rng::new(1);
    for count in [256_u32, 1] {
        let mut group = criterion.benchmark_group(format!("shard/{count}_events"));
        group.throughput(Throughput::Elements(u64::from(count)));
        for durability in [Durability::Applied, Durability::Journaled] {
            group.bench_function(format!("{durability:?}").to_lowercase(), |bench| {
                bench.iter_batched(
                    || turn(&mut rng, count, durability),
                    |turn| system.block_on(carry_out(&engine, turn, count as usize)),
                    criterion::BatchSize::SmallInput,
                );
            });
        }
    }
    assert!(system.block_on(engine.stop()), "the journal is synced at the end");
}

criterion_group!(benches, shard);
criterion_main!(benches);
