//! What travels between shards: observations to the owner of an item, rows from the owner to all.
//!
//! ```text
//! observation: sequence u64 | item id | weight f32 | value f32 | mean f32 | flags u8 | time_ms i64
//!              (flags: 1 the value is a judgement, 2 an event is taken away: no columns follow)
//!              | for each arm whose items learn: the user column as it was read, user_rows f32
//! row:         item id | events u64 | weight f64 | decayed f64 | reference_ms f64 | last_ms i64 | version u32
//!              | tags_ms i64 | tags (u32 count, texts) | attributes (u8, ...)
//!              | for each arm whose items learn: the item column, item_rows f32
//! ```
//!
//! *Exactly once.* Observations are kept in the sender's outbox until the owner has journaled them, are part of the
//! sender's image, and carry the sender's sequence; the owner remembers the newest it has merged from each source. So
//! a replay of the sender's journal makes them anew and the owner drops what it had. *Rows* are absolute, so the newest
//! wins and a lost publication costs staleness alone.

use std::collections::VecDeque;

use crate::base::cursor::{CursorError, Reader, Writer};

/// Encoded observations with one destination, in the order of their sequences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parcel {
    /// Sequence of the newest one.
    pub upto: u64,
    /// How many.
    pub count: u32,
    /// Their bytes.
    pub bytes: Vec<u8>,
}

/// Bytes at which a parcel is full: what waits longer goes with the next, so no journal record grows with a delay.
const PARCEL_BYTES: usize = 1 << 20;

/// Observations for one other shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// Whether the first parcel has been sent and is not yet known to be journaled at the destination.
    sent: bool,
    /// Oldest first.
    parcels: VecDeque<Parcel>,
    held_bytes: usize,
}

impl Outbox {
    /// Appends one observation, which `put` writes.
    pub fn add(&mut self, sequence: u64, put: impl FnOnce(&mut Vec<u8>)) {
        let open = self.parcels.len() > usize::from(self.sent);
        if !open || self.parcels.back().is_none_or(|last| last.bytes.len() >= PARCEL_BYTES) {
            self.parcels.push_back(Parcel::default());
        }
        if let Some(last) = self.parcels.back_mut() {
            let before = last.bytes.len();
            put(&mut last.bytes);
            self.held_bytes += last.bytes.len() - before;
            last.upto = sequence;
            last.count += 1;
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The next parcel to send, if none is on its way and one waits. It is kept until it is acknowledged.
    pub fn take(&mut self) -> Option<Parcel> {
        if self.sent {
            return None;
        }
        let parcel = self.parcels.front().cloned();
        self.sent = parcel.is_some();
        parcel
    }

    /// The destination has journaled everything up to `upto`.
    pub fn acknowledge(&mut self, upto: u64) {
        if self.sent
            && let Some(parcel) = self.parcels.pop_front_if(|parcel| parcel.upto <= upto)
        {
            self.held_bytes -= parcel.bytes.len();
            self.sent = false;
        }
    }

    /// The parcel on its way did not arrive: it waits again.
    pub fn unsend(&mut self) {
        self.sent = false;
    }

    /// Appends all that is held.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.count(self.parcels.len());
        for Parcel { upto, count, bytes } in &self.parcels {
            out.u64(*upto).u32(*count).count(bytes.len()).bytes(bytes);
        }
    }

    /// Reads what [`Self::encode`] wrote; what had been sent waits again.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not an outbox.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let mut outbox = Self::default();
        for _ in 0..from.count(16, usize::MAX)? {
            let (upto, count) = (from.u64()?, from.u32()?);
            let length = from.count(1, usize::MAX)?;
            outbox.held_bytes += length;
            outbox.parcels.push_back(Parcel { upto, count, bytes: from.bytes(length)?.to_vec() });
        }
        Ok(outbox)
    }
}

/// One observation, borrowed from a parcel.
#[derive(Debug)]
pub struct Observation<'a> {
    /// Sequence of the event at its source.
    pub sequence: u64,
    /// The item.
    pub item: crate::base::IdRef<'a>,
    /// What the event weighs.
    pub weight: f32,
    /// Its value.
    pub value: f32,
    /// Mean of explicit values at the source, this one included.
    pub mean: f32,
    /// Whether the value is a judgement.
    pub explicit: bool,
    /// Whether an event is taken away; no user columns follow then.
    pub retracts: bool,
    /// When it happened, in milliseconds.
    pub time_ms: i64,
}

impl<'a> Observation<'a> {
    /// Appends everything but the user columns, which follow arm by arm.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.sequence).id(self.item).f32(self.weight).f32(self.value).f32(self.mean);
        out.u8(u8::from(self.explicit) | u8::from(self.retracts) << 1).i64(self.time_ms);
    }

    /// Reads one; the user columns follow.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not an observation.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, CursorError> {
        let (sequence, item) = (from.u64()?, from.id()?);
        let (weight, value, mean, flags) = (from.f32()?, from.f32()?, from.f32()?, from.u8()?);
        let (explicit, retracts) = (flags & 1 != 0, flags & 2 != 0);
        Ok(Self { sequence, item, weight, value, mean, explicit, retracts, time_ms: from.i64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_kept_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        for sequence in [3_u8, 5] {
            outbox.add(u64::from(sequence), |bytes| bytes.push(sequence));
        }
        let parcel = outbox.take().expect("two wait");
        assert_eq!((parcel.upto, parcel.count, parcel.bytes.as_slice()), (5, 2, &[3, 5][..]));
        outbox.add(8, |bytes| bytes.push(8));
        assert_eq!(outbox.take(), None, "one on its way at a time");
        outbox.acknowledge(4);
        assert_eq!(outbox.take(), None, "an old acknowledgement changes nothing");

        let mut bytes = Vec::new();
        outbox.encode(&mut Writer::new(&mut bytes));
        let mut restored = Outbox::decode(&mut Reader::new(&bytes)).expect("own bytes");
        assert_eq!(restored.held_bytes(), 3);
        assert_eq!(restored.take().map(|parcel| parcel.bytes), Some(vec![3, 5]), "what was sent waits again");

        outbox.acknowledge(5);
        assert_eq!(outbox.take().map(|parcel| (parcel.upto, parcel.count)), Some((8, 1)));
        outbox.unsend();
        assert_eq!(outbox.take().map(|parcel| parcel.upto), Some(8));
        outbox.acknowledge(8);
        assert_eq!((outbox.take(), outbox.held_bytes()), (None, 0));
    }

    #[test]
    fn parcels_stay_small_however_long_they_wait() {
        let mut outbox = Outbox::default();
        for sequence in 1..=5_000 {
            outbox.add(sequence, |bytes| bytes.resize(bytes.len() + 1_000, 7));
        }
        let mut upto = 0;
        while let Some(parcel) = outbox.take() {
            assert!(parcel.bytes.len() <= PARCEL_BYTES + 1_000 && parcel.upto > upto);
            upto = parcel.upto;
            outbox.acknowledge(upto);
        }
        assert_eq!((upto, outbox.held_bytes()), (5_000, 0));
    }
}
