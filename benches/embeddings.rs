//! What items' vectors add to the default strategy: an event, a list of ten, and what a user is as vectors.
//!
//! One shard of `auto`, 2,000 users, 5,000 items (one in fifty of them met by nobody), 20,000 events; the
//! same without vectors, with one modality of 384 numbers, of 768, and with both. Every item has every modality, which is
//! the dearest case; a user's newest 20 items are looked at (`learn/bank/taste.rs`).

use criterion::{Criterion, criterion_group, criterion_main};
use mirra::base::{IdRef, Rng};
use mirra::learn::Strategy;
use mirra::learn::auto::Training;
use mirra::learn::bank::embeddings::unit_bytes;
use mirra::model::{Event, Modality, Schema};
use mirra::state::{Filter, Op, Options, Shard};

const USERS: u64 = 2_000;
const ITEMS: u64 = 5_000;
/// Items from here on are met by nobody.
const UNMET: u64 = 4_900;
const EVENTS: u64 = 20_000;
const CASES: [(&str, &[u16]); 4] = [("none", &[]), ("384", &[384]), ("768", &[768]), ("384_and_768", &[384, 768])];

fn shard(dims: &[u16], training: Training) -> Shard {
    let strategies = vec![Strategy::default_named("auto").expect("listed")];
    let modalities = dims.iter().map(|dim| Modality { name: dim.to_string(), dim: *dim }).collect();
    let schema = Schema { modalities, ..Schema::default() };
    let options = Options { strategies, schema, training, ..Options::default() };
    let (mut shard, mut rng) = (Shard::new(0, options), Rng::new(3));
    for item in 0..ITEMS {
        for dim in dims {
            let numbers: Vec<f32> = (0..*dim).map(|_| rng.normal() as f32).collect();
            let (modality, vector) = (dim.to_string(), unit_bytes(&numbers).expect("it has a direction"));
            shard.apply(&Op::Embedding { item: IdRef::Int(item), modality: &modality, time_ms: 1, vector: &vector });
        }
    }
    let mut draw = Draw::default();
    for _ in 0..EVENTS {
        shard.apply(&Op::Event(draw.event()));
    }
    shard
}

struct Draw {
    rng: Rng,
    count: u64,
}

impl Default for Draw {
    fn default() -> Self {
        Self { rng: Rng::new(4), count: 0 }
    }
}

impl Draw {
    fn event(&mut self) -> Event<'static> {
        self.count += 1;
        let (user, item) = (self.rng.below(USERS), self.rng.below(70) * 70 + self.rng.below(70));
        let (user, item) = (IdRef::Int(user), IdRef::Int(item.min(UNMET - 1)));
        let time_ms = 1_700_000_000_000 + 10_000 * i64::try_from(self.count).expect("a count of events");
        Event { event_id: self.rng.bits().max(1), user, item, kind: 0, value: 1.0, time_ms }
    }
}

fn embeddings(criterion: &mut Criterion) {
    for (name, dims) in CASES {
        let (mut shard, mut rng) = (shard(dims, Training::InStep), Rng::new(6));
        criterion.bench_function(&format!("embeddings/list/{name}"), |bench| {
            let filter = Filter::default();
            bench.iter(|| shard.recommend(0, IdRef::Int(rng.below(USERS)), 10, &filter));
        });
        criterion.bench_function(&format!("embeddings/taste/{name}"), |bench| {
            bench.iter(|| shard.taste(IdRef::Int(rng.below(USERS)), 0));
        });
    }
    // As a server learns: the ranker is taught beside it, and what is left is on the path of the acknowledgement.
    for (name, dims) in CASES {
        let (mut shard, mut draw) = (shard(dims, Training::Apart), Draw { rng: Rng::new(5), count: EVENTS });
        criterion.bench_function(&format!("embeddings/event/{name}"), |bench| {
            let batch = criterion::BatchSize::SmallInput;
            bench.iter_batched(|| draw.event(), |event| shard.apply(&Op::Event(event)), batch);
        });
    }
}

criterion_group!(benches, embeddings);
criterion_main!(benches);
