//! Psychological traits: each a formula over what a user did, told as a posterior mean with its deviation and the number of
//! observations that it rests on. `docs/traits.md` says what each means and does not mean.
//!
//! | trait | formula |
//! |---|---|
//! | price_sensitivity | `z / (1 + v)`, `z = (mean log price met - bought) / deviation met`, `v = 1/n_bought + 1/n_met`: posterior of a normal with prior N(0, 1) |
//! | novelty_seeking | share of retained events that go to an item for the first time, Beta(1 + k, 1 + n - k) |
//! | brand_loyalty | `sum c(c-1) / (n(n-1))` over brands (Simpson 1949), drawn to 0 by two events |
//! | impulsiveness | share of purchases of items first met in the same session, Beta(1 + k, 1 + n - k) |
//! | breadth | `exp` of the entropy of facets (Hill 1973, order 1; Miller & Madow's correction): how many facets it is as if evenly |
//! | daily_rhythm | mean resultant length of the hours of the day (Fisher 1993, 2.3), less its bias: 0 at any hour, 1 always at the same |
//! | peak_hour | mean direction of the hours, UTC |
//! | burstiness | `(s - m) / (s + m)` of the times between sessions (Goh & Barabasi 2008): -1 regular, 0 at random, 1 in bursts |
//! | session_mood | mean opinion of the newest session less the user's usual one, drawn to 0 by two events |
//!
//! All rest on sums, or on the timeline of retained events: order of arrival has no say in them.

use super::facets::Facets;
use super::timeline::Timeline;
use super::{Person, Prices};
use crate::model::{Entry, Schema};

/// A trait of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct Trait {
    /// Its name.
    pub name: String,
    /// Mean of what it may be.
    pub value: f64,
    /// Standard deviation around it; NaN where none is known.
    pub deviation: f64,
    /// Observations that it rests on.
    pub evidence: u64,
    /// Whether the order in which events came has no say in it.
    pub order_free: bool,
}

/// What traits are read out of.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Sums.
    pub person: &'a Person,
    /// Retained events.
    pub timeline: &'a Timeline,
    /// What kinds mean.
    pub schema: &'a Schema,
    /// Whether a facet is a brand.
    pub is_brand: &'a dyn Fn(u32) -> bool,
}

/// Events of worth nothing that draw brand loyalty and mood to 0.
const PRIOR_EVENTS: f64 = 2.0;

/// All built-in traits that can be told of a user.
#[must_use]
pub fn built_in(facts: &Facts<'_>) -> Vec<Trait> {
    let prices = facts.person.prices.as_deref();
    let told = [
        ("price_sensitivity", prices.and_then(price_sensitivity)),
        ("novelty_seeking", novelty_seeking(facts.timeline)),
        ("brand_loyalty", brand_loyalty(&facts.person.facets, facts.is_brand)),
        ("impulsiveness", impulsiveness(facts)),
        ("breadth", breadth(&facts.person.facets)),
        ("daily_rhythm", daily_rhythm(facts.person.rhythm.hours()).map(|(rhythm, _)| rhythm)),
        ("peak_hour", daily_rhythm(facts.person.rhythm.hours()).and_then(|(_, peak)| peak)),
        ("burstiness", burstiness(facts.timeline)),
        ("session_mood", session_mood(facts)),
    ];
    let of = |(name, told): (&str, Option<Told>)| {
        told.map(|(value, deviation, evidence)| {
            let (name, order_free) = (name.to_owned(), true);
            Trait { name, value, deviation, evidence, order_free }
        })
    };
    told.into_iter().filter_map(of).collect()
}

/// Names of the built-in traits that rest on sums and events alone.
pub const NAMES: [&str; 9] = [
    "price_sensitivity",
    "novelty_seeking",
    "brand_loyalty",
    "impulsiveness",
    "breadth",
    "daily_rhythm",
    "peak_hour",
    "burstiness",
    "session_mood",
];

/// Mean, deviation, observations.
type Told = (f64, f64, u64);

/// Mean and deviation of Beta(1 + k, 1 + n - k).
#[expect(clippy::cast_precision_loss, reason = "counts of events")]
fn beta(hits: usize, of: usize) -> Option<Told> {
    let (a, b) = (1.0 + hits as f64, 1.0 + (of - hits) as f64);
    let variance = a * b / ((a + b) * (a + b) * (a + b + 1.0));
    (of > 0).then_some((a / (a + b), variance.sqrt(), of as u64))
}

#[expect(clippy::cast_precision_loss, reason = "counts of events")]
fn price_sensitivity(prices: &Prices) -> Option<Told> {
    let (met, bought) = (prices.met.count(), prices.bought.count());
    let deviation = prices.met.variance()?.sqrt();
    if bought == 0 || met < 2 || deviation <= 0.0 {
        return None;
    }
    let z = (prices.met.mean()? - prices.bought.mean()?) / deviation;
    let variance = 1.0 / bought as f64 + 1.0 / met as f64;
    Some((z / (1.0 + variance), (variance / (1.0 + variance)).sqrt(), bought))
}

fn novelty_seeking(timeline: &Timeline) -> Option<Told> {
    beta(timeline.items(), timeline.entries().len())
}

fn brand_loyalty(facets: &Facets, is_brand: &dyn Fn(u32) -> bool) -> Option<Told> {
    let counts = facets.held().iter().filter(|facet| is_brand(facet.number));
    let (mut pairs, mut events) = (0.0, 0.0);
    for count in counts.map(|facet| f64::from(facet.events)) {
        pairs += count * (count - 1.0);
        events += count;
    }
    if events < 2.0 {
        return None;
    }
    let same = pairs / (events * (events - 1.0));
    let value = same * events / (events + PRIOR_EVENTS);
    Some((value, (value * (1.0 - value) / (events + PRIOR_EVENTS + 1.0)).sqrt(), events as u64))
}

fn impulsiveness(facts: &Facts<'_>) -> Option<Told> {
    let entries = facts.timeline.entries();
    let buys = |entry: &Entry| facts.schema.kinds.get(entry.kind).is_some_and(|kind| kind.spends() && kind.sign > 0);
    let (mut bought, mut at_once) = (0, 0);
    for session in facts.timeline.sessions() {
        for entry in entries[session.first..session.end].iter().filter(|entry| buys(entry)) {
            bought += 1;
            let before = entries[..session.first].iter().any(|earlier| earlier.item == entry.item);
            at_once += usize::from(!before);
        }
    }
    beta(at_once, bought)
}

#[expect(clippy::cast_precision_loss, reason = "counts of events")]
fn breadth(facets: &Facets) -> Option<Told> {
    let total: f64 = facets.held().iter().map(|facet| f64::from(facet.events)).sum();
    if total < 2.0 {
        return None;
    }
    let shares = || facets.held().iter().map(|facet| f64::from(facet.events) / total);
    let entropy = facets.entropy()?;
    let second: f64 = shares().map(|share| share * share.ln().powi(2)).sum();
    let corrected = entropy + (facets.held().len() as f64 - 1.0) / (2.0 * total);
    let deviation = ((second - entropy * entropy).max(0.0) / total).sqrt();
    let most = facets.held().len() as f64;
    let value = corrected.exp().min(most);
    Some((value, value * deviation, facets.events))
}

/// The strength of the daily rhythm, and its peak where there is one.
#[expect(clippy::cast_precision_loss, reason = "an hour of the day")]
fn daily_rhythm(hours: &[u32]) -> Option<(Told, Option<Told>)> {
    let count: f64 = hours.iter().map(|events| f64::from(*events)).sum();
    if count < 2.0 {
        return None;
    }
    let turn = std::f64::consts::TAU / hours.len() as f64;
    let (mut x, mut y) = (0.0, 0.0);
    for (hour, events) in hours.iter().enumerate() {
        // The middle of the hour stands for it.
        let angle = turn * (hour as f64 + 0.5);
        x += f64::from(*events) * angle.cos();
        y += f64::from(*events) * angle.sin();
    }
    let squared = (x * x + y * y) / (count * count);
    let length = ((count * squared - 1.0) / (count - 1.0)).clamp(0.0, 1.0).sqrt();
    let spread = ((1.0 - squared).max(0.0) / (2.0 * count)).sqrt();
    let evidence = count as u64;
    let peak = (length > 0.0).then(|| {
        let hour = y.atan2(x).rem_euclid(std::f64::consts::TAU) / turn;
        (hour, (spread / length / turn).min(12.0), evidence)
    });
    Some(((length, spread, evidence), peak))
}

#[expect(clippy::cast_precision_loss, reason = "times and counts")]
fn burstiness(timeline: &Timeline) -> Option<Told> {
    let gaps: Vec<f64> = timeline.returns_ms().map(|gap| gap as f64).collect();
    let count = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / count;
    if gaps.len() < 2 || mean <= 0.0 {
        return None;
    }
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let variation = variance.sqrt() / mean;
    let value = (variation - 1.0) / (variation + 1.0);
    // The deviation of a coefficient of variation, taken through the formula.
    let spread = variation * ((1.0 + 2.0 * variation * variation) / (2.0 * count)).sqrt();
    Some((value, 2.0 * spread / (variation + 1.0).powi(2), gaps.len() as u64))
}

#[expect(clippy::cast_precision_loss, reason = "counts of events")]
fn session_mood(facts: &Facts<'_>) -> Option<Told> {
    let opinion = |entry: &Entry| {
        let kind = facts.schema.kinds.get(entry.kind)?;
        (!entry.value.is_nan()).then(|| kind.opinion(entry.value))
    };
    let entries = facts.timeline.entries();
    let all: Vec<f64> = entries.iter().filter_map(opinion).collect();
    let session = facts.timeline.sessions().last()?;
    let newest: Vec<f64> = entries[session.first..session.end].iter().filter_map(opinion).collect();
    if newest.is_empty() {
        return None;
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = match all.len() {
        1 => 0.25,
        count => all.iter().map(|opinion| (opinion - mean).powi(2)).sum::<f64>() / (count - 1) as f64,
    };
    let strength = newest.len() as f64 + PRIOR_EVENTS;
    let off: f64 = newest.iter().map(|opinion| opinion - mean).sum();
    Some((off / strength, (variance / strength).sqrt(), newest.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{History, Kind};
    use crate::person::{Described, Seen};

    const HOUR_MS: i64 = 3_600_000;

    fn schema() -> Schema {
        let buy = Kind { unit: "money".into(), ..Kind::new(4, "purchase", 2.0) };
        Schema::of([Kind::new(1, "view", 0.2), buy, Kind { sign: -1, ..Kind::new(6, "skip", 0.0) }])
    }

    /// Events as (hours, item, kind), with items of one brand a row of ten and prices 2^item.
    fn traits(events: &[(i64, u32, u8)]) -> Vec<Trait> {
        let schema = schema();
        let (mut person, mut history) = (Person::default(), History::default());
        for (hours, item, kind) in events {
            let time_ms = HOUR_MS * hours;
            history.push(Entry { time_ms, item: *item, kind: *kind, ..Entry::default() }, 1_000);
            let described = Described { facets: vec![item / 10], log_price: *item as f32 };
            let kind = schema.kinds.get(*kind).expect("there");
            person.count(&schema, &Seen { kind, value: 1.0, time_ms, item: &described }, 1);
        }
        let timeline = Timeline::of(&history, schema.session_gap_ms);
        let is_brand = |number| number < 5;
        built_in(&Facts { person: &person, timeline: &timeline, schema: &schema, is_brand: &is_brand })
    }

    fn value(traits: &[Trait], name: &str) -> f64 {
        traits.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no {name} in {traits:?}")).value
    }

    #[test]
    fn nothing_is_told_of_nobody() {
        assert_eq!(traits(&[]), []);
    }

    #[test]
    fn who_buys_the_cheaper_of_what_it_meets_is_sensitive() {
        let views: Vec<(i64, u32, u8)> = (0..40).map(|at| (at, at as u32, 1)).collect();
        let with = |items: std::ops::Range<u32>| {
            let buys = items.map(|item| (50 + i64::from(item), item, 4));
            traits(&views.iter().copied().chain(buys).collect::<Vec<_>>())
        };
        assert!(value(&with(0..6), "price_sensitivity") > 1.0);
        assert!(value(&with(34..40), "price_sensitivity") < -1.0);
        assert!(value(&with(17..23), "price_sensitivity").abs() < 0.1);
    }

    #[test]
    fn loyalty_novelty_and_impulse_are_seen() {
        let loyal: Vec<(i64, u32, u8)> = (0..30).map(|at| (24 * at, 3, 4)).collect();
        let fickle: Vec<(i64, u32, u8)> = (0..30).map(|at| (24 * at, at as u32, 4)).collect();
        let (loyal, fickle) = (traits(&loyal), traits(&fickle));
        assert!(value(&loyal, "brand_loyalty") > 0.9 && value(&fickle, "brand_loyalty") < 0.4);
        assert!(value(&loyal, "novelty_seeking") < 0.1 && value(&fickle, "novelty_seeking") > 0.9);
        assert!(value(&loyal, "impulsiveness") < 0.1 && value(&fickle, "impulsiveness") > 0.9);
        assert!(value(&loyal, "burstiness") < -0.9, "every day at the same time");
        assert!(value(&loyal, "daily_rhythm") > 0.99 && value(&loyal, "peak_hour").abs() < 1.0);
    }

    #[test]
    fn breadth_counts_facets_as_if_evenly() {
        let events: Vec<(i64, u32, u8)> = (0..400).map(|at| (at, (at % 4 * 10) as u32, 1)).collect();
        assert!((value(&traits(&events), "breadth") - 4.0).abs() < 0.05);
    }

    #[test]
    fn a_sour_session_shows() {
        let mut events: Vec<(i64, u32, u8)> = (0..50).map(|at| (24 * at, at as u32, 1)).collect();
        events.extend((0..10).map(|item| (2_000, 60 + item, 6)));
        let sour = traits(&events);
        assert!(value(&sour, "session_mood") < -1.0, "{}", value(&sour, "session_mood"));
        assert_eq!(sour.iter().filter(|one| !NAMES.contains(&one.name.as_str())).count(), 0);
    }
}
