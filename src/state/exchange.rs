//! What travels between shards: observations to the owner of an item, rows from the owner to all.
//!
//! ```text
//! observation: sequence u64 | item id | weight f32 | value f32 | mean f32 | explicit u8 | time_ms i64
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

/// Observations for one other shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// Sent, and not yet known to be journaled at the destination.
    sent: Option<Parcel>,
    /// Not yet sent.
    waiting: Parcel,
}

impl Outbox {
    /// The parcel that waits; an observation is appended to its bytes and then counted with [`Self::counted`].
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.waiting.bytes
    }

    /// Counts one appended observation.
    pub fn counted(&mut self, sequence: u64) {
        self.waiting.upto = sequence;
        self.waiting.count += 1;
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.waiting.bytes.len() + self.sent.as_ref().map_or(0, |parcel| parcel.bytes.len())
    }

    /// The next parcel to send, if none is on its way and something waits. It is kept until it is acknowledged.
    pub fn take(&mut self) -> Option<Parcel> {
        if self.sent.is_some() || self.waiting.count == 0 {
            return None;
        }
        let parcel = std::mem::take(&mut self.waiting);
        self.sent = Some(parcel.clone());
        Some(parcel)
    }

    /// The destination has journaled everything up to `upto`.
    pub fn acknowledge(&mut self, upto: u64) {
        if self.sent.as_ref().is_some_and(|parcel| parcel.upto <= upto) {
            self.sent = None;
        }
    }

    /// The parcel on its way did not arrive: it goes back to those that wait.
    pub fn unsend(&mut self) {
        if let Some(mut parcel) = self.sent.take() {
            if self.waiting.count > 0 {
                parcel.upto = self.waiting.upto;
                parcel.count += self.waiting.count;
                parcel.bytes.append(&mut self.waiting.bytes);
            }
            self.waiting = parcel;
        }
    }

    /// Appends all that is held, as one parcel.
    pub fn encode(&self, out: &mut Writer<'_>) {
        let mut all = self.clone();
        all.unsend();
        out.u64(all.waiting.upto).u32(all.waiting.count).count(all.waiting.bytes.len()).bytes(&all.waiting.bytes);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not an outbox.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (upto, count) = (from.u64()?, from.u32()?);
        let length = from.count(1, usize::MAX)?;
        Ok(Self { sent: None, waiting: Parcel { upto, count, bytes: from.bytes(length)?.to_vec() } })
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
    /// When it happened, in milliseconds.
    pub time_ms: i64,
}

impl<'a> Observation<'a> {
    /// Appends everything but the user columns, which follow arm by arm.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.sequence).id(self.item).f32(self.weight).f32(self.value).f32(self.mean);
        out.u8(u8::from(self.explicit)).i64(self.time_ms);
    }

    /// Reads one; the user columns follow.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not an observation.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, CursorError> {
        Ok(Self {
            sequence: from.u64()?,
            item: from.id()?,
            weight: from.f32()?,
            value: from.f32()?,
            mean: from.f32()?,
            explicit: from.u8()? != 0,
            time_ms: from.i64()?,
        })
    }
}

/// Appends the values of a column.
pub fn put_column(out: &mut Writer<'_>, column: &[f32]) {
    for value in column {
        out.f32(*value);
    }
}

/// Reads `rows` values into the front of a padded column.
///
/// # Errors
/// [`CursorError::Short`] if they are not there.
pub fn take_column(from: &mut Reader<'_>, column: &mut [f32], rows: usize) -> Result<(), CursorError> {
    let raw = from.bytes(rows * size_of::<f32>())?;
    for (value, bytes) in column.iter_mut().zip(raw.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_kept_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        for sequence in [3, 5] {
            outbox.bytes().push(sequence as u8);
            outbox.counted(sequence);
        }
        let parcel = outbox.take().expect("two wait");
        assert_eq!((parcel.upto, parcel.count, parcel.bytes.as_slice()), (5, 2, &[3, 5][..]));
        outbox.bytes().push(8);
        outbox.counted(8);
        assert_eq!(outbox.take(), None, "one on its way at a time");
        outbox.acknowledge(4);
        assert_eq!(outbox.take(), None, "an old acknowledgement changes nothing");

        let mut bytes = Vec::new();
        outbox.encode(&mut Writer::new(&mut bytes));
        let mut restored = Outbox::decode(&mut Reader::new(&bytes)).expect("own bytes");
        assert_eq!(restored.take().map(|parcel| parcel.bytes), Some(vec![3, 5, 8]));

        outbox.acknowledge(5);
        assert_eq!(outbox.take().map(|parcel| (parcel.upto, parcel.count)), Some((8, 1)));
    }
}
