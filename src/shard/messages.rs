//! What a shard actor is asked. Messages are kinds of turn; the commands of the protocol are inside.

use std::sync::Arc;
use std::time::Instant;

use actix::Message;
use crossbeam::channel::Sender;
use tokio::sync::oneshot;

use super::queue::Credits;
use crate::base::{Id, Sections};
use crate::model::{Attributes, Durability, Entry, RejectReason, SentEvent};
use crate::state::{
    ArmView, EpochModel, Explanation, Missing, Outcome, Portrait, Prediction, Ranking, Scored, Shard, StrategyReport,
    TasteView,
};
use crate::storage::SyncHandle;

/// What one read of one connection holds for one shard, in order; answered as a whole.
#[derive(Debug)]
pub struct Turn {
    /// Which connection it is of; 0 for what the server does itself.
    pub flow: u64,
    /// Encoded operations of all its writes, back to back.
    pub ops: Vec<u8>,
    /// Writes and questions, in order.
    pub steps: Vec<Step>,
    /// Held until the turn is done.
    pub credits: Option<Credits>,
    /// When nobody waits for the answers any more: what is not begun by then is not done.
    pub expires: Option<Instant>,
    /// Where the answers go.
    pub reply: oneshot::Sender<Vec<StepDone>>,
}

impl Message for Turn {
    type Result = ();
}

/// One request within a turn.
#[derive(Debug)]
pub enum Step {
    /// The next `count` operations, in the next `bytes` bytes.
    Write {
        /// Bytes of the operations.
        bytes: usize,
        /// Operations, at least 1.
        count: u32,
        /// What the answer must mean.
        durability: Durability,
        /// Whether every operation's outcome is wanted, or their counts alone.
        each: bool,
    },
    /// The next operation, in the next `bytes` bytes: an exposure or an outcome, which the shard completes with the list
    /// that it served under this decision.
    Join {
        /// Bytes of the operation.
        bytes: usize,
        /// What the answer must mean.
        durability: Durability,
    },
    /// A question.
    Ask(Query),
}

impl Step {
    /// Bytes of its operations.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Write { bytes, .. } | Self::Join { bytes, .. } => *bytes,
            Self::Ask(_) => 0,
        }
    }

    /// Operations and questions in it.
    #[must_use]
    pub fn units(&self) -> usize {
        match self {
            Self::Write { count, .. } => *count as usize,
            Self::Join { .. } | Self::Ask(_) => 1,
        }
    }

    /// What its answer must mean.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self {
            Self::Write { durability, .. } | Self::Join { durability, .. } => *durability,
            Self::Ask(_) => Durability::Applied,
        }
    }
}

/// The answer to one step.
#[derive(Debug)]
pub enum StepDone {
    /// A write was carried out.
    Written(Written),
    /// The answer to a question.
    Answered(Answer),
    /// It was not carried out.
    Refused(Refusal),
}

/// Why a step was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Something broke inside; the shard was rebuilt from disk and nothing of the step was kept.
    Broken,
    /// The journal failed: the shard answers questions and takes no writes.
    ReadOnly,
    /// The disk has too little room: nothing that adds to it is taken.
    DiskFull,
    /// Another shard does not keep up with what this one has for it, or the disk with syncing what was written.
    Behind,
    /// Its time was over before it was begun.
    Expired,
}

/// What became of a write.
#[derive(Debug)]
pub struct Written {
    /// Sequence of its first operation; the others follow without a gap.
    pub first_sequence: u64,
    /// Operations that changed something.
    pub applied: u32,
    /// Events that were known.
    pub duplicates: u32,
    /// What the answer means.
    pub durability: Durability,
    /// Events that were not learned.
    pub refused: Vec<Refused>,
    /// Places of operations that were refused before the journal, rising.
    pub left_out: Vec<usize>,
    /// Outcomes by operation; the last one alone if not every one was wanted.
    pub outcomes: Vec<Outcome>,
}

impl Written {
    /// The sequence of the operation at a place, or of the one that would come next if it was left out.
    #[must_use]
    pub fn sequence(&self, at: usize) -> u64 {
        let left_out = self.left_out.partition_point(|place| *place < at);
        self.first_sequence + (at - left_out) as u64
    }
}

/// An event that the shard did not learn.
#[derive(Debug)]
pub struct Refused {
    /// Which of the write's operations it was.
    pub at: usize,
    /// Why.
    pub reason: RejectReason,
    /// The event.
    pub event: SentEvent,
}

/// A question to one shard.
#[derive(Debug)]
pub enum Query {
    /// A user.
    Profile {
        /// Who.
        user: Id,
        /// Whether vectors are wanted.
        factors: bool,
        /// How many of the newest events are wanted.
        recent_max: usize,
    },
    /// A whole person.
    Portrait {
        /// Who.
        user: Id,
        /// Which parts of it (`state/portrait.rs`).
        parts: u16,
        /// Most facets.
        facets_max: usize,
        /// What time it is.
        now_ms: i64,
    },
    /// What is kept of a user, for another shard.
    Export {
        /// Whose.
        user: Id,
    },
    /// Retained events, the newest first.
    History {
        /// Whose.
        user: Id,
        /// From when to when, in milliseconds.
        span_ms: (i64, i64),
        /// Of which kinds; empty: all.
        kinds: Vec<u8>,
        /// How many of those are passed over.
        skip: usize,
        /// Most that are told.
        max: usize,
    },
    /// An item.
    Item {
        /// Which.
        item: Id,
    },
    /// Scores of some items for one user.
    Predict {
        /// Who.
        user: Id,
        /// Which.
        items: Vec<Id>,
        /// By which strategy; empty is the first.
        strategy: String,
    },
    /// The best items for one user.
    Recommend {
        /// Who.
        user: Id,
        /// How many.
        k: usize,
        /// What is left out.
        filter: OwnedFilter,
        /// By which strategy; empty is the first.
        strategy: String,
    },
    /// Why an item has its score for one user.
    Explain {
        /// Who.
        user: Id,
        /// Which.
        item: Id,
        /// By which strategy; empty is the first.
        strategy: String,
        /// Whether it is the score that recommendations are ordered by.
        ranking: bool,
        /// Most events that are told.
        events_max: usize,
    },
    /// Items like one item.
    Similar {
        /// Which.
        item: Id,
        /// How many.
        k: usize,
        /// By which strategy; empty is the first.
        strategy: String,
    },
    /// A user as embeddings see it.
    Taste {
        /// Who.
        user: Id,
        /// Nearest items wanted.
        nearest: usize,
    },
    /// The vector of an item in a modality.
    Embedding {
        /// Which item.
        item: Id,
        /// Which modality.
        modality: String,
    },
    /// How the strategies have done.
    Reports,
    /// Operations that named a decision without a list.
    Missing,
    /// Hash of everything known.
    Digest,
    /// Events learned.
    Events,
    /// Retained histories of some users, by slot, for a refit.
    Histories {
        /// The first of them.
        from: usize,
        /// How many.
        most: usize,
        /// The slot behind the last of all that are wanted, or any behind the last that there is.
        until: usize,
    },
}

/// See [`Filter`](crate::state::Filter).
#[derive(Clone, Debug, Default)]
pub struct OwnedFilter {
    /// Leave out what the user's history holds.
    pub exclude_seen: bool,
    /// If not empty, only these items.
    pub allow_items: Vec<Id>,
    /// Never these items.
    pub deny_items: Vec<Id>,
    /// If not empty, only items with one of these tags.
    pub allow_tags: Vec<String>,
    /// Never items with one of these tags.
    pub deny_tags: Vec<String>,
}

/// The answer to a question.
#[derive(Debug)]
pub enum Answer {
    /// The user or item is not known.
    NotFound,
    /// No strategy of this name is active.
    NoStrategy,
    /// To [`Query::Profile`].
    Profile(Box<ProfileAnswer>),
    /// To [`Query::Portrait`], with the half-lives of the schema in force.
    Portrait(Box<Portrait>, [f64; 3]),
    /// To [`Query::Export`].
    Exported(Vec<u8>),
    /// To [`Query::History`]: how many match, and the page of them.
    History(usize, Vec<(Id, Entry)>),
    /// To [`Query::Item`].
    Item(Box<ItemAnswer>),
    /// To [`Query::Predict`]: the strategy, the profile's version (0: not known), scores in the order asked.
    Predictions(&'static str, u32, Vec<Prediction>),
    /// To [`Query::Recommend`]: the strategy, the list, and its decision id.
    Ranking(&'static str, Ranking, u64),
    /// To [`Query::Explain`].
    Explained(&'static str, Box<Explanation>),
    /// To [`Query::Similar`].
    Similar(&'static str, Vec<Scored>),
    /// To [`Query::Taste`], with the profile's version.
    Taste(u32, Box<TasteView>),
    /// To [`Query::Embedding`].
    Embedding(Vec<f32>),
    /// To [`Query::Reports`].
    Reports(Vec<StrategyReport>),
    /// To [`Query::Missing`].
    Missing(Missing),
    /// To [`Query::Digest`]: sequence and hash.
    Digest(u64, u64),
    /// To [`Query::Events`].
    Events(u64),
    /// To [`Query::Histories`].
    Histories(Box<Histories>),
}

/// A user as seen from outside.
#[derive(Debug)]
pub struct ProfileAnswer {
    /// Who.
    pub user: Id,
    /// Version of the profile.
    pub version: u32,
    /// Events learned.
    pub events: u64,
    /// Earliest event, in milliseconds.
    pub first_ms: i64,
    /// Latest event, in milliseconds.
    pub last_ms: i64,
    /// Mean of explicit values; NaN without any.
    pub value_mean: f64,
    /// Typed attributes.
    pub attributes: Attributes,
    /// Vectors, if asked for.
    pub arms: Vec<ArmView>,
    /// The newest events with the ids of their items, newest first.
    pub recent: Vec<(Id, Entry)>,
    /// Hash of every bit that is kept of this user.
    pub digest: u64,
}

/// An item as seen from outside.
#[derive(Debug)]
pub struct ItemAnswer {
    /// Which.
    pub item: Id,
    /// Version of its facts.
    pub version: u32,
    /// Events learned.
    pub events: u64,
    /// Popularity as it ranks.
    pub popularity: f64,
    /// Latest event, in milliseconds.
    pub last_ms: i64,
    /// Tags.
    pub tags: Vec<String>,
    /// Typed attributes.
    pub attributes: Attributes,
}

/// What a refit needs of one shard.
#[derive(Debug, Default)]
pub struct Histories {
    /// Item ids by row; with the last users only, as rows rise meanwhile.
    pub items: Vec<Id>,
    /// Rows, rising, of each user with a history.
    pub users: Vec<Vec<u32>>,
    /// Lengths of factor that the strategies want.
    pub dims: Vec<usize>,
    /// The slot behind the last of the users.
    pub upto: usize,
    /// The slot behind the last of all that are wanted.
    pub until: usize,
    /// Whether there are no users behind.
    pub last: bool,
}

impl Histories {
    /// Those of a shard as it is now.
    #[must_use]
    pub fn of(shard: &Shard) -> Self {
        Self::some_of(shard, 0, shard.user_count(), usize::MAX)
    }

    /// Those of some users, as they are now.
    #[must_use]
    pub fn some_of(shard: &Shard, from: usize, most: usize, until: usize) -> Self {
        let until = until.min(shard.user_count());
        let upto = from.saturating_add(most).min(until);
        let last = upto == until;
        let items = if last { shard.item_ids().cloned().collect() } else { Vec::new() };
        Self { items, users: shard.histories_in(from..upto), dims: shard.model_dims(), upto, until, last }
    }
}

/// Install the item model of an epoch; answered with the sequence once it is journaled.
#[derive(Debug)]
pub struct Install {
    /// The model; its bytes are stored already.
    pub model: Arc<EpochModel>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<u64, Refusal>>,
}

impl Message for Install {
    type Result = ();
}

/// Write an image into `parts` while going on.
#[derive(Debug)]
pub struct Snapshot {
    /// Bounded; the actor waits for room without blocking its thread.
    pub parts: Sender<SnapshotPart>,
}

impl Message for Snapshot {
    type Result = ();
}

/// A piece of a shard's image. Ends when the sender is dropped: without [`SnapshotPart::End`] it is not whole.
#[derive(Debug)]
pub enum SnapshotPart {
    /// The image is of this sequence; the journal up to it is synced by the handle.
    Begin {
        /// Which shard.
        shard: u16,
        /// Sequence of the newest operation in the image.
        sequence: u64,
        /// Epoch of the item model.
        epoch: u32,
        /// Syncs the journal at least as far.
        sync: SyncHandle,
    },
    /// Some sections.
    Sections(u16, Vec<Sections>),
    /// All sections of this shard have been sent.
    End(u16),
}
