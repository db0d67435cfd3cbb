//! Floor 3: what a user is besides vectors: behaviours, facets, rhythm, prices, and the traits that are read out of them.
//!
//! Everything that is kept is an exact sum over the events that were learned: any order of arrival gives the same bits, an
//! event is taken away by subtracting what it added, and two users become one by addition.

pub mod behaviours;
pub mod churn;
pub mod controls;
pub mod decayed;
pub mod facets;
pub mod formula;
pub mod interests;
pub mod timeline;
pub mod traits;

pub use behaviours::{Behaviours, Rhythm};
pub use controls::{Control, Controls, Dimension};
pub use decayed::Ladder;
pub use facets::{Affinity, Facets, Population};
pub use timeline::Timeline;
pub use traits::Trait;

use crate::base::Moments;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::model::{Kind, Schema};

/// What an item is to those who turn to it, at the time of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    /// Numbers of its facets, rising.
    pub facets: Vec<u32>,
    /// Binary logarithm of its price; NaN where it has none.
    pub log_price: f32,
}

impl Described {
    /// Appends the description.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.f32(self.log_price).count(self.facets.len()).u32s(&self.facets);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no description.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let log_price = from.f32()?;
        let count = from.count(4, 2 * crate::base::limits::LIST_MAX)?;
        Ok(Self { log_price, facets: (0..count).map(|_| from.u32()).collect::<Result<_, _>>()? })
    }
}

/// One event, as sums see it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its behaviour kind.
    pub kind: &'a Kind,
    /// Its value; NaN where it is not known.
    pub value: f32,
    /// When it happened, in milliseconds.
    pub time_ms: i64,
    /// What its item was then.
    pub item: &'a Described,
}

/// Prices, as binary logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// Of items met, once an event that does not speak against its item.
    pub met: Moments,
    /// Of items bought: events of kinds whose unit is money, and that speak for their items.
    pub bought: Moments,
}

/// What is kept of one user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    /// Sums by behaviour kind.
    pub behaviours: Behaviours,
    /// Sums by facet of the items.
    pub facets: Facets,
    /// When in the day and week.
    pub rhythm: Rhythm,
    /// Prices; most users met none.
    pub prices: Option<Box<Prices>>,
}

impl Person {
    /// Counts an event (`by` 1), or takes it away (`by` -1) as it was counted.
    pub fn count(&mut self, schema: &Schema, seen: &Seen<'_>, by: i64) {
        let Seen { kind, value, time_ms, item } = *seen;
        let ladder = Ladder::new(schema.half_lives_s);
        let at = ladder.at(time_ms);
        let own = (kind.half_life_s > 0.0).then(|| ladder.with_long(kind.half_life_s).at(time_ms));
        let known = (!value.is_nan()).then_some(f64::from(value));
        self.behaviours.count(kind.code, own.as_ref().unwrap_or(&at), time_ms, known, by);
        let opinion = if value.is_nan() && kind.explicit { 0.0 } else { kind.opinion(value) };
        self.facets.count(&item.facets, &at, f64::from(kind.weight) * opinion, by);
        self.rhythm.count(time_ms, by);
        if !item.log_price.is_nan() && kind.sign >= 0 {
            let prices = self.prices.get_or_insert_default();
            prices.met.count_by(f64::from(item.log_price), by);
            if kind.spends() && kind.sign > 0 {
                prices.bought.count_by(f64::from(item.log_price), by);
            }
        }
    }

    /// Adds all that another user did. Facets are numbered by the same table.
    pub fn merge(&mut self, other: Self) {
        self.behaviours.merge(other.behaviours);
        self.facets.merge(other.facets);
        self.rhythm.merge(&other.rhythm);
        if let Some(more) = other.prices {
            let prices = self.prices.get_or_insert_default();
            prices.met.merge(&more.met);
            prices.bought.merge(&more.bought);
        }
    }

    /// Bytes, on the heap and beside it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let prices = self.prices.as_ref().map_or(0, |_| size_of::<Prices>());
        size_of::<Self>() + self.behaviours.bytes() + self.facets.bytes() + prices
    }

    /// Appends all that is kept.
    pub fn encode(&self, out: &mut Writer<'_>) {
        self.behaviours.encode(out);
        self.facets.encode(out);
        self.rhythm.encode(out);
        match &self.prices {
            None => {
                out.u8(0);
            }
            Some(prices) => {
                out.u8(1);
                prices.met.encode(out);
                prices.bought.encode(out);
            }
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no person.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (behaviours, facets) = (Behaviours::decode(from)?, Facets::decode(from)?);
        let rhythm = Rhythm::decode(from)?;
        let prices = match from.u8()? {
            0 => None,
            _ => Some(Box::new(Prices { met: Moments::decode(from)?, bought: Moments::decode(from)? })),
        };
        Ok(Self { behaviours, facets, rhythm, prices })
    }
}
