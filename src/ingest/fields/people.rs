//! What users of every field have: a time to come and to leave, activity, hours, and a taste.

use super::rhythm::{DAY_MS, Habits, Rhythm};
use super::world::pick;
use super::{FieldOptions, Truth};
use crate::base::Rng;
use crate::ingest::generate::{Draw, below};

/// Share of users who join while the stream runs, in its first half.
const JOINS: f64 = 0.3;
/// Share of a taste that all topics have alike; favourites share the rest.
const EVEN: f64 = 0.2;
/// Shares of the rest, by the number of favourites.
const FAVOURITES: [&[f64]; 3] = [&[1.0], &[0.65, 0.35], &[0.5, 0.3, 0.2]];
/// Share of its rate at which a user who slows down leaves.
pub(super) const SLOWEST: f64 = 0.15;

/// One user, without what is particular to a field.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) joined_at_ms: i64,
    pub(super) slows_from_ms: Option<i64>,
    pub(super) churned_at_ms: Option<i64>,
    /// Sessions against those of others; the median user has 1.
    pub(super) activity: f64,
    pub(super) rhythm: Rhythm,
}

impl Person {
    pub(super) fn draw(options: &FieldOptions, habits: Habits, rng: &mut Rng) -> Self {
        let span_ms = options.days * DAY_MS as f64;
        let at = |share: f64| options.start_ms.saturating_add((share * span_ms) as i64);
        let joined_at_ms = if rng.unit() < JOINS {
            at(0.5 * rng.unit())
        } else {
            options.start_ms - DAY_MS - (rng.unit() * 3.0 * 365.0 * DAY_MS as f64) as i64
        };
        let begin_ms = joined_at_ms.max(options.start_ms);
        let leaves = rng.unit() < options.churn;
        let stays = 0.1 + 0.85 * rng.unit();
        let churned_at_ms = leaves.then(|| begin_ms + (stays * (at(1.0) - begin_ms) as f64) as i64);
        let (slows, part) = (rng.unit() < 0.5, 0.3 + 0.4 * rng.unit());
        let slows_from_ms =
            churned_at_ms.filter(|_| slows).map(|end_ms| end_ms - (part * (end_ms - begin_ms) as f64) as i64);
        let activity = (0.7 * rng.normal()).exp();
        let rhythm = Rhythm::draw(habits, rng);
        Self { joined_at_ms, slows_from_ms, churned_at_ms, activity, rhythm }
    }

    /// Share of its usual rate at a time.
    pub(super) fn slow(&self, time_ms: i64) -> f64 {
        match (self.slows_from_ms, self.churned_at_ms) {
            (Some(from_ms), Some(end_ms)) if time_ms > from_ms => {
                let part = (time_ms - from_ms) as f64 / (end_ms - from_ms).max(1) as f64;
                1.0 - (1.0 - SLOWEST) * part.min(1.0)
            }
            _ => 1.0,
        }
    }

    /// Days at full rate that its time from `start_ms` to `end_ms` is worth.
    pub(super) fn days(&self, start_ms: i64, end_ms: i64) -> f64 {
        let begin_ms = self.joined_at_ms.max(start_ms);
        let last_ms = self.churned_at_ms.unwrap_or(end_ms).min(end_ms);
        let slow_ms = self.slows_from_ms.map_or(0, |from_ms| last_ms - from_ms);
        ((last_ms - begin_ms) as f64 - (1.0 - SLOWEST) / 2.0 * slow_ms as f64) / DAY_MS as f64
    }

    /// The truth about it, all that is particular to a field left out.
    pub(super) fn truth(&self, taste: &Taste, topics: &[&str]) -> Truth {
        Truth {
            joined_at_ms: self.joined_at_ms,
            slows_from_ms: self.slows_from_ms,
            churned_at_ms: self.churned_at_ms,
            peak_hour: self.rhythm.peak_hour,
            weekend: self.rhythm.weekend,
            favourite_tags: taste.favourites.iter().map(|&topic| topics[topic].to_owned()).collect(),
            novelty: taste.novelty,
            price_sensitivity: f64::NAN,
            loyalty: f64::NAN,
            favourite_brand: None,
            binge: f64::NAN,
            risk: f64::NAN,
            adherence: f64::NAN,
            lapses: Vec::new(),
        }
    }
}

/// What a user likes.
#[derive(Clone, Debug)]
pub(super) struct Taste {
    /// Topics, most liked first.
    pub(super) favourites: Vec<usize>,
    /// Share of choices that look anywhere.
    pub(super) novelty: f64,
    shares: Vec<f64>,
    draw: Draw,
}

impl Taste {
    pub(super) fn draw(topics: usize, rng: &mut Rng) -> Self {
        let parts = pick(&FAVOURITES, rng);
        let mut shares = vec![EVEN / topics as f64; topics];
        let mut favourites = Vec::with_capacity(parts.len());
        for part in parts.iter().take(topics) {
            let mut topic = below(rng, topics);
            while favourites.contains(&topic) {
                topic = (topic + 1) % topics;
            }
            favourites.push(topic);
            shares[topic] += (1.0 - EVEN) * part;
        }
        // Most look little elsewhere, some much.
        let novelty = 0.6 * rng.unit().powi(2);
        Self { favourites, novelty, draw: Draw::new(shares.iter().copied()), shares }
    }

    /// A topic by taste.
    pub(super) fn topic(&self, rng: &mut Rng) -> usize {
        self.draw.draw(rng)
    }

    /// Whether this choice looks anywhere.
    pub(super) fn roams(&self, rng: &mut Rng) -> bool {
        rng.unit() < self.novelty
    }

    /// How much a topic is liked against the favourite, 0 to 1.
    pub(super) fn liking(&self, topic: usize) -> f64 {
        self.shares[topic] / self.favourites.first().map_or(1.0, |&favourite| self.shares[favourite])
    }
}
