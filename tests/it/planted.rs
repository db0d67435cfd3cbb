//! What tests of planted truth share: a field with its configuration, ways to bring it into a shard or a server, and how
//! well two lists of numbers agree.

use std::path::{Path, PathBuf};

use mirra::base::{Id, IdRef};
use mirra::cli::setup;
use mirra::config::Config;
use mirra::ingest::fields::{Field, FieldEvent, FieldOptions, ItemRow, UserRow};
use mirra::learn::Strategy;
use mirra::model::{Attributes, Event as ModelEvent, Schema, Value};
use mirra::state::{self, Op, Shard};
use mirra::wire::types::{Attribute, AttributeValue, Event};

pub fn config_path(field: Field) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config").join(field.name()).with_extension("toml")
}

pub fn config(field: Field) -> Config {
    Config::load(Some(&config_path(field)), [], &[]).unwrap_or_else(|error| panic!("{error}")).0
}

/// Some two hundred events a user in four months, three in ten users leaving. A visit to a network makes many.
pub fn stream(field: Field, seed: u64) -> FieldOptions {
    FieldOptions {
        users: 300,
        items: 1_500,
        events: if field == Field::Social { 180_000 } else { 60_000 },
        seed,
        days: 120.0,
        churn: 0.3,
        ..FieldOptions::new(field)
    }
}

/// The field's configuration with one shard and these strategies.
pub fn state_options(field: Field, strategies: &[&str]) -> state::Options {
    let strategies = strategies.iter().map(|name| Strategy::default_named(name).expect("listed")).collect();
    state::Options { shards: 1, strategies, ..setup::state_options(&config(field)) }
}

/// A shard that was told of all users and items before the first event.
pub fn shard(options: state::Options, users: &[UserRow], items: &[ItemRow], time_ms: i64) -> Shard {
    let schema = options.schema.clone();
    let mut shard = Shard::new(0, options);
    for user in users {
        let attributes = checked(&user.attributes, time_ms, |name, value| schema.check_user(name, value));
        shard.apply(&Op::UserUpsert { user: user.id.as_ref(), time_ms, attributes });
    }
    for item in items {
        let attributes = checked(&item.attributes, time_ms, |name, value| schema.check_item(name, value));
        let tags = item.tags.iter().map(String::as_str).collect();
        shard.apply(&Op::ItemUpsert { item: item.id.as_ref(), time_ms, tags, attributes });
    }
    shard
}

fn checked<E: std::fmt::Debug>(
    stated: &[(&'static str, Value)],
    time_ms: i64,
    check: impl Fn(&str, Value) -> Result<Value, E>,
) -> Attributes {
    let mut attributes = Attributes::default();
    for (name, value) in stated {
        let value = check(name, value.clone()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        attributes.patch(name, value, time_ms);
    }
    attributes
}

/// A generated event whose kind the schema knows, as a shard takes it.
pub fn op<'a>(event: &'a FieldEvent, schema: &Schema) -> Op<'a> {
    let (row, name) = (&event.row, event.row.kind.as_deref().unwrap_or_default());
    let kind = schema.kinds.named(name).unwrap_or_else(|| panic!("no kind {name}")).code;
    let (user, item, value, time_ms) = (row.user.as_ref(), row.item.as_ref(), row.value, row.time_ms);
    Op::Event(ModelEvent { event_id: IdRef::Int(event.event_id).stable_hash(), user, item, kind, value, time_ms })
}

/// The code that events of unknown kinds get on the wire.
pub const UNKNOWN_KIND: u8 = 250;

/// A generated event as it is sent.
pub fn sent(event: &FieldEvent, schema: &Schema) -> Event {
    let row = &event.row;
    let kind = schema.kinds.named(row.kind.as_deref().unwrap_or_default()).map_or(UNKNOWN_KIND, |kind| kind.code);
    let (event_id, user, item) = (Id::Int(event.event_id), row.user.clone(), row.item.clone());
    Event { event_id, user, item, kind, value: row.value, time_ms: row.time_ms }
}

/// Attributes as they are sent.
pub fn stated(attributes: &[(&'static str, Value)]) -> Vec<Attribute> {
    let value = |value: &Value| match value {
        Value::Removed => AttributeValue::Removed,
        Value::Number(number) => AttributeValue::Number(*number),
        Value::Text(text) => AttributeValue::Text(text.clone()),
        Value::Bool(yes) => AttributeValue::Bool(*yes),
        Value::List(texts) => AttributeValue::Texts(texts.clone()),
    };
    attributes.iter().map(|(name, held)| Attribute { name: (*name).to_owned(), value: value(held) }).collect()
}

/// Spearman's correlation: Pearson's of the ranks, ties having their mean rank.
pub fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |of: fn(&(f64, f64)) -> f64| {
        let values: Vec<f64> = pairs.iter().map(of).collect();
        let rank = |value: &f64| {
            let below = values.iter().filter(|other| *other < value).count();
            let alike = values.iter().filter(|other| *other == value).count();
            below as f64 + (alike as f64 - 1.0) / 2.0
        };
        values.iter().map(rank).collect::<Vec<f64>>()
    };
    let (x, y) = (ranks(|pair| pair.0), ranks(|pair| pair.1));
    let mean = (pairs.len() as f64 - 1.0) / 2.0;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()
}

/// The share of pairs of a yes and a no in which the yes has the higher number; ties count one half.
pub fn area(told: &[(f64, bool)]) -> f64 {
    let of = |wanted: bool| told.iter().filter(move |(_, came)| *came == wanted).map(|(number, _)| *number);
    let (mut sum, mut pairs) = (0.0, 0.0);
    for yes in of(true) {
        for no in of(false) {
            sum += if yes > no {
                1.0
            } else if yes < no {
                0.0
            } else {
                0.5
            };
            pairs += 1.0;
        }
    }
    sum / pairs
}

#[test]
fn agreement_is_measured_as_in_books() {
    let pairs = [(1.0, 10.0), (2.0, 20.0), (3.0, 15.0), (4.0, 40.0)];
    assert!((spearman(&pairs) - 0.8).abs() < 1e-12, "1 - 6 * 2 / (4 * 15)");
    assert!((spearman(&[(1.0, 1.0), (1.0, 1.0), (2.0, 5.0)]) - 1.0).abs() < 1e-12, "ties have their mean rank");
    assert!((area(&[(0.9, true), (0.5, true), (0.5, false), (0.1, false)]) - 0.875).abs() < 1e-12);
}
