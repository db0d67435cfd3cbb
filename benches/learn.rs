//! What one event costs a shard, by strategy: `Shard::apply` of 256 events of Zipf-distributed users and items (10,000
//! items), with event ids, over 1,000 users (caches hold them) and 100,000 (memory answers).
//!
//! `ratings/learn` is the ensemble of explicit ratings alone, without a shard round it.
//!
//! No journal, no socket, no actor: the floor that those add to. Users and items exist before anything is measured, and
//! the histories of frequent users are full, so growth is not in it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mirra::base::ids::mix;
use mirra::base::{IdRef, Rng};
use mirra::cli::bench::users::Zipf;
use mirra::learn::Strategy;
use mirra::learn::ratings::{Ratings, RatingsOptions};
use mirra::model::Event;
use mirra::state::{Op, Options, Shard};

const ITEMS: u32 = 10_000;
const EVENTS: usize = 256;

/// Draws events; ids and times rise.
struct Draw {
    rng: Rng,
    users: Zipf,
    items: Zipf,
    event_id: u64,
}

impl Draw {
    fn new(users: u32) -> Self {
        let table = |count| Zipf::new(count, |_| true).expect("somebody to draw");
        Self { rng: Rng::new(1), users: table(users), items: table(ITEMS), event_id: 0 }
    }

    fn event(&mut self) -> Event<'static> {
        let (user, item) = (self.users.draw(&mut self.rng), self.items.draw(&mut self.rng));
        self.named(user, item)
    }

    fn named(&mut self, user: u64, item: u64) -> Event<'static> {
        self.event_id += 1;
        let time_ms = 1_700_000_000_000 + i64::try_from(self.event_id / 1_000).expect("a count of events");
        let (user, item) = (IdRef::Int(user), IdRef::Int(item));
        Event { event_id: IdRef::Int(self.event_id).stable_hash(), user, item, kind: 0, value: 1.0, time_ms }
    }
}

fn learn(criterion: &mut Criterion) {
    for users in [1_000, 100_000] {
        let mut group = criterion.benchmark_group(format!("learn/{users}_users"));
        group.throughput(Throughput::Elements(EVENTS as u64));
        for name in Strategy::NAMES {
            let strategies = vec![Strategy::default_named(name).expect("a listed name")];
            let mut shard = Shard::new(0, Options { strategies, ..Options::default() });
            let mut draw = Draw::new(users);
            for user in 1..=u64::from(users) {
                let event = draw.named(user, 1 + user % u64::from(ITEMS));
                shard.apply(&Op::Event(event));
            }
            for _ in 0..300_000 {
                let event = draw.event();
                shard.apply(&Op::Event(event));
            }
            group.bench_function(BenchmarkId::from_parameter(name), |bench| {
                bench.iter_batched_ref(
                    || (0..EVENTS).map(|_| Op::Event(draw.event())).collect::<Vec<_>>(),
                    |ops| {
                        for op in ops.iter() {
                            black_box(shard.apply(op));
                        }
                    },
                    criterion::BatchSize::SmallInput,
                );
            });
        }
    }
}

/// One rating predicted, then learned by the whole ensemble; histories and pair tables are full.
fn ratings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ratings/learn");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for users in [1_000, 100_000] {
        let mut ratings = Ratings::new(RatingsOptions { scale: Some((1.0, 5.0)), ..RatingsOptions::default() });
        (0..=u64::from(users)).for_each(|user| ratings.insert_user(mix(user)));
        (0..=u64::from(ITEMS)).for_each(|item| ratings.insert_item(mix(!item)));
        let mut draw = Draw::new(users);
        let mut event = move || {
            let (user, item) = (draw.users.draw(&mut draw.rng), draw.items.draw(&mut draw.rng));
            draw.event_id += 1;
            (user as usize, item as usize, 1.0 + draw.rng.below(5) as f32, draw.event_id as i64)
        };
        for _ in 0..300_000 {
            let (user, item, value, time_ms) = event();
            ratings.learn(user, item, value, 1.0, time_ms);
        }
        group.bench_function(BenchmarkId::from_parameter(format!("{users}_users")), |bench| {
            bench.iter_batched_ref(
                || (0..EVENTS).map(|_| event()).collect::<Vec<_>>(),
                |events| {
                    for (user, item, value, time_ms) in events.iter().copied() {
                        black_box(ratings.learn(user, item, value, 1.0, time_ms));
                    }
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, learn, ratings);
criterion_main!(benches);
