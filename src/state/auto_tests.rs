//! `auto` in the machine: images in both ways of training, installed models, shards that know part of the stream, and
//! what it answers when there is little to go by.

use super::tests::{Workload, apply, model, options_of, trade};
use super::*;
use crate::base::Id;
use crate::model::{Attributes, Event};

fn options(shards: u16, training: Training) -> Options {
    Options { training, ..options_of(shards, &["auto"]) }
}

/// The shard out of its own image.
fn restored(shard: &mut Shard) -> Shard {
    shard.capture_begin();
    let mut reader = ImageReader::new(shard.options().clone());
    while let Some(sections) = shard.capture_some(8) {
        sections.iter().for_each(|section| reader.feed(section).expect("own sections"));
    }
    reader.finish().expect("a whole image")
}

/// Weights as a teacher would hand them out after so many examples of the shard's next events.
fn taught(shard: &mut Shard, workload: &mut Workload, events: usize) -> Vec<u8> {
    let mut trainer = crate::learn::auto::trainer::Trainer::new(9, 1, Default::default());
    for _ in 0..events {
        let (bytes, _) = workload.draw();
        if let Ok(Op::Event(event)) = Op::decode(&mut crate::base::Reader::new(&bytes)) {
            shard.example(&event).into_iter().for_each(|example| trainer.learn(example));
        }
        apply(shard, &bytes);
    }
    assert!(trainer.examples() > 0, "events became examples");
    let mut weights = Vec::new();
    trainer.weights().encode(&mut crate::base::Writer::new(&mut weights));
    weights
}

/// What came back from an image answers and learns on as what was there: in step, where the ranker is part of the
/// state, and apart, with an installed model and weights of a teacher.
#[test]
fn what_comes_back_from_an_image_goes_on_alike() {
    for training in [Training::InStep, Training::Apart] {
        let mut workload = Workload::new(53);
        let mut shard = Shard::new(0, options(1, training));
        for _ in 0..2_500 {
            apply(&mut shard, &workload.draw().0);
        }
        if training == Training::Apart {
            shard.install(&model(&shard, 1));
            let weights = taught(&mut shard, &mut workload, 500);
            shard.apply(&Op::Ranker { version: 1, weights: &weights });
        }
        let mut back = restored(&mut shard);
        for round in 0..20 {
            for user in 0..50 {
                let ask = |shard: &mut Shard| shard.recommend(0, IdRef::Int(user), 10, &Filter::default());
                assert_eq!(ask(&mut shard), ask(&mut back), "{training:?}, round {round}, user {user}");
            }
            assert_eq!(shard.digest(), back.digest(), "{training:?}, round {round}");
            for _ in 0..40 {
                let (bytes, _) = workload.draw();
                apply(&mut shard, &bytes);
                apply(&mut back, &bytes);
            }
        }
    }
}

fn view(shard: &mut Shard, user: u64, item: u64) {
    let (user, item) = (IdRef::Int(user), IdRef::Int(item));
    shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: 60_000 }));
}

fn items(ranking: &Ranking) -> Vec<u64> {
    let number = |scored: &Scored| if let Id::Int(number) = scored.item { number } else { u64::MAX };
    ranking.items.iter().map(number).collect()
}

/// Two circles of users, each with its own half of 40 items, which are tagged by their half: enough for the bank.
fn circles(training: Training) -> Shard {
    let mut shard = Shard::new(0, options(1, training));
    let mut rng = crate::base::Rng::new(59);
    for item in 0..41_u64 {
        let (tags, time_ms) = (vec![["left", "right"][item as usize / 20 % 2]], 1);
        let (item, attributes) = (IdRef::Int(item), Attributes::default());
        shard.apply(&Op::ItemUpsert { item, time_ms, tags, attributes });
    }
    for _ in 0..2_000 {
        let user = rng.below(60);
        view(&mut shard, user, 20 * (user % 2) + rng.below(20));
    }
    shard
}

/// Nothing known, nobody known, and every filter: answers are within the filters, and never empty where something is
/// allowed.
#[test]
fn auto_answers_whoever_asks_and_whatever_is_allowed() {
    let nobody = IdRef::Int(9_999);
    let mut empty = Shard::new(0, options(1, Training::Apart));
    assert_eq!(items(&empty.recommend(0, nobody, 10, &Filter::default())), [0_u64; 0]);
    assert_eq!(empty.similar(0, IdRef::Int(1), 3), None);
    assert_eq!(empty.predict(0, nobody, &[Id::Int(1)])[0].basis, Basis::NeitherSeen);
    assert_eq!(empty.predict(0, nobody, &[]), []);

    let mut shard = circles(Training::Apart);
    for model_there in [false, true] {
        if model_there {
            shard.install(&model(&shard, 1));
        }
        let user = IdRef::Int(4);
        let all = shard.recommend(0, user, 100, &Filter::default());
        assert_eq!((all.items.len(), all.basis), (41, Basis::Learned), "items without an event stand last");
        assert_eq!(shard.recommend(0, nobody, 5, &Filter::default()).basis, Basis::NewUser);
        let unseen = shard.recommend(0, user, 100, &Filter { exclude_seen: true, ..Filter::default() });
        let view = shard.profile(user, false).expect("known");
        let seen: std::collections::HashSet<u32> = view.user.history.entries().iter().map(|entry| entry.item).collect();
        assert_eq!(unseen.items.len(), 41 - seen.len());
        assert!(items(&unseen).iter().all(|item| !seen.contains(&(*item as u32))), "rows are numbers here");

        let (left, deny) = (["left".to_owned()], [Id::Int(30), Id::Int(31)]);
        let allowed = shard.recommend(0, user, 100, &Filter { allow_tags: &left, ..Filter::default() });
        assert!(allowed.items.len() == 21 && items(&allowed).iter().all(|item| item / 20 % 2 == 0));
        let denied = Filter { deny_tags: &left, deny_items: &deny, ..Filter::default() };
        let denied = shard.recommend(0, user, 100, &denied);
        assert!(denied.items.len() == 18 && items(&denied).iter().all(|item| (20..40).contains(item)));
        let only = [Id::Int(40), Id::Int(7), Id::Int(12_345)];
        let only = shard.recommend(0, user, 100, &Filter { allow_items: &only, ..Filter::default() });
        assert_eq!(items(&only).len(), 2, "what is not known cannot be recommended");
        let none = ["neither".to_owned()];
        let none = shard.recommend(0, user, 100, &Filter { allow_tags: &none, ..Filter::default() });
        assert!(none.items.is_empty());
    }
}

/// What a filter allows is ranked for the user, even where the bank would propose none of it.
#[test]
fn few_allowed_items_are_ranked_for_the_user() {
    let mut shard = Shard::new(
        0,
        Options {
            strategies: vec![Strategy::Auto(crate::learn::Auto { candidates: 1, ..Default::default() })],
            ..options(1, Training::InStep)
        },
    );
    let mut rng = crate::base::Rng::new(61);
    for _ in 0..6_000 {
        let user = rng.below(60);
        view(&mut shard, user, 100 * (user % 2) + rng.below(100));
    }
    let ids: Vec<Id> = (90..110).map(Id::Int).collect();
    let mut own = [0, 0];
    for user in 0..60 {
        let filter = Filter { allow_items: &ids, exclude_seen: true, ..Filter::default() };
        let first = items(&shard.recommend(0, IdRef::Int(user), 1, &filter));
        own[usize::from(first[0] / 100 == user % 2)] += 1;
    }
    assert!(own[1] > 50, "chance is half of 60: {own:?}");
}

/// Similar items before any model are those that come together; with one, those whose factors point the same way.
#[test]
fn similar_items_before_and_after_a_model() {
    let mut shard = circles(Training::Apart);
    let of_circle = |similar: Vec<Scored>, item: u64| {
        let number = |id: &Id| if let Id::Int(number) = id { *number } else { u64::MAX };
        assert!(similar.iter().all(|scored| scored.score > 0.0 && number(&scored.item) != item));
        similar.iter().filter(|scored| number(&scored.item) / 20 == item / 20).count()
    };
    let bare: Vec<&str> = vec![];
    for item in 0..41 {
        // No tags, no signature: nothing but what came together.
        let (item, attributes) = (IdRef::Int(item), Attributes::default());
        shard.apply(&Op::ItemUpsert { item, time_ms: 2, tags: bare.clone(), attributes });
    }
    assert_eq!(of_circle(shard.similar(0, IdRef::Int(3), 5).expect("known"), 3), 5);
    assert_eq!(shard.similar(0, IdRef::Int(40), 5), Some(vec![]), "an item without an event comes with nothing");
    shard.install(&model(&shard, 1));
    let by_factors = shard.similar(0, IdRef::Int(3), 5).expect("known");
    let factor = |item: &Id| shard.arms[0].items.col(shard.items.find(item.as_ref()).expect("known")).to_vec();
    let cosine = |one: &[f32], two: &[f32]| {
        let dot = |one: &[f32], two: &[f32]| one.iter().zip(two).map(|(x, y)| x * y).sum::<f32>();
        dot(one, two) / (dot(one, one) * dot(two, two)).sqrt()
    };
    for scored in &by_factors {
        assert!((scored.score - cosine(&factor(&Id::Int(3)), &factor(&scored.item))).abs() < 1e-5, "{scored:?}");
    }
    assert_eq!(shard.similar(0, IdRef::Int(12_345), 5), None);
}

/// Values come from the ratings ensemble, for whatever is asked: known and unknown on both sides; without ratings scores are
/// an order and an unknown item stands last.
#[test]
fn auto_predicts_for_the_unseen() {
    let mut shard = circles(Training::Apart);
    let (known, new) = (IdRef::Int(4), IdRef::Int(9_999));
    let asked = [Id::Int(4), Id::Int(12_345)];
    let order = shard.predict(0, known, &asked);
    assert!(order[0].score > order[1].score, "{order:?}");
    let mut rng = crate::base::Rng::new(67);
    for _ in 0..2_000 {
        let (user, item) = (rng.below(60), rng.below(41));
        let value = if user % 2 == item / 20 % 2 { 5.0 } else { 1.0 };
        let (user, item) = (IdRef::Int(user), IdRef::Int(item));
        shard.apply(&Op::Event(Event { event_id: 0, user, item, kind: 5, value, time_ms: 60_000 }));
    }
    let basis = [(known, [Basis::Learned, Basis::NewItem]), (new, [Basis::NewUser, Basis::NeitherSeen])];
    for (user, basis) in basis {
        let predicted = shard.predict(0, user, &asked);
        assert_eq!([predicted[0].basis, predicted[1].basis], basis);
        assert!(predicted.iter().all(|one| (0.5..5.5).contains(&one.score)), "{predicted:?}");
    }
    let liked = shard.predict(0, known, &[Id::Int(4), Id::Int(24)]);
    assert!(liked[0].score > liked[1].score + 1.0, "{liked:?}");
}

/// Two shards: each bank knows the events of its own users, items of the other shard are copies, and one model serves both.
#[test]
fn auto_over_two_shards_recommends_items_of_both() {
    let mut workload = Workload::new(71);
    let mut parts: Vec<Shard> = (0..2).map(|index| Shard::new(index, options(2, Training::Apart))).collect();
    for step in 0..4_000 {
        let (bytes, id) = workload.draw();
        apply(&mut parts[usize::from(id.as_ref().shard(2))], &bytes);
        if step % 50 == 0 {
            trade(&mut parts);
        }
    }
    let one = model(&parts[0], 1);
    for part in &mut parts {
        part.install(&one);
    }
    for index in 0..2_u16 {
        let part = &mut parts[usize::from(index)];
        let (mut own, mut copies) = (0, 0);
        for user in (0..600).filter(|user| IdRef::Int(*user).shard(2) == index) {
            let list = part.recommend(0, IdRef::Int(user), 10, &Filter::default());
            assert_eq!(list.items.len(), 10, "user {user}");
            for scored in &list.items {
                *(if scored.item.as_ref().shard(2) == index { &mut own } else { &mut copies }) += 1;
            }
        }
        assert!(own > 0 && copies > 0, "shard {index}: {own} of its own, {copies} of the other");
        let mut back = restored(part);
        assert_eq!(back.digest(), part.digest());
        assert_eq!(
            back.recommend(0, IdRef::Int(3), 10, &Filter::default()),
            part.recommend(0, IdRef::Int(3), 10, &Filter::default())
        );
    }
}

/// In step, factors are fitted by the shard itself: what tags said before is gone with the first fit, and a model for the
/// other strategies leaves them alone.
#[test]
fn in_step_the_factors_are_its_own() {
    let mut shard = circles(Training::InStep);
    assert!(shard.arms[0].model.epoch > 0, "fitted");
    assert!(shard.arms[0].items.col(40).iter().all(|value| *value == 0.0), "tagged, never met: of no space");
    assert!(shard.model_dims().is_empty());
    let before: Vec<f32> = shard.arms[0].items.col(3).to_vec();
    let ids = shard.item_ids().cloned().collect();
    let part = EpochPart { dim: 32, gram: vec![1.0; 32 * 32], factors: vec![1.0; 41 * 32] };
    shard.install(&EpochModel { epoch: 1, ids, parts: vec![part] });
    assert_eq!(shard.arms[0].items.col(3), before);
}
