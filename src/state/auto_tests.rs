//! `auto` in the machine: images in both ways of training, installed models, shards that know part of the stream, and
//! what it answers when there is little to go by.

use super::tests::{Workload, apply, model, options_of};
use super::*;

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
            shard.example(&event).into_iter().for_each(|rows| trainer.learn(&rows));
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
