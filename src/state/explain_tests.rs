//! Explanations add up to the scores that are served, and change nothing.

use super::*;
use crate::base::Rng;
use crate::learn::auto::features::GROUPS;
use crate::model::Event;

fn learned(names: &[&str], explicit: bool) -> Shard {
    let strategies = names.iter().map(|name| Strategy::default_named(name).expect("listed")).collect();
    let mut shard = Shard::new(0, Options { strategies, history_max: 30, ..Options::default() });
    let mut rng = Rng::new(61);
    for item in 0..40_u64 {
        let (tags, attributes) =
            (vec![["red", "green", "blue"][item as usize % 3]], crate::model::Attributes::default());
        shard.apply(&Op::ItemUpsert { item: IdRef::Int(item), time_ms: 1, tags, attributes });
    }
    for at in 0..1_500_i64 {
        let user = rng.below(25);
        let item = (user + 3 * rng.below(12)) % 40;
        let (kind, value) = if explicit && at % 3 == 0 { (5, 1.0 + rng.below(5) as f32) } else { (0, 1.0) };
        let (user, item) = (IdRef::Int(user), IdRef::Int(item));
        shard.apply(&Op::Event(Event { event_id: 0, user, item, kind, value, time_ms: 1_000 * at }));
    }
    shard
}

fn check(shard: &mut Shard, arm: usize, user: u64, item: u64, ranking: bool) -> Explanation {
    let (name, user, item) = (shard.arm_name(arm), IdRef::Int(user), IdRef::Int(item));
    let explained = shard.explain(arm, user, item, ranking, 10).expect("a known item");
    let events = explained.events.iter().map(|event| f64::from(event.value));
    let sum: f64 = explained.parts.iter().map(|part| f64::from(part.value)).chain(events).sum();
    let size = f64::from(explained.score.abs()).max(1.0);
    assert!((sum - f64::from(explained.score)).abs() < 1e-5 * size, "{name}: {sum} of {explained:?}");
    explained
}

#[test]
fn parts_add_up_to_what_predict_says() {
    let mut shard = learned(Strategy::NAMES, true);
    let before = shard.digest();
    for arm in 0..Strategy::NAMES.len() {
        for (user, item) in [(0, 3), (1, 30), (24, 7), (999, 3)] {
            let explained = check(&mut shard, arm, user, item, false);
            let predicted = shard.predict(arm, IdRef::Int(user), &[crate::base::Id::Int(item)])[0];
            let name = shard.arm_name(arm);
            assert!((explained.score - predicted.score).abs() < 1e-5, "{name} {user}: {explained:?} {predicted:?}");
            assert_eq!((explained.basis, explained.version > 0), (predicted.basis, user != 999), "{name}");
            check(&mut shard, arm, user, item, true);
        }
    }
    assert_eq!(shard.digest(), before, "explaining changes nothing that is kept");
    assert_eq!(shard.explain(0, IdRef::Int(0), IdRef::Int(12_345), false, 10), None, "no such item");
}

#[test]
fn events_are_told_newest_first_and_like_ones_add() {
    let mut shard = learned(&["decay", "fold_in"], false);
    let (user, item) = (IdRef::Int(500), IdRef::Int(3));
    for (at, other) in [6_u64, 1, 9].into_iter().enumerate() {
        let (item, time_ms) = (IdRef::Int(other), 2_000_000 + at as i64);
        shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms }));
    }
    let explained = shard.explain(0, user, item, false, 10).expect("a known item");
    let told: Vec<_> = explained.events.iter().map(|event| event.item.clone()).collect();
    assert_eq!(told, [9, 1, 6].map(crate::base::Id::Int));
    let values: Vec<f32> = explained.events.iter().map(|event| event.value).collect();
    assert!(values[0] > 0.0 && values[1] < 0.0 && values[2] > 0.9, "red, green, red for a red item: {values:?}");
    assert!(explained.parts.iter().all(|part| part.value.abs() < 1e-5), "nothing older: {explained:?}");
    assert_eq!(shard.explain(0, user, item, false, 2).expect("known").events.len(), 2);
}

#[test]
fn the_ranking_of_auto_is_told_by_groups() {
    let mut shard = learned(&["auto"], true);
    let explained = check(&mut shard, 0, 1, 30, true);
    let names: Vec<&str> = explained.parts.iter().map(|part| part.name).collect();
    assert_eq!((names[0], names.len()), ("mean candidate", 1 + GROUPS.len()));
    for name in ["popularity", "pair sums", "factors", "context"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let value = check(&mut shard, 0, 1, 30, false);
    assert!(value.parts.iter().any(|part| part.name == "mean") && value.score > 0.9, "a value: {value:?}");
}
