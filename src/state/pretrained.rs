//! What attention learned elsewhere, in a shard: installed by operations, so that replay is exact; and what it learned
//! here, for export.

use super::Outcome;
use super::Shard;
use crate::base::Reader;
use crate::learn::bank::attention::Attention;
use crate::learn::bank::pretrained::Pretrained;

impl Shard {
    /// Takes over a part of what was learned elsewhere: the operation that [`super::Op::Pretrained`] names. Items that are
    /// not known become known. Nothing happens where no strategy has the neural step.
    pub(super) fn take_pretrained(&mut self, bytes: &[u8]) -> Outcome {
        let Ok(part) = Pretrained::decode(&mut Reader::new(bytes)) else { return Outcome::applied(0) };
        self.go_on_from(&part);
        Outcome::applied(0)
    }

    /// Attention goes on from what was learned elsewhere, if a strategy has the neural step.
    pub(super) fn go_on_from(&mut self, part: &Pretrained) {
        if self.attention().is_none() {
            return;
        }
        for item in &part.items {
            let row = self.known_item(item.id.as_ref());
            if let Some(attention) = self.attention_mut() {
                attention.install_item(row, item);
            }
        }
        if let (Some(attention), Some(weights)) = (self.attention_mut(), part.weights.clone()) {
            attention.install(weights, part.stamp);
        }
    }

    /// What attention has learned so far, if a strategy has the neural step: weights, and the items that had an event.
    #[must_use]
    pub fn pretrained(&self) -> Option<Pretrained> {
        let attention = self.attention()?;
        let bank = &self.banked.as_ref()?.bank;
        let known = (0..bank.items()).filter(|row| bank.counts.get(*row).events > 0);
        let items = known.map(|row| attention.item(row, self.items.get(row).id.clone())).collect();
        Some(Pretrained { stamp: 0, weights: Some(attention.weights()), items }.stamped())
    }

    /// The stamp of what was installed last; 0 if nothing was.
    #[must_use]
    pub fn pretrained_stamp(&self) -> u64 {
        self.attention().map_or(0, Attention::stamp)
    }

    fn attention(&self) -> Option<&Attention> {
        self.banked.as_ref()?.bank.attention.as_deref()
    }

    fn attention_mut(&mut self) -> Option<&mut Attention> {
        self.banked.as_mut()?.bank.attention.as_deref_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ImageReader, Op, Options};
    use super::*;
    use crate::base::IdRef;
    use crate::learn::Strategy;
    use crate::model::Event;

    fn options(name: &str) -> Options {
        Options { strategies: vec![Strategy::default_named(name).expect("listed")], ..Options::default() }
    }

    fn learn(shard: &mut Shard, events: std::ops::Range<u64>) {
        for x in events {
            let (user, item) = (IdRef::Int(x % 30), IdRef::Int((x % 30 * 5 + x / 30) % 50));
            let event = Event { event_id: 0, user, item, kind: 0, value: 1.0, time_ms: x as i64 };
            shard.apply(&Op::Event(event));
        }
    }

    fn install(shard: &mut Shard, learned: &Pretrained) {
        learned.parts().iter().for_each(|part| {
            shard.apply(&Op::Pretrained { part });
        });
    }

    fn image(shard: &mut Shard) -> Shard {
        let mut reader = ImageReader::new(options("attention"));
        shard.capture_begin();
        while let Some(sections) = shard.capture_some(1) {
            sections.iter().for_each(|section| reader.feed(section).expect("own sections"));
        }
        reader.finish().expect("a whole image")
    }

    #[test]
    fn what_one_shard_learned_is_where_another_begins() {
        let mut teacher = Shard::new(0, options("attention"));
        learn(&mut teacher, 0..900);
        let learned = teacher.pretrained().expect("it has the neural step");
        assert_eq!(learned.items.len(), 50);
        let mut one = Shard::new(0, options("attention"));
        install(&mut one, &learned);
        assert_eq!(one.pretrained_stamp(), learned.stamp);
        assert_eq!(one.item_count(), 50, "items became known");
        let (attention, row) = (one.attention().expect("it has one"), 7);
        let id = one.items.get(row).id.clone();
        assert_eq!(Some(&attention.item(row, id.clone())), learned.items.iter().find(|item| item.id == id));
        // The same operations give the same bits, with an image in between or not.
        let mut two = image(&mut one);
        assert_eq!((two.digest(), two.pretrained_stamp()), (one.digest(), learned.stamp));
        learn(&mut one, 0..200);
        learn(&mut two, 0..200);
        assert_eq!(one.digest(), two.digest());
        let mut fresh = Shard::new(0, options("attention"));
        learn(&mut fresh, 0..200);
        assert_ne!(fresh.pretrained(), one.pretrained(), "where it began makes a difference");
    }

    #[test]
    fn nothing_happens_without_the_neural_step_or_for_other_bytes() {
        let mut teacher = Shard::new(0, options("attention"));
        learn(&mut teacher, 0..90);
        let learned = teacher.pretrained().expect("it has the neural step");
        for (name, other) in [("decay", false), ("sequence", false), ("attention", true)] {
            let mut shard = Shard::new(0, options(name));
            let before = shard.digest();
            if other {
                shard.apply(&Op::Pretrained { part: &[1, 2, 3] });
            } else {
                install(&mut shard, &learned);
                assert_eq!(shard.pretrained(), None);
            }
            assert_eq!(shard.digest(), before, "{name}");
        }
    }
}
