//! Operations: what changes a shard, and what the journal means. One operation is one sequence number.
//!
//! ```text
//! event        1 | event_id u64 | user id | item id | kind u8 | value f32 | time_ms i64
//! user upsert  2 | user id | time_ms i64 | attributes
//! item upsert  3 | item id | time_ms i64 | tags: u32 count, texts | attributes
//! merge        4 | source u16 | upto u64 | count u32 | bytes u32 | observations (exchange.rs)
//! rows         5 | owner u16 | generation u64 | count u32 | bytes u32 | rows (exchange.rs)
//! epoch        6 | epoch u32
//! ranker       7 | version u32 | bytes u32 | weights (learn/auto/ranker.rs)
//! exposure     8 | decision u64 | user id | places u16 | time_ms i64 | list
//! outcome      9 | decision u64 | event without its tag | list
//! list:        u8: 0 unknown, 1 the list follows (model/decision.rs), 2 forgotten
//! pretrained   10 | bytes u32 | a part of what attention learned elsewhere (learn/bank/pretrained.rs)
//! schema       11 | bytes u32 | a schema (model/schema.rs)
//! control      12 | user id | time_ms i64 | control (person/controls.rs)
//! retract      13 | user id | event_id u64
//! seal         14 | user id | the id that it became
//! absorb       15 | id of who takes over | id of whom | bytes u32 | what was kept (merge.rs)
//! empty        16 | user id
//! embedding    17 | item id | modality text | time_ms i64 | numbers u32 | f32...; none: there is none any more
//! attributes:  u32 count | (name text, time_ms i64, value)...
//! ```
//!
//! These bytes travel from the door to the shard, are what the shard decodes, and are the payload of its journal: one
//! codec, no copies. Tags are for ever. Operations are made from checked input only, so applying one cannot fail.

use crate::base::IdRef;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::{EMBEDDING_DIM_MAX, ITEM_TAGS_MAX};
use crate::model::{Attributes, Event, Recall, ServedList};
use crate::person::Control;

/// One operation. Borrowed from the bytes it came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Op<'a> {
    /// A user did something.
    Event(Event<'a>),
    /// Attributes of a user were stated.
    UserUpsert {
        /// Who.
        user: IdRef<'a>,
        /// When that was so, in milliseconds.
        time_ms: i64,
        /// The statements; their own times are `time_ms`.
        attributes: Attributes,
    },
    /// Tags and attributes of an item were stated.
    ItemUpsert {
        /// Which.
        item: IdRef<'a>,
        /// When that was so, in milliseconds.
        time_ms: i64,
        /// All tags of the item from now on.
        tags: Vec<&'a str>,
        /// The statements; their own times are `time_ms`.
        attributes: Attributes,
    },
    /// Observations that another shard's users made of items of this shard.
    Merge {
        /// The shard they come from.
        source: u16,
        /// Sequence, at the source, of the newest event among them.
        upto: u64,
        /// Observations.
        count: u32,
        /// Their bytes.
        bytes: &'a [u8],
    },
    /// Item rows that their owner has published.
    Rows {
        /// The shard that owns them.
        owner: u16,
        /// The owner's publication number.
        generation: u64,
        /// Rows.
        count: u32,
        /// Their bytes.
        bytes: &'a [u8],
    },
    /// The item model of this epoch takes over; its data are stored beside the journal.
    Epoch {
        /// Which.
        epoch: u32,
    },
    /// The ranker of `auto` answers with these weights.
    Ranker {
        /// Their version: examples that they were learned from.
        version: u32,
        /// Their bytes (`learn/auto/ranker.rs`).
        weights: &'a [u8],
    },
    /// A list was shown to its user.
    Exposure {
        /// Which decision.
        decision: u64,
        /// To whom.
        user: IdRef<'a>,
        /// Places that were shown, from the top; 0: all.
        places: u16,
        /// When, in milliseconds.
        time_ms: i64,
        /// What the shard that served it remembered of it, besides what its state holds.
        list: Recall<ServedList<'a>>,
    },
    /// A user did something that came of a list: an event, learned like any other.
    Outcome {
        /// Which decision.
        decision: u64,
        /// What the user did.
        event: Event<'a>,
        /// As in an exposure.
        list: Recall<ServedList<'a>>,
    },
    /// Another schema takes the place of the one in force.
    Schema {
        /// Its bytes (`model/schema.rs`).
        schema: &'a [u8],
    },
    /// A user asks something of the profile.
    Control {
        /// Who.
        user: IdRef<'a>,
        /// When, in milliseconds.
        time_ms: i64,
        /// What.
        control: Control<'a>,
    },
    /// An event is taken away as if it had never come.
    Retract {
        /// Whose.
        user: IdRef<'a>,
        /// The event's id, hashed.
        event_id: u64,
    },
    /// A user learns nothing more: it became another.
    Seal {
        /// Who.
        user: IdRef<'a>,
        /// Whom it became.
        into: IdRef<'a>,
    },
    /// A user takes over what was kept of one that became it.
    Absorb {
        /// Who.
        into: IdRef<'a>,
        /// Whom.
        user: IdRef<'a>,
        /// What was kept (`state/merge.rs`).
        bytes: &'a [u8],
    },
    /// What was kept of a user that became another is elsewhere now.
    Empty {
        /// Who.
        user: IdRef<'a>,
    },
    /// Attention goes on from what was learned elsewhere.
    Pretrained {
        /// A part of it (`learn/bank/pretrained.rs`).
        part: &'a [u8],
    },
    /// The vector of an item in a modality was stated. Every shard carries it out, whoever owns the item.
    Embedding {
        /// Which item.
        item: IdRef<'a>,
        /// Which modality of the schema.
        modality: &'a str,
        /// When that was so, in milliseconds.
        time_ms: i64,
        /// Numbers of length 1 together, `f32` each; empty: the item has none any more.
        vector: &'a [u8],
    },
}

const EVENT: u8 = 1;
const USER_UPSERT: u8 = 2;
const ITEM_UPSERT: u8 = 3;
const MERGE: u8 = 4;
const ROWS: u8 = 5;
const EPOCH: u8 = 6;
const RANKER: u8 = 7;
const EXPOSURE: u8 = 8;
const OUTCOME: u8 = 9;
const PRETRAINED: u8 = 10;
const SCHEMA: u8 = 11;
const CONTROL: u8 = 12;
const RETRACT: u8 = 13;
const SEAL: u8 = 14;
const ABSORB: u8 = 15;
const EMPTY: u8 = 16;
const EMBEDDING: u8 = 17;

/// Bytes of an event whose ids are integers: every field then has a fixed place.
const INT_EVENT_BYTES: usize = 1 + 8 + 9 + 9 + 1 + 4 + 8;

/// Appends an event: the hot path, 40 bytes with integer ids.
#[inline]
pub fn put_event(out: &mut Vec<u8>, event: &Event<'_>) {
    if let (IdRef::Int(user), IdRef::Int(item)) = (event.user, event.item) {
        let mut raw = [0_u8; INT_EVENT_BYTES];
        raw[0] = EVENT;
        raw[1..9].copy_from_slice(&event.event_id.to_le_bytes());
        raw[10..18].copy_from_slice(&user.to_le_bytes());
        raw[19..27].copy_from_slice(&item.to_le_bytes());
        raw[27] = event.kind;
        raw[28..32].copy_from_slice(&event.value.to_le_bytes());
        raw[32..40].copy_from_slice(&event.time_ms.to_le_bytes());
        return out.extend_from_slice(&raw);
    }
    put_fields(Writer::new(out).u8(EVENT), event);
}

fn put_fields(writer: &mut Writer<'_>, event: &Event<'_>) {
    let Event { event_id, user, item, kind, value, time_ms } = *event;
    writer.u64(event_id).id(user).id(item).u8(kind).f32(value).i64(time_ms);
}

fn take_fields<'a>(from: &mut Reader<'a>) -> Result<Event<'a>, CursorError> {
    Ok(Event {
        event_id: from.u64()?,
        user: from.id()?,
        item: from.id()?,
        kind: from.u8()?,
        value: from.f32()?,
        time_ms: from.i64()?,
    })
}

fn put_list(writer: &mut Writer<'_>, list: &Recall<ServedList<'_>>) {
    match list {
        Recall::Unknown => drop(writer.u8(0)),
        Recall::Known(list) => list.encode(writer.u8(1)),
        Recall::Forgotten => drop(writer.u8(2)),
    }
}

fn take_list<'a>(from: &mut Reader<'a>) -> Result<Recall<ServedList<'a>>, CursorError> {
    let offset = from.at();
    match from.u8()? {
        0 => Ok(Recall::Unknown),
        1 => ServedList::decode(from).map(Recall::Known),
        2 => Ok(Recall::Forgotten),
        tag => Err(CursorError::Bad { what: "tag of a list", offset, found: u64::from(tag), allowed: "0 to 2" }),
    }
}

impl<'a> Op<'a> {
    /// The event that it has the shard learn.
    #[must_use]
    #[inline]
    pub fn event(&self) -> Option<&Event<'a>> {
        match self {
            Self::Event(event) | Self::Outcome { event, .. } => Some(event),
            _ => None,
        }
    }

    /// Appends the operation.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        match self {
            Self::Event(event) => put_event(out, event),
            Self::UserUpsert { user, time_ms, attributes } => {
                writer.u8(USER_UPSERT).id(*user).i64(*time_ms);
                attributes.encode(&mut writer);
            }
            Self::ItemUpsert { item, time_ms, tags, attributes } => {
                writer.u8(ITEM_UPSERT).id(*item).i64(*time_ms).count(tags.len());
                for tag in tags {
                    writer.text(tag);
                }
                attributes.encode(&mut writer);
            }
            Self::Merge { source, upto, count, bytes } => {
                writer.u8(MERGE).u16(*source).u64(*upto).u32(*count).count(bytes.len()).bytes(bytes);
            }
            Self::Rows { owner, generation, count, bytes } => {
                writer.u8(ROWS).u16(*owner).u64(*generation).u32(*count).count(bytes.len()).bytes(bytes);
            }
            Self::Ranker { version, weights } => {
                writer.u8(RANKER).u32(*version).count(weights.len()).bytes(weights);
            }
            Self::Pretrained { part } => {
                writer.u8(PRETRAINED).count(part.len()).bytes(part);
            }
            Self::Schema { schema } => {
                writer.u8(SCHEMA).count(schema.len()).bytes(schema);
            }
            Self::Control { user, time_ms, control } => {
                control.encode(writer.u8(CONTROL).id(*user).i64(*time_ms));
            }
            Self::Retract { user, event_id } => {
                writer.u8(RETRACT).id(*user).u64(*event_id);
            }
            Self::Seal { user, into } => {
                writer.u8(SEAL).id(*user).id(*into);
            }
            Self::Absorb { into, user, bytes } => {
                writer.u8(ABSORB).id(*into).id(*user).count(bytes.len()).bytes(bytes);
            }
            Self::Empty { user } => {
                writer.u8(EMPTY).id(*user);
            }
            Self::Embedding { item, modality, time_ms, vector } => {
                writer.u8(EMBEDDING).id(*item).text(modality).i64(*time_ms);
                writer.count(vector.len() / size_of::<f32>()).bytes(vector);
            }
            Self::Epoch { epoch } => {
                writer.u8(EPOCH).u32(*epoch);
            }
            Self::Exposure { decision, user, places, time_ms, list } => {
                writer.u8(EXPOSURE).u64(*decision).id(*user).u16(*places).i64(*time_ms);
                put_list(&mut writer, list);
            }
            Self::Outcome { decision, event, list } => {
                put_fields(writer.u8(OUTCOME).u64(*decision), event);
                put_list(&mut writer, list);
            }
        }
    }

    /// Reads one operation.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not one.
    #[inline]
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, CursorError> {
        let mut ahead = from.clone();
        if let Some(event) = ahead.bytes(INT_EVENT_BYTES).ok().and_then(int_event) {
            *from = ahead;
            return Ok(Self::Event(event));
        }
        let offset = from.at();
        match from.u8()? {
            EVENT => take_fields(from).map(Self::Event),
            tag => Self::decode_rare(tag, offset, from),
        }
    }

    #[cold]
    fn decode_rare(tag: u8, offset: usize, from: &mut Reader<'a>) -> Result<Self, CursorError> {
        Ok(match tag {
            USER_UPSERT => {
                Self::UserUpsert { user: from.id()?, time_ms: from.i64()?, attributes: Attributes::decode(from)? }
            }
            ITEM_UPSERT => {
                let (item, time_ms) = (from.id()?, from.i64()?);
                let count = from.count(2, ITEM_TAGS_MAX)?;
                let tags = (0..count).map(|_| from.text()).collect::<Result<_, _>>()?;
                Self::ItemUpsert { item, time_ms, tags, attributes: Attributes::decode(from)? }
            }
            MERGE => {
                let (source, upto, count) = (from.u16()?, from.u64()?, from.u32()?);
                let length = from.count(1, usize::MAX)?;
                Self::Merge { source, upto, count, bytes: from.bytes(length)? }
            }
            ROWS => {
                let (owner, generation, count) = (from.u16()?, from.u64()?, from.u32()?);
                let length = from.count(1, usize::MAX)?;
                Self::Rows { owner, generation, count, bytes: from.bytes(length)? }
            }
            EPOCH => Self::Epoch { epoch: from.u32()? },
            RANKER => {
                let version = from.u32()?;
                let length = from.count(1, usize::MAX)?;
                Self::Ranker { version, weights: from.bytes(length)? }
            }
            EXPOSURE => {
                let (decision, user, places) = (from.u64()?, from.id()?, from.u16()?);
                Self::Exposure { decision, user, places, time_ms: from.i64()?, list: take_list(from)? }
            }
            OUTCOME => Self::Outcome { decision: from.u64()?, event: take_fields(from)?, list: take_list(from)? },
            SCHEMA => {
                let length = from.count(1, usize::MAX)?;
                Self::Schema { schema: from.bytes(length)? }
            }
            CONTROL => Self::Control { user: from.id()?, time_ms: from.i64()?, control: Control::decode(from)? },
            RETRACT => Self::Retract { user: from.id()?, event_id: from.u64()? },
            SEAL => Self::Seal { user: from.id()?, into: from.id()? },
            ABSORB => {
                let (into, user) = (from.id()?, from.id()?);
                let length = from.count(1, usize::MAX)?;
                Self::Absorb { into, user, bytes: from.bytes(length)? }
            }
            EMPTY => Self::Empty { user: from.id()? },
            EMBEDDING => {
                let (item, modality, time_ms) = (from.id()?, from.text()?, from.i64()?);
                let count = from.count(size_of::<f32>(), EMBEDDING_DIM_MAX)?;
                Self::Embedding { item, modality, time_ms, vector: from.bytes(count * size_of::<f32>())? }
            }
            PRETRAINED => {
                let length = from.count(1, usize::MAX)?;
                Self::Pretrained { part: from.bytes(length)? }
            }
            _ => {
                return Err(CursorError::Bad {
                    what: "operation tag",
                    offset,
                    found: u64::from(tag),
                    allowed: "1 to 17 (a newer version of mirra may have written this)",
                });
            }
        })
    }
}

/// The event with integer ids that `bytes` are, if they are one.
#[inline]
fn int_event<'a>(bytes: &[u8]) -> Option<Event<'a>> {
    let raw: &[u8; INT_EVENT_BYTES] = bytes.first_chunk()?;
    if raw[0] != EVENT || raw[9] | raw[18] != 0 {
        return None;
    }
    Some(Event {
        event_id: u64::from_le_bytes(at(raw, 1)),
        user: IdRef::Int(u64::from_le_bytes(at(raw, 10))),
        item: IdRef::Int(u64::from_le_bytes(at(raw, 19))),
        kind: raw[27],
        value: f32::from_le_bytes(at(raw, 28)),
        time_ms: i64::from_le_bytes(at(raw, 32)),
    })
}

#[inline]
fn at<const N: usize>(raw: &[u8; INT_EVENT_BYTES], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&raw[start..start + N]);
    field
}

#[cfg(test)]
mod tests;
