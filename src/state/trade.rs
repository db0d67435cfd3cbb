//! A shard's dealings with the others: observations out and in, rows out and in (formats: `exchange`).

use super::Outcome;
use super::Shard;
use super::contrast::contrast_observed;
use super::exchange::{Observation, Parcel};
use super::users::{decode_attributes, encode_attributes};
use crate::base::CursorError;
use crate::base::cursor::{Reader, Writer};
use crate::learn::{ItemSide, Seen};

/// Bytes at which a publication is full, whatever the number of its rows: it becomes one journal record.
const PUBLICATION_BYTES: usize = 1 << 20;

impl Shard {
    /// Puts an event with an item of another shard into the outbox, with the user columns as they are now.
    pub(super) fn observe_foreign(&mut self, slot: usize, row: usize, seen: &Seen, time_ms: i64) {
        let item = self.items.get(row);
        let Seen { value, weight, explicit, mean, .. } = *seen;
        let (sequence, arms) = (self.sequence, &self.arms);
        let (item, owner) = (item.id.as_ref(), item.owner);
        let observation = Observation { sequence, item, weight, value, mean, explicit, retracts: false, time_ms };
        self.outboxes[usize::from(owner)].add(sequence, |bytes| {
            let mut out = Writer::new(bytes);
            observation.encode(&mut out);
            for arm in arms.iter().filter(|arm| arm.shape.items == ItemSide::Learned) {
                out.f32s(&arm.users.col(slot)[..arm.shape.user_rows]);
            }
        });
    }

    /// Tells the owner of an item that an event is taken away.
    pub(super) fn unobserve_foreign(&mut self, row: usize, weight: f32, time_ms: i64) {
        let (sequence, item) = (self.sequence, self.items.get(row));
        let (value, mean, explicit, retracts) = (0.0, 0.0, false, true);
        let (item, owner) = (item.id.as_ref(), item.owner);
        let observation = Observation { sequence, item, weight, value, mean, explicit, retracts, time_ms };
        self.outboxes[usize::from(owner)].add(sequence, |bytes| observation.encode(&mut Writer::new(bytes)));
    }

    /// Items of this shard learn from events of another shard's users. What was merged before is left out.
    pub(super) fn merge(&mut self, source: u16, bytes: &[u8]) -> Outcome {
        let mut from = Reader::new(bytes);
        let newest = self.merged[usize::from(source)];
        let mut column = std::mem::take(&mut self.scratch.column);
        while from.left() > 0 {
            let Ok(observation) = Observation::decode(&mut from) else { break };
            let fresh = observation.sequence > newest;
            let row = self.known_item(observation.item);
            let Observation { value, weight, explicit, mean, .. } = observation;
            let seen = Seen { value, weight, explicit, mean, since_ms: 0 };
            self.touch_item(row);
            if observation.retracts {
                if fresh {
                    self.count_item(row, weight, observation.time_ms, -1);
                }
                self.merged[usize::from(source)] = observation.sequence.max(newest);
                continue;
            }
            if fresh {
                self.count_item(row, weight, observation.time_ms, 1);
                self.heard_of(row);
            }
            for arm in self.arms.iter_mut().filter(|arm| arm.shape.items == ItemSide::Learned) {
                column.clear();
                column.resize(arm.users.stride(), 0.0);
                if from.f32s(&mut column[..arm.shape.user_rows]).is_err() || !fresh {
                    continue;
                }
                match arm.sweeps {
                    None => {
                        let draw = (u64::from(source) << 48) ^ observation.sequence;
                        contrast_observed(arm, &mut column, row, self.items.len(), self.options.seed ^ draw, &seen);
                        arm.learn_item(&mut column, row, &seen);
                    }
                    Some(_) if weight > 0.0 => arm.sweep_item(row, Some(&column), &mut self.scratch.work),
                    Some(_) => {}
                }
            }
            self.merged[usize::from(source)] = observation.sequence.max(newest);
        }
        self.scratch.column = column;
        Outcome::applied(0)
    }

    /// The next rows to publish: the bytes of an [`Op::Rows`](super::Op::Rows) for the other shards, and how many; at most `max`.
    pub fn publish(&mut self, max: usize) -> Option<Parcel> {
        if self.dirty.is_empty() {
            return None;
        }
        self.published += 1;
        let mut parcel = Parcel { upto: self.published, ..Parcel::default() };
        while (parcel.count as usize) < max
            && parcel.bytes.len() < PUBLICATION_BYTES
            && let Some(row) = self.dirty.pop_front()
        {
            self.items.get_mut(row as usize).dirty = false;
            self.put_row(row as usize, &mut parcel.bytes);
            parcel.count += 1;
        }
        Some(parcel)
    }

    /// Marks every owned row for publication: after a start, the others may have missed some.
    pub fn publish_all(&mut self) {
        for row in 0..self.items.len() {
            let item = self.items.get(row);
            if item.owner == self.index && (item.events > 0 || item.version > 0) {
                self.mark_dirty(row);
            }
        }
    }

    fn put_row(&self, row: usize, bytes: &mut Vec<u8>) {
        let item = self.items.get(row);
        let mut out = Writer::new(bytes);
        out.owned_id(&item.id).u64(item.events).f64(item.weight).f64(item.decayed).f64(self.items.reference_ms());
        out.i64(item.last_ms).u32(item.version).i64(item.tags_ms).count(item.tags.len());
        for tag in &item.tags {
            out.text(self.tags.name(*tag));
        }
        encode_attributes(item.attributes.as_deref(), &mut out);
        for arm in self.arms.iter().filter(|arm| arm.shape.items == ItemSide::Learned) {
            out.f32s(&arm.items.col(row)[..arm.shape.item_rows]);
        }
    }

    /// Takes over rows as their owner published them.
    pub(super) fn take_rows(&mut self, owner: u16, count: u32, bytes: &[u8]) -> Outcome {
        let mut from = Reader::new(bytes);
        for _ in 0..count {
            if self.take_row(owner, &mut from).is_err() {
                debug_assert!(false, "rows are made by put_row");
                break;
            }
        }
        Outcome::applied(0)
    }

    fn take_row(&mut self, owner: u16, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let id = from.id()?;
        let row = self.known_item(id);
        let (events, weight, decayed, reference_ms) = (from.u64()?, from.f64()?, from.f64()?, from.f64()?);
        let (last_ms, version, tags_ms) = (from.i64()?, from.u32()?, from.i64()?);
        let tags = (0..from.count(2, usize::MAX)?).map(|_| from.text()).collect::<Result<Vec<_>, _>>()?;
        let attributes = decode_attributes(from)?;
        if self.items.would_rescale(last_ms) {
            self.touch_all_items();
        }
        self.items.advance(last_ms);
        self.touch_item(row);
        let restated = version != self.items.get(row).version;
        if restated {
            self.set_tags(row, tags_ms, &tags);
        }
        let decayed = self.items.translated(decayed, reference_ms);
        if events > self.items.get(row).events {
            self.heard_of(row);
        }
        self.items.set_events(row, events);
        let item = self.items.get_mut(row);
        debug_assert_eq!(item.owner, owner, "only owners publish");
        (item.weight, item.decayed) = (weight, decayed);
        (item.last_ms, item.version, item.attributes) = (last_ms, version, attributes);
        if restated {
            self.redescribe(row);
        }
        for arm in self.arms.iter_mut().filter(|arm| arm.shape.items == ItemSide::Learned) {
            let (rows, old) = (arm.shape.item_rows, arm.sweeps.is_some().then(|| arm.items.col(row).to_vec()));
            from.f32s(&mut arm.items.col_mut(row)[..rows])?;
            if let Some(old) = old {
                arm.strategy.item_replaced(&old, arm.items.col(row), &mut arm.shared);
            }
        }
        Ok(())
    }
}
