//! Seeded streams of five fields (a shop, a bank, media, a social network, health), whose truth is known.
//!
//! Each field has users and items with attributes, and events as that field has them; `examples/config/FIELD.toml` is the
//! configuration that fits. What drives a user is drawn first and told in [`Truth`], so that one can see whether what a
//! model finds is there. True of all fields:
//!
//! * *Sessions*: bursts of events with hours or days between them. When they begin follows each user's own hours and
//!   weekends ([`Truth::peak_hour`], [`Truth::weekend`]).
//! * *Taste*: one to three favourite tags have most of a user's choices; [`Truth::novelty`] is the share of choices that
//!   look elsewhere. Items differ in popularity as 1 / rank^0.8.
//! * *Churn*: a planted share of users leaves at a random time and never comes back; half of them slow down before.
//! * *Cold start*: three in ten users join while the stream runs.
//!
//! What only one field has (price, loyalty, binges, risk, routine) is described in its file. The same options give the
//! same rows on every machine with the same `exp`, `ln` and `cos`. Memory: some three kilobytes a user, one an item, none an event.

use crate::base::Id;
use crate::model::Value;

use super::Row;

mod dirty;
mod ecommerce;
mod finance;
mod health;
mod media;
mod people;
mod rhythm;
mod social;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_tests;
mod vectors;
mod world;
pub mod write;

pub use dirty::{Dirty, Label};
pub use stream::FieldStream;
pub use vectors::{FieldModality, vectors};

/// Fewest items of a field: every tag has some.
pub const ITEMS_MIN: u32 = 50;

/// One of the five fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A shop.
    Ecommerce,
    /// A bank, looked at for risk.
    Finance,
    /// Films and series.
    Media,
    /// Posts and accounts.
    Social,
    /// Steps, sleep, workouts, medication, articles.
    Health,
}

/// A behaviour kind that a field's events have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldKind {
    /// Its name, as in the field's configuration.
    pub name: &'static str,
    /// Smallest and largest value, where the configuration states them.
    pub range: Option<(f32, f32)>,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ecommerce, Self::Finance, Self::Media, Self::Social, Self::Health];

    /// Its name: that of its configuration in `examples/config`, and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecommerce => "ecommerce",
            Self::Finance => "finance",
            Self::Media => "media",
            Self::Social => "social",
            Self::Health => "health",
        }
    }

    /// The field of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The kinds that its events have; the first is what a bot makes.
    #[must_use]
    pub fn kinds(self) -> &'static [FieldKind] {
        match self {
            Self::Ecommerce => ecommerce::KINDS,
            Self::Finance => finance::KINDS,
            Self::Media => media::KINDS,
            Self::Social => social::KINDS,
            Self::Health => health::KINDS,
        }
    }

    /// Names of its users' attributes, in the order of columns.
    #[must_use]
    pub fn user_attributes(self) -> &'static [&'static str] {
        match self {
            Self::Ecommerce => ecommerce::USER_ATTRIBUTES,
            Self::Finance => finance::USER_ATTRIBUTES,
            Self::Media => media::USER_ATTRIBUTES,
            Self::Social => social::USER_ATTRIBUTES,
            Self::Health => health::USER_ATTRIBUTES,
        }
    }

    /// Names of its items' attributes, in the order of columns.
    #[must_use]
    pub fn item_attributes(self) -> &'static [&'static str] {
        match self {
            Self::Ecommerce => ecommerce::ITEM_ATTRIBUTES,
            Self::Finance => finance::ITEM_ATTRIBUTES,
            Self::Media => media::ITEM_ATTRIBUTES,
            Self::Social => social::ITEM_ATTRIBUTES,
            Self::Health => health::ITEM_ATTRIBUTES,
        }
    }
}

/// Size and temper of a stream. Values outside their ranges are taken for the nearest allowed one.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldOptions {
    /// Which field.
    pub field: Field,
    /// Users, at least 1.
    pub users: u32,
    /// Items, at least [`ITEMS_MIN`].
    pub items: u32,
    /// Events before dirt is added. There are fewer only if all users leave, which takes a `churn` near 1.
    pub events: u64,
    /// Seed of everything.
    pub seed: u64,
    /// Time at which the stream begins, in milliseconds since 1970-01-01 UTC.
    pub start_ms: i64,
    /// Days that the events take, about; more where users cannot make so many events in so few days.
    pub days: f64,
    /// Share of users who leave for ever, 0 to 1.
    pub churn: f64,
    /// What is wrong with the events; `None`: nothing.
    pub dirty: Option<Dirty>,
}

impl FieldOptions {
    /// 1,000 users, 2,000 items, 100,000 clean events in 90 days from 2026-01-01, a fifth of the users leaving.
    #[must_use]
    pub fn new(field: Field) -> Self {
        Self {
            field,
            users: 1_000,
            items: 2_000,
            events: 100_000,
            seed: 1,
            start_ms: 1_767_225_600_000,
            days: 90.0,
            churn: 0.2,
            dirty: None,
        }
    }

    fn clamped(&self) -> Self {
        let within = |x: f64, low: f64, high: f64| if x.is_nan() { low } else { x.clamp(low, high) };
        Self {
            users: self.users.max(1),
            items: self.items.max(ITEMS_MIN),
            days: within(self.days, 0.01, 1e5),
            churn: within(self.churn, 0.0, 1.0),
            dirty: self.dirty.map(Dirty::clamped),
            ..self.clone()
        }
    }
}

/// A user of a generated field.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRow {
    /// Its id, as in the events.
    pub id: Id,
    /// What is known of it: some of [`Field::user_attributes`], in their order.
    pub attributes: Vec<(&'static str, Value)>,
    /// What drives it: known to the generator alone.
    pub truth: Truth,
}

/// An item of a generated field.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// Its id, as in the events.
    pub id: Id,
    /// Its tags; the first is the one that users have a taste for.
    pub tags: Vec<String>,
    /// What is known of it: some of [`Field::item_attributes`], in their order.
    pub attributes: Vec<(&'static str, Value)>,
}

/// What a generated user is like. A number that its field does not have is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// When it joined: before the stream began, or while it runs. It has no event before.
    pub joined_at_ms: i64,
    /// From when on its sessions become rarer, if it slows down before it leaves.
    pub slows_from_ms: Option<i64>,
    /// When it left: it has no event at or after this time.
    pub churned_at_ms: Option<i64>,
    /// Hour of the day, UTC, 0 to 24, about which its sessions begin.
    pub peak_hour: f64,
    /// Sessions of a Saturday or Sunday for each of another day.
    pub weekend: f64,
    /// Tags that it likes best, most liked first.
    pub favourite_tags: Vec<String>,
    /// Share of its choices that go to any item whatever, 0 to 1.
    pub novelty: f64,
    /// Shop: how far the cheaper of what it saw is bought, 0 (price is nothing) to 1.
    pub price_sensitivity: f64,
    /// Shop: how far it keeps to its brand, 0 to 1.
    pub loyalty: f64,
    /// Shop: its brand.
    pub favourite_brand: Option<String>,
    /// Media: probability of another episode after a finished one, 0 to 1.
    pub binge: f64,
    /// Bank: 0 (safe) to 1; declines and late payments grow with it.
    pub risk: f64,
    /// Health: probability that a dose is taken outside lapses, 0 to 1.
    pub adherence: f64,
    /// Health: times (first and last millisecond) without workouts, doses taken or articles.
    pub lapses: Vec<(i64, i64)>,
}

/// One event of a generated field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldEvent {
    /// Its id, differing between seeds and fields too; only a [`Label::Duplicate`] has that of another event.
    pub event_id: u64,
    /// The event; its line is its number in the stream, from 1.
    pub row: Row,
    /// When it arrives, in milliseconds since 1970-01-01 UTC; later than its time if it is late or sent again.
    pub arrives_ms: i64,
    /// What is wrong with it.
    pub label: Label,
}

/// A generated field.
#[derive(Debug)]
pub struct FieldData {
    /// Its users, ids 1, 2, ... (a bot is none of them).
    pub users: Vec<UserRow>,
    /// Its items.
    pub items: Vec<ItemRow>,
    /// Its events in the order in which they arrive, which is that of their times if they are clean.
    pub events: FieldStream,
}

/// Draws a field.
#[must_use]
pub fn generate(options: &FieldOptions) -> FieldData {
    stream::generate(&options.clamped())
}
