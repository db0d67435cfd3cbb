//! The text and the JSON of a person made by hand.

use super::*;
use crate::base::Id;
use crate::model::{AttributeRule, AttributeType, Kind, TraitRule};
use crate::wire::portrait::{
    AttributeFact, BehaviourSums, ControlInForce, FacetAffinity, InterestOf, ModalityTaste, TraitValue,
};
use crate::wire::types::{AttributeValue, RecentEvent, ScoredItem};

const DAY_MS: i64 = 86_400_000;
const AT_MS: i64 = 1_700_000_000_000;

fn facet(name: &str, events: u32, [share, lift, low, high, liked]: [f64; 5], recent: [f64; 2]) -> FacetAffinity {
    let (name, [liked_middle, liked_long]) = (name.to_owned(), recent);
    FacetAffinity { name, events, share, lift, lift_low: low, lift_high: high, liked, liked_middle, liked_long }
}

fn of_trait(name: &str, value: f64, deviation: f64) -> TraitValue {
    TraitValue { name: name.into(), value, deviation, evidence: 1_204, order_free: name != "churn_risk" }
}

fn fact(name: &str, value: AttributeValue, expires_ms: i64, sensitive: bool) -> AttributeFact {
    AttributeFact { name: name.into(), value, time_ms: AT_MS - 40 * DAY_MS, expires_ms, sensitive }
}

fn behaviours() -> Vec<BehaviourSums> {
    let view = BehaviourSums {
        kind: 1,
        name: "view".into(),
        unit: String::new(),
        events: 1_180,
        last_ms: AT_MS - 3 * 3_600_000,
        sum: 1_180.0,
        mean: 1.0,
        deviation: 0.0,
        counts: vec![0.125, 3.42, 61.2],
        amounts: vec![0.0; 3],
    };
    let purchase = BehaviourSums {
        kind: 4,
        name: "purchase".into(),
        unit: "money".into(),
        events: 24,
        last_ms: AT_MS - 2 * DAY_MS,
        sum: 1_204.5,
        mean: 50.1875,
        deviation: 12.3,
        counts: vec![0.0, 0.25, 8.2],
        amounts: vec![0.0, 12.5, 400.0],
    };
    vec![view, purchase]
}

/// A customer of a shop.
fn person() -> Person {
    let (mut hours, mut days) = (vec![0; 24], vec![10; 7]);
    hours[19..23].copy_from_slice(&[20, 80, 60, 10]);
    days[6] = 70;
    let control = |control: &str, name: &str, item, share, time_ms| ControlInForce {
        control: control.into(),
        name: name.into(),
        item,
        share,
        time_ms,
    };
    Person {
        user: Id::Int(42),
        version: 1_207,
        events: 1_204,
        first_ms: AT_MS - 134 * DAY_MS,
        last_ms: AT_MS - 3 * 3_600_000,
        at_ms: AT_MS,
        half_lives_s: vec![3_600.0, 86_400.0, 2_592_000.0],
        attributes: vec![
            fact("born", AttributeValue::Number(315_532_800_000.0), 0, false),
            fact("tier", AttributeValue::Text("gold".into()), AT_MS + 30 * DAY_MS, true),
        ],
        missing: vec!["signup".into()],
        behaviours: behaviours(),
        facets: vec![
            facet("brand=acme", 301, [0.25, 4.0, 3.5, 4.55, 0.5], [0.1, 4.0]),
            facet("comedy", 602, [0.5, 2.0, 1.9, 2.1, 0.75], [0.8, 4.0]),
            facet("crime", 12, [0.01, 0.2, 0.1, 0.35, -0.5], [-0.1, -1.0]),
        ],
        facets_dropped: 2,
        hours,
        days,
        retained: 256,
        sessions: 34,
        session_events: 7.53,
        session_length_ms: 720_000.0,
        session_return_ms: 1.9 * DAY_MS as f64,
        newest_begin_ms: AT_MS - 3 * 3_600_000 - 180_000,
        newest_length_ms: 180_000,
        newest_events: 4,
        interests: vec![InterestOf { item: "item-12".into(), items: 14, now: 0.6, long: 0.3, unity: 0.83 }],
        traits: vec![
            of_trait("price_sensitivity", 0.8, 0.3),
            of_trait("peak_hour", 20.9, 0.5),
            of_trait("churn_risk", 0.12, 0.04),
            of_trait("basket", 50.1875, f64::NAN),
        ],
        controls: vec![
            control("mute_facet", "crime", None, 0.0, 0),
            control("mute_item", "", Some(Id::Int(9)), 0.0, 0),
            control("less", "brand=acme", None, 0.25, 0),
            control("pause", "", None, 0.0, AT_MS - 5 * DAY_MS),
        ],
        person_bytes: 5_120,
    }
}

fn profile(person: Person) -> Profile {
    let mut schema =
        Schema::of([Kind::new(1, "view", 0.2), Kind { half_life_s: 7_776_000.0, ..Kind::new(4, "buy", 2.0) }]);
    schema.user = vec![AttributeRule::new("born", AttributeType::Date)];
    schema.traits = vec![TraitRule { name: "basket".into(), formula: "sum(\"purchase\") / 24".into() }];
    let recent = vec![RecentEvent { item: Id::Int(9), kind: 4, value: 49.5, time_ms: AT_MS - 2 * DAY_MS }];
    let rest = ProfileGetReply {
        user: person.user.clone(),
        shard: 3,
        version: person.version,
        events: person.events,
        first_ms: person.first_ms,
        last_ms: person.last_ms,
        value_mean: f64::NAN,
        attributes: Vec::new(),
        arms: vec![ArmProfile { strategy: "decay".into(), epoch: 2, factor: vec![0.6, 0.8] }],
        recent,
        digest: 0xAB,
    };
    let kinds = vec![KindInfo { code: 4, name: "purchase".into(), weight: 2.0 }];
    let modality = |name: &str, dim, weight, evidence, agreement| {
        let (name, items) = (name.to_owned(), 12_000);
        ModalityTaste { name, dim, items, weight, evidence, agreement }
    };
    let taste = ProfileEmbeddingReply {
        version: 1_207,
        modalities: vec![
            modality("text", 384, 1.2, 20, 0.61),
            modality("image", 512, 0.4, 11, 0.35),
            modality("sound", 64, 1.0, 0, 0.0),
        ],
        vector: Vec::new(),
        nearest: vec![ScoredItem { item: "item-77".into(), score: 2.5 }, ScoredItem { item: Id::Int(5), score: 2.25 }],
    };
    Profile { person, rest, taste, kinds, schema: Some(schema) }
}

fn shown(parts: &[Part]) -> Shown<'_> {
    Shown { parts, facets: 12, vector: false, look: Look { unicode: true, colour: false } }
}

fn told(profile: &Profile, shown: Shown<'_>) -> String {
    text::whole(profile, shown).lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn a_whole_person_is_told() {
    let told = told(&profile(person()), shown(&[]));
    let expected = include_str!("../../../tests/fixtures/cli/profile.txt");
    assert!(told == expected, "told is\n{told}");
}

#[test]
fn parts_stand_alone_and_empty_ones_are_silent() {
    let all = profile(person());
    let controls = told(&all, shown(&[Part::Controls, Part::Recent]));
    assert!(controls.contains("at most") && controls.contains("recent"), "{controls}");
    assert!(!controls.contains("traits") && !controls.contains("likes"), "{controls}");

    let mut empty = profile(person());
    let Person { user, half_lives_s, at_ms, .. } = person();
    empty.person = Person {
        user,
        version: 1,
        events: 0,
        first_ms: 0,
        last_ms: 0,
        at_ms,
        half_lives_s,
        attributes: Vec::new(),
        missing: Vec::new(),
        behaviours: Vec::new(),
        facets: Vec::new(),
        facets_dropped: 0,
        hours: vec![0; 24],
        days: vec![0; 7],
        retained: 0,
        sessions: 0,
        session_events: f64::NAN,
        session_length_ms: f64::NAN,
        session_return_ms: f64::NAN,
        newest_begin_ms: 0,
        newest_length_ms: 0,
        newest_events: 0,
        interests: Vec::new(),
        traits: Vec::new(),
        controls: Vec::new(),
        person_bytes: 0,
    };
    (empty.rest.arms, empty.rest.recent) = (Vec::new(), Vec::new());
    empty.taste.modalities.iter_mut().for_each(|modality| modality.evidence = 0);
    let told = told(&empty, shown(&[]));
    let head = "user 42: 0 events\nversion 1, shard 3, digest 00000000000000ab, 0 B beside history and vectors\n";
    assert_eq!(told, head);
}

#[test]
fn without_unicode_all_is_ascii_and_colours_change_no_column() {
    let all = profile(person());
    let plain = told(&all, Shown { look: Look { unicode: false, colour: false }, ..shown(&[]) });
    assert!(plain.is_ascii(), "{plain}");
    let fine = told(&all, shown(&[]));
    assert_eq!(plain.lines().count(), fine.lines().count());
    let bold = told(&all, Shown { look: Look { unicode: true, colour: true }, ..shown(&[]) });
    assert!(bold.contains("\u{1b}[1mtraits\u{1b}[0m"), "{bold}");
    assert_eq!(console::strip_ansi_codes(&bold), fine);
}

#[test]
fn machines_get_every_figure_and_null_where_there_is_none() {
    let all = json::whole(&profile(person()), shown(&[]));
    let none = &serde_json::Value::Null;
    assert_eq!((&all["traits"][3]["deviation"], &all["value_mean"]), (none, none));
    assert_eq!((&all["attributes"][0]["expires_ms"], &all["controls"][0]["item"]), (none, none));
    assert_eq!(all["behaviours"][1]["amounts"], serde_json::json!([0.0, 12.5, 400.0]));
    assert_eq!((&all["facets"][2]["liked"], &all["digest"]), (&(-0.5).into(), &"00000000000000ab".into()));
    assert_eq!(all["rhythm"]["hours"].as_array().map(Vec::len), Some(24));
    assert_eq!((&all["recent"][0]["kind"], &all["sessions"]["newest"]["events"]), (&"purchase".into(), &4.into()));
    assert_eq!((&all["modalities"][1]["evidence"], &all["nearest"][0]["item"]), (&11.into(), &"item-77".into()));
    let some = json::whole(&profile(person()), shown(&[Part::Traits]));
    assert!(some.get("facets").is_none() && some.get("traits").is_some() && some.get("version").is_some(), "{some}");
}

#[test]
fn numbers_have_the_digits_that_matter() {
    let cases = [(0.0, "0"), (0.25, "0.25"), (0.999, "1"), (3.42, "3.4"), (61.2, "61"), (-0.001, "0"), (40.0, "40")];
    for (number, expected) in cases {
        assert_eq!(text::short(number), expected, "{number}");
    }
    for (amount, expected) in [(1_204.5, "1,204.50"), (-0.125, "-0.13"), (0.0, "0.00"), (-0.001, "0.00")] {
        assert_eq!(text::money(amount), expected);
    }
    for (time, expected) in [(40.0, "40 s"), (720.0, "12 min"), (3_600.0, "1 h"), (1.9 * 86_400.0, "46 h")] {
        assert_eq!(text::seconds(time), expected);
    }
    assert_eq!([text::seconds(86_400.0), text::seconds(2_592_000.0)], ["1 d", "30 d"]);
}
