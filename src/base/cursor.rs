//! Little-endian reading and writing over byte buffers.
//!
//! [`Reader`] never panics and never allocates: every take either succeeds or says at which offset how many bytes
//! were needed and how many there were. [`Writer`] appends to a buffer that the caller owns.
//! Both ends of the wire, the journal and the snapshots are written with these two.

use super::ids::{Id, IdRef};
use super::limits::ID_BYTES_MAX;

/// Why bytes could not be read as what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The buffer ends before the value does.
    #[error("bytes end at offset {offset}: {need} needed, {have} left")]
    Short {
        /// Where the value starts.
        offset: usize,
        /// Bytes that it needs.
        need: usize,
        /// Bytes that are left.
        have: usize,
    },
    /// A value is not allowed there.
    #[error("bad {what} at offset {offset}: {found}, allowed {allowed}")]
    Bad {
        /// What it should have been.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// What was found.
        found: u64,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// A text is not UTF-8.
    #[error("text at offset {offset} is not UTF-8")]
    NotUtf8 {
        /// Where the text starts.
        offset: usize,
    },
    /// Bytes are left over after the last value.
    #[error("{extra} bytes left over after offset {offset}")]
    Trailing {
        /// Where the last value ended.
        offset: usize,
        /// Bytes left over.
        extra: usize,
    },
}

/// Takes values off the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

macro_rules! take_numbers {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Takes a little-endian `", stringify!($type), "`.")]
        ///
        /// # Errors
        /// [`CursorError::Short`] if too few bytes are left.
        #[inline]
        pub fn $name(&mut self) -> Result<$type, CursorError> {
            let mut raw = [0_u8; size_of::<$type>()];
            raw.copy_from_slice(self.bytes(size_of::<$type>())?);
            Ok(<$type>::from_le_bytes(raw))
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    take_numbers!(u8: u8, u16: u16, u32: u32, u64: u64, i64: i64, f32: f32, f64: f64);

    /// Takes as many `f32`s as there are places.
    ///
    /// # Errors
    /// [`CursorError::Short`] if too few bytes are left: then no place is filled.
    pub fn f32s(&mut self, places: &mut [f32]) -> Result<(), CursorError> {
        let (raw, _) = self.bytes(size_of_val(places))?.as_chunks();
        places.iter_mut().zip(raw).for_each(|(place, raw)| *place = f32::from_le_bytes(*raw));
        Ok(())
    }

    /// Offset of the next byte.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// [`CursorError::Short`] if too few bytes are left.
    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], CursorError> {
        let have = self.left();
        if count > have {
            return Err(CursorError::Short { offset: self.at, need: count, have });
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// Takes a `u32` count of things that are at least `each` bytes long, and checks that they can be there, so that
    /// a length field from outside never decides how much is allocated.
    ///
    /// # Errors
    /// [`CursorError::Short`] if the count cannot fit in what is left; [`CursorError::Bad`] if it is over `max`.
    pub fn count(&mut self, each: usize, max: usize) -> Result<usize, CursorError> {
        let offset = self.at;
        let raw = self.u32()?;
        let count = raw as usize;
        if count > max {
            return Err(CursorError::Bad {
                what: "count",
                offset,
                found: u64::from(raw),
                allowed: "at most the stated limit",
            });
        }
        let need = count.saturating_mul(each);
        if need > self.left() {
            return Err(CursorError::Short { offset: self.at, need, have: self.left() });
        }
        Ok(count)
    }

    /// Takes a text: `u16` byte length, then UTF-8.
    ///
    /// # Errors
    /// [`CursorError::Short`], or [`CursorError::NotUtf8`].
    pub fn text(&mut self) -> Result<&'a str, CursorError> {
        let length = usize::from(self.u16()?);
        let offset = self.at;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| CursorError::NotUtf8 { offset })
    }

    /// Takes an id: `0u8` and a `u64`, or the byte length (1 to 128) and UTF-8.
    ///
    /// # Errors
    /// [`CursorError::Short`], [`CursorError::Bad`] for a length over the limit, or [`CursorError::NotUtf8`].
    #[inline]
    pub fn id(&mut self) -> Result<IdRef<'a>, CursorError> {
        let offset = self.at;
        match self.u8()? {
            0 => Ok(IdRef::Int(self.u64()?)),
            length if usize::from(length) <= ID_BYTES_MAX => {
                let raw = self.bytes(usize::from(length))?;
                let text = std::str::from_utf8(raw).map_err(|_| CursorError::NotUtf8 { offset: offset + 1 })?;
                Ok(IdRef::text(text))
            }
            length => Err(CursorError::Bad {
                what: "id length",
                offset,
                found: u64::from(length),
                allowed: "0 (an integer follows) or 1 to 128 bytes",
            }),
        }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`CursorError::Trailing`] if something is.
    pub fn finish(&self) -> Result<(), CursorError> {
        match self.left() {
            0 => Ok(()),
            extra => Err(CursorError::Trailing { offset: self.at, extra }),
        }
    }
}

/// Appends values to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

macro_rules! put_numbers {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Puts a little-endian `", stringify!($type), "`.")]
        #[inline]
        pub fn $name(&mut self, value: $type) -> &mut Self {
            self.out.extend_from_slice(&value.to_le_bytes());
            self
        }
    )*};
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    put_numbers!(u8: u8, u16: u16, u32: u32, u64: u64, i64: i64, f32: f32, f64: f64);

    /// Puts raw bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// Puts `u32`s.
    pub fn u32s(&mut self, values: &[u32]) -> &mut Self {
        if cfg!(target_endian = "little") {
            return self.bytes(bytemuck::cast_slice(values));
        }
        self.each(values.iter(), |value| value.to_le_bytes())
    }

    /// Puts `f32`s.
    pub fn f32s(&mut self, values: &[f32]) -> &mut Self {
        if cfg!(target_endian = "little") {
            return self.bytes(bytemuck::cast_slice(values));
        }
        self.each(values.iter(), |value| value.to_le_bytes())
    }

    /// Puts the `N` bytes of each of `values`: the buffer grows once for all of them.
    #[inline]
    pub fn each<T, const N: usize>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
        bytes_of: impl Fn(T) -> [u8; N],
    ) -> &mut Self {
        let start = self.out.len();
        self.out.resize(start + values.len() * N, 0);
        let (places, _) = self.out[start..].as_chunks_mut::<N>();
        values.zip(places).for_each(|(value, place)| *place = bytes_of(value));
        self
    }

    /// Puts a count as `u32`. Counts come from collections whose limits are far below `u32::MAX`.
    pub fn count(&mut self, count: usize) -> &mut Self {
        debug_assert!(u32::try_from(count).is_ok(), "a collection of {count} has no limit");
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Puts a text, cut at the last whole character within 65,535 bytes.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let mut end = text.len().min(usize::from(u16::MAX));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.u16(u16::try_from(end).unwrap_or(u16::MAX)).bytes(&text.as_bytes()[..end])
    }

    /// Puts an id (see [`Reader::id`]). The caller has checked its length.
    #[inline]
    pub fn id(&mut self, id: IdRef<'_>) -> &mut Self {
        match id {
            IdRef::Int(number) => self.u8(0).u64(number),
            IdRef::Text(text) => {
                debug_assert!((1..=ID_BYTES_MAX).contains(&text.len()));
                self.u8(u8::try_from(text.len()).unwrap_or(0)).bytes(text.as_bytes())
            }
        }
    }

    /// Puts an owned id.
    pub fn owned_id(&mut self, id: &Id) -> &mut Self {
        self.id(id.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation_at_every_byte() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).u8(7).u32(9).f32(1.5).text("hé").id(IdRef::Int(3)).id(IdRef::text("abc"));
        let read = |bytes: &[u8]| -> Result<(), CursorError> {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.u8()?, 7);
            assert_eq!(reader.u32()?, 9);
            assert_eq!(reader.f32()?.to_bits(), 1.5_f32.to_bits());
            assert_eq!(reader.text()?, "hé");
            assert_eq!(reader.id()?, IdRef::Int(3));
            assert_eq!(reader.id()?, IdRef::Text("abc"));
            reader.finish()
        };
        assert_eq!(read(&bytes), Ok(()));
        for cut in 0..bytes.len() {
            assert!(matches!(read(&bytes[..cut]), Err(CursorError::Short { .. })), "cut at {cut}");
        }
        bytes.push(0);
        assert!(matches!(read(&bytes), Err(CursorError::Trailing { extra: 1, .. })));
    }

    #[test]
    fn many_numbers_are_put_as_one_by_one() {
        let (whole, parts) = ([1, u32::MAX, 7], [0.5, -0.0, f32::NAN]);
        let (mut bytes, mut singly) = (Vec::new(), Vec::new());
        Writer::new(&mut bytes).u32s(&whole).f32s(&parts).each(whole.iter(), |value| u64::from(*value).to_le_bytes());
        let mut out = Writer::new(&mut singly);
        for value in whole {
            out.u32(value);
        }
        for value in parts {
            out.f32(value);
        }
        for value in whole {
            out.u64(u64::from(value));
        }
        assert_eq!(bytes, singly);
        let (mut from, mut read) = (Reader::new(&bytes[12..]), [7.0; 3]);
        assert_eq!(from.f32s(&mut read), Ok(()));
        assert_eq!((read.map(f32::to_bits), from.at()), (parts.map(f32::to_bits), 12));
        let mut short = Reader::new(&bytes[..11]);
        assert!(matches!(short.f32s(&mut read), Err(CursorError::Short { need: 12, have: 11, .. })));
        assert_eq!((read.map(f32::to_bits), short.at()), (parts.map(f32::to_bits), 0));
    }

    #[test]
    fn counts_are_checked_before_anything_is_allocated() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).u32(u32::MAX);
        assert!(matches!(Reader::new(&bytes).count(4, usize::MAX), Err(CursorError::Short { .. })));
        assert!(matches!(Reader::new(&bytes).count(0, 10), Err(CursorError::Bad { .. })));
    }
}
