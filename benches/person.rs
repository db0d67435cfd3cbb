//! The whole person: what it costs an event beyond the strategy, and what telling it costs.
//!
//! One shard, `popularity` alone, so that next to nothing else is done: an event of a shop, whose item has two tags, a
//! brand, a category and a price, learned with everything on (cleaning, sums, traits' evidence, churn). Then a whole person
//! of 256 retained events, told. 5,000 users, 5,000 items; the memory of a person is printed.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mirra::base::{IdRef, Rng};
use mirra::learn::Strategy;
use mirra::model::{AttributeRule, AttributeType, Attributes, Cleaning, Event, Kind, Role, Schema, Value};
use mirra::state::portrait::parts;
use mirra::state::{Op, Options, Shard};

const USERS: u64 = 5_000;
const ITEMS: u64 = 5_000;
const START_MS: i64 = 1_700_000_000_000;

fn shop() -> Schema {
    let buy = Kind { unit: "money".into(), ..Kind::new(4, "purchase", 2.0) };
    let rate = Kind { explicit: true, range: Some((1.0, 5.0)), ..Kind::new(5, "rate", 1.0) };
    let facet = |name: &str| AttributeRule { role: Role::Facet, ..AttributeRule::new(name, AttributeType::Category) };
    let price = AttributeRule { role: Role::Price, ..AttributeRule::new("price", AttributeType::Number) };
    let cleaning = Cleaning {
        burst_ms: 1_000,
        late_ms: 31_536_000_000,
        outlier_deviations: 3.0,
        quarantine: true,
        ..Cleaning::default()
    };
    Schema {
        item: vec![facet("brand"), facet("category"), price],
        cleaning,
        ..Schema::of([Kind::new(1, "view", 0.2), buy, rate])
    }
}

fn shard(strategy: &str) -> Shard {
    let strategies = vec![Strategy::default_named(strategy).expect("listed")];
    let mut shard = Shard::new(0, Options { strategies, schema: shop(), ..Options::default() });
    for item in 0..ITEMS {
        let mut attributes = Attributes::default();
        attributes.patch("brand", Value::Text(format!("b{}", item % 40)), 1);
        attributes.patch("category", Value::Text(format!("c{}", item % 25)), 1);
        attributes.patch("price", Value::Number(1.0 + (item % 300) as f64), 1);
        let tags = [format!("t{}", item % 17), format!("u{}", item % 13)];
        let tags = tags.iter().map(String::as_str).collect();
        shard.apply(&Op::ItemUpsert { item: IdRef::Int(item), time_ms: 1, tags, attributes });
    }
    shard
}

/// The `at`-th event: a user's events lie hours apart.
fn event(rng: &mut Rng, at: u64) -> Event<'static> {
    let kind = [1, 1, 1, 4, 5][rng.below(5) as usize];
    let value = if kind == 5 { 1.0 + rng.below(5) as f32 } else { rng.below(9_000) as f32 / 100.0 };
    let (user, item) = (IdRef::Int(rng.below(USERS)), IdRef::Int(rng.below(40) * 125 + rng.below(125)));
    Event { event_id: rng.bits().max(1), user, item, kind, value, time_ms: START_MS + 2_000 * at as i64 }
}

fn person(criterion: &mut Criterion) {
    let (mut shard, mut rng, mut at) = (shard("popularity"), Rng::new(1), 0);
    let mut next = |rng: &mut Rng| {
        at += 1;
        event(rng, at)
    };
    for _ in 0..500_000 {
        let event = next(&mut rng);
        shard.apply(&Op::Event(event));
    }
    println!("person: {} bytes a user beside history and vectors", shard.person_bytes() / shard.user_count());
    let mut group = criterion.benchmark_group("person");
    group.throughput(Throughput::Elements(1));
    group.bench_function("learn", |bench| {
        bench.iter_batched(|| next(&mut rng), |event| shard.apply(&Op::Event(event)), criterion::BatchSize::SmallInput);
    });
    let told_at_ms = START_MS + 1_000_000_000;
    live(&mut shard, HEAVY);
    for (name, user) in [("tell", 7), ("tell_256_events", HEAVY)] {
        group.bench_function(name, |bench| {
            bench.iter(|| shard.portrait(IdRef::Int(user), parts::ALL, 64, told_at_ms));
        });
    }
    // The default strategy: its factors of items say which of them lie together, so there are interests to tell.
    let mut learned = shard_of_auto();
    live(&mut learned, HEAVY);
    let told = learned.portrait(IdRef::Int(HEAVY), parts::INTERESTS, 64, told_at_ms).expect("a user");
    assert!(!told.interests.is_empty(), "no factors yet");
    for (name, wanted) in [("tell_256_events_auto", parts::ALL), ("tell_interests_auto", parts::INTERESTS)] {
        group.bench_function(name, |bench| {
            bench.iter(|| learned.portrait(IdRef::Int(HEAVY), wanted, 64, told_at_ms));
        });
    }
}

/// A user with a whole history.
const HEAVY: u64 = USERS + 1;

fn live(shard: &mut Shard, user: u64) {
    let user = IdRef::Int(user);
    for at in 0..256_u64 {
        let event = Event { user, time_ms: START_MS + 3_600_000 * at as i64, ..event(&mut Rng::new(at), at) };
        shard.apply(&Op::Event(event));
    }
}

fn shard_of_auto() -> Shard {
    let (mut shard, mut rng) = (shard("auto"), Rng::new(2));
    for at in 1..20_000 {
        let event = event(&mut rng, at);
        shard.apply(&Op::Event(event));
    }
    shard
}

criterion_group!(benches, person);
criterion_main!(benches);
