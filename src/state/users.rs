//! The users of one shard: what is known of each beside the vectors.

use super::directory::Directory;
use super::merge::Merged;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::{Id, IdRef};
use crate::model::{Attributes, History};
use crate::person::{Controls, Person};
use crate::pipeline::Pulse;

/// Facts of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Who.
    pub id: Id,
    /// Rises by one with every change.
    pub version: u32,
    /// Epoch of the item model in whose space this user's vectors stand.
    pub epoch: u32,
    /// Events learned.
    pub events: u64,
    /// Earliest event, in milliseconds; meaningless without events.
    pub first_ms: i64,
    /// Latest event, in milliseconds; meaningless without events.
    pub last_ms: i64,
    /// Sum of explicit values.
    pub value_sum: f64,
    /// Number of explicit values.
    pub value_count: u64,
    /// The newest events.
    pub history: History,
    /// Typed attributes; most users have none.
    pub attributes: Option<Box<Attributes>>,
    /// What the user does and likes.
    pub person: Box<Person>,
    /// What the user asks of the profile; most ask nothing.
    pub controls: Option<Box<Controls>>,
    /// How its events come.
    pub pulse: Pulse,
    /// Who it became, and whom it absorbed; most are themselves.
    pub merged: Option<Box<Merged>>,
}

impl User {
    fn new(id: Id, epoch: u32) -> Self {
        Self {
            id,
            version: 0,
            epoch,
            events: 0,
            first_ms: 0,
            last_ms: 0,
            value_sum: 0.0,
            value_count: 0,
            history: History::default(),
            attributes: None,
            person: Box::default(),
            controls: None,
            pulse: Pulse::default(),
            merged: None,
        }
    }

    /// Mean of the explicit values; NaN without any.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of events")]
    pub fn value_mean(&self) -> f64 {
        self.value_sum / self.value_count as f64
    }

    /// Counts an event at `time_ms`; returns the milliseconds since the latest one before (0 for the first, negative if
    /// this one is late).
    pub fn observe(&mut self, time_ms: i64) -> i64 {
        let first = self.events == 0;
        let since_ms = if first { 0 } else { time_ms.saturating_sub(self.last_ms) };
        self.first_ms = if first { time_ms } else { self.first_ms.min(time_ms) };
        self.last_ms = if first { time_ms } else { self.last_ms.max(time_ms) };
        self.events += 1;
        self.changed();
        since_ms
    }

    /// Counts a change; returns the version after it.
    pub fn changed(&mut self) -> u32 {
        self.version = self.version.wrapping_add(1);
        self.version
    }

    /// Appends the facts.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.owned_id(&self.id).u32(self.version).u32(self.epoch).u64(self.events).i64(self.first_ms).i64(self.last_ms);
        out.f64(self.value_sum).u64(self.value_count);
        self.history.encode(out);
        encode_attributes(self.attributes.as_deref(), out);
        self.person.encode(out);
        out.u8(u8::from(self.controls.is_some()));
        if let Some(controls) = &self.controls {
            controls.encode(out);
        }
        self.pulse.encode(out);
        out.u8(u8::from(self.merged.is_some()));
        if let Some(merged) = &self.merged {
            merged.encode(out);
        }
    }

    /// Reads what [`Self::encode`] wrote, in an image of this version.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a user.
    pub fn decode(from: &mut Reader<'_>, version: u8) -> Result<Self, CursorError> {
        Ok(Self {
            id: from.id()?.to_owned(),
            version: from.u32()?,
            epoch: from.u32()?,
            events: from.u64()?,
            first_ms: from.i64()?,
            last_ms: from.i64()?,
            value_sum: from.f64()?,
            value_count: from.u64()?,
            history: History::decode(from, version > 3)?,
            attributes: decode_attributes(from)?,
            person: if version > 3 { Box::new(Person::decode(from)?) } else { Box::default() },
            controls: if version > 3 && from.u8()? != 0 { Some(Box::new(Controls::decode(from)?)) } else { None },
            pulse: if version > 3 { Pulse::decode(from)? } else { Pulse::default() },
            merged: if version > 3 && from.u8()? != 0 { Some(Box::new(Merged::decode(from)?)) } else { None },
        })
    }
}

/// Appends attributes that may not be there.
pub(super) fn encode_attributes(attributes: Option<&Attributes>, out: &mut Writer<'_>) {
    match attributes {
        None => {
            out.u8(0);
        }
        Some(attributes) => attributes.encode(out.u8(1)),
    }
}

/// Reads what [`encode_attributes`] wrote.
pub(super) fn decode_attributes(from: &mut Reader<'_>) -> Result<Option<Box<Attributes>>, CursorError> {
    Ok(match from.u8()? {
        0 => None,
        _ => Some(Box::new(Attributes::decode(from)?)),
    })
}

/// All users of one shard, in dense slots.
#[derive(Debug, Default)]
pub struct Users {
    directory: Directory,
    slots: Vec<User>,
}

impl Users {
    /// Number of users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot of a user.
    #[must_use]
    pub fn find(&self, id: IdRef<'_>) -> Option<usize> {
        self.directory.get(id)
    }

    /// The user in `slot`.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: usize) -> &User {
        &self.slots[slot]
    }

    /// The user in `slot`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: usize) -> &mut User {
        &mut self.slots[slot]
    }

    /// Adds a user that is not there yet.
    pub fn insert(&mut self, id: IdRef<'_>, epoch: u32) -> usize {
        self.restore(User::new(id.to_owned(), epoch))
    }

    /// Adds a user as it was.
    pub fn restore(&mut self, user: User) -> usize {
        self.directory.insert(&user.id, self.slots.len());
        self.slots.push(user);
        self.slots.len() - 1
    }
}
