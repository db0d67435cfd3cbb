//! How one value is laid out: numbers, flags, texts, ids, lists, options. Everything is little-endian.
//!
//! | type | bytes |
//! |---|---|
//! | u8 u16 u32 u64 i64 f32 f64 | their width |
//! | bool | one byte, 0 or 1 |
//! | String | u16 byte length, UTF-8 |
//! | Id | `0` and a u64, or the length (1 to 128) and UTF-8 |
//! | `Vec<T>` | u32 count, then each |
//! | `Option<T>` | `0`, or `1` and the value |
//!
//! The same limit is checked on both sides: the encoder refuses what the decoder would refuse. A count is checked
//! against the bytes that are really there before anything is allocated.

use super::error::OverLimit;
use crate::base::limits::{ID_BYTES_MAX, LIST_MAX, TEXT_BYTES_MAX};
use crate::base::{CursorError, Id, IdRef, Reader, Writer};

/// A value that can stand in a body.
pub trait Field: Sized {
    /// Fewest bytes that a value takes.
    const MIN_BYTES: usize;
    /// Limit where a field states none: bytes of a text, entries of a list; 0 for what has a fixed size.
    const MAX: usize;

    /// Appends the value.
    ///
    /// # Errors
    /// [`OverLimit`] if it is longer than `max`, or something in it is too long; `out` then holds a part of it.
    fn encode(&self, out: &mut Writer<'_>, max: usize) -> Result<(), OverLimit>;

    /// Takes a value.
    ///
    /// # Errors
    /// [`CursorError`] if the bytes end early, are not allowed, or hold more than `max`.
    fn decode(reader: &mut Reader<'_>, max: usize) -> Result<Self, CursorError>;

    /// Passes over a value, refusing what [`Self::decode`] refuses, without keeping anything of it.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn skip(reader: &mut Reader<'_>, max: usize) -> Result<(), CursorError> {
        Self::decode(reader, max).map(drop)
    }
}

macro_rules! number_fields {
    ($($type:ident),*) => {$(
        impl Field for $type {
            const MIN_BYTES: usize = size_of::<$type>();
            const MAX: usize = 0;

            #[inline]
            fn encode(&self, out: &mut Writer<'_>, _max: usize) -> Result<(), OverLimit> {
                out.$type(*self);
                Ok(())
            }

            #[inline]
            fn decode(reader: &mut Reader<'_>, _max: usize) -> Result<Self, CursorError> {
                reader.$type()
            }
        }
    )*};
}

number_fields!(u8, u16, u32, u64, i64, f32, f64);

impl Field for bool {
    const MIN_BYTES: usize = 1;
    const MAX: usize = 0;

    fn encode(&self, out: &mut Writer<'_>, _max: usize) -> Result<(), OverLimit> {
        out.u8(u8::from(*self));
        Ok(())
    }

    fn decode(reader: &mut Reader<'_>, _max: usize) -> Result<Self, CursorError> {
        let offset = reader.at();
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CursorError::Bad { what: "bool", offset, found: u64::from(other), allowed: "0 or 1" }),
        }
    }
}

impl Field for String {
    const MIN_BYTES: usize = 2;
    const MAX: usize = TEXT_BYTES_MAX;

    fn encode(&self, out: &mut Writer<'_>, max: usize) -> Result<(), OverLimit> {
        within("text of bytes", self.len(), max.min(usize::from(u16::MAX)))?;
        out.text(self);
        Ok(())
    }

    fn decode(reader: &mut Reader<'_>, max: usize) -> Result<Self, CursorError> {
        text_within(reader, max).map(str::to_owned)
    }

    fn skip(reader: &mut Reader<'_>, max: usize) -> Result<(), CursorError> {
        text_within(reader, max).map(drop)
    }
}

impl Field for Id {
    const MIN_BYTES: usize = 2;
    const MAX: usize = 0;

    fn encode(&self, out: &mut Writer<'_>, _max: usize) -> Result<(), OverLimit> {
        put_id(out, self.as_ref())
    }

    fn decode(reader: &mut Reader<'_>, _max: usize) -> Result<Self, CursorError> {
        reader.id().map(IdRef::to_owned)
    }

    fn skip(reader: &mut Reader<'_>, _max: usize) -> Result<(), CursorError> {
        reader.id().map(drop)
    }
}

impl<T: Field> Field for Vec<T> {
    const MIN_BYTES: usize = 4;
    const MAX: usize = LIST_MAX;

    fn encode(&self, out: &mut Writer<'_>, max: usize) -> Result<(), OverLimit> {
        within("list of entries", self.len(), max)?;
        out.count(self.len());
        self.iter().try_for_each(|each| each.encode(out, T::MAX))
    }

    fn decode(reader: &mut Reader<'_>, max: usize) -> Result<Self, CursorError> {
        let count = reader.count(T::MIN_BYTES, max)?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(T::decode(reader, T::MAX)?);
        }
        Ok(list)
    }

    fn skip(reader: &mut Reader<'_>, max: usize) -> Result<(), CursorError> {
        let count = reader.count(T::MIN_BYTES, max)?;
        (0..count).try_for_each(|_| T::skip(reader, T::MAX))
    }
}

impl<T: Field> Field for Option<T> {
    const MIN_BYTES: usize = 1;
    const MAX: usize = T::MAX;

    fn encode(&self, out: &mut Writer<'_>, max: usize) -> Result<(), OverLimit> {
        self.is_some().encode(out, 0)?;
        self.as_ref().map_or(Ok(()), |value| value.encode(out, max))
    }

    fn decode(reader: &mut Reader<'_>, max: usize) -> Result<Self, CursorError> {
        if bool::decode(reader, 0)? { T::decode(reader, max).map(Some) } else { Ok(None) }
    }

    fn skip(reader: &mut Reader<'_>, max: usize) -> Result<(), CursorError> {
        if bool::decode(reader, 0)? { T::skip(reader, max) } else { Ok(()) }
    }
}

/// Appends an id, refusing an empty text (whose length byte would announce an integer) and one over the limit.
#[inline]
pub(super) fn put_id(out: &mut Writer<'_>, id: IdRef<'_>) -> Result<(), OverLimit> {
    if let IdRef::Text(text) = id {
        if text.is_empty() {
            return Err(OverLimit { what: "empty id of bytes", have: 0, max: ID_BYTES_MAX });
        }
        within("id of bytes", text.len(), ID_BYTES_MAX)?;
    }
    out.id(id);
    Ok(())
}

/// Takes a text of at most `max` bytes.
fn text_within<'a>(reader: &mut Reader<'a>, max: usize) -> Result<&'a str, CursorError> {
    let offset = reader.at();
    let text = reader.text()?;
    if text.len() > max {
        let found = text.len() as u64;
        return Err(CursorError::Bad { what: "text length", offset, found, allowed: "at most the stated limit" });
    }
    Ok(text)
}

fn within(what: &'static str, have: usize, max: usize) -> Result<(), OverLimit> {
    if have > max { Err(OverLimit { what, have, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Encoded = Result<Vec<u8>, OverLimit>;

    fn bytes_of<T: Field>(value: &T, max: usize) -> Encoded {
        let mut bytes = Vec::new();
        value.encode(&mut Writer::new(&mut bytes), max)?;
        Ok(bytes)
    }

    #[test]
    fn layouts_are_frozen() {
        let cases: [(Encoded, &[u8]); 9] = [
            (bytes_of(&0x0102_u16, 0), &[2, 1]),
            (bytes_of(&-2_i64, 0), &[0xFE, 255, 255, 255, 255, 255, 255, 255]),
            (bytes_of(&1.5_f32, 0), &[0, 0, 0xC0, 0x3F]),
            (bytes_of(&true, 0), &[1]),
            (bytes_of(&"hé".to_owned(), 3), &[3, 0, b'h', 0xC3, 0xA9]),
            (bytes_of(&Id::Int(258), 0), &[0, 2, 1, 0, 0, 0, 0, 0, 0]),
            (bytes_of(&Id::parse("u-7"), 0), &[3, b'u', b'-', b'7']),
            (bytes_of(&vec![1_u16, 2], 2), &[2, 0, 0, 0, 1, 0, 2, 0]),
            (bytes_of(&Some(7_u8), 0), &[1, 7]),
        ];
        for (index, (found, expected)) in cases.into_iter().enumerate() {
            assert_eq!(found.as_deref(), Ok(expected), "case {index}");
        }
        assert_eq!(bytes_of(&None::<String>, 9).as_deref(), Ok([0_u8].as_slice()));
        assert_eq!(Option::<u8>::decode(&mut Reader::new(&[1, 7]), 0), Ok(Some(7)));
    }

    #[test]
    fn what_the_decoder_refuses_the_encoder_refuses() {
        assert_eq!(bytes_of(&"abc".to_owned(), 2), Err(OverLimit { what: "text of bytes", have: 3, max: 2 }));
        let found = String::decode(&mut Reader::new(&[3, 0, b'a', b'b', b'c']), 2);
        assert!(matches!(found, Err(CursorError::Bad { found: 3, .. })), "{found:?}");

        assert!(bytes_of(&vec![0_u8; 3], 2).is_err());
        let found = Vec::<u8>::decode(&mut Reader::new(&[3, 0, 0, 0, 1, 2, 3]), 2);
        assert!(matches!(found, Err(CursorError::Bad { found: 3, .. })), "{found:?}");

        assert!(bytes_of(&Id::Text("".into()), 0).is_err(), "its length byte would announce an integer");
        assert!(bytes_of(&Id::parse(&"x".repeat(ID_BYTES_MAX + 1)), 0).is_err());
        assert!(bytes_of(&Id::parse(&"x".repeat(ID_BYTES_MAX)), 0).is_ok());
    }

    #[test]
    fn a_bool_is_0_or_1() {
        for raw in 0..=u8::MAX {
            assert_eq!(bool::decode(&mut Reader::new(&[raw]), 0).is_ok(), raw < 2, "{raw}");
        }
    }

    #[test]
    fn a_text_that_is_longer_than_its_length_field_is_refused_not_cut() {
        assert!(bytes_of(&"x".repeat(70_000), usize::MAX).is_err());
    }
}
