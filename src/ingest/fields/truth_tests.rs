//! What is planted can be found in the streams again.

use std::collections::{BTreeMap, BTreeSet};

use super::rhythm::{DAY_MS, HOUR_MS, hour_of, is_weekend};
use super::tests::index;
use super::*;

/// A field with some hundred events a user, and those events by user, in order.
struct Seen {
    users: Vec<UserRow>,
    items: BTreeMap<Id, ItemRow>,
    histories: Vec<Vec<Row>>,
    start_ms: i64,
    end_ms: i64,
}

impl Seen {
    fn of(field: Field, churn: f64) -> Self {
        let options = FieldOptions {
            users: 150,
            items: 1_200,
            events: 60_000,
            days: 120.0,
            seed: 11,
            churn,
            ..FieldOptions::new(field)
        };
        let data = generate(&options);
        let mut histories = vec![Vec::new(); data.users.len()];
        let mut end_ms = 0;
        for event in data.events {
            end_ms = event.row.time_ms;
            histories[index(&event.row.user)].push(event.row);
        }
        let items = data.items.into_iter().map(|item| (item.id.clone(), item)).collect();
        Self { users: data.users, items, histories, start_ms: options.start_ms, end_ms }
    }

    /// Truth and history of each user who has at least so many events.
    fn busy(&self, events: usize) -> impl Iterator<Item = (&Truth, &Vec<Row>)> {
        let both = self.users.iter().map(|user| &user.truth).zip(&self.histories);
        both.filter(move |(_, history)| history.len() >= events)
    }

    fn tag(&self, row: &Row) -> &str {
        &self.items[&row.item].tags[0]
    }

    fn number(&self, row: &Row, name: &str) -> Option<f64> {
        self.items[&row.item].attributes.iter().find_map(|(held, value)| match value {
            Value::Number(number) if *held == name => Some(*number),
            _ => None,
        })
    }

    fn text(&self, row: &Row, name: &str) -> Option<&str> {
        self.items[&row.item].attributes.iter().find_map(|(held, value)| match value {
            Value::Text(text) if *held == name => Some(text.as_str()),
            _ => None,
        })
    }
}

fn is(row: &Row, kind: &str) -> bool {
    row.kind.as_deref() == Some(kind)
}

fn tally(history: &[Row], kind: &str) -> f64 {
    history.iter().filter(|row| is(row, kind)).count() as f64
}

/// Pearson's correlation of the pairs.
fn correlation(pairs: &[(f64, f64)]) -> f64 {
    assert!(pairs.len() >= 60, "only {} pairs", pairs.len());
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sums = pairs.iter().fold((0.0, 0.0, 0.0), |(xx, xy, yy), pair| {
        let (dx, dy) = (pair.0 - x, pair.1 - y);
        (xx + dx * dx, xy + dx * dy, yy + dy * dy)
    });
    sums.1 / (sums.0 * sums.2).sqrt()
}

/// Rows after which at least `gap_ms` is silent, or before: the first of each session.
fn starts(history: &[Row], gap_ms: i64) -> Vec<&Row> {
    let first = |at: &usize| *at == 0 || history[*at].time_ms - history[at - 1].time_ms >= gap_ms;
    (0..history.len()).filter(first).map(|at| &history[at]).collect()
}

#[test]
fn users_have_hours_and_weekends_of_their_own() {
    for (field, gap_ms) in [(Field::Ecommerce, HOUR_MS), (Field::Media, 3 * HOUR_MS), (Field::Social, HOUR_MS / 2)] {
        let seen = Seen::of(field, 0.0);
        let mut apart = Vec::new();
        let mut weekends = Vec::new();
        for (truth, history) in seen.busy(150) {
            let hours: Vec<f64> = starts(history, gap_ms).iter().map(|row| hour_of(row.time_ms)).collect();
            let angle = |hour: &f64| hour / 24.0 * std::f64::consts::TAU;
            let (sin, cos) = hours.iter().map(angle).fold((0.0, 0.0), |(s, c), a| (s + a.sin(), c + a.cos()));
            let middle = sin.atan2(cos) / std::f64::consts::TAU * 24.0;
            let off = (middle - truth.peak_hour).rem_euclid(24.0);
            apart.push(off.min(24.0 - off));
            let weekend = history.iter().filter(|row| is_weekend(row.time_ms)).count() as f64;
            weekends.push((truth.weekend, (weekend / 2.0) / ((history.len() as f64 - weekend) / 5.0)));
        }
        let mean = apart.iter().sum::<f64>() / apart.len() as f64;
        assert!(mean < 1.5, "{}: users are {mean} hours off their peak", field.name());
        let found = correlation(&weekends);
        assert!(found > 0.3, "{}: weekends {found}", field.name());
    }
}

#[test]
fn evening_people_watch_in_the_evening() {
    let seen = Seen::of(Field::Media, 0.0);
    let (mut evening, mut all) = (0, 0);
    for (truth, history) in seen.busy(100) {
        if (19.5..21.5).contains(&truth.peak_hour) {
            all += history.len();
            // To one at night.
            evening += history.iter().filter(|row| hour_of(row.time_ms + 7 * HOUR_MS) < 8.0).count();
        }
    }
    assert!(all > 5_000 && evening as f64 > 0.75 * all as f64, "{evening} of {all} events");
}

#[test]
fn events_come_in_bursts_with_days_between() {
    for field in Field::ALL {
        let seen = Seen::of(field, 0.0);
        let mut gaps: Vec<i64> = Vec::new();
        for (_, history) in seen.busy(20) {
            gaps.extend(history.windows(2).map(|pair| pair[1].time_ms - pair[0].time_ms));
        }
        let share = |of: &dyn Fn(i64) -> bool| gaps.iter().filter(|gap| of(**gap)).count() as f64 / gaps.len() as f64;
        let (short, long) = (share(&|gap| gap < HOUR_MS), share(&|gap| gap > 8 * HOUR_MS));
        assert!(short > 0.55 && long > 0.03, "{}: {short} within an hour, {long} after a night", field.name());
        // Busy days have several sessions.
        assert!(short + long > 0.8, "{}: {short} within an hour, {long} after a night", field.name());
    }
}

#[test]
fn favourite_tags_have_most_of_what_is_done_and_novelty_the_rest() {
    for (field, kind) in [
        (Field::Ecommerce, "view"),
        (Field::Media, "impression"),
        (Field::Social, "view"),
        (Field::Health, "content_read"),
        (Field::Finance, "payment"),
    ] {
        let seen = Seen::of(field, 0.0);
        let mut pairs = Vec::new();
        for (truth, history) in seen.busy(150) {
            let rows: Vec<&Row> = history.iter().filter(|row| is(row, kind)).collect();
            let liked =
                rows.iter().filter(|row| truth.favourite_tags.iter().any(|tag| tag == seen.tag(row))).count() as f64;
            if rows.len() >= 20 {
                pairs.push((truth.novelty, liked / rows.len() as f64));
            }
        }
        let steady: Vec<f64> = pairs.iter().filter(|pair| pair.0 < 0.05).map(|pair| pair.1).collect();
        let mean = steady.iter().sum::<f64>() / steady.len() as f64;
        assert!(mean > 0.7, "{}: {mean} of what steady users do is to their taste", field.name());
        let found = correlation(&pairs);
        assert!(found < -0.5, "{}: novelty against favourites {found}", field.name());
    }
}

#[test]
fn users_leave_for_ever_and_some_slow_down_before() {
    for field in Field::ALL {
        let seen = Seen::of(field, 0.5);
        let left = seen.users.iter().filter(|user| user.truth.churned_at_ms.is_some()).count();
        assert!((55..95).contains(&left), "{}: {left} of 150 leave", field.name());
        let (mut before, mut slow) = ((0.0, 0.0), (0.0, 0.0));
        for (truth, history) in seen.busy(1) {
            if let Some(left_ms) = truth.churned_at_ms {
                assert!(history.iter().all(|row| row.time_ms < left_ms), "{}", field.name());
            }
            let (Some(from_ms), Some(left_ms)) = (truth.slows_from_ms, truth.churned_at_ms) else { continue };
            let begin_ms = truth.joined_at_ms.max(seen.start_ms);
            // The second half of slowing down, where the rate is well below a half.
            let half_ms = from_ms + (left_ms - from_ms) / 2;
            let within = |low: i64, high: i64| {
                let events = history.iter().filter(|row| (low..high).contains(&row.time_ms)).count() as f64;
                (events, (high - low) as f64 / DAY_MS as f64)
            };
            let (one, two) = (within(begin_ms, from_ms), within(half_ms, left_ms));
            before = (before.0 + one.0, before.1 + one.1);
            slow = (slow.0 + two.0, slow.1 + two.1);
        }
        let ratio = (slow.0 / slow.1) / (before.0 / before.1);
        assert!(ratio < 0.65, "{}: {ratio} of the events a day when slow", field.name());
        // Those who stay go on to the end.
        let stays = seen.busy(250).filter(|(truth, _)| truth.churned_at_ms.is_none());
        let silent = |history: &Vec<Row>| history.last().is_none_or(|row| seen.end_ms - row.time_ms > 20 * DAY_MS);
        let (silent, all) = stays.fold((0, 0), |(s, all), (_, h)| (s + usize::from(silent(h)), all + 1));
        assert!(silent * 20 <= all, "{}: {silent} of {all} who stay are silent at the end", field.name());
    }
}

#[test]
fn shoppers_buy_by_price_and_brand() {
    let seen = Seen::of(Field::Ecommerce, 0.0);
    let (mut by_price, mut by_brand) = (Vec::new(), Vec::new());
    for (truth, history) in seen.busy(150) {
        let price = |row: &Row| seen.number(row, "price").unwrap();
        let (mut dear, mut chosen, mut own, mut bought) = (0.0, 0.0, 0.0, 0.0);
        for (at, row) in history.iter().enumerate().filter(|(_, row)| is(row, "purchase")) {
            assert!((f64::from(row.value) - price(row)).abs() < 0.01 * price(row), "{row:?}");
            let session = history[..at].iter().rev().take_while(|before| row.time_ms - before.time_ms < HOUR_MS);
            let looked: Vec<f64> = session.filter(|before| is(before, "view")).map(price).collect();
            assert!(!looked.is_empty(), "bought unseen: {row:?}");
            own += if seen.text(row, "brand") == truth.favourite_brand.as_deref() { 1.0 } else { 0.0 };
            bought += 1.0;
            if looked.len() >= 3 {
                // 0 for the cheapest, 1 for the dearest of what was seen.
                let lower = looked.iter().filter(|other| **other < price(row)).count() as f64;
                let higher = looked.iter().filter(|other| **other > price(row)).count() as f64;
                dear += if lower + higher > 0.0 { lower / (lower + higher) } else { 0.5 };
                chosen += 1.0;
            }
        }
        if chosen >= 6.0 {
            by_price.push((truth.price_sensitivity, dear / chosen));
            by_brand.push((truth.loyalty, own / bought));
        }
    }
    let (price, brand) = (correlation(&by_price), correlation(&by_brand));
    assert!(price < -0.55, "price sensitivity against the place among prices seen: {price}");
    assert!(brand > 0.7, "loyalty against purchases of the brand: {brand}");
}

#[test]
fn viewers_binge_and_play_no_longer_than_there_is() {
    let seen = Seen::of(Field::Media, 0.0);
    let mut pairs = Vec::new();
    for (truth, history) in seen.busy(150) {
        let plays: Vec<&Row> = history.iter().filter(|row| is(row, "play")).collect();
        assert!(plays.iter().all(|row| f64::from(row.value) <= seen.number(row, "duration_s").unwrap() + 1.0));
        let next = |pair: &&[&Row]| {
            let (Id::Int(one), Id::Int(two)) = (&pair[0].item, &pair[1].item) else { panic!("items are numbers") };
            one + 1 == *two && seen.text(pair[0], "series") == seen.text(pair[1], "series")
        };
        pairs.push((truth.binge, plays.windows(2).filter(next).count() as f64 / plays.len() as f64));
    }
    let found = correlation(&pairs);
    assert!(found > 0.6, "binge against next episodes: {found}");
}

#[test]
fn risky_clients_are_declined_and_pay_late() {
    let seen = Seen::of(Field::Finance, 0.0);
    let (mut declines, mut lates, mut gambles) = (Vec::new(), Vec::new(), Vec::new());
    for (truth, history) in seen.busy(150) {
        let [paid, declined] = ["payment", "card_decline"].map(|kind| tally(history, kind));
        declines.push((truth.risk, declined / (paid + declined)));
        let gambled = history.iter().filter(|row| ["gambling", "trading"].contains(&seen.tag(row))).count() as f64;
        gambles.push((truth.risk, gambled / (paid + declined)));
    }
    for (truth, history) in seen.busy(1) {
        let [kept, late] = ["loan_payment", "late_payment"].map(|kind| tally(history, kind));
        if kept + late >= 2.0 {
            lates.push((truth.risk, late / (kept + late)));
        }
    }
    let found = [&declines, &lates, &gambles].map(|pairs| correlation(pairs));
    assert!(found[0] > 0.8 && found[1] > 0.4 && found[2] > 0.25, "declines, late payments, gambling: {found:?}");
}

#[test]
fn posts_are_seen_after_they_are_posted_and_follows_are_made_once() {
    let seen = Seen::of(Field::Social, 0.0);
    let mut followed = BTreeSet::new();
    for row in seen.histories.iter().flatten() {
        let account = seen.text(row, "type") == Some("account");
        assert_eq!(account, is(row, "follow"), "{row:?}");
        if account {
            assert!(followed.insert((row.user.clone(), row.item.clone())), "followed twice: {row:?}");
        } else {
            assert!(row.time_ms as f64 >= seen.number(row, "posted_ms").unwrap(), "{row:?}");
        }
    }
    let rate = |kind: &str, liked: bool| {
        let (mut seen_posts, mut acted) = (0.0, 0.0);
        for (truth, history) in seen.busy(1) {
            let of = |row: &&Row| (truth.favourite_tags[0] == seen.tag(row)) == liked;
            let rows: Vec<Row> = history.iter().filter(of).cloned().collect();
            seen_posts += tally(&rows, "view");
            acted += tally(&rows, kind);
        }
        acted / seen_posts
    };
    assert!(rate("like", true) > 2.0 * rate("like", false), "{} {}", rate("like", true), rate("like", false));
    assert!(rate("hide", false) > 3.0 * rate("hide", true), "{} {}", rate("hide", false), rate("hide", true));
}

#[test]
fn patients_keep_to_their_routine_except_in_lapses() {
    let seen = Seen::of(Field::Health, 0.0);
    let mut pairs = Vec::new();
    let mut lapses = 0;
    for (truth, history) in seen.busy(100) {
        let lapsed = |row: &&Row| truth.lapses.iter().any(|(from, to)| (*from..=*to).contains(&row.time_ms));
        for row in history.iter().filter(lapsed) {
            lapses += 1;
            let done = ["workout", "medication_taken", "content_read"].iter().any(|kind| is(row, kind));
            assert!(!done, "in a lapse: {row:?} {:?}", truth.lapses);
        }
        let outside: Vec<Row> = history.iter().filter(|row| !lapsed(row)).cloned().collect();
        let [taken, missed] = ["medication_taken", "missed_dose"].map(|kind| tally(&outside, kind));
        pairs.push((truth.adherence, taken / (taken + missed)));
        let mornings: Vec<f64> =
            history.iter().filter(|row| is(row, "sleep")).map(|row| hour_of(row.time_ms)).collect();
        let mean = mornings.iter().sum::<f64>() / mornings.len() as f64;
        let spread = mornings.iter().map(|hour| (hour - mean).powi(2)).sum::<f64>() / mornings.len() as f64;
        assert!(spread.sqrt() < 0.4, "mornings spread by {} hours", spread.sqrt());
    }
    assert!(lapses > 1_000, "{lapses} events in lapses");
    let found = correlation(&pairs);
    assert!(found > 0.7, "adherence against doses taken: {found}");
}
