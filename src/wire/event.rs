//! Events without allocation: the hot path of the server and of fast clients.
//!
//! The bytes are those of [`EventPut`](super::commands::EventPut) and [`EventBatch`];
//! tests hold both readings together. A view checks its whole body when it is made, so that a malformed batch is
//! refused as a whole and never half carried out; walking the events afterwards cannot fail.

use super::commands::EventBatch;
use super::error::{OverLimit, WireError};
use super::field::{Field, put_id};
use super::frame::{HEADER_BYTES, Header, close_frame};
use super::schema::Command;
use super::types::Event;
use crate::base::limits::{BATCH_EVENTS_MAX, FRAME_BYTES_MAX};
use crate::base::{CursorError, IdRef, Reader, Writer};

/// One observed behaviour, borrowed from a frame. The fields are those of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRef<'a> {
    /// Makes a repeat harmless; integer 0: none.
    pub event_id: IdRef<'a>,
    /// Who behaved.
    pub user: IdRef<'a>,
    /// Towards what.
    pub item: IdRef<'a>,
    /// Behaviour kind.
    pub kind: u8,
    /// How strongly.
    pub value: f32,
    /// When, in milliseconds since 1970-01-01 UTC; 0: when the server gets it.
    pub time_ms: i64,
}

impl<'a> EventRef<'a> {
    /// Takes an event.
    ///
    /// # Errors
    /// [`CursorError`] if the bytes end early or an id is malformed.
    #[inline]
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, CursorError> {
        Ok(Self {
            event_id: reader.id()?,
            user: reader.id()?,
            item: reader.id()?,
            kind: reader.u8()?,
            value: reader.f32()?,
            time_ms: reader.i64()?,
        })
    }

    /// Appends the event.
    ///
    /// # Errors
    /// [`OverLimit`] if an id is empty or too long; `out` then holds a part of it.
    #[inline]
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), OverLimit> {
        put_id(out, self.event_id)?;
        put_id(out, self.user)?;
        put_id(out, self.item)?;
        out.u8(self.kind).f32(self.value).i64(self.time_ms);
        Ok(())
    }

    /// An owned copy.
    #[must_use]
    pub fn to_event(&self) -> Event {
        Event {
            event_id: self.event_id.to_owned(),
            user: self.user.to_owned(),
            item: self.item.to_owned(),
            kind: self.kind,
            value: self.value,
            time_ms: self.time_ms,
        }
    }
}

impl<'a> From<&'a Event> for EventRef<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            event_id: event.event_id.as_ref(),
            user: event.user.as_ref(),
            item: event.item.as_ref(),
            kind: event.kind,
            value: event.value,
            time_ms: event.time_ms,
        }
    }
}

/// An EVENT_PUT, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventPutView<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// Durability level to reach before the reply.
    pub durability: u8,
}

impl<'a> EventPutView<'a> {
    /// Reads the body of an EVENT_PUT; bytes left over are an error.
    ///
    /// # Errors
    /// [`WireError::Body`].
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let mut read = || -> Result<Self, CursorError> {
            let view = Self { event: EventRef::decode(&mut reader)?, durability: reader.u8()? };
            reader.finish()?;
            Ok(view)
        };
        read().map_err(|cause| WireError::Body { command: super::commands::EventPut::NAME, cause })
    }
}

/// An EVENT_BATCH, borrowed from its frame and checked to the last byte.
#[derive(Clone, Debug)]
pub struct EventBatchView<'a> {
    /// Durability level to reach before the reply.
    pub durability: u8,
    /// 0: a summary; 1: also a result for each event.
    pub want: u8,
    count: usize,
    events: Reader<'a>,
}

impl<'a> EventBatchView<'a> {
    /// Reads the body of an EVENT_BATCH and walks all of it; bytes left over are an error.
    ///
    /// # Errors
    /// [`WireError::Body`], with the offset of the first thing that is wrong.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let mut read = || -> Result<Self, CursorError> {
            let (durability, want) = (reader.u8()?, reader.u8()?);
            let count = reader.count(Event::MIN_BYTES, BATCH_EVENTS_MAX)?;
            let events = reader.clone();
            for _ in 0..count {
                EventRef::decode(&mut reader)?;
            }
            reader.finish()?;
            Ok(Self { durability, want, count, events })
        };
        read().map_err(|cause| WireError::Body { command: EventBatch::NAME, cause })
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there is no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The events, in order.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'a>> + use<'a> {
        let mut reader = self.events.clone();
        // `decode` has read these very bytes, so the walk ends after the last event and not before.
        std::iter::from_fn(move || EventRef::decode(&mut reader).ok())
    }
}

/// Writes an EVENT_BATCH frame event by event straight into a buffer. Dropped without [`BatchWriter::finish`], the
/// buffer is as before.
#[derive(Debug)]
pub struct BatchWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    count: u32,
    finished: bool,
}

impl<'a> BatchWriter<'a> {
    /// Where the count stands, from the start of the frame: header, durability, want.
    const COUNT_AT: usize = HEADER_BYTES + 2;

    /// Opens a frame at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, request_id: u64, durability: u8, want: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&Header::new(EventBatch::OPCODE, request_id, 0).encode());
        Writer::new(out).u8(durability).u8(want).u32(0);
        Self { out, start, count: 0, finished: false }
    }

    /// Appends an event.
    ///
    /// # Errors
    /// [`WireError::Limit`] if the batch is full or an id is empty or too long, [`WireError::FrameTooLong`]; the frame
    /// then stands as before this event.
    #[inline]
    pub fn push(&mut self, event: &EventRef<'_>) -> Result<(), WireError> {
        let limit = |cause| WireError::Limit { command: EventBatch::NAME, cause };
        let have = self.len() + 1;
        if have > BATCH_EVENTS_MAX {
            return Err(limit(OverLimit { what: "batch of events", have, max: BATCH_EVENTS_MAX }));
        }
        let before = self.out.len();
        let mut done = event.encode(&mut Writer::new(self.out)).map_err(limit);
        let bytes = self.out.len() - self.start;
        if done.is_ok() && bytes > FRAME_BYTES_MAX {
            done = Err(WireError::FrameTooLong { bytes: bytes as u64, max: FRAME_BYTES_MAX });
        }
        match done {
            Ok(()) => self.count += 1,
            Err(_) => self.out.truncate(before),
        }
        done
    }

    /// Events so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True if there is no event yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Closes the frame.
    ///
    /// # Errors
    /// [`WireError::FrameTooLong`]; [`BatchWriter::push`] has kept that from happening.
    pub fn finish(mut self) -> Result<(), WireError> {
        let at = self.start + Self::COUNT_AT;
        self.out[at..at + 4].copy_from_slice(&self.count.to_le_bytes());
        close_frame(&mut self.out[self.start..], 0)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for BatchWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Id, Rng};
    use crate::wire::commands::EventPut;
    use crate::wire::frame::split;
    use crate::wire::message::{decode_request, put_request};
    use crate::wire::sample::Sample;

    fn batch(seed: u64, events: usize) -> EventBatch {
        let mut rng = Rng::new(seed);
        EventBatch { durability: 2, want: 1, events: (0..events).map(|_| Event::sample(&mut rng)).collect() }
    }

    #[test]
    fn a_put_reads_the_same_both_ways() {
        for seed in 0..200 {
            let put = EventPut::sample(&mut Rng::new(seed));
            let mut bytes = Vec::new();
            put_request(&mut bytes, 1, &put).unwrap();
            let view = EventPutView::decode(&bytes[HEADER_BYTES..]).unwrap();
            assert_eq!((view.event.to_event(), view.durability), (put.event.clone(), put.durability), "seed {seed}");
            let mut again = Vec::new();
            view.event.encode(&mut Writer::new(&mut again)).unwrap();
            assert_eq!(again, bytes[HEADER_BYTES..bytes.len() - 1], "seed {seed}");
        }
    }

    #[test]
    fn a_batch_reads_and_writes_the_same_both_ways() {
        for (seed, events) in [(1, 0), (2, 1), (3, 7), (4, BATCH_EVENTS_MAX)] {
            let batch = batch(seed, events);
            let mut expected = vec![0xEE];
            put_request(&mut expected, 9, &batch).unwrap();
            let mut written = vec![0xEE];
            let mut writer = BatchWriter::new(&mut written, 9, 2, 1);
            for event in &batch.events {
                writer.push(&event.into()).unwrap();
            }
            assert_eq!((writer.len(), writer.is_empty()), (events, events == 0));
            writer.finish().unwrap();
            assert!(written == expected, "seed {seed}: the fast writer and the macro disagree");

            let view = EventBatchView::decode(&expected[1 + HEADER_BYTES..]).unwrap();
            let read: Vec<Event> = view.events().map(|event| event.to_event()).collect();
            assert_eq!((view.durability, view.want, view.len(), view.is_empty()), (2, 1, events, events == 0));
            assert_eq!(read, batch.events, "seed {seed}");
        }
    }

    #[test]
    fn views_refuse_exactly_what_the_macro_refuses() {
        let mut bytes = Vec::new();
        put_request(&mut bytes, 1, &batch(5, 3)).unwrap();
        let body = &bytes[HEADER_BYTES..];
        for cut in 0..body.len() {
            let view = EventBatchView::decode(&body[..cut]).map(|view| view.len());
            assert_eq!(view.unwrap_err(), decode_request::<EventBatch>(&body[..cut]).unwrap_err(), "cut at {cut}");
        }
        let longer = [body, &[0]].concat();
        assert!(EventBatchView::decode(&longer).is_err());

        let mut rng = Rng::new(6);
        for round in 0..20_000 {
            let mut damaged = body.to_vec();
            for _ in 0..=rng.below(2) {
                let at = usize::try_from(rng.below(damaged.len() as u64)).unwrap();
                damaged[at] = u8::sample(&mut rng);
            }
            let view = EventBatchView::decode(&damaged);
            let plain = decode_request::<EventBatch>(&damaged);
            assert_eq!(view.is_ok(), plain.is_ok(), "round {round} of seed 6");
            if let (Ok(view), Ok(plain)) = (view, plain) {
                assert_eq!(view.events().count(), plain.events.len(), "round {round} of seed 6");
            }
        }
    }

    #[test]
    fn a_batch_that_is_full_or_fed_nonsense_stands_as_before() {
        let mut out = vec![7];
        let event = Event::sample(&mut Rng::new(7));
        let mut writer = BatchWriter::new(&mut out, 1, 0, 0);
        let nameless = Event { user: Id::Text("".into()), ..event.clone() };
        assert!(matches!(writer.push(&(&nameless).into()), Err(WireError::Limit { .. })));
        for _ in 0..BATCH_EVENTS_MAX {
            writer.push(&(&event).into()).unwrap();
        }
        assert!(matches!(writer.push(&(&event).into()), Err(WireError::Limit { .. })));
        writer.finish().unwrap();
        let (header, body) = split(&out[1..]).next().unwrap().unwrap();
        assert_eq!((header.code, header.request_id), (EventBatch::OPCODE, 1));
        assert_eq!(EventBatchView::decode(body).unwrap().len(), BATCH_EVENTS_MAX);

        let mut out = vec![7];
        drop(BatchWriter::new(&mut out, 1, 0, 0));
        assert_eq!(out, [7], "a batch that was given up leaves nothing behind");
    }
}
