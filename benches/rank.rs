//! What a recommendation costs a shard: the top 10 of 2,000 and of 32,000 items (64-float columns), items of the
//! user's history of 64 events left out. Time is in the scoring of every column: 0.5 MB and 8 MB of them.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mirra::base::{IdRef, Rng};
use mirra::learn::Strategy;
use mirra::model::Event;
use mirra::state::{Filter, Op, Options, Shard};

const USERS: u64 = 1_000;
const EVENTS_A_USER: u64 = 64;

fn rank(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rank/top_10");
    for items in [2_000_u64, 32_000] {
        let (mut shard, mut rng) = (
            Shard::new(
                0,
                Options { strategies: vec![Strategy::default_named("decay").expect("listed")], ..Options::default() },
            ),
            Rng::new(1),
        );
        // Tags give the items their columns before any refit, so that there is an opinion to rank by.
        for item in 1..=items {
            let tag = format!("tag-{}", rng.below(200));
            let tags = vec![tag.as_str()];
            shard.apply(&Op::ItemUpsert { item: IdRef::Int(item), time_ms: 1, tags, attributes: Default::default() });
        }
        for count in 0..USERS * EVENTS_A_USER {
            let (user, item) = (IdRef::Int(1 + count % USERS), IdRef::Int(1 + rng.below(items)));
            let time_ms = 1_700_000_000_000;
            shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms }));
        }
        group.throughput(Throughput::Elements(items));
        group.bench_function(BenchmarkId::from_parameter(items), |bench| {
            let filter = Filter { exclude_seen: true, ..Filter::default() };
            bench.iter(|| {
                let ranking = shard.recommend(0, IdRef::Int(1 + rng.below(USERS)), 10, &filter);
                assert_eq!(ranking.items.len(), 10);
            });
        });
    }
}

criterion_group!(benches, rank);
criterion_main!(benches);
