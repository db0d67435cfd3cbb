//! A field in files: users, items and events as gzipped TSV, the same bytes for the same options.
//!
//! `users`: `user` and the attributes. `items`: `item`, `tags` and the attributes. `events`: `user item value timestamp kind
//! event_id`, times in milliseconds, in the order of arrival. Tags and lists are separated by `|`, what is not known is empty.
//! What the generator alone knows can be added: a column `label` to the events, and a file of truths.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Field, FieldEvent, ItemRow, UserRow};
use crate::model::Value;

/// Marks between tags, and between the texts of a list.
pub const LIST_MARK: &str = "|";

/// A table that is packed as it is written.
struct Packed<W: Write>(io::BufWriter<GzEncoder<W>>);

impl<W: Write> Packed<W> {
    fn new(out: W) -> Self {
        // A header without time or name, so that the same rows give the same bytes.
        Self(io::BufWriter::with_capacity(1 << 16, GzEncoder::new(out, Compression::default())))
    }

    fn row<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        for (at, field) in fields.into_iter().enumerate() {
            if at > 0 {
                self.0.write_all(b"\t")?;
            }
            self.0.write_all(field.as_bytes())?;
        }
        self.0.write_all(b"\n")
    }

    fn finish(self) -> io::Result<()> {
        let packer = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        packer.finish()?.flush()
    }
}

/// An attribute's value in a file; a tab or a line's end in a text becomes a blank, as rows need them.
fn field(value: &Value) -> String {
    let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
    match value {
        Value::Removed => String::new(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => plain(text),
        Value::Bool(yes) => yes.to_string(),
        Value::List(texts) => texts.iter().map(|text| plain(text)).collect::<Vec<_>>().join(LIST_MARK),
    }
}

fn columns(names: &[&str], attributes: &[(&'static str, Value)]) -> Vec<String> {
    let of = |name: &&str| attributes.iter().find(|(held, _)| held == name).map_or_else(String::new, |(_, v)| field(v));
    names.iter().map(of).collect()
}

/// Writes users; gives how many.
///
/// # Errors
/// Those of `out`.
pub fn users(out: impl Write, which: Field, users: &[UserRow]) -> io::Result<u64> {
    let mut packed = Packed::new(out);
    let names = which.user_attributes();
    packed.row(["user"].into_iter().chain(names.iter().copied()))?;
    for user in users {
        let values = columns(names, &user.attributes);
        packed.row([user.id.to_string().as_str()].into_iter().chain(values.iter().map(String::as_str)))?;
    }
    packed.finish()?;
    Ok(users.len() as u64)
}

/// Writes items; gives how many.
///
/// # Errors
/// Those of `out`.
pub fn items(out: impl Write, which: Field, items: &[ItemRow]) -> io::Result<u64> {
    let mut packed = Packed::new(out);
    let names = which.item_attributes();
    packed.row(["item", "tags"].into_iter().chain(names.iter().copied()))?;
    for item in items {
        let (id, tags, values) = (item.id.to_string(), item.tags.join(LIST_MARK), columns(names, &item.attributes));
        packed.row([id.as_str(), tags.as_str()].into_iter().chain(values.iter().map(String::as_str)))?;
    }
    packed.finish()?;
    Ok(items.len() as u64)
}

/// Writes events, with their labels if `labels`; calls `each` with every one; gives how many.
///
/// # Errors
/// Those of `out`.
pub fn events(
    out: impl Write,
    labels: bool,
    events: impl Iterator<Item = FieldEvent>,
    mut each: impl FnMut(&FieldEvent),
) -> io::Result<u64> {
    let mut packed = Packed::new(out);
    let names = ["user", "item", "value", "timestamp", "kind", "event_id", "label"];
    let width = if labels { names.len() } else { names.len() - 1 };
    packed.row(names[..width].iter().copied())?;
    let mut count = 0;
    for event in events {
        let row = &event.row;
        let (user, item, value) = (row.user.to_string(), row.item.to_string(), row.value.to_string());
        let (time, id) = (row.time_ms.to_string(), event.event_id.to_string());
        let kind = row.kind.as_deref().unwrap_or_default();
        let fields =
            [user.as_str(), item.as_str(), value.as_str(), time.as_str(), kind, id.as_str(), event.label.name()];
        packed.row(fields[..width].iter().copied())?;
        each(&event);
        count += 1;
    }
    packed.finish()?;
    Ok(count)
}

/// Writes what is true of the users; what a field does not have is empty.
///
/// # Errors
/// Those of `out`.
pub fn truths(out: impl Write, users: &[UserRow]) -> io::Result<u64> {
    let mut packed = Packed::new(out);
    packed.row([
        "user",
        "joined_at_ms",
        "slows_from_ms",
        "churned_at_ms",
        "peak_hour",
        "weekend",
        "favourite_tags",
        "novelty",
        "price_sensitivity",
        "loyalty",
        "favourite_brand",
        "binge",
        "risk",
        "adherence",
        "lapses",
    ])?;
    let time = |time_ms: Option<i64>| time_ms.map_or_else(String::new, |time_ms| time_ms.to_string());
    let number = |x: f64| if x.is_nan() { String::new() } else { format!("{x:.4}") };
    for user in users {
        let truth = &user.truth;
        let lapses: Vec<String> = truth.lapses.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        let fields = [
            user.id.to_string(),
            truth.joined_at_ms.to_string(),
            time(truth.slows_from_ms),
            time(truth.churned_at_ms),
            number(truth.peak_hour),
            number(truth.weekend),
            truth.favourite_tags.join(LIST_MARK),
            number(truth.novelty),
            number(truth.price_sensitivity),
            number(truth.loyalty),
            truth.favourite_brand.clone().unwrap_or_default(),
            number(truth.binge),
            number(truth.risk),
            number(truth.adherence),
            lapses.join(LIST_MARK),
        ];
        packed.row(fields.iter().map(String::as_str))?;
    }
    packed.finish()?;
    Ok(users.len() as u64)
}
