//! Psychological traits: each a formula over what a user did, told as a posterior mean with its deviation and the number of
//! observations that it rests on. `docs/traits.md` says what each means and does not mean.
//!
//! | trait | formula |
//! |---|---|
//! | price_sensitivity | `z / (1 + v)`, posterior of a normal with prior N(0, 1), `z` being how far below the mean log price of what else the session met the bought goods lie, in deviations within sessions: mean weighted by `w = m / (m + 1)` of the `m` others, `v = 1 / sum w`. Where half of what was bought had no others: against all ever met, `v = 1/n_bought + 1/n_met` |
//! | novelty_seeking | different items among `m` visits drawn at random (Hurlbert 1971), `m = min(n, 40)` of `n`, an item being visited once a session: Beta(1 + k, 1 + m - k) |
//! | brand_loyalty | `sum c(c-1) / (n(n-1))` over brands (Simpson 1949), drawn to 0 by two events |
//! | impulsiveness | share of purchases of items first met in the same session, Beta(1 + k, 1 + n - k) |
//! | breadth | `exp` of the entropy of facets (Hill 1973, order 1; Miller & Madow's correction): how many facets it is as if evenly |
//! | daily_rhythm | mean resultant length of the hours of the day (Fisher 1993, 2.3), less its bias: 0 at any hour, 1 always at the same |
//! | peak_hour | mean direction of the hours, UTC, within the busiest nine; not told where these hold no more than nine even ones may by chance |
//! | burstiness | `(s - m) / (s + m)` of the times between sessions (Goh & Barabasi 2008): -1 regular, 0 at random, 1 in bursts |
//! | session_mood | mean opinion of the newest session less the user's usual one, drawn to 0 by two events |
//!
//! All rest on sums, or on the timeline of retained events: order of arrival has no say in them, unless events had to give
//! way to newer ones. Then those of the timeline say so.

#[cfg(test)]
mod tests;

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
    /// Whether all events are retained: if not, which ones are depends on when they came.
    pub whole: bool,
    /// Binary logarithm of the price that a retained event's item had; NaN where none is known, or may be used.
    pub log_price: &'a dyn Fn(&Entry) -> f32,
}

/// Events of worth nothing that draw brand loyalty and mood to 0.
const PRIOR_EVENTS: f64 = 2.0;

/// Visits among which novelty is told. A share of first times falls with every event, whoever makes them; among a set
/// number of visits it does not.
const VISITS: f64 = 40.0;

/// Hours that a peak is looked for in: with fewer, chance has more of a say; two habits half a day apart stay two.
const PEAK_HOURS: usize = 9;

/// Deviations by which the busiest hours must stand out: they are the best of 24.
const PEAK_DEVIATIONS: f64 = 3.0;

/// All built-in traits that can be told of a user.
#[must_use]
pub fn built_in(facts: &Facts<'_>) -> Vec<Trait> {
    let visits = visits(facts.timeline);
    let told = [
        ("price_sensitivity", price_sensitivity(facts)),
        ("novelty_seeking", novelty_seeking(&visits)),
        ("brand_loyalty", brand_loyalty(&facts.person.facets, facts.is_brand)),
        ("impulsiveness", impulsiveness(facts, &visits)),
        ("breadth", breadth(&facts.person.facets)),
        ("daily_rhythm", daily_rhythm(facts.person.rhythm.hours())),
        ("peak_hour", peak_hour(facts.person.rhythm.hours())),
        ("burstiness", burstiness(facts.timeline)),
        ("session_mood", session_mood(facts)),
    ];
    let of = |(name, told): (&str, Option<Told>)| {
        told.map(|(value, deviation, evidence)| {
            let order_free = facts.whole || !OF_TIMELINE.contains(&name);
            let name = name.to_owned();
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

/// Those of them that rest on the timeline.
const OF_TIMELINE: [&str; 5] = ["price_sensitivity", "novelty_seeking", "impulsiveness", "burstiness", "session_mood"];

/// Mean, deviation, observations.
type Told = (f64, f64, u64);

/// Mean and deviation of Beta(1 + k, 1 + n - k); `evidence` is what is told of n.
fn beta(hits: f64, of: f64, evidence: usize) -> Option<Told> {
    let (a, b) = (1.0 + hits, 1.0 + (of - hits));
    let variance = a * b / ((a + b) * (a + b) * (a + b + 1.0));
    (evidence > 0).then_some((a / (a + b), variance.sqrt(), evidence as u64))
}

fn price_sensitivity(facts: &Facts<'_>) -> Option<Told> {
    let prices = facts.person.prices.as_deref()?;
    among_alternatives(facts).or_else(|| among_all(prices))
}

/// What was bought against all that was ever met.
#[expect(clippy::cast_precision_loss, reason = "counts of events")]
fn among_all(prices: &Prices) -> Option<Told> {
    let (met, bought) = (prices.met.count(), prices.bought.count());
    let deviation = prices.met.variance()?.sqrt();
    if bought == 0 || met < 2 || deviation <= 0.0 {
        return None;
    }
    let z = (prices.met.mean()? - prices.bought.mean()?) / deviation;
    let variance = 1.0 / bought as f64 + 1.0 / met as f64;
    Some((z / (1.0 + variance), (variance / (1.0 + variance)).sqrt(), bought))
}

/// What was bought against what else was met in the same session: who buys books and sofas meets prices far apart, and
/// which of the two it was says nothing of price. `None` where half of what was bought had no alternatives.
#[expect(clippy::cast_precision_loss, reason = "counts of items")]
fn among_alternatives(facts: &Facts<'_>) -> Option<Told> {
    let entries = facts.timeline.entries();
    let (mut squares, mut free, mut bought) = (0.0, 0.0, 0);
    // How far below the mean of the others, and how many these are.
    let mut choices: Vec<(f64, f64)> = Vec::new();
    // Of a session, by item: its price, and whether it was bought. An item is one choice, in the cart and paid.
    let mut met: Vec<(u32, f64, bool)> = Vec::new();
    for session in facts.timeline.sessions() {
        met.clear();
        for entry in &entries[session.first..session.end] {
            let price = f64::from((facts.log_price)(entry));
            let Some(kind) = facts.schema.kinds.get(entry.kind) else { continue };
            if kind.sign < 0 || price.is_nan() {
                continue;
            }
            let buys = kind.spends() && kind.sign > 0;
            match met.iter_mut().find(|known| known.0 == entry.item) {
                Some(known) => known.2 |= buys,
                None => met.push((entry.item, price, buys)),
            }
        }
        let count = met.len() as f64;
        let sum: f64 = met.iter().map(|one| one.1).sum();
        squares += met.iter().map(|one| (one.1 - sum / count).powi(2)).sum::<f64>();
        free += (count - 1.0).max(0.0);
        for (_, price, _) in met.iter().filter(|one| one.2) {
            bought += 1;
            if count > 1.0 {
                choices.push(((sum - price) / (count - 1.0) - price, count - 1.0));
            }
        }
    }
    let deviation = (squares / free).sqrt();
    if choices.is_empty() || 2 * choices.len() < bought || deviation.is_nan() || deviation <= 0.0 {
        return None;
    }
    let weight = |others: f64| others / (others + 1.0);
    let weights: f64 = choices.iter().map(|(_, others)| weight(*others)).sum();
    let z = choices.iter().map(|(below, others)| weight(*others) * below).sum::<f64>() / (weights * deviation);
    let variance = 1.0 / weights;
    Some((z / (1.0 + variance), (variance / (1.0 + variance)).sqrt(), choices.len() as u64))
}

/// An item, and the number of a session that it was met in.
type Visit = (u32, usize);

/// All visits, by item and then by session: one an item and session.
fn visits(timeline: &Timeline) -> Vec<Visit> {
    let mut visits = Vec::with_capacity(timeline.entries().len());
    for (number, session) in timeline.sessions().iter().enumerate() {
        visits.extend(timeline.entries()[session.first..session.end].iter().map(|entry| (entry.item, number)));
    }
    visits.sort_unstable();
    visits.dedup();
    visits
}

/// The share of different items among a set number of visits, as a mean over all ways to draw these: an item of `c`
/// visits is in none of them with probability `C(n - c, m) / C(n, m)`.
#[expect(clippy::cast_precision_loss, reason = "counts of events")]
fn novelty_seeking(visits: &[Visit]) -> Option<Told> {
    let all = visits.len() as f64;
    let drawn = all.min(VISITS);
    // Forty divisions; most items have as few visits as each other, so of each number it is asked once.
    let mut known: Vec<(usize, f64)> = Vec::new();
    let mut absent = |count: usize| {
        if let Some((_, share)) = known.iter().find(|(of, _)| *of == count) {
            return *share;
        }
        let mut share = 1.0;
        let mut taken = 0.0;
        while taken < drawn && share > 0.0 {
            share *= ((all - count as f64 - taken) / (all - taken)).max(0.0);
            taken += 1.0;
        }
        known.push((count, share));
        share
    };
    let different: f64 = visits.chunk_by(|one, other| one.0 == other.0).map(|same| 1.0 - absent(same.len())).sum();
    beta(different, drawn, visits.len())
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

#[expect(clippy::cast_precision_loss, reason = "counts of events")]
fn impulsiveness(facts: &Facts<'_>, visits: &[Visit]) -> Option<Told> {
    let entries = facts.timeline.entries();
    let buys = |entry: &Entry| facts.schema.kinds.get(entry.kind).is_some_and(|kind| kind.spends() && kind.sign > 0);
    let (mut bought, mut at_once) = (0, 0);
    let first_met = |item: u32| visits.get(visits.partition_point(|(of, _)| *of < item)).map(|(_, session)| *session);
    for (number, session) in facts.timeline.sessions().iter().enumerate() {
        for entry in entries[session.first..session.end].iter().filter(|entry| buys(entry)) {
            bought += 1;
            at_once += usize::from(first_met(entry.item) == Some(number));
        }
    }
    beta(at_once as f64, bought as f64, bought)
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

/// Events of these hours, and the sums of their directions' cosines and sines. The middle of an hour stands for it.
fn directions(hours: &[u32], chosen: impl Iterator<Item = usize>) -> (f64, f64, f64) {
    let turn = turn(hours);
    // An hour without events would add 0: its angle is not asked for.
    chosen.filter(|hour| hours[*hour] > 0).fold((0.0, 0.0, 0.0), |(count, x, y), hour| {
        let (events, angle) = (f64::from(hours[hour]), turn * (hour as f64 + 0.5));
        (count + events, x + events * angle.cos(), y + events * angle.sin())
    })
}

/// The angle of an hour.
fn turn(hours: &[u32]) -> f64 {
    std::f64::consts::TAU / hours.len() as f64
}

/// The strength of the daily rhythm.
fn daily_rhythm(hours: &[u32]) -> Option<Told> {
    let (count, x, y) = directions(hours, 0..hours.len());
    if count < 2.0 {
        return None;
    }
    let squared = (x * x + y * y) / (count * count);
    let length = ((count * squared - 1.0) / (count - 1.0)).clamp(0.0, 1.0).sqrt();
    let spread = ((1.0 - squared).max(0.0) / (2.0 * count)).sqrt();
    Some((length, spread, count as u64))
}

/// The middle of the busiest hours, where they stand out.
fn peak_hour(hours: &[u32]) -> Option<Told> {
    let window = |first: usize| (first..first + PEAK_HOURS).map(|hour| hour % hours.len());
    let within = |first: usize| (window(first).map(|hour| u64::from(hours[hour])).sum::<u64>(), first);
    let all = hours.iter().map(|events| f64::from(*events)).sum::<f64>();
    // Of windows alike the first; the direction of what is in them is the same where the rest is empty.
    let best = (0..hours.len()).map(within).reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    let (count, x, y) = directions(hours, window(best.1));
    let even = PEAK_HOURS as f64 / hours.len() as f64;
    if count - even * all <= PEAK_DEVIATIONS * (even * (1.0 - even) * all).sqrt() {
        return None;
    }
    let length = x.hypot(y) / count;
    let hour = y.atan2(x).rem_euclid(std::f64::consts::TAU) / turn(hours);
    let spread = ((1.0 - length * length).max(0.0) / (2.0 * count)).sqrt();
    Some((hour, spread / length / turn(hours), count as u64))
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
    let session = facts.timeline.sessions().last()?;
    let newest: Vec<f64> = entries[session.first..session.end].iter().filter_map(opinion).collect();
    if newest.is_empty() {
        return None;
    }
    let mut all = Vec::with_capacity(entries.len());
    all.extend(entries.iter().filter_map(opinion));
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = match all.len() {
        1 => 0.25,
        count => all.iter().map(|opinion| (opinion - mean).powi(2)).sum::<f64>() / (count - 1) as f64,
    };
    let strength = newest.len() as f64 + PRIOR_EVENTS;
    let off: f64 = newest.iter().map(|opinion| opinion - mean).sum();
    Some((off / strength, (variance / strength).sqrt(), newest.len() as u64))
}
