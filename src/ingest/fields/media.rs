//! Films and series: what is shown, played (seconds), finished, liked, passed over, rated.
//!
//! A session shows some titles and plays one of them; more is played of what is liked. *Planted*: sessions cluster in the
//! evening and at weekends, for each user at hours of its own; after a finished episode the next one of the series is played
//! with probability `binge`. Two thirds of the items are episodes, eight a series, of one genre.

use super::people::{Person, Taste};
use super::rhythm::{DAY_MS, HOUR_MS, Habits};
use super::stream::{Act, Behaviour, World};
use super::world::{
    Shelf, age, chance, choose, date, home, known, list, pick, popularity, shelves, stars, text, topics, wait_ms, whole,
};
use super::{FieldKind, FieldOptions, ItemRow, UserRow};
use crate::base::{Id, Rng};
use crate::ingest::generate::below;
use crate::model::Value;

pub(super) const KINDS: &[FieldKind] = &[
    FieldKind { name: "impression", range: None },
    FieldKind { name: "play", range: Some((0.0, 43_200.0)) },
    FieldKind { name: "finish", range: None },
    FieldKind { name: "like", range: None },
    FieldKind { name: "skip", range: None },
    FieldKind { name: "rate", range: Some((1.0, 5.0)) },
];

pub(super) const USER_ATTRIBUTES: &[&str] = &["signup", "plan", "age", "country", "devices", "languages", "kids"];

pub(super) const ITEM_ATTRIBUTES: &[&str] =
    &["title", "genre", "format", "series", "duration_s", "language", "released"];

const GENRES: [&str; 12] = [
    "drama",
    "comedy",
    "thriller",
    "documentary",
    "action",
    "romance",
    "horror",
    "scifi",
    "animation",
    "crime",
    "sport",
    "history",
];
const MOODS: [&str; 6] = ["light", "dark", "slow", "fast", "warm", "tense"];
const PLANS: [&str; 3] = ["free", "basic", "premium"];
const DEVICES: [&str; 4] = ["tv", "phone", "tablet", "web"];
const LANGUAGES: [&str; 6] = ["en", "de", "fr", "es", "hi", "ja"];
/// Episodes of a series, which stand side by side.
const EPISODES: usize = 8;
/// Most episodes of one session: a day has an end.
const BINGE_MAX: usize = 8;

const HABITS: Habits = Habits {
    peak_hour: (20.0, 2.5),
    sharpness: 5.0,
    weekend: (1.0, 3.0),
    slots: &[],
    gap_ms: 3 * HOUR_MS,
    session_ms: 100 * 60_000,
};

#[derive(Debug)]
struct Viewer {
    taste: Taste,
    binge: f64,
}

#[derive(Debug)]
struct Cinema {
    viewers: Vec<Viewer>,
    genres: Vec<usize>,
    durations_s: Vec<f64>,
    quality: Vec<f64>,
    by_genre: Vec<Shelf>,
    /// Items from this one on are films.
    films_from: usize,
}

pub(super) fn build(options: &FieldOptions, rng: &mut Rng) -> World {
    let (items, mut cinema) = titles(options, rng);
    let (mut users, mut people) = (Vec::new(), Vec::new());
    for id in 1..=u64::from(options.users) {
        let person = Person::draw(options, HABITS, rng);
        let viewer = Viewer { taste: Taste::draw(GENRES.len(), rng), binge: 0.9 * rng.unit() };
        let mut truth = person.truth(&viewer.taste, &GENRES);
        truth.binge = viewer.binge;
        let (country, _) = home(rng);
        let attributes = vec![
            ("signup", date(person.joined_at_ms)),
            ("plan", text(PLANS[usize::from(chance(0.7, rng)) + usize::from(chance(0.4, rng))])),
            ("age", age(36.0, 14.0, rng)),
            ("country", country),
            ("devices", list(&DEVICES, 1 + below(rng, 3), rng)),
            ("languages", list(&LANGUAGES, 1 + below(rng, 2), rng)),
            ("kids", Value::Bool(chance(0.15, rng))),
        ];
        let attributes = known(attributes, 2, rng);
        users.push(UserRow { id: Id::Int(id), attributes, truth });
        people.push(person);
        cinema.viewers.push(viewer);
    }
    World { habits: HABITS, users, items, people, behaviour: Box::new(cinema) }
}

fn titles(options: &FieldOptions, rng: &mut Rng) -> (Vec<ItemRow>, Cinema) {
    let count = options.items as usize;
    let series = count * 2 / 3 / EPISODES;
    let films_from = series * EPISODES;
    // Films first: each genre has one of them, however few series there are.
    let of_films = topics(GENRES.len(), count - films_from, rng);
    let of_series: Vec<usize> = (0..series).map(|_| below(rng, GENRES.len())).collect();
    let genres: Vec<usize> = (0..films_from).map(|item| of_series[item / EPISODES]).chain(of_films).collect();
    let popularity = popularity(count, rng);
    let quality = (0..count).map(|_| rng.normal()).collect();
    let (mut items, mut durations_s) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for item in 0..count {
        let genre = GENRES[genres[item]];
        let film = item >= films_from;
        let minutes = if film { 100.0 + 18.0 * rng.normal() } else { 42.0 + 10.0 * rng.normal() };
        let duration_s = (minutes.clamp(12.0, 180.0) * 60.0).round();
        let released_ms = options.start_ms - DAY_MS - (rng.unit().powi(2) * 30.0 * 365.0 * DAY_MS as f64) as i64;
        let (mut attributes, title) = if film {
            (Vec::new(), format!("film {}", item - films_from + 1))
        } else {
            let name = format!("series {}", item / EPISODES + 1);
            let title = format!("{name}, episode {}", item % EPISODES + 1);
            (vec![("series", Value::Text(name))], title)
        };
        attributes.extend([
            ("title", Value::Text(title)),
            ("genre", text(genre)),
            ("format", text(if film { "film" } else { "episode" })),
            ("duration_s", Value::Number(duration_s)),
            ("language", text(pick(&LANGUAGES, rng))),
            ("released", date(released_ms)),
        ]);
        attributes.sort_by_key(|(name, _)| ITEM_ATTRIBUTES.iter().position(|column| column == name));
        let tags = vec![genre.to_owned(), pick(&MOODS, rng).to_owned()];
        items.push(ItemRow { id: Id::Int(item as u64 + 1), tags, attributes });
        durations_s.push(duration_s);
    }
    let by_genre = shelves(GENRES.len(), &genres, &popularity);
    (items, Cinema { viewers: Vec::new(), genres, durations_s, quality, by_genre, films_from })
}

impl Cinema {
    fn offer(&self, viewer: &Viewer, rng: &mut Rng) -> usize {
        if viewer.taste.roams(rng) {
            return below(rng, self.genres.len());
        }
        self.by_genre[viewer.taste.topic(rng)].draw(rng).unwrap_or(0)
    }

    /// Plays an item; gives when that ends, and whether it was seen to its end.
    fn play(&self, viewer: &Viewer, item: usize, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> (i64, bool) {
        let liking = viewer.taste.liking(self.genres[item]);
        let finished = chance((0.25 + 0.45 * liking + 0.1 * self.quality[item]).clamp(0.05, 0.95), rng);
        let part = if finished { 0.92 + 0.08 * rng.unit() } else { 0.9 * rng.unit().powi(2) };
        let seconds = whole(part * self.durations_s[item], 1.0, 43_200.0);
        let end_ms = time_ms + (seconds * 1_000.0) as i64;
        let mut put = |kind, value| acts.push(Act { time_ms: end_ms, item, kind, value });
        put("play", seconds);
        if finished {
            put("finish", 1.0);
        } else if part < 0.05 {
            put("skip", 1.0);
        }
        if part > 0.5 && chance(0.25 * liking, rng) {
            put("like", 1.0);
        }
        if finished && chance(0.12, rng) {
            put("rate", stars(2.7 + 1.2 * liking + 0.6 * self.quality[item] + 0.5 * rng.normal()));
        }
        (end_ms, finished)
    }
}

impl Behaviour for Cinema {
    fn session(&mut self, user: usize, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let viewer = &self.viewers[user];
        let mut shown: Vec<usize> = Vec::new();
        for _ in 0..3 + below(rng, 4) {
            let item = self.offer(viewer, rng);
            if !shown.contains(&item) {
                shown.push(item);
            }
        }
        let mut at_ms = time_ms;
        for &item in &shown {
            acts.push(Act { time_ms: at_ms, item, kind: "impression", value: 1.0 });
            at_ms += wait_ms(4.0, rng);
        }
        let utilities: Vec<f64> = shown.iter().map(|&item| 2.5 * viewer.taste.liking(self.genres[item])).collect();
        let mut item = shown[choose(&utilities, rng)];
        for &passed in shown.iter().filter(|&&other| other != item) {
            if chance(0.06, rng) {
                acts.push(Act { time_ms: at_ms, item: passed, kind: "skip", value: 1.0 });
            }
        }
        for _ in 0..BINGE_MAX {
            let (end_ms, finished) = self.play(viewer, item, at_ms, rng, acts);
            at_ms = end_ms + wait_ms(20.0, rng);
            let last = item >= self.films_from || item % EPISODES == EPISODES - 1;
            if !finished || last || !chance(viewer.binge, rng) {
                break;
            }
            item += 1;
        }
        at_ms
    }
}
