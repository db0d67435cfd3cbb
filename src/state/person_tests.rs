//! The whole person in a shard: what order, repetition, retraction and the user's own will do to it.

use super::portrait::{Portrait, parts};
use super::*;
use crate::base::{Id, Rng};
use crate::model::{AttributeRule, AttributeType, Attributes, Cleaning, Event, Kind, RejectReason, Role, Value};
use crate::person::{Control, Dimension};

const DAY_MS: i64 = 86_400_000;
const START_MS: i64 = 1_700_000_000_000;
const VIEW: u8 = 1;
const BUY: u8 = 4;
const RATE: u8 = 5;

fn schema() -> Schema {
    let buy = Kind { unit: "money".into(), ..Kind::new(BUY, "purchase", 2.0) };
    let rate = Kind { explicit: true, range: Some((1.0, 5.0)), ..Kind::new(RATE, "rate", 1.0) };
    let brand = AttributeRule { role: Role::Facet, ..AttributeRule::new("brand", AttributeType::Category) };
    let price = AttributeRule { role: Role::Price, ..AttributeRule::new("price", AttributeType::Number) };
    let formula = "sum(\"purchase\") / max(1, count(\"purchase\"))".to_owned();
    Schema {
        item: vec![brand, price],
        traits: vec![crate::model::TraitRule { name: "basket".into(), formula }],
        ..Schema::of([Kind::new(VIEW, "view", 0.2), buy, rate])
    }
}

/// A shard whose strategies are made of histories alone, with items of known tags, brands and prices.
fn shard(schema: Schema, strategies: &[&str]) -> Shard {
    let strategies = strategies.iter().map(|name| Strategy::default_named(name).expect("listed")).collect();
    let mut shard = Shard::new(0, Options { strategies, schema, history_max: 1_024, ..Options::default() });
    for item in 0..60 {
        let mut attributes = Attributes::default();
        attributes.patch("brand", Value::Text(format!("b{}", item % 5)), 1);
        attributes.patch("price", Value::Number(1.0 + f64::from(item)), 1);
        let tag = format!("t{}", item % 7);
        shard.apply(&Op::ItemUpsert {
            item: IdRef::Int(u64::from(item as u32)),
            time_ms: 1,
            tags: vec![&tag],
            attributes,
        });
    }
    shard
}

fn draw(rng: &mut Rng, event_id: u64) -> Event<'static> {
    let kind = [VIEW, VIEW, BUY, RATE][rng.below(4) as usize];
    let value = if kind == RATE { 1.0 + rng.below(5) as f32 } else { rng.below(4_000) as f32 / 100.0 };
    let time_ms = START_MS + rng.below(200 * DAY_MS as u64) as i64;
    let (user, item) = (IdRef::Int(rng.below(40)), IdRef::Int(rng.below(60)));
    Event { event_id, user, item, kind, value, time_ms }
}

fn portrait(shard: &Shard, user: u64) -> Portrait {
    shard.portrait(IdRef::Int(user), parts::ALL, 1_000, START_MS + 200 * DAY_MS).expect("a known user")
}

/// Everything that may not depend on order, as text: `NaN` is equal to itself there. To the bit.
fn order_free(portrait: &Portrait) -> String {
    told(portrait, 30)
}

/// The same to some digits after the point.
fn told(portrait: &Portrait, digits: usize) -> String {
    let Portrait { events, span_ms, behaviours, facets, rhythm, sessions, traits, .. } = portrait;
    let traits: Vec<_> = traits.iter().filter(|one| one.order_free).collect();
    let facts = (events, span_ms, behaviours, facets, rhythm, sessions, traits);
    format!("{facts:.digits$?}")
}

fn shuffle<T>(rng: &mut Rng, list: &mut [T]) {
    for at in (1..list.len()).rev() {
        list.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

/// Any order and any repetition of the same events give the same bits. `cargo test --lib -- --ignored
/// any_order_of_ten_thousand` runs it at full size.
fn any_order(seed: u64, events: usize, shuffles: usize) {
    let mut rng = Rng::new(seed);
    let events: Vec<Event<'static>> = (0..events).map(|at| draw(&mut rng, at as u64 + 1)).collect();
    let people = |events: &[Event<'static>]| {
        let mut shard = shard(schema(), &["popularity"]);
        for event in events {
            shard.apply(&Op::Event(*event));
        }
        (0..40).map(|user| order_free(&portrait(&shard, user))).collect::<Vec<_>>()
    };
    let straight = people(&events);
    assert!(straight.iter().all(|person| person.contains("brand_loyalty") && person.contains("basket")));
    for round in 0..shuffles {
        let mut changed = events.clone();
        for _ in 0..events.len() / 10 {
            changed.push(events[rng.below(events.len() as u64) as usize]);
        }
        shuffle(&mut rng, &mut changed);
        assert_eq!(people(&changed), straight, "seed {seed}, shuffle {round}");
    }
}

#[test]
fn any_order_and_repetition_give_the_same_person() {
    any_order(11, 1_500, 12);
}

#[test]
#[ignore = "ten thousand events in a thousand orders: a quarter of a minute on its own"]
fn any_order_of_ten_thousand() {
    any_order(12, 10_000, 1_000);
}

/// An event taken away was never there.
#[test]
fn a_retracted_event_was_never_there() {
    let seed = 21;
    let strategies = ["popularity"];
    let mut rng = Rng::new(seed);
    let events: Vec<Event<'static>> = (0..800).map(|at| draw(&mut rng, at + 1)).collect();
    let (mut with, mut without) = (shard(schema(), &strategies), shard(schema(), &strategies));
    let taken: Vec<usize> = (0..800).filter(|_| rng.below(8) == 0).collect();
    for (at, event) in events.iter().enumerate() {
        with.apply(&Op::Event(*event));
        if !taken.contains(&at) {
            without.apply(&Op::Event(*event));
        }
    }
    // Items change meanwhile: what an event added is still known.
    with.apply(&Op::ItemUpsert {
        item: IdRef::Int(3),
        time_ms: 9,
        tags: vec!["other"],
        attributes: Attributes::default(),
    });
    without.apply(&Op::ItemUpsert {
        item: IdRef::Int(3),
        time_ms: 9,
        tags: vec!["other"],
        attributes: Attributes::default(),
    });
    for at in &taken {
        let outcome = with.apply(&Op::Retract { user: events[*at].user, event_id: events[*at].event_id });
        assert_eq!(outcome.kind, OutcomeKind::Applied, "seed {seed}, event {at}");
    }
    let again = with.apply(&Op::Retract { user: events[taken[0]].user, event_id: events[taken[0]].event_id });
    assert_eq!(again.kind, OutcomeKind::NotFound);
    assert_eq!(with.event_count(), without.event_count());
    for user in 0..40 {
        // A retracted event may have begun a newer block: what it pushed out had faded to 2^-32 at least.
        let person = |shard: &Shard| told(&portrait(shard, user), 6);
        assert_eq!(person(&with), person(&without), "seed {seed} user {user}");
    }
    // What the others' judgements weighed was learned beside it, so popularity is compared below.
    let events = |shard: &Shard, item: u64| shard.item(IdRef::Int(item)).map(|view| view.item.events);
    assert!((0..60).all(|item| events(&with, item) == events(&without, item)), "seed {seed}");
}

/// The same over implicit kinds alone, where no weight depends on what others did: vectors agree to 1e-6.
#[test]
fn vectors_of_a_retracted_event_are_as_if_it_had_never_come() {
    let mut rng = Rng::new(22);
    let mut draw = |at: u64| Event { kind: VIEW, time_ms: START_MS + 60_000 * at as i64, ..draw(&mut rng, at + 1) };
    let events: Vec<Event<'static>> = (0..800).map(&mut draw).collect();
    let strategies = ["decay", "mean", "fold_in"];
    let (mut with, mut without) = (shard(schema(), &strategies), shard(schema(), &strategies));
    for (at, event) in events.iter().enumerate() {
        with.apply(&Op::Event(*event));
        if at % 5 != 0 {
            without.apply(&Op::Event(*event));
        }
    }
    for event in events.iter().step_by(5) {
        let outcome = with.apply(&Op::Retract { user: event.user, event_id: event.event_id });
        assert!(outcome.exact, "all events are retained");
    }
    for item in 0..60 {
        let popularity = |shard: &Shard| shard.item(IdRef::Int(item)).map_or(0.0, |view| view.popularity);
        assert!((popularity(&with) - popularity(&without)).abs() < 1e-6, "item {item}");
    }
    for user in 0..40 {
        let arms = |shard: &mut Shard| shard.profile(IdRef::Int(user), true).map(|view| view.arms).expect("known");
        for (one, other) in arms(&mut with).iter().zip(arms(&mut without)) {
            let off = one.factor.iter().zip(&other.factor).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-6, "user {user}: {} is off by {off}", one.strategy);
        }
    }
}

/// Two users that became one are as if all had come under one id: to the bit in sums, to 1e-6 in vectors.
#[test]
fn merged_users_are_one_as_if_they_always_were() {
    let (anonymous, known) = (IdRef::Text("visitor"), IdRef::Text("customer"));
    let strategies = ["decay", "mean", "fold_in"];
    let (mut two, mut one) = (shard(schema(), &strategies), shard(schema(), &strategies));
    let mut rng = Rng::new(31);
    for at in 0..300_u64 {
        let drawn = Event { kind: VIEW, time_ms: START_MS + 60_000 * at as i64, ..draw(&mut rng, at + 1) };
        let user = if rng.below(3) == 0 { anonymous } else { known };
        two.apply(&Op::Event(Event { user, ..drawn }));
        one.apply(&Op::Event(Event { user: known, ..drawn }));
    }
    for (user, age, time_ms) in [(anonymous, 30.0, 5), (known, 20.0, 3)] {
        let mut attributes = Attributes::default();
        attributes.patch("age", Value::Number(age), time_ms);
        two.apply(&Op::UserUpsert { user, time_ms, attributes: attributes.clone() });
        one.apply(&Op::UserUpsert { user: known, time_ms, attributes });
    }
    let control = Control::MuteFacet("t1", true);
    two.apply(&Op::Control { user: anonymous, time_ms: 9, control });
    one.apply(&Op::Control { user: known, time_ms: 9, control });
    assert_eq!(two.apply(&Op::Seal { user: anonymous, into: known }).kind, OutcomeKind::Applied);
    let late = Event { user: anonymous, ..draw(&mut rng, 900) };
    assert_eq!(two.apply(&Op::Event(late)).kind, OutcomeKind::Refused(RejectReason::Merged));
    let bytes = two.export_user(anonymous).expect("known");
    let absorbed = two.apply(&Op::Absorb { into: known, user: anonymous, bytes: &bytes });
    assert!(absorbed.exact && absorbed.kind == OutcomeKind::Applied);
    two.apply(&Op::Empty { user: anonymous });
    let again = two.apply(&Op::Absorb { into: known, user: anonymous, bytes: &bytes });
    assert_eq!(again.kind, OutcomeKind::Duplicate, "sent again it changes nothing");
    assert_eq!(two.apply(&Op::Seal { user: anonymous, into: IdRef::Int(5) }).kind, OutcomeKind::NotFound);
    assert_eq!(two.merges(), [(anonymous.to_owned(), known.to_owned(), true)]);

    let whole = |shard: &Shard| {
        let portrait = shard.portrait(known, parts::ALL, 1_000, START_MS + 200 * DAY_MS).expect("known");
        (order_free(&portrait), portrait.attributes, portrait.controls)
    };
    assert_eq!(whole(&two), whole(&one));
    let arms = |shard: &mut Shard| shard.profile(known, true).map(|view| view.arms).expect("known");
    for (one, other) in arms(&mut two).iter().zip(arms(&mut one)) {
        let off = one.factor.iter().zip(&other.factor).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "{} is off by {off}", one.strategy);
    }
}

#[test]
fn what_a_user_asks_is_in_force_at_the_next_request() {
    let mut shard = shard(schema(), &["popularity"]);
    for item in 0..60_u64 {
        let (user, item) = (IdRef::Int(7), IdRef::Int(item));
        shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: VIEW, value: 1.0, time_ms: START_MS }));
    }
    let user = IdRef::Int(1);
    let list = |shard: &mut Shard| shard.recommend(0, user, 20, &Filter::default()).items;
    let tagged = |items: &[Scored], shard: &Shard, tag: &str| {
        items
            .iter()
            .filter(|scored| shard.item(scored.item.as_ref()).is_some_and(|view| view.tags.contains(&tag)))
            .count()
    };
    let ask = |shard: &mut Shard, control| shard.apply(&Op::Control { user, time_ms: START_MS, control });
    let before = list(&mut shard);
    assert!(tagged(&before, &shard, "t2") > 0 && before.iter().any(|scored| scored.item == Id::Int(5)));
    ask(&mut shard, Control::MuteFacet("t2", true));
    ask(&mut shard, Control::MuteItem(IdRef::Int(5), true));
    let muted = list(&mut shard);
    assert_eq!((tagged(&muted, &shard, "t2"), muted.len()), (0, 20), "others take their places");
    assert!(muted.iter().all(|scored| scored.item != Id::Int(5)));
    ask(&mut shard, Control::MuteFacet("brand=b1", true));
    let brands = list(&mut shard);
    assert!(brands.iter().all(|scored| matches!(scored.item, Id::Int(item) if item % 5 != 1)), "{brands:?}");
    ask(&mut shard, Control::Less("t3", 0.1));
    assert_eq!(tagged(&list(&mut shard), &shard, "t3"), 2, "a tenth of twenty");
    assert_eq!(portrait(&shard, 1).controls.len(), 4);
    ask(&mut shard, Control::MuteFacet("t2", false));
    ask(&mut shard, Control::MuteFacet("brand=b1", false));
    ask(&mut shard, Control::MuteItem(IdRef::Int(5), false));
    ask(&mut shard, Control::Less("t3", 1.0));
    assert_eq!(list(&mut shard), before, "all of it is taken back");
    assert!(portrait(&shard, 1).controls.is_empty());
}

#[test]
fn learning_can_be_paused_and_a_dimension_set_aside_and_put_back() {
    let mut shard = shard(schema(), &["fold_in"]);
    let user = IdRef::Int(3);
    let event = |id, item: u64| Event {
        event_id: id,
        user,
        item: IdRef::Int(item),
        kind: BUY,
        value: 10.0,
        time_ms: START_MS + id as i64 * 1_000,
    };
    for id in 1..20 {
        shard.apply(&Op::Event(event(id, id)));
    }
    let ask = |shard: &mut Shard, control| shard.apply(&Op::Control { user, time_ms: START_MS, control });
    ask(&mut shard, Control::Pause(true));
    let digest = order_free(&portrait(&shard, 3));
    let refused = shard.apply(&Op::Event(event(90, 9)));
    assert_eq!(refused.kind, OutcomeKind::Refused(RejectReason::Paused));
    assert_eq!(order_free(&portrait(&shard, 3)), digest);
    ask(&mut shard, Control::Pause(false));
    for dimension in Dimension::ALL {
        let before = shard.user_digest(shard.users.find(user).expect("known"));
        ask(&mut shard, Control::Reset(dimension, true));
        let there = portrait(&shard, 3);
        match dimension {
            Dimension::Behaviours => assert!(there.behaviours.is_empty()),
            Dimension::Facets => assert!(there.facets.is_empty()),
            Dimension::Rhythm => assert!(there.rhythm.hours().iter().all(|hour| *hour == 0)),
            Dimension::Prices => assert!(there.traits.iter().all(|one| one.name != "price_sensitivity")),
            Dimension::History => assert_eq!(there.sessions.retained, 0),
        }
        ask(&mut shard, Control::Reset(dimension, false));
        assert_eq!(order_free(&portrait(&shard, 3)), digest, "{dimension:?} is back");
        let after = shard.user_digest(shard.users.find(user).expect("known"));
        assert_ne!(before, after, "the version has risen");
    }
    let all: Vec<u8> = {
        shard.capture_begin();
        std::iter::from_fn(|| shard.capture_some(8)).flatten().flatten().collect()
    };
    let mut reader = ImageReader::new(shard.options().clone());
    reader.feed(&all).expect("sections");
    let back = reader.finish().expect("a whole image");
    assert_eq!((back.digest(), order_free(&portrait(&back, 3))), (shard.digest(), digest));
}

#[test]
fn events_are_cleaned_before_they_are_learned() {
    let cleaning = Cleaning {
        burst_ms: 1_000,
        late_ms: 10 * DAY_MS,
        outlier_deviations: 3.0,
        impute: true,
        ..Cleaning::default()
    };
    let mut shard = shard(Schema { cleaning, ..schema() }, &["fold_in"]);
    let event = |id, item: u64, kind, value, time_ms| {
        let (user, item) = (IdRef::Int(1), IdRef::Int(item));
        Event { event_id: id, user, item, kind, value, time_ms }
    };
    let apply = |shard: &mut Shard, event| shard.apply(&Op::Event(event)).kind;
    assert_eq!(apply(&mut shard, event(0, 1, VIEW, 1.0, START_MS)), OutcomeKind::Applied);
    let burst = OutcomeKind::Refused(RejectReason::Burst);
    assert_eq!(apply(&mut shard, event(0, 1, VIEW, 1.0, START_MS + 900)), burst);
    assert_eq!(apply(&mut shard, event(0, 1, BUY, 1.0, START_MS + 900)), OutcomeKind::Applied, "another kind");
    assert_eq!(apply(&mut shard, event(7, 1, VIEW, 1.0, START_MS + 950)), OutcomeKind::Applied, "an id of its own");
    let late = OutcomeKind::Refused(RejectReason::TooLate);
    assert_eq!(apply(&mut shard, event(0, 2, VIEW, 1.0, START_MS - 11 * DAY_MS)), late);
    assert_eq!(apply(&mut shard, event(0, 2, VIEW, 1.0, START_MS - 9 * DAY_MS)), OutcomeKind::Applied);
    assert_eq!(portrait(&shard, 1).events, 4, "what was refused left no trace");

    for at in 0..40 {
        let value = if at % 2 == 0 { 4.0 } else { 5.0 };
        apply(&mut shard, event(100 + at, at % 20, RATE, value, START_MS + at as i64));
    }
    let slot = shard.users.find(IdRef::Int(1));
    let weight = |value| shard.weigh(slot, &event(900, 3, RATE, value, START_MS));
    let (given, usual) = weight(4.5);
    let (missing, made_up) = weight(f32::NAN);
    assert!(given && !missing, "a value made up is no judgement");
    assert!((made_up - 0.5 * usual).abs() < 0.02, "{made_up} {usual}");
    let kind = shard.schema().kinds.get(RATE).expect("there").clone();
    let trust = |value| shard.trust(slot, &event(900, 3, RATE, value, START_MS), &kind);
    assert!((trust(4.0) - 1.0).abs() < 1e-12 && trust(1.0) < 0.5, "an outlier weighs less: {}", trust(1.0));
}

/// A timer over many items is set aside within a few dozen events and let out when it has stopped; a person who does as
/// much in bursts is not. Neither leaves a trace of what was refused.
#[test]
fn machines_are_set_aside_and_people_are_not() {
    let cleaning = Cleaning { quarantine: true, ..Cleaning::default() };
    let mut shard = shard(Schema { cleaning, ..schema() }, &["popularity"]);
    let mut rng = Rng::new(41);
    let event = |user: u64, item: u64, time_ms: i64| {
        let (user, item) = (IdRef::Int(user), IdRef::Int(item));
        Event { event_id: 0, user, item, kind: VIEW, value: 1.0, time_ms }
    };
    let quarantined = OutcomeKind::Refused(RejectReason::Quarantined);
    let (mut held, mut lost, mut person_ms) = (0, 0, START_MS + 3);
    for at in 0..400_i64 {
        let machine = event(1, rng.below(60), START_MS + 20_000 * at + 7);
        held += u32::from(shard.apply(&Op::Event(machine)).kind == quarantined);
        person_ms +=
            [1_100, 2_300, 4_700, 9_100, 31_000, 180_000, 5_000_000][rng.below(7) as usize] + rng.below(900) as i64;
        lost += u32::from(shard.apply(&Op::Event(event(2, rng.below(60), person_ms))).kind == quarantined);
    }
    assert_eq!((held > 300, lost), (true, 0), "seed 41: {held} of the timer's 400 were held");
    assert_eq!(portrait(&shard, 1).events, u64::from(400 - held));
    // The next night it is known from its first event on, to whoever asks for examples too; after weeks it is not.
    let tonight = event(1, 5, START_MS + 20_000 * 400 + 24 * 3_600_000);
    let slot = shard.users.find(tonight.user).expect("known");
    assert!(shard.is_held(slot, tonight.time_ms));
    assert_eq!(shard.apply(&Op::Event(tonight)).kind, quarantined);
    let later = event(1, 5, tonight.time_ms + 20 * DAY_MS);
    assert!(!shard.is_held(slot, later.time_ms));
    assert_eq!(shard.apply(&Op::Event(later)).kind, OutcomeKind::Applied, "it has stopped");
}
