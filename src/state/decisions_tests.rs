//! Lists and outcomes in the machine: crediting, replay, images, and what is refused.

use super::*;
use crate::base::{Id, Reader, Rng};
use crate::evaluate::Window;
use crate::learn::Strategy;
use crate::model::{Event, Recall, ServedList};

const NOW_MS: i64 = 1_700_000_000_000;
const CLICK: u8 = 2;

fn list(user: u64, items: &[u64], served_ms: i64) -> ServedList<'static> {
    let hash = |id: u64| IdRef::Int(id).stable_hash();
    let items = items.iter().map(|item| hash(*item)).collect();
    ServedList { user: hash(user), strategy: "decay", served_ms, until_ms: served_ms + 60_000, items }
}

fn outcome(decision: u64, event_id: u64, user: u64, item: u64, time_ms: i64) -> Op<'static> {
    let (user, item) = (IdRef::Int(user), IdRef::Int(item));
    let event = Event { event_id, user, item, kind: CLICK, value: 1.0, time_ms };
    Op::Outcome { decision, event, list: Recall::Unknown }
}

fn with_list<'a>(op: Op<'a>, served: ServedList<'a>) -> Op<'a> {
    match op {
        Op::Outcome { decision, event, .. } => Op::Outcome { decision, event, list: Recall::Known(served) },
        Op::Exposure { decision, user, places, time_ms, .. } => {
            Op::Exposure { decision, user, places, time_ms, list: Recall::Known(served) }
        }
        op => op,
    }
}

fn exposure(decision: u64, user: u64, places: u16, time_ms: i64) -> Op<'static> {
    Op::Exposure { decision, user: IdRef::Int(user), places, time_ms, list: Recall::Unknown }
}

fn shard() -> Shard {
    let kind = |code, weight| crate::model::Kind::new(code, &code.to_string(), weight);
    let strategies = vec![Strategy::default_named("decay").expect("listed")];
    let schema = crate::model::Schema::of([kind(0, 1.0), kind(CLICK, 0.5)]);
    Shard::new(0, Options { strategies, schema, ..Options::default() })
}

fn clicks(shard: &Shard) -> (f64, f64, f64) {
    let shown = shard.reports()[0].joins.shown(None, Window::Lifetime);
    let clicks = shown.kinds.iter().find(|(kind, _)| *kind == CLICK).map(|(_, outcomes)| *outcomes);
    (shown.lists, clicks.map_or(0.0, |clicks| clicks.outcomes), clicks.map_or(0.0, |clicks| clicks.lists))
}

#[test]
fn an_outcome_credits_its_list_once_an_event_id() {
    let mut shard = shard();
    let click = outcome(9, 70, 1, 12, NOW_MS + 4_000);
    let first = shard.apply(&with_list(click.clone(), list(1, &[11, 12, 13], NOW_MS)));
    assert_eq!(first.join, Join::Listed { strategy: "decay", position: 2, delay_ms: 4_000 });
    assert_eq!((first.kind, first.version), (OutcomeKind::Applied, 1), "it is learned as well");
    let again = shard.apply(&click);
    assert_eq!((again.kind, again.join), (OutcomeKind::Duplicate, Join::None));
    assert_eq!(clicks(&shard), (1.0, 1.0, 1.0), "a list that nobody reported counts as shown with its outcome");

    assert_eq!(
        shard.apply(&outcome(9, 71, 1, 12, NOW_MS + 5_000)).join,
        Join::Listed { strategy: "decay", position: 2, delay_ms: 5_000 }
    );
    assert_eq!(clicks(&shard), (1.0, 2.0, 1.0), "two clicks, one list");
    let other = shard.apply(&outcome(9, 72, 1, 99, NOW_MS + 5_000)).join;
    assert_eq!(other, Join::NotListed { strategy: "decay", delay_ms: 5_000 });
    assert_eq!((clicks(&shard), shard.event_count()), ((1.0, 2.0, 1.0), 3));
}

#[test]
fn what_names_no_list_is_learned_and_counted_by_reason() {
    let mut shard = shard();
    assert_eq!(shard.apply(&outcome(9, 1, 1, 12, NOW_MS)).join, Join::Unknown, "never served");
    let served = list(1, &[12], NOW_MS);
    assert_eq!(shard.apply(&with_list(outcome(8, 2, 2, 12, NOW_MS), served.clone())).join, Join::Unknown, "not his");
    assert_eq!(shard.apply(&with_list(exposure(7, 1, 0, NOW_MS + 60_001), served.clone())).join, Join::Expired);
    let shown = shard.apply(&with_list(exposure(6, 1, 0, NOW_MS), served.clone())).join;
    assert_eq!(shown, Join::Shown { strategy: "decay", again: false });
    let again = shard.apply(&with_list(exposure(6, 1, 0, NOW_MS), served)).join;
    assert_eq!(again, Join::Shown { strategy: "decay", again: true });
    assert_eq!(shard.apply(&outcome(6, 3, 1, 12, NOW_MS + 60_001)).join, Join::Expired, "too late");
    let forgotten = Op::Exposure { decision: 5, user: IdRef::Int(1), places: 0, time_ms: 0, list: Recall::Forgotten };
    assert_eq!(shard.apply(&forgotten).join, Join::Expired, "pushed out where it was served");
    assert_eq!(shard.missing_decisions(), Missing { expired: 3, unknown: 2 });
    assert_eq!((clicks(&shard), shard.event_count()), ((1.0, 0.0, 0.0), 3));
}

#[test]
fn only_the_places_that_were_shown_count_from_when_they_were() {
    let mut shard = shard();
    shard.apply(&with_list(exposure(4, 1, 2, NOW_MS + 1_000), list(1, &[11, 12, 13], NOW_MS)));
    let join = |shard: &mut Shard, id, item| shard.apply(&outcome(4, id, 1, item, NOW_MS + 3_000)).join;
    assert_eq!(join(&mut shard, 1, 13), Join::NotListed { strategy: "decay", delay_ms: 2_000 });
    assert_eq!(join(&mut shard, 2, 12), Join::Listed { strategy: "decay", position: 2, delay_ms: 2_000 });
}

/// Random reports: replay gives the same bits, an image taken on the way holds them all, and outcomes go on finding
/// their lists in what came back.
#[test]
fn replay_and_images_hold_what_was_shown() {
    let mut rng = Rng::new(53);
    let ops: Vec<Vec<u8>> = (0..3_000_i64)
        .map(|at| {
            let decision = rng.below(400);
            let (user, time_ms) = (decision % 40, NOW_MS + at * 100);
            let served = list(user, &[rng.below(9), 9 + rng.below(9), 18 + rng.below(9)], time_ms - 50);
            let op = match rng.below(3) {
                0 => exposure(decision, user, 0, time_ms),
                _ => outcome(decision, at.unsigned_abs(), user + rng.below(20) / 19, rng.below(30), time_ms),
            };
            let mut bytes = Vec::new();
            if rng.below(4) > 0 { with_list(op, served) } else { op }.encode(&mut bytes);
            bytes
        })
        .collect();
    let apply = |shard: &mut Shard, bytes: &[u8]| shard.apply(&Op::decode(&mut Reader::new(bytes)).expect("own bytes"));
    let (mut one, mut two) = (shard(), shard());
    for bytes in &ops[..2_000] {
        assert_eq!(apply(&mut one, bytes).join, apply(&mut two, bytes).join);
    }
    one.capture_begin();
    let mut image: Vec<u8> = Vec::new();
    for bytes in &ops[2_000..] {
        image.extend(one.capture_some(1).into_iter().flatten().flatten());
        apply(&mut one, bytes);
    }
    image.extend(std::iter::from_fn(|| one.capture_some(9)).flatten().flatten());
    let mut reader = ImageReader::new(shard().options().clone());
    reader.feed(&image).expect("sections");
    let mut back = reader.finish().expect("a whole image");
    assert_eq!(back.digest(), two.digest(), "the moment the image began");
    for bytes in &ops[2_000..] {
        apply(&mut back, bytes);
    }
    assert_eq!((back.digest(), back.missing_decisions()), (one.digest(), one.missing_decisions()));
    let (lists, outcomes, clicked) = clicks(&one);
    assert!(lists > 200.0 && outcomes > 50.0 && clicked < outcomes, "{lists} {outcomes} {clicked}");
    let missing = one.missing_decisions();
    assert!(missing.expired > 10 && missing.unknown > 10, "{missing:?}");
}

/// A read leaves nothing: only the operation that names a decision does.
#[test]
fn recommending_changes_nothing_that_is_kept() {
    let mut shard = shard();
    for item in 0..20 {
        let (user, item) = (IdRef::Int(1), IdRef::Int(item));
        shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: NOW_MS }));
    }
    let before = shard.digest();
    let listed = shard.recommend(0, Id::Int(2).as_ref(), 5, &Filter::default());
    assert_eq!((listed.items.len(), shard.digest()), (5, before));
    shard.apply(&with_list(exposure(1, 2, 0, NOW_MS), list(2, &[1, 2], NOW_MS)));
    assert_ne!(shard.digest(), before, "what was shown is kept");
}
