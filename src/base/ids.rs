//! User and item ids, as callers have them: unsigned 64-bit integers or short strings.
//!
//! *Canonical form.* A string that is exactly the decimal form of a `u64` (`"42"`, not `"042"` or `"+42"`) **is** that
//! integer. A caller that sends `"42"` and one that sends `42` therefore speak of the same user, and integers,
//! which are the usual case, cost eight bytes everywhere. [`IdRef::text`] is the only way to make a string id, and it
//! canonicalises, so two equal ids always have one representation.

use std::fmt;

/// An owned id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// An integer, or a string in canonical decimal form.
    Int(u64),
    /// Any other string, 1 to [`ID_BYTES_MAX`](super::limits::ID_BYTES_MAX) bytes.
    Text(Box<str>),
}

/// A borrowed id: what decoders hand out, so that the hot path allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdRef<'a> {
    /// An integer, or a string in canonical decimal form.
    Int(u64),
    /// Any other string.
    Text(&'a str),
}

impl Id {
    /// The id that `text` names, in canonical form.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        IdRef::text(text).to_owned()
    }

    /// Borrows it.
    #[must_use]
    pub fn as_ref(&self) -> IdRef<'_> {
        match self {
            Self::Int(number) => IdRef::Int(*number),
            Self::Text(text) => IdRef::Text(text),
        }
    }
}

impl<'a> IdRef<'a> {
    /// The id that `text` names, in canonical form.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        match canonical_decimal(text.as_bytes()) {
            Some(number) => Self::Int(number),
            None => Self::Text(text),
        }
    }

    /// An owned copy.
    #[must_use]
    pub fn to_owned(self) -> Id {
        match self {
            Self::Int(number) => Id::Int(number),
            Self::Text(text) => Id::Text(text.into()),
        }
    }

    /// A hash that never changes between versions, machines or processes: it seeds the first values of a factor and routes
    /// ids where there is no key ([`Routing`](super::Routing)), so it is part of the format. [`mix`] of the integer, or of
    /// FNV-1a over the bytes (offset so that a text and an integer do not share a stream).
    #[must_use]
    pub fn stable_hash(self) -> u64 {
        match self {
            Self::Int(number) => mix(number),
            Self::Text(text) => {
                let folded = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
                });
                mix(folded ^ 0xA5A5_5A5A_C3C3_3C3C)
            }
        }
    }

    /// The part, of `shards`, that this id falls into by its stable hash. Multiply-shift keeps it uniform for any count.
    /// Which shard of a server owns it, says the server's [`Routing`](super::Routing).
    #[must_use]
    pub fn shard(self, shards: u16) -> u16 {
        shard_of(self.stable_hash(), shards)
    }
}

/// The part, of `shards`, that a hash falls into.
#[must_use]
pub fn shard_of(hash: u64, shards: u16) -> u16 {
    let wide = u128::from(hash) * u128::from(shards);
    u16::try_from(wide >> 64).unwrap_or(0)
}

/// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection of `u64` with full avalanche.
#[must_use]
pub const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The number of which [`mix`] makes `z`.
#[must_use]
pub const fn unmix(mut z: u64) -> u64 {
    z ^= (z >> 31) ^ (z >> 62);
    z = z.wrapping_mul(0x3196_42B2_D24D_8EC3);
    z ^= (z >> 27) ^ (z >> 54);
    z = z.wrapping_mul(0x96DE_1B17_3F11_9089);
    z ^= (z >> 30) ^ (z >> 60);
    z.wrapping_sub(0x9E37_79B9_7F4A_7C15)
}

fn canonical_decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 || (bytes[0] == b'0' && bytes.len() > 1) {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(out)
    }
}

impl fmt::Display for IdRef<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(out),
            Self::Text(text) => text.fmt(out),
        }
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_decimals_are_integers() {
        let cases = [
            ("0", IdRef::Int(0)),
            ("42", IdRef::Int(42)),
            ("18446744073709551615", IdRef::Int(u64::MAX)),
            ("18446744073709551616", IdRef::Text("18446744073709551616")),
            ("042", IdRef::Text("042")),
            ("+42", IdRef::Text("+42")),
            ("42 ", IdRef::Text("42 ")),
            ("user-7", IdRef::Text("user-7")),
        ];
        for (text, expected) in cases {
            assert_eq!(IdRef::text(text), expected, "{text:?}");
            assert_eq!(IdRef::text(text).to_string(), text);
        }
    }

    /// Golden: these values route users to shards on disk and may never change.
    #[test]
    fn stable_hash_is_frozen() {
        assert_eq!(IdRef::Int(0).stable_hash(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(IdRef::Int(42).stable_hash(), 0xBDD7_3226_2FEB_6E95);
        assert_eq!(IdRef::text("user-7").stable_hash(), 0xA426_BCBE_8792_125D);
    }

    #[test]
    fn unmix_undoes_mix() {
        let mut z = 1;
        for _ in 0..10_000 {
            assert_eq!((unmix(mix(z)), mix(unmix(z))), (z, z));
            z = mix(z);
        }
        assert_eq!([unmix(mix(0)), unmix(mix(u64::MAX))], [0, u64::MAX]);
    }

    #[test]
    fn shards_are_balanced() {
        let mut counts = [0_u32; 7];
        for id in 0..70_000 {
            counts[usize::from(IdRef::Int(id).shard(7))] += 1;
        }
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 400), "{counts:?}");
    }
}
