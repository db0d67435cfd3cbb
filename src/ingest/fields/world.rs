//! What the fields are drawn with: shelves of items, small draws, dates and places.

use super::rhythm::DAY_MS;
use crate::base::Rng;
use crate::ingest::generate::{Draw, below};
use crate::model::Value;

/// Power of the rank in items' popularity.
const POPULARITY_POWER: f64 = 0.8;

/// Items that are drawn by their popularity.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    pub(super) items: Vec<usize>,
    draw: Draw,
}

impl Shelf {
    pub(super) fn new(items: Vec<usize>, popularity: &[f64]) -> Self {
        let draw = Draw::new(items.iter().map(|&item| popularity[item]));
        Self { items, draw }
    }

    /// One of them; none if it is empty.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        (!self.items.is_empty()).then(|| self.items[self.draw.draw(rng)])
    }
}

/// One shelf a topic; `topics` is that of each item.
pub(super) fn shelves(count: usize, topics: &[usize], popularity: &[f64]) -> Vec<Shelf> {
    let mut items = vec![Vec::new(); count];
    topics.iter().enumerate().for_each(|(item, &topic)| items[topic].push(item));
    items.into_iter().map(|items| Shelf::new(items, popularity)).collect()
}

/// A topic for each of `items` items; the first ones have one each, so that none is empty.
pub(super) fn topics(count: usize, items: usize, rng: &mut Rng) -> Vec<usize> {
    (0..items).map(|item| if item < count { item } else { below(rng, count) }).collect()
}

/// The popularity of each of `items` items, in a random order; the most popular has 1.
pub(super) fn popularity(items: usize, rng: &mut Rng) -> Vec<f64> {
    let mut ranks: Vec<usize> = (1..=items).collect();
    for at in (1..ranks.len()).rev() {
        ranks.swap(at, below(rng, at + 1));
    }
    ranks.into_iter().map(|rank| (rank as f64).powf(-POPULARITY_POWER)).collect()
}

/// One of these.
///
/// # Panics
/// If there are none.
pub(super) fn pick<T: Copy>(from: &[T], rng: &mut Rng) -> T {
    from[below(rng, from.len())]
}

/// Whether something of this probability happens.
pub(super) fn chance(probability: f64, rng: &mut Rng) -> bool {
    rng.unit() < probability
}

/// An exponential time with this mean, at least a second and at most six means.
pub(super) fn wait_ms(mean_s: f64, rng: &mut Rng) -> i64 {
    let seconds = -(1.0 - rng.unit()).ln() * mean_s;
    (seconds.clamp(1.0, (6.0 * mean_s).max(1.0)) * 1_000.0) as i64
}

/// A time between these many days.
pub(super) fn days_ms(low: f64, high: f64, rng: &mut Rng) -> i64 {
    ((low + (high - low) * rng.unit()) * DAY_MS as f64) as i64
}

/// At least 1, this mean, geometric, at most `high`.
pub(super) fn count(mean: f64, high: usize, rng: &mut Rng) -> usize {
    let mut count = 1;
    while count < high && rng.unit() < 1.0 - 1.0 / mean {
        count += 1;
    }
    count
}

/// The index of one of these utilities, with probability proportional to its `exp`.
pub(super) fn choose(utilities: &[f64], rng: &mut Rng) -> usize {
    let highest = utilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Draw::new(utilities.iter().map(|utility| (utility - highest).exp())).draw(rng)
}

/// Money to the cent, from one cent to ten million.
pub(super) fn cents(amount: f64) -> f32 {
    ((amount * 100.0).round() / 100.0).clamp(0.01, 1e7) as f32
}

/// A whole number of stars, 1 to 5.
pub(super) fn stars(exact: f64) -> f32 {
    exact.round().clamp(1.0, 5.0) as f32
}

/// A whole number within limits.
pub(super) fn whole(exact: f64, low: f64, high: f64) -> f32 {
    exact.round().clamp(low, high) as f32
}

/// A number to two digits behind the point, as an attribute.
pub(super) fn number(exact: f64) -> Value {
    Value::Number((exact * 100.0).round() / 100.0)
}

/// A text attribute.
pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A list of distinct texts.
pub(super) fn list(from: &[&str], count: usize, rng: &mut Rng) -> Value {
    let first = below(rng, from.len());
    let step = 1 + below(rng, from.len().saturating_sub(1).max(1));
    let mut chosen: Vec<String> = Vec::with_capacity(count);
    for at in 0..count.min(from.len()) {
        let word = from[(first + at * step) % from.len()];
        if !chosen.iter().any(|held| held == word) {
            chosen.push(word.to_owned());
        }
    }
    Value::List(chosen)
}

/// A date attribute, `YYYY-MM-DD`, UTC.
pub(super) fn date(time_ms: i64) -> Value {
    // Days to a civil date (Hinnant 2013, "chrono-compatible low-level date algorithms").
    let days = time_ms.div_euclid(DAY_MS) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Value::Text(format!("{year:04}-{month:02}-{day:02}"))
}

/// Countries, as ISO 3166 codes, with the place of a large city.
const COUNTRIES: [(&str, f64, f64); 8] = [
    ("DE", 52.52, 13.40),
    ("FR", 48.86, 2.35),
    ("GB", 51.51, -0.13),
    ("IN", 19.08, 72.88),
    ("JP", 35.68, 139.69),
    ("BR", -23.55, -46.63),
    ("US", 40.71, -74.01),
    ("ZA", -26.20, 28.05),
];

/// A country and a place in it, as attributes.
pub(super) fn home(rng: &mut Rng) -> (Value, Value) {
    let (country, latitude, longitude) = pick(&COUNTRIES, rng);
    let (latitude, longitude) = (latitude + 0.3 * rng.normal(), longitude + 0.3 * rng.normal());
    (text(country), Value::Text(format!("{latitude:.3},{longitude:.3}")))
}

/// An age in whole years, as an attribute.
pub(super) fn age(mean: f64, std: f64, rng: &mut Rng) -> Value {
    Value::Number((mean + std * rng.normal()).round().clamp(16.0, 95.0))
}

/// What is known of a user: each attribute is missing in one case of twenty, as it is with real ones. Attributes that
/// the field's configuration requires come first and are `required` many.
pub(super) fn known(
    attributes: Vec<(&'static str, Value)>,
    required: usize,
    rng: &mut Rng,
) -> Vec<(&'static str, Value)> {
    let keep = |(at, _): &(usize, _)| *at < required || !chance(MISSING, rng);
    attributes.into_iter().enumerate().filter(keep).map(|(_, attribute)| attribute).collect()
}

const MISSING: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (1_767_225_600_000, "2026-01-01"),
            (1_709_164_800_000, "2024-02-29"),
            (951_868_800_000, "2000-03-01"),
            (4_107_542_399_999, "2100-02-28"),
        ];
        for (time_ms, expected) in cases {
            assert_eq!(date(time_ms), text(expected), "{time_ms}");
        }
    }

    #[test]
    fn draws_keep_to_their_means_and_limits() {
        let mut rng = Rng::new(2);
        let mean = (0..20_000).map(|_| count(5.0, 1_000, &mut rng) as f64).sum::<f64>() / 20_000.0;
        assert!((mean - 5.0).abs() < 0.15, "{mean}");
        assert!((0..1_000).all(|_| (1..=3).contains(&count(5.0, 3, &mut rng))));
        assert!((0..1_000).all(|_| (1_000..=60_000).contains(&wait_ms(10.0, &mut rng))));
        let second = (0..10_000).filter(|_| choose(&[0.0, 3_f64.ln()], &mut rng) == 1).count();
        assert!((second as f64 / 10_000.0 - 0.75).abs() < 0.03, "{second}");
        let Value::List(words) = list(&["a", "b", "c"], 3, &mut rng) else { panic!("a list") };
        assert!((1..=3).contains(&words.len()));
        assert!(Shelf::new(Vec::new(), &[]).draw(&mut rng).is_none());
    }
}
