//! Which shard an id belongs to.
//!
//! Ids are often chosen by those whom they stand for. Under a hash that everybody can compute, whoever registers names could
//! give one shard all the work. So ids are routed by SipHash-2-4 (Aumasson & Bernstein, "SipHash: a fast short-input PRF",
//! INDOCRYPT 2012) under a key that is drawn when a data directory is made and stays in it; those who may ask the server get
//! it with ROUTING_GET. Directories from before there were keys stay as they are.

use std::fmt;

use siphasher::sip::SipHasher24;

use super::ids::{IdRef, shard_of};

/// The rule that maps an id to a shard.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Routing {
    /// Version 1: by the [`stable_hash`](IdRef::stable_hash), which everybody can compute.
    #[default]
    Plain,
    /// Version 2: by SipHash-2-4 under this key.
    Keyed([u64; 2]),
}

impl Routing {
    /// The rule of a version, and its key; `None` if the version is not known here.
    #[must_use]
    pub fn of(version: u16, key: [u64; 2]) -> Option<Self> {
        match version {
            1 => Some(Self::Plain),
            2 => Some(Self::Keyed(key)),
            _ => None,
        }
    }

    /// The number of the rule, for ever.
    #[must_use]
    pub fn version(self) -> u16 {
        match self {
            Self::Plain => 1,
            Self::Keyed(_) => 2,
        }
    }

    /// Its key; zeros where there is none.
    #[must_use]
    pub fn key(self) -> [u64; 2] {
        match self {
            Self::Plain => [0; 2],
            Self::Keyed(key) => key,
        }
    }

    /// The hash that decides: of an integer's eight bytes, the lowest first, or of a text's.
    #[must_use]
    pub fn hash(self, id: IdRef<'_>) -> u64 {
        let Self::Keyed([low, high]) = self else { return id.stable_hash() };
        let hasher = SipHasher24::new_with_keys(low, high);
        match id {
            IdRef::Int(number) => hasher.hash(&number.to_le_bytes()),
            IdRef::Text(text) => hasher.hash(text.as_bytes()),
        }
    }

    /// The shard, of `shards`, that owns this id.
    #[must_use]
    pub fn shard(self, id: IdRef<'_>, shards: u16) -> u16 {
        if shards == 1 { 0 } else { shard_of(self.hash(id), shards) }
    }
}

/// The key is a secret: it is not shown.
impl fmt::Debug for Routing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => out.write_str("Plain"),
            Self::Keyed(_) => out.write_str("Keyed(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the paper (its appendix A, and the reference implementation): key 00 01 .. 0f, text 00 01 ..
    #[test]
    fn the_hash_is_that_of_the_paper() {
        let routing = Routing::Keyed([0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908]);
        let text: String = (0..15_u8).map(char::from).collect();
        assert_eq!(routing.hash(IdRef::Text(&text)), 0xA129_CA61_49BE_45E5);
        assert_eq!(routing.hash(IdRef::Text(&text[..8])), 0x93F5_F579_9A93_2462);
        assert_eq!(routing.hash(IdRef::Int(0x0706_0504_0302_0100)), 0x93F5_F579_9A93_2462);
    }

    #[test]
    fn versions_are_frozen() {
        for routing in [Routing::Plain, Routing::Keyed([1, 2])] {
            assert_eq!(Routing::of(routing.version(), routing.key()), Some(routing));
        }
        assert_eq!([Routing::Plain.version(), Routing::Keyed([0; 2]).version()], [1, 2]);
        assert_eq!((Routing::of(0, [0; 2]), Routing::of(3, [0; 2])), (None, None));
        assert_eq!(Routing::Plain.shard(IdRef::text("user-7"), 7), IdRef::text("user-7").shard(7));
        assert_eq!(format!("{:?}", Routing::Keyed([1, 2])), "Keyed(..)");
    }
}
