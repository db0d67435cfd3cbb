//! The records of a whole person.

use super::schema::records;
use super::types::AttributeValue;
use crate::base::Id;
use crate::base::limits::{ATTRIBUTES_MAX, CONTROLS_MAX, TRAITS_MAX};
use crate::model::schema::RUNGS;

/// Most behaviour kinds: their codes are one byte.
const KINDS_MAX: usize = 256;

/// Most controls of a user: facets and items muted, facets limited, what was set aside.
const CONTROL_ROWS_MAX: usize = 4 * CONTROLS_MAX;

/// Most traits: those built in, and the schema's.
const TRAIT_ROWS_MAX: usize = 2 * TRAITS_MAX;

records! {
    /// The whole person, or the wanted parts of it. Sums and traits do not depend on the order in which events came, but for
    /// what says so.
    Person {
        /// User.
        user: Id,
        /// Version of the profile.
        version: u32,
        /// Events learned.
        events: u64,
        /// Time of the first event, in milliseconds since 1970-01-01 UTC.
        first_ms: i64,
        /// Time of the newest event.
        last_ms: i64,
        /// When all of this is so: fading sums have faded to then.
        at_ms: i64,
        /// Short, middle and long half-life of fading sums, in seconds.
        half_lives_s: Vec<f64> [max RUNGS],
        /// Attributes that have not run out.
        attributes: Vec<AttributeFact> [max ATTRIBUTES_MAX],
        /// Required attributes that were never stated.
        missing: Vec<String> [max ATTRIBUTES_MAX],
        /// What the user does, by kind.
        behaviours: Vec<BehaviourSums> [max KINDS_MAX],
        /// What the user turns to, the surest first.
        facets: Vec<FacetAffinity>,
        /// Facets that had to give way to others: if any, the order of events had a say in which.
        facets_dropped: u32,
        /// Events by hour of the day (UTC), from 0.
        hours: Vec<u32> [max 24],
        /// Events by day of the week (UTC), from Monday.
        days: Vec<u32> [max 7],
        /// Events that are retained; sessions, interests and some traits rest on them.
        retained: u32,
        /// Sessions among them.
        sessions: u32,
        /// Mean events of a session.
        session_events: f64,
        /// Mean time from a session's first event to its last, in milliseconds.
        session_length_ms: f64,
        /// Mean time from the begin of a session to that of the next, in milliseconds; NaN with fewer than two.
        session_return_ms: f64,
        /// Begin of the newest session.
        newest_begin_ms: i64,
        /// Its time from first event to last, in milliseconds.
        newest_length_ms: i64,
        /// Its events.
        newest_events: u32,
        /// Interests, the strongest first.
        interests: Vec<InterestOf> [max 16],
        /// Traits (`docs/traits.md`).
        traits: Vec<TraitValue> [max TRAIT_ROWS_MAX],
        /// What the user asks of the profile.
        controls: Vec<ControlInForce> [max CONTROL_ROWS_MAX],
        /// Bytes that are kept for all this, beside history and vectors.
        person_bytes: u32,
    }

    /// An attribute as it was stated.
    AttributeFact {
        /// Name.
        name: String,
        /// Value.
        value: AttributeValue,
        /// When it was stated, in milliseconds since 1970-01-01 UTC.
        time_ms: i64,
        /// When it runs out; 0: never.
        expires_ms: i64,
        /// Whether the schema calls it sensitive.
        sensitive: bool,
    }

    /// What a user did of one behaviour kind. NaN where there is no figure.
    BehaviourSums {
        /// Behaviour kind.
        kind: u8,
        /// Its name.
        name: String,
        /// What its values measure; empty if nothing.
        unit: String,
        /// Events.
        events: u64,
        /// The latest, in milliseconds since 1970-01-01 UTC.
        last_ms: i64,
        /// Sum of values.
        sum: f64,
        /// Their mean.
        mean: f64,
        /// Their standard deviation.
        deviation: f64,
        /// Events, faded at the short, middle and long half-life.
        counts: Vec<f64> [max RUNGS],
        /// Sum of values, faded likewise.
        amounts: Vec<f64> [max RUNGS],
    }

    /// How much a user turns to a facet of items: a tag, or `attribute=value`.
    FacetAffinity {
        /// Facet.
        name: String,
        /// Events with items that have it.
        events: u32,
        /// Its share of the user's events, drawn to the population's where they are few.
        share: f64,
        /// That share over the population's.
        lift: f64,
        /// The least lift within 95 %.
        lift_low: f64,
        /// The greatest lift within 95 %.
        lift_high: f64,
        /// Mean opinion, from -1 to 1 times the weight of the kinds.
        liked: f64,
        /// Sum of opinions, faded at the middle half-life.
        liked_middle: f64,
        /// The same at the long half-life.
        liked_long: f64,
    }

    /// One of a user's interests: items alike, named by the one in their middle.
    InterestOf {
        /// The item in the middle.
        item: Id,
        /// Items in it.
        items: u32,
        /// Its share of what the user turns to now: faded at the middle half-life.
        now: f64,
        /// Its share at a longer view: faded at the long half-life.
        long: f64,
        /// Mean cosine of its items to their middle.
        unity: f64,
    }

    /// A trait: what it may be, and what it rests on.
    TraitValue {
        /// Name.
        name: String,
        /// Mean of what it may be.
        value: f64,
        /// Standard deviation around that; NaN where none is known.
        deviation: f64,
        /// Observations that it rests on.
        evidence: u64,
        /// Whether the order in which events came has no say in it.
        order_free: bool,
    }

    /// Something that a user asks of the profile.
    ControlInForce {
        /// `mute_facet`, `mute_item`, `less`, `pause` or `reset`.
        control: String,
        /// Facet or dimension; empty if it is an item, or everything.
        name: String,
        /// Item, if it is one.
        item: Option<Id>,
        /// Greatest share of a list, for `less`.
        share: f32,
        /// Since when, in milliseconds since 1970-01-01 UTC; 0 where that is not kept.
        time_ms: i64,
    }

    /// What a modality is worth, and what a user's newest items say in it.
    ModalityTaste {
        /// Name of the modality.
        name: String,
        /// Length of its vectors.
        dim: u16,
        /// Items that have it.
        items: u64,
        /// What one deviation in it counts in the fused score: learned from what users met, 1 at first.
        weight: f32,
        /// How many of the user's newest items have it, of 20 at most.
        evidence: u16,
        /// How much alike these are: 0 not at all, 1 the same.
        agreement: f32,
    }
}
