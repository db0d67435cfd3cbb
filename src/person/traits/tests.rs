//! Traits of users who do one thing only.

use super::*;
use crate::base::Rng;
use crate::model::{History, Kind};
use crate::person::{Described, Seen};

const MINUTE_MS: i64 = 60_000;

fn schema() -> Schema {
    let buy = Kind { unit: "money".into(), ..Kind::new(4, "purchase", 2.0) };
    Schema::of([Kind::new(1, "view", 0.2), buy, Kind { sign: -1, ..Kind::new(6, "skip", 0.0) }])
}

/// Events as (hours, item, kind), with items of one brand a row of ten and prices 2^item.
fn traits(events: &[(i64, u32, u8)]) -> Vec<Trait> {
    let at: Vec<(i64, u32, u8)> = events.iter().map(|(hours, item, kind)| (60 * hours, *item, *kind)).collect();
    traits_of(&at)
}

/// The same with minutes.
fn traits_of(events: &[(i64, u32, u8)]) -> Vec<Trait> {
    let schema = schema();
    let (mut person, mut history) = (Person::default(), History::default());
    for (minutes, item, kind) in events {
        let time_ms = MINUTE_MS * minutes;
        history.push(Entry { time_ms, item: *item, kind: *kind, ..Entry::default() }, 1_000);
        let described = Described { facets: vec![item / 10], log_price: *item as f32 };
        let kind = schema.kinds.get(*kind).expect("there");
        person.count(&schema, &Seen { kind, value: 1.0, time_ms, item: &described }, 1);
    }
    let timeline = Timeline::of(&history, schema.session_gap_ms);
    let is_brand = |number| number < 5;
    let log_price = |entry: &Entry| entry.item as f32;
    let (person, timeline, schema, whole) = (&person, &timeline, &schema, history.len() == events.len());
    built_in(&Facts { person, timeline, schema, is_brand: &is_brand, whole, log_price: &log_price })
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

/// Books for some coins and sofas for hundreds: of each visit the cheapest is bought, or the dearest, and there are more
/// visits to books or to sofas.
#[test]
fn prices_are_compared_with_what_else_there_was() {
    let visits = |cheap: bool, sofas: i64| {
        let mut events = Vec::new();
        for visit in 0..30 {
            let shelf = if visit % 10 < sofas { 40 } else { 0 };
            events.extend((0..5).map(|at| (600 * visit + at, shelf + at as u32, 1)));
            events.push((600 * visit + 6, if cheap { shelf } else { shelf + 4 }, 4));
        }
        value(&traits_of(&events), "price_sensitivity")
    };
    for sofas in [1, 5, 9] {
        assert!(visits(true, sofas) > 1.0, "{sofas}: {}", visits(true, sofas));
        assert!(visits(false, sofas) < -1.0, "{sofas}: {}", visits(false, sofas));
    }
}

#[test]
fn novelty_does_not_fall_as_events_gather() {
    // Of 50 items one after the other, or of 5.
    let of = |items: i64, visits: i64| {
        let mut rng = crate::base::Rng::new(7);
        let events: Vec<_> = (0..visits).map(|at| (2 * at, rng.below(items as u64) as u32, 1)).collect();
        value(&traits(&events), "novelty_seeking")
    };
    let (early, late) = (of(50, 60), of(50, 900));
    assert!((early - late).abs() < 0.1, "{early} {late}");
    assert!((of(5, 60) - of(5, 900)).abs() < 0.05 && of(5, 900) < 0.2 && late > 0.5);
    // By hand: of 50 items alike 40 visits find 50 (1 - 0.98^40) = 27.7, a little more where none is drawn twice.
    assert!((late - (1.0 + 27.9) / 42.0).abs() < 0.01, "{late}");
    // Looked at, opened and bought in one session is one visit.
    let thrice: Vec<_> = (0..20).flat_map(|at| (0..3).map(move |step| (60 * at + step, at as u32, 1))).collect();
    assert!((value(&traits_of(&thrice), "novelty_seeking") - 21.0 / 22.0).abs() < 1e-12);
}

#[test]
fn a_peak_is_an_hour_with_events() {
    // Mornings at seven and, more often, evenings at seven: their mean direction is neither.
    let both: Vec<_> = (0..60).map(|day| (24 * day + if day % 5 < 2 { 7 } else { 19 }, 1, 1)).collect();
    assert!((value(&traits(&both), "peak_hour") - 19.5).abs() < 0.01);
    // About midnight.
    let late: Vec<_> = (0..60).map(|day| (24 * day + 23 + day % 3, 1, 1)).collect();
    assert!((value(&traits(&late), "peak_hour") - 0.5).abs() < 0.05);
    let always: Vec<_> = (0..480).map(|hour| (hour, 1, 1)).collect();
    assert!(traits(&always).iter().all(|one| one.name != "peak_hour"), "no hour is busier");
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

#[test]
fn what_gave_way_is_told() {
    let of = |visits: i64| {
        let events: Vec<_> = (0..visits).map(|at| (at, at as u32 % 60, if at % 3 == 0 { 4 } else { 1 })).collect();
        let traits = traits(&events);
        traits.into_iter().filter(|one| !one.order_free).map(|one| one.name).collect::<Vec<_>>()
    };
    assert_eq!(of(1_000), [""; 0]);
    assert_eq!(of(1_001), ["price_sensitivity", "novelty_seeking", "impulsiveness", "burstiness", "session_mood"]);
}

/// What is looked up and remembered on the way changes no bit of what the definitions say, taken at their word.
#[test]
fn traits_are_their_definitions_to_the_bit() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut minute = 0;
        let events: Vec<(i64, u32, u8)> = (0..2 + rng.below(150))
            .map(|_| {
                minute += if rng.below(4) == 0 { 60 * rng.below(40) as i64 } else { rng.below(20) as i64 };
                (minute, rng.below(60) as u32, [1, 1, 4][rng.below(3) as usize])
            })
            .collect();
        let told = traits_of(&events);
        let mut history = History::default();
        for (minute, item, kind) in &events {
            history.push(Entry { time_ms: MINUTE_MS * minute, item: *item, kind: *kind, ..Entry::default() }, 1_000);
        }
        let timeline = Timeline::of(&history, schema().session_gap_ms);
        let (entries, sessions) = (timeline.entries(), timeline.sessions());

        let (mut bought, mut at_once) = (0, 0);
        for session in sessions {
            for entry in entries[session.first..session.end].iter().filter(|entry| entry.kind == 4) {
                bought += 1;
                at_once += usize::from(!entries[..session.first].iter().any(|before| before.item == entry.item));
            }
        }
        let expected = beta(at_once as f64, bought as f64, bought);
        assert_eq!(told_of(&told, "impulsiveness"), expected, "seed {seed}");

        let visits_of = |item: u32| {
            sessions.iter().filter(|of| entries[of.first..of.end].iter().any(|entry| entry.item == item)).count()
        };
        let counts: Vec<usize> = (0..60).map(visits_of).filter(|count| *count > 0).collect();
        let all = counts.iter().sum::<usize>();
        let drawn = all.min(40);
        let absent = |count: usize| {
            (0..drawn).fold(1.0, |share, taken| {
                let left = all as f64 - taken as f64;
                share * ((all as f64 - count as f64 - taken as f64) / left).max(0.0)
            })
        };
        let different: f64 = counts.iter().map(|count| 1.0 - absent(*count)).sum();
        assert_eq!(told_of(&told, "novelty_seeking"), beta(different, drawn as f64, all), "seed {seed}");
    }
}

/// What is told of a trait: mean, deviation, observations.
fn told_of(traits: &[Trait], name: &str) -> Option<Told> {
    traits.iter().find(|one| one.name == name).map(|one| (one.value, one.deviation, one.evidence))
}
