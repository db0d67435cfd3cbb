//! The answer to one operation.

use crate::model::RejectReason;
use crate::state::decisions::Join;

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// It was applied.
    Applied,
    /// An event with this id was learned before; nothing changed.
    Duplicate,
    /// What it names is not known; nothing changed.
    NotFound,
    /// What it states is one more than may be kept; that was not kept.
    Full,
    /// The event was not learned; nothing changed but counts of such events.
    Refused(RejectReason),
}

/// The answer to one operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What became of it.
    pub kind: OutcomeKind,
    /// Version of the profile (of the item, for item operations) after it.
    pub version: u32,
    /// The first arm's score of the item before it learned this event; NaN where there is none.
    pub score_before: f32,
    /// The first arm's rank of the item before it learned this event; 0 if it was not ranked.
    pub rank_before: u32,
    /// What became of the decision that it named.
    pub join: Join,
    /// Whether the state is as if the operation were part of the events from the beginning (see `Shard::retract`).
    pub exact: bool,
}

impl Outcome {
    pub(super) fn applied(version: u32) -> Self {
        Self {
            kind: OutcomeKind::Applied,
            version,
            score_before: f32::NAN,
            rank_before: 0,
            join: Join::None,
            exact: true,
        }
    }

    /// Of a statement: whether there was room to keep it.
    pub(super) fn kept(room: bool, version: u32) -> Self {
        if room { Self::applied(version) } else { Self::unchanged(OutcomeKind::Full, version) }
    }

    /// Not carried out: the operation never came to a shard.
    #[must_use]
    pub fn refused(reason: RejectReason) -> Self {
        Self::unchanged(OutcomeKind::Refused(reason), 0)
    }

    /// Nothing was learned or changed of what has this version, for the reason that `kind` gives.
    pub(super) fn unchanged(kind: OutcomeKind, version: u32) -> Self {
        Self { kind, ..Self::applied(version) }
    }
}
