//! A seeded stream of events whose users change their minds.
//!
//! For demonstrations, tests and load: what is true of it is known, so one can see whether a model follows.
//!
//! * *Items* have a genre vector (a main genre, and often a lesser second one; it sums to 1), the genres' names as tags,
//!   and a popularity that falls as 1 / rank^0.8 (Zipf) over a random order.
//! * *Users* come with activity 1 / rank^0.6. A user's taste is a mixture over genres, softmax of G numbers that walk: a
//!   normal step of [`DriftOptions::walk`] each event of the user, and with probability [`DriftOptions::jump`] they are
//!   drawn anew (a new hobby, somebody else at the keyboard).
//! * *Events*: the user by activity; the item with probability proportional to popularity x exp(8 affinity), where
//!   affinity = taste . genres; a rating of 1 to 5 from the affinity and noise; the kind `view`, `click` or `purchase`,
//!   the dearer the likelier the higher the affinity.
//! * *Times* strictly increase; the rate follows the day, highest at 20:00 UTC, lowest, a ninth of it, at 08:00.
//!
//! The same options give the same rows on every machine with the same `exp` and `ln`. Memory: users x genres.

use super::Row;
use crate::base::{Id, Rng};

/// Names of the genres; [`DriftOptions::genres`] takes the first so many.
pub const GENRES: [&str; 16] = [
    "action",
    "comedy",
    "drama",
    "documentary",
    "horror",
    "romance",
    "science fiction",
    "thriller",
    "animation",
    "western",
    "musical",
    "fantasy",
    "crime",
    "history",
    "sport",
    "travel",
];

/// Size and temper of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftOptions {
    /// Users, at least 1.
    pub users: u32,
    /// Items, at least 1.
    pub items: u32,
    /// Events.
    pub events: u64,
    /// Seed of everything.
    pub seed: u64,
    /// Genres, 1 to 16.
    pub genres: usize,
    /// Standard deviation of a taste number's step per event of the user.
    pub walk: f64,
    /// Probability per event that the user's taste is drawn anew.
    pub jump: f64,
    /// Time of the first event at the earliest, in milliseconds since 1970-01-01 UTC.
    pub start_ms: i64,
    /// Days that the stream takes, about.
    pub days: f64,
}

impl Default for DriftOptions {
    /// 1,000 users, 2,000 items, 100,000 events in 30 days from 2026-01-01; a user jumps about every 50 events.
    fn default() -> Self {
        Self {
            users: 1_000,
            items: 2_000,
            events: 100_000,
            seed: 1,
            genres: 12,
            walk: 0.1,
            jump: 0.02,
            start_ms: 1_767_225_600_000,
            days: 30.0,
        }
    }
}

/// An item of a generated stream.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedItem {
    /// Its id, as in the rows.
    pub id: Id,
    /// Names of its genres, main genre first.
    pub tags: Vec<String>,
    /// Genre numbers and their shares, main genre first; the shares sum to 1.
    pub genres: Vec<(usize, f64)>,
    /// Chance against other items of the same affinity; the most popular has 1.
    pub popularity: f64,
}

/// The stream. An iterator of [`DriftOptions::events`] rows.
#[derive(Clone, Debug)]
pub struct DriftStream {
    options: DriftOptions,
    rng: Rng,
    items: Vec<GeneratedItem>,
    popularity: Draw,
    activity: Draw,
    /// User-major taste numbers before the softmax.
    tastes: Vec<f64>,
    time_ms: i64,
    made: u64,
}

impl DriftStream {
    /// Draws users and items. Options outside their ranges are taken for the nearest allowed value.
    #[must_use]
    pub fn new(options: DriftOptions) -> Self {
        let options = options.clamped();
        let mut rng = Rng::new(options.seed);
        let items = draw_items(&options, &mut rng);
        let popularity = Draw::new(items.iter().map(|item| item.popularity));
        let activity = Draw::new((1..=options.users).map(|rank| f64::from(rank).powf(-ACTIVITY_POWER)));
        let tastes = (0..options.users as usize * options.genres).map(|_| TASTE_STD * rng.normal()).collect();
        let time_ms = options.start_ms;
        Self { options, rng, items, popularity, activity, tastes, time_ms, made: 0 }
    }

    /// The items, in the order of their ids (0, 1, ...).
    #[must_use]
    pub fn items(&self) -> &[GeneratedItem] {
        &self.items
    }

    /// What a user likes now: shares of the genres, which sum to 1. Users are numbered as their ids.
    ///
    /// # Panics
    /// If there is no such user.
    #[must_use]
    pub fn taste(&self, user: usize) -> Vec<f64> {
        let numbers = &self.tastes[user * self.options.genres..][..self.options.genres];
        let highest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let raised: Vec<f64> = numbers.iter().map(|number| (number - highest).exp()).collect();
        let sum: f64 = raised.iter().sum();
        raised.into_iter().map(|share| share / sum).collect()
    }

    fn drift(&mut self, user: usize) {
        let jumps = self.rng.unit() < self.options.jump;
        for number in &mut self.tastes[user * self.options.genres..][..self.options.genres] {
            if jumps {
                *number = TASTE_STD * self.rng.normal();
            } else {
                *number += self.options.walk * self.rng.normal();
                // Drawn back a little, so that tastes do not sharpen without end.
                *number *= TASTE_STD / (TASTE_STD * TASTE_STD + self.options.walk * self.options.walk).sqrt();
            }
        }
    }

    /// Draws from popularity x exp(SHARPNESS x affinity) without a sum over items: by popularity, kept with probability
    /// exp(SHARPNESS x (affinity - highest possible affinity)). Returns the item and its share of that highest.
    fn choose(&mut self, taste: &[f64]) -> (usize, f64) {
        let highest = taste.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let mut tries = 0;
        loop {
            let item = self.popularity.draw(&mut self.rng);
            let affinity = affinity(taste, &self.items[item].genres);
            tries += 1;
            if self.rng.unit() < (SHARPNESS * (affinity - highest)).exp() || tries == TRIES_MAX {
                return (item, affinity / highest);
            }
        }
    }

    fn rating(&mut self, liking: f64) -> f32 {
        let exact = 1.5 + 3.0 * liking + 0.7 * self.rng.normal();
        #[expect(clippy::cast_possible_truncation, reason = "a whole number from 1 to 5")]
        let stars = exact.round().clamp(1.0, 5.0) as f32;
        stars
    }

    fn kind(&mut self, liking: f64) -> &'static str {
        let draw = self.rng.unit();
        let (purchase, click) = (0.12 * liking, 0.15 + 0.2 * liking);
        match draw {
            _ if draw < purchase => "purchase",
            _ if draw < purchase + click => "click",
            _ => "view",
        }
    }

    /// Moves the clock by an exponential gap whose mean follows the day.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "gaps and hours are small")]
    fn tick(&mut self) {
        let mean_ms = self.options.days * DAY_MS / self.options.events.max(1) as f64;
        let hour = self.time_ms.rem_euclid(DAY_MS as i64) as f64 / DAY_MS * 24.0;
        let rate = 1.0 + 0.8 * ((hour - 20.0) / 24.0 * std::f64::consts::TAU).cos();
        // A gap ends at the latest after six hours, so that a quiet night is noticed when it is over.
        let gap_ms = (-(1.0 - self.rng.unit()).ln() * mean_ms / rate).min(DAY_MS / 4.0);
        self.time_ms = self.time_ms.saturating_add((gap_ms as i64).max(1));
    }
}

impl Iterator for DriftStream {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.made == self.options.events {
            return None;
        }
        self.made += 1;
        self.tick();
        let user = self.activity.draw(&mut self.rng);
        self.drift(user);
        let taste = self.taste(user);
        let (item, liking) = self.choose(&taste);
        let value = self.rating(liking);
        let kind = Some(self.kind(liking).to_owned());
        let (user, item) = (Id::Int(user as u64), self.items[item].id.clone());
        Some(Row { line: self.made, user, item, value, time_ms: self.time_ms, kind, event_id: None })
    }
}

/// Power of the rank in users' activity.
const ACTIVITY_POWER: f64 = 0.6;
/// Power of the rank in items' popularity.
const POPULARITY_POWER: f64 = 0.8;
/// Standard deviation of taste numbers: one or two genres have most of a taste.
const TASTE_STD: f64 = 2.0;
/// How much affinity counts against popularity.
const SHARPNESS: f64 = 8.0;
/// Share of items with a second genre, and that genre's share of the item.
const SECOND: (f64, f64) = (0.6, 0.3);
/// Draws after which an item is taken as it comes: reached only if no item has the genres that a user likes.
const TRIES_MAX: u32 = 50_000;
const DAY_MS: f64 = 86_400_000.0;

impl DriftOptions {
    fn clamped(self) -> Self {
        let within = |x: f64, low: f64, high: f64| if x.is_nan() { low } else { x.clamp(low, high) };
        Self {
            users: self.users.max(1),
            items: self.items.max(1),
            genres: self.genres.clamp(1, GENRES.len()),
            walk: within(self.walk, 0.0, 10.0),
            jump: within(self.jump, 0.0, 1.0),
            days: within(self.days, 1e-6, 1e5),
            ..self
        }
    }
}

fn draw_items(options: &DriftOptions, rng: &mut Rng) -> Vec<GeneratedItem> {
    let mut ranks: Vec<u32> = (1..=options.items).collect();
    for at in (1..ranks.len()).rev() {
        ranks.swap(at, below(rng, at + 1));
    }
    let item = |(id, rank): (u64, u32)| {
        let main = below(rng, options.genres);
        let mut genres = vec![(main, 1.0)];
        if options.genres > 1 && rng.unit() < SECOND.0 {
            let second = (main + 1 + below(rng, options.genres - 1)) % options.genres;
            genres = vec![(main, 1.0 - SECOND.1), (second, SECOND.1)];
        }
        let tags = genres.iter().map(|&(genre, _)| GENRES[genre].to_owned()).collect();
        GeneratedItem { id: Id::Int(id), tags, genres, popularity: f64::from(rank).powf(-POPULARITY_POWER) }
    };
    (0..).zip(ranks).map(item).collect()
}

fn affinity(taste: &[f64], genres: &[(usize, f64)]) -> f64 {
    genres.iter().map(|&(genre, share)| taste[genre] * share).sum()
}

/// Uniform in `0..bound`.
pub(super) fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or(0)
}

/// Draws indices in proportion to fixed weights, by bisection of their running sums.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    sums: Vec<f64>,
}

impl Draw {
    pub(super) fn new(weights: impl Iterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self { sums: sums.collect() }
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let point = rng.unit() * total;
        self.sums.partition_point(|&sum| sum <= point).min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> DriftOptions {
        DriftOptions { users: 50, items: 400, events: 30_000, seed: 5, ..DriftOptions::default() }
    }

    fn index(id: &Id) -> usize {
        let Id::Int(number) = id else { panic!("{id} is not a number") };
        usize::try_from(*number).unwrap()
    }

    /// Genre vectors of each user's events, in order.
    fn histories(stream: DriftStream) -> Vec<Vec<Vec<f64>>> {
        let (users, genres) = (stream.options.users as usize, stream.options.genres);
        let items = stream.items().to_vec();
        let mut histories = vec![Vec::new(); users];
        for row in stream {
            let mut vector = vec![0.0; genres];
            for &(genre, share) in &items[index(&row.item)].genres {
                vector[genre] = share;
            }
            histories[index(&row.user)].push(vector);
        }
        histories
    }

    fn mean(events: &[Vec<f64>], weight: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut sum = vec![0.0; events[0].len()];
        let mut total = 0.0;
        for (age, event) in events.iter().rev().enumerate() {
            total += weight(age);
            sum.iter_mut().zip(event).for_each(|(sum, x)| *sum += weight(age) * x);
        }
        sum.into_iter().map(|x| x / total).collect()
    }

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
        let first: Vec<Row> = DriftStream::new(options()).take(500).collect();
        assert_eq!(first, DriftStream::new(options()).take(500).collect::<Vec<_>>());
        assert_ne!(first, DriftStream::new(DriftOptions { seed: 6, ..options() }).take(500).collect::<Vec<_>>());
        assert_eq!(DriftStream::new(DriftOptions { events: 321, ..options() }).count(), 321);
        let smallest = DriftOptions { users: 0, items: 0, events: 5, genres: 0, walk: f64::NAN, ..options() };
        assert_eq!(DriftStream::new(smallest).count(), 5);
    }

    #[test]
    fn rows_are_as_described() {
        let stream = DriftStream::new(options());
        let items = stream.items().to_vec();
        for item in &items {
            assert_eq!(item.tags.len(), item.genres.len());
            assert!((item.genres.iter().map(|genre| genre.1).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        let rows: Vec<Row> = stream.collect();
        assert!(rows.windows(2).all(|pair| pair[0].time_ms < pair[1].time_ms && pair[0].line + 1 == pair[1].line));
        let days = (rows[rows.len() - 1].time_ms - rows[0].time_ms) as f64 / DAY_MS;
        assert!((15.0..60.0).contains(&days), "{days} days instead of about 30");
        let at_hour = |hour| rows.iter().filter(|row| row.time_ms / 3_600_000 % 24 == hour).count();
        assert!(at_hour(20) > 3 * at_hour(8), "{} events at 20, {} at 8", at_hour(20), at_hour(8));
        assert!(rows.iter().all(|row| (1.0..=5.0).contains(&row.value)));
        let share = |kind: &str| rows.iter().filter(|row| row.kind.as_deref() == Some(kind)).count() as f64 / 30_000.0;
        let shares = [share("view"), share("click"), share("purchase")];
        assert!(shares[0] > shares[1] && shares[1] > shares[2] && shares[2] > 0.03, "{shares:?}");
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let mut users = vec![0; 50];
        rows.iter().for_each(|row| users[index(&row.user)] += 1);
        assert!(users[0] > 3 * users[40], "activity falls with the rank: {users:?}");
        let popular = |item: &GeneratedItem| item.popularity > 0.05;
        let events = |keep: bool| rows.iter().filter(|row| popular(&items[index(&row.item)]) == keep).count() as f64;
        let count = |keep: bool| items.iter().filter(|item| popular(item) == keep).count() as f64;
        assert!(events(true) / count(true) > 3.0 * events(false) / count(false), "popular items come more often");
    }

    #[test]
    fn tastes_drift_only_if_told_to() {
        // Likeness of the last tenth of a user's events to the first, and to the tenth just before it.
        let likeness = |options: DriftOptions| {
            let (mut early, mut late, mut users) = (0.0, 0.0, 0.0);
            for history in histories(DriftStream::new(options)) {
                let tenth = history.len() / 10;
                let part = |at: usize| mean(&history[at * tenth..(at + 1) * tenth], |_| 1.0);
                early += cosine(&part(0), &part(9));
                late += cosine(&part(8), &part(9));
                users += 1.0;
            }
            (early / users, late / users)
        };
        let (early, late) = likeness(options());
        assert!(early < late - 0.1, "drifting: {early} to the first tenth, {late} to the last but one");
        let (early, late) = likeness(DriftOptions { walk: 0.0, jump: 0.0, ..options() });
        assert!(early > 0.9 && (early - late).abs() < 0.03, "standing still: {early}, {late}");
    }

    #[test]
    fn walks_and_jumps_come_as_often_and_as_far_as_asked() {
        // Events of one user after which the taste is another one, and how far it went at the most.
        let changes = |walk, jump| {
            let mut stream = DriftStream::new(DriftOptions { users: 1, events: 4_000, walk, jump, ..options() });
            let (mut changed, mut before, mut farthest) = (0, stream.taste(0), 0.0_f64);
            while stream.next().is_some() {
                let now = stream.taste(0);
                let moved: f64 = before.iter().zip(&now).map(|(x, y)| (x - y).abs()).sum();
                assert!((now.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                changed += u32::from(moved > 1e-9);
                farthest = farthest.max(moved);
                before = now;
            }
            (changed, farthest)
        };
        assert_eq!(changes(0.0, 0.0).0, 0);
        let (jumps, farthest) = changes(0.0, 0.05);
        assert!((150..=250).contains(&jumps) && farthest > 1.0, "{jumps} jumps of 4,000, the farthest {farthest}");
        let (steps, farthest) = changes(0.05, 0.0);
        assert!(steps == 4_000 && farthest < 0.3, "{steps} steps, the farthest {farthest}");
    }

    #[test]
    fn a_recency_aware_profile_beats_a_frozen_one_and_one_that_forgets_nothing() {
        // Mean likeness of the next event's genres to a profile of the events before it, over each user's second half.
        let (mut frozen, mut all, mut recent, mut count) = (0.0, 0.0, 0.0, 0.0);
        for history in histories(DriftStream::new(options())) {
            let half = history.len() / 2;
            let at_half = mean(&history[..half], |_| 1.0);
            for at in half..history.len() {
                frozen += cosine(&at_half, &history[at]);
                all += cosine(&mean(&history[..at], |_| 1.0), &history[at]);
                recent +=
                    cosine(&mean(&history[at.saturating_sub(60)..at], |age| 0.9_f64.powf(age as f64)), &history[at]);
                count += 1.0;
            }
        }
        let (frozen, all, recent) = (frozen / count, all / count, recent / count);
        assert!(recent > 1.1 * all && recent > 1.2 * frozen, "recent {recent}, all {all}, frozen {frozen}");
    }
}
