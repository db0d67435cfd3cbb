//! Typed attributes of users and items, patched by event time: an older statement never overwrites a newer one.

use std::collections::BTreeMap;

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::{ATTRIBUTES_MAX, LIST_MAX};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Taken away; kept as a fact with a time, so that an older statement does not bring the value back.
    Removed,
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
    /// Yes or no.
    Bool(bool),
    /// Several texts.
    List(Vec<String>),
}

impl Value {
    /// Appends `tag u8` and the value. The same bytes stand in journals and snapshots.
    pub fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Removed => out.u8(0),
            Self::Number(number) => out.u8(1).f64(*number),
            Self::Text(text) => out.u8(2).text(text),
            Self::Bool(yes) => out.u8(3).u8(u8::from(*yes)),
            Self::List(texts) => {
                out.u8(4).count(texts.len());
                texts.iter().fold(out, |out, text| out.text(text))
            }
        };
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for short bytes or an unknown tag.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        Ok(match from.u8()? {
            0 => Self::Removed,
            1 => Self::Number(from.f64()?),
            2 => Self::Text(from.text()?.to_owned()),
            3 => Self::Bool(from.u8()? != 0),
            4 => {
                let count = from.count(2, LIST_MAX)?;
                Self::List((0..count).map(|_| Ok(from.text()?.to_owned())).collect::<Result<_, CursorError>>()?)
            }
            tag => {
                return Err(CursorError::Bad {
                    what: "attribute tag",
                    offset,
                    found: u64::from(tag),
                    allowed: "0 removed, 1 number, 2 text, 3 bool, 4 list",
                });
            }
        })
    }
}

/// Attributes by name, each with the time of the statement in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    by_name: BTreeMap<String, (Value, i64)>,
}

impl Attributes {
    /// States that `name` was `value` at `time_ms`. Ignored if a newer statement is held, or if it would be one
    /// attribute more than the limit allows. Says whether it was taken.
    pub fn patch(&mut self, name: &str, value: Value, time_ms: i64) -> bool {
        let full = self.by_name.len() >= ATTRIBUTES_MAX;
        match self.by_name.get_mut(name) {
            Some((_, held_ms)) if *held_ms > time_ms => false,
            Some(held) => {
                *held = (value, time_ms);
                true
            }
            None if full => false,
            None => {
                self.by_name.insert(name.to_owned(), (value, time_ms));
                true
            }
        }
    }

    /// Patches in every statement of `other`. Says whether there was room for all.
    pub fn merge(&mut self, other: &Self) -> bool {
        other.by_name.iter().fold(true, |room, (name, (value, time_ms))| {
            let known = self.by_name.contains_key(name);
            (self.patch(name, value.clone(), *time_ms) || known) && room
        })
    }

    /// What is known now, by name: removed ones are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value, i64)> {
        self.by_name
            .iter()
            .filter(|(_, (value, _))| *value != Value::Removed)
            .map(|(name, (value, time_ms))| (name.as_str(), value, *time_ms))
    }

    /// Those of which `keep` says so.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.by_name.iter().filter(|(name, _)| keep(name));
        Self { by_name: kept.map(|(name, held)| (name.clone(), held.clone())).collect() }
    }

    /// Whether nothing was ever stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Appends all statements, removed ones too.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.count(self.by_name.len());
        for (name, (value, time_ms)) in &self.by_name {
            out.text(name).i64(*time_ms);
            value.encode(out);
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not attributes.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let count = from.count(11, ATTRIBUTES_MAX)?;
        let mut attributes = Self::default();
        for _ in 0..count {
            let (name, time_ms) = (from.text()?, from.i64()?);
            attributes.patch(name, Value::decode(from)?, time_ms);
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_arrival_does_not_matter() {
        let statements = [
            ("age", Value::Number(30.0), 1),
            ("age", Value::Number(31.0), 5),
            ("age", Value::Removed, 3),
            ("vip", Value::Bool(true), 2),
        ];
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]];
        let results: Vec<Attributes> = orders
            .iter()
            .map(|order| {
                let mut attributes = Attributes::default();
                for at in order {
                    let (name, value, time_ms) = statements[*at].clone();
                    attributes.patch(name, value, time_ms);
                }
                attributes
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(results[0].iter().count(), 2);
    }

    #[test]
    fn round_trip() {
        let mut attributes = Attributes::default();
        attributes.patch("a", Value::List(vec!["x".into(), "y".into()]), 1);
        attributes.patch("b", Value::Text("hello".into()), -4);
        attributes.patch("c", Value::Removed, 9);
        let mut bytes = Vec::new();
        attributes.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Attributes::decode(&mut Reader::new(&bytes)), Ok(attributes));
        for cut in 0..bytes.len() {
            assert!(Attributes::decode(&mut Reader::new(&bytes[..cut])).is_err());
        }
    }
}
