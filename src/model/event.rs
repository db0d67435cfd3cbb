//! One observed behaviour, and how much of the journal it waits for.

use crate::base::IdRef;

/// One observed behaviour of a user towards an item. Borrowed, so that decoding allocates nothing.
///
/// Made only from checked input: the value is finite and within limits, the kind is known, ids are not empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// The caller's name for this event, as a stable hash; 0 is none. A repeat for the same user is a duplicate.
    pub event_id: u64,
    /// Who.
    pub user: IdRef<'a>,
    /// What.
    pub item: IdRef<'a>,
    /// Code of the behaviour kind.
    pub kind: u8,
    /// Rating, amount, seconds...: what the kind says.
    pub value: f32,
    /// When it happened, in milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
}

/// What an acknowledgement means; each level includes the ones before. Numbers are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Durability {
    /// Learned, in memory: survives a clean stop.
    Applied = 1,
    /// Written to the journal file: survives a killed process.
    Journaled = 2,
    /// Synced to the device: survives power loss.
    Durable = 3,
}

impl Durability {
    /// All levels, weakest first.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Journaled, Self::Durable];

    /// The level with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as u8 == code)
    }

    /// Its name in configuration and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Journaled => "journaled",
            Self::Durable => "durable",
        }
    }

    /// The level with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}
