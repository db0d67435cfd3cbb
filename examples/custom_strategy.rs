//! What a strategy is: hyper-parameters and arithmetic on two columns. Here a new one is tried out on a generated stream,
//! tested before it learns, beside the built-in ones through the machine that the server runs.
//!
//! ```sh
//! cargo run --release --example custom_strategy
//! ```
//!
//! To make it part of the server: move the struct to `src/learn/<name>.rs`, add its name to `strategies!` and a section to
//! `config.toml`; the conformance suite then runs over it.

use mirra::evaluate::{Prequential, PrequentialOptions};
use mirra::ingest::{DriftOptions, DriftStream};
use mirra::learn::{ItemSide, Learner, Seen, Shape, Strategy};
use mirra::linalg::Slab;
use mirra::model::Event;
use mirra::state::{Op, Options, Shard};

/// Ratings as the running mean of the user's and of the item's, half each.
#[derive(Clone, Debug, Default)]
struct TwoMeans;

impl Learner for TwoMeans {
    const NAME: &'static str = "two_means";

    fn shape(&self) -> Shape {
        Shape { user_rows: 2, item_rows: 2, items: ItemSide::Learned, predicts_value: true }
    }

    fn learn_one(&self, user: &mut [f32], item: &mut [f32], seen: &Seen) {
        for column in [user, item] {
            column[1] += 1.0;
            column[0] += (seen.value - column[0]) / column[1];
        }
    }

    /// `score = user mean / 2 + 0.5 x item mean`.
    fn query(&self, user: &[f32], mean: f32, query: &mut [f32]) -> f32 {
        query[0] = 0.5;
        0.5 * if user[1] > 0.0 { user[0] } else { mean }
    }
}

fn main() {
    let events = 20_000;
    let stream = || DriftStream::new(DriftOptions { events, ..DriftOptions::default() });

    let learner = TwoMeans;
    let (mut users, mut items) = (Slab::new(2), Slab::new(2));
    let mut own = Prequential::new(PrequentialOptions { fading: 0.999 });
    let mut slots = std::collections::HashMap::new();
    let (mut sum, mut count) = (0.0_f32, 0.0_f32);
    let mut query = vec![0.0; items.stride()];
    for row in stream() {
        let user = *slots.entry(("user", row.user.clone())).or_insert_with(|| users.push());
        let item = *slots.entry(("item", row.item.clone())).or_insert_with(|| items.push());
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        query.fill(0.0);
        let offset = learner.query(users.col(user), mean, &mut query);
        let prediction = offset + mirra::linalg::kernels::dot(&query, items.col(item));
        own.record_error(f64::from(prediction), f64::from(row.value));
        (sum, count) = (sum + row.value, count + 1.0);
        let seen = Seen { value: row.value, weight: 1.0, explicit: true, mean: sum / count, since_ms: 0 };
        learner.learn_one(users.col_mut(user), items.col_mut(item), &seen);
    }
    println!("{:<12} RMSE {:.4}", TwoMeans::NAME, own.report().rmse);

    let strategies = vec![Strategy::default_named("biased_mf").expect("built in")];
    let mut shard = Shard::new(0, Options { strategies, ..Options::default() });
    for row in stream() {
        let (user, item) = (row.user.as_ref(), row.item.as_ref());
        shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 5, value: row.value, time_ms: row.time_ms }));
    }
    for report in shard.reports() {
        println!("{:<12} RMSE {:.4}", report.strategy, report.report().rmse);
    }
}
