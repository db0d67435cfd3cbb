//! A refused event: why, when, from whom, and the event exactly as it was sent.
//!
//! ```text
//! at_ms i64 | reason u8 | source text | message text | event id id | user id | item id | kind u8 | value u32 | time_ms i64
//! ```
//! The value is kept as its 32 bits, so that a NaN comes back as the NaN that was sent. Codes of reasons stand on the
//! wire and on disk: they are for ever.

use crate::base::ids::unmix;
use crate::base::limits::TEXT_BYTES_MAX;
use crate::base::{CursorError, Id, IdRef, Reader, Writer};

use super::Event;

/// Longest name of a client that is kept, in bytes.
pub const SOURCE_BYTES_MAX: usize = 64;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal $name:literal;)*) => {
        /// Why an event is refused. Codes and names are for ever; they count from 1 without holes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum RejectReason { $($(#[doc = $doc])+ $variant = $code,)* }

        impl RejectReason {
            /// All reasons, by rising code.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$variant,)*];

            /// Its name on the command line, in figures and in exported files.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// What it means, in a sentence.
            #[must_use]
            pub fn help(self) -> &'static str { match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)* } }
        }
    };
}

reasons! {
    /// The bytes are no event. Reserved: a frame that cannot be read is refused as a whole.
    Unreadable = 1 "unreadable";
    /// The value is NaN or infinite.
    ValueNotFinite = 2 "value_not_finite";
    /// The value is larger than any may be, or outside the range of its kind.
    ValueOutOfRange = 3 "value_out_of_range";
    /// The kind is not configured.
    UnknownKind = 4 "unknown_kind";
    /// The time is before 1970.
    Before1970 = 5 "before_1970";
    /// The time is too far ahead of the server's clock.
    InTheFuture = 6 "in_the_future";
    /// The time is older than what the user's sums and the window of duplicates allow.
    TooLate = 7 "too_late";
    /// A repeat of the same user, item and kind within the burst window.
    Burst = 8 "burst";
    /// The user is quarantined for abuse.
    Quarantined = 9 "quarantined";
    /// The user has paused learning.
    Paused = 10 "paused";
    /// An attribute of an upsert is not what its schema says. Reserved for upserts.
    Attribute = 11 "attribute";
    /// The user was merged into another while the event was on its way: send it again, it goes to the other.
    Merged = 12 "merged";
    /// There was no memory for another user or item, or for anything: send it again later.
    Memory = 13 "memory";
    /// The shard broke at it, was made anew, and does not try it again.
    Poison = 14 "poison";
}

impl RejectReason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its number on the wire and on disk.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its place in [`Self::ALL`], for tables of counts.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The reason with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The reason with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// An event as a caller sent it, whatever is wrong with it. Ids are those of a decoded frame: 1 to 128 bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentEvent {
    /// The caller's id of the event; integer 0: none.
    pub event_id: Id,
    /// Who.
    pub user: Id,
    /// What.
    pub item: Id,
    /// Code of the behaviour kind.
    pub kind: u8,
    /// The bits of the value, a single-precision number that may be a NaN.
    pub value_bits: u32,
    /// When, as the caller said it; 0: when the server got it.
    pub time_ms: i64,
}

impl SentEvent {
    /// The value, bit for bit.
    #[must_use]
    pub fn value(&self) -> f32 {
        f32::from_bits(self.value_bits)
    }
}

impl From<&Event<'_>> for SentEvent {
    /// Of an event that passed the door: its id is known as a hash alone, and becomes the integer of that hash. For an
    /// id that was an integer that is the id itself, for a text one that is recognised as the same.
    fn from(event: &Event<'_>) -> Self {
        let &Event { event_id, user, item, kind, value, time_ms } = event;
        let event_id = Id::Int(if event_id == 0 { 0 } else { unmix(event_id) });
        Self { event_id, user: user.to_owned(), item: item.to_owned(), kind, value_bits: value.to_bits(), time_ms }
    }
}

/// A refused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// When it was refused, in milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// The name that the client gave in HELLO, at most [`SOURCE_BYTES_MAX`] bytes.
    pub source: Box<str>,
    /// What the client was told, at most [`TEXT_BYTES_MAX`] bytes.
    pub message: Box<str>,
    /// The event.
    pub event: SentEvent,
}

impl Reject {
    /// A refused event; texts that are too long are cut at a whole character.
    #[must_use]
    pub fn new(reason: RejectReason, at_ms: i64, source: &str, message: &str, event: SentEvent) -> Self {
        let source = source[..source.floor_char_boundary(SOURCE_BYTES_MAX)].into();
        let message = message[..message.floor_char_boundary(TEXT_BYTES_MAX)].into();
        Self { reason, at_ms, source, message, event }
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { reason, at_ms, source, message, event } = self;
        let mut writer = Writer::new(out);
        writer.i64(*at_ms).u8(reason.code()).text(source).text(message);
        writer.owned_id(&event.event_id).owned_id(&event.user).owned_id(&event.item);
        writer.u8(event.kind).u32(event.value_bits).i64(event.time_ms);
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`CursorError`] if the bytes end early, or a reason, text or id is none.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CursorError> {
        let at_ms = reader.i64()?;
        let offset = reader.at();
        let code = reader.u8()?;
        let reason = RejectReason::from_code(code).ok_or(CursorError::Bad {
            what: "reason",
            offset,
            found: u64::from(code),
            allowed: "1 to 14",
        })?;
        let source = text(reader, SOURCE_BYTES_MAX)?;
        let message = text(reader, TEXT_BYTES_MAX)?;
        let event = SentEvent {
            event_id: reader.id().map(IdRef::to_owned)?,
            user: reader.id().map(IdRef::to_owned)?,
            item: reader.id().map(IdRef::to_owned)?,
            kind: reader.u8()?,
            value_bits: reader.u32()?,
            time_ms: reader.i64()?,
        };
        Ok(Self { reason, at_ms, source, message, event })
    }
}

fn text(reader: &mut Reader<'_>, max: usize) -> Result<Box<str>, CursorError> {
    let offset = reader.at();
    let text = reader.text()?;
    if text.len() > max {
        let found = text.len() as u64;
        return Err(CursorError::Bad { what: "text length", offset, found, allowed: "at most the stated limit" });
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(value_bits: u32) -> Reject {
        let (event_id, user, item) = (Id::parse("e-1"), Id::Int(7), Id::parse("größe"));
        let event = SentEvent { event_id, user, item, kind: 9, value_bits, time_ms: -5 };
        Reject::new(RejectReason::UnknownKind, 1_700_000_000_000, "it", "kind 9 is not configured", event)
    }

    /// Golden: codes and names stand on disk, on the wire and in scripts.
    #[test]
    fn codes_and_names_are_frozen() {
        let frozen = [
            "unreadable",
            "value_not_finite",
            "value_out_of_range",
            "unknown_kind",
            "before_1970",
            "in_the_future",
            "too_late",
            "burst",
            "quarantined",
            "paused",
            "attribute",
            "merged",
            "memory",
            "poison",
        ];
        for (code, name) in (1_u8..).zip(frozen) {
            let reason = RejectReason::from_code(code).unwrap();
            assert_eq!((reason.code(), reason.name(), reason.index()), (code, name, usize::from(code) - 1));
            assert_eq!(RejectReason::named(name), Some(reason));
            assert!(reason.help().ends_with('.'), "{name}");
        }
        assert_eq!(RejectReason::COUNT, frozen.len());
        assert_eq!([0, 15, 255].map(RejectReason::from_code), [None; 3]);
        assert_eq!(RejectReason::named("late"), None);
    }

    #[test]
    fn every_bit_comes_back_and_every_cut_is_seen() {
        for bits in [0, f32::NAN.to_bits(), 0x7F80_0001, 0xFFC1_2345, f32::INFINITY.to_bits(), 1.5_f32.to_bits()] {
            let (reject, mut bytes) = (reject(bits), Vec::new());
            reject.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!(Reject::decode(&mut reader).as_ref(), Ok(&reject));
            assert_eq!((reader.finish(), reject.event.value().to_bits()), (Ok(()), bits));
            for cut in 0..bytes.len() {
                assert!(Reject::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
            }
            for code in [0, 15] {
                bytes[8] = code;
                let found = Reject::decode(&mut Reader::new(&bytes));
                assert!(matches!(found, Err(CursorError::Bad { what: "reason", offset: 8, .. })), "{found:?}");
            }
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_whole_character() {
        let event = reject(0).event;
        let long = Reject::new(RejectReason::Burst, 0, &format!("a{}", "ü".repeat(60)), &"ü".repeat(200), event);
        assert_eq!((long.source.len(), long.message.len()), (63, 256));
        let mut bytes = Vec::new();
        long.encode(&mut bytes);
        assert_eq!(Reject::decode(&mut Reader::new(&bytes)), Ok(long));
    }

    #[test]
    fn an_event_that_passed_the_door_keeps_its_key() {
        let (user, item) = (IdRef::Int(1), IdRef::text("x"));
        for id in [IdRef::Int(1), IdRef::Int(u64::MAX), IdRef::text("click-7")] {
            let event = Event { event_id: id.stable_hash(), user, item, kind: 1, value: -0.0, time_ms: 3 };
            let sent = SentEvent::from(&event);
            assert_eq!(sent.event_id.as_ref().stable_hash(), id.stable_hash(), "a repeat is recognised");
            assert!(matches!(id, IdRef::Text(_)) || sent.event_id == id.to_owned(), "{id}");
            assert_eq!((sent.value_bits, sent.item), ((-0.0_f32).to_bits(), Id::parse("x")));
        }
        let none = Event { event_id: 0, user, item, kind: 1, value: 1.0, time_ms: 3 };
        assert_eq!(SentEvent::from(&none).event_id, Id::Int(0));
    }
}
