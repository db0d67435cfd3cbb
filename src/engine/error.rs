//! What the engine refuses or fails at.

use std::path::PathBuf;

use crate::base::{CursorError, Id};
use crate::linalg::LinalgError;
use crate::model::Incompatible;
use crate::shard::RecoverError;
use crate::storage::StorageError;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The disk, or what is on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A shard does not come back.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The journals begin behind the first event, and no snapshot is whole.
    #[error(
        "the journals do not reach back to the first event and no snapshot can be used{}\nput the missing files back, or make a \
         new directory of an archive and these journals (`mirra snapshot restore --from FILE --journal-from DIR --into NEW`); \
         no journal and no chunk was removed",
        lines(found)
    )]
    NoGeneration {
        /// What became of the snapshots that there were.
        found: Vec<String>,
        /// Which journal begins too late.
        #[source]
        source: StorageError,
    },
    /// The data were written under a configuration that reads them differently.
    #[error(
        "{path} was written under another configuration:\n  then: {then}\n  now:  {now}\nstart with the configuration of \
         then, or give another data directory and replay the events into it"
    )]
    Fingerprint {
        /// The data directory.
        path: PathBuf,
        /// As written.
        then: String,
        /// As configured.
        now: String,
    },
    /// The schema cannot take the place of the one in force.
    #[error(transparent)]
    Schema(#[from] Incompatible),
    /// What should be a schema is none.
    #[error("the bytes are no schema that this version of mirra reads")]
    SchemaBytes(#[source] CursorError),
    /// A user cannot be merged into itself.
    #[error("user {user} cannot be merged into itself")]
    MergeSelf {
        /// Who.
        user: Id,
    },
    /// The user became another before.
    #[error("user {user} was merged into another before; USER_GET of it shows which")]
    MergeTaken {
        /// Who.
        user: Id,
    },
    /// A trait's formula is none.
    #[error("trait `{name}`: {why}")]
    Trait {
        /// Which trait.
        name: String,
        /// What is wrong with its formula.
        why: String,
    },
    /// A thread or an arbiter could not be started.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
    /// A refit or a snapshot is under way already.
    #[error("a {0} is under way: ask again when it is done")]
    Busy(&'static str),
    /// No active strategy uses an item model.
    #[error(
        "no active strategy uses an item model: [strategy] active = {active:?}, a refit serves auto (trained apart), decay, \
         mean and fold_in"
    )]
    NothingToFit {
        /// Names of the active strategies.
        active: Vec<&'static str>,
    },
    /// Weights are given and no active strategy takes them.
    #[error("no active strategy takes weights: add \"attention\" to [strategy] active, or start without --weights")]
    NothingToPretrain,
    /// There is too little memory for it.
    #[error(
        "a {what} would take some {more_mib} MiB more, and {held_mib} of {limit_mib} MiB are held: raise [memory] limit_bytes"
    )]
    Memory {
        /// What.
        what: &'static str,
        /// Held now.
        held_mib: u64,
        /// What it would take.
        more_mib: u64,
        /// The limit.
        limit_mib: u64,
    },
    /// There is too little room on the disk for it.
    #[error(
        "a {what} needs room on the disk, and {free_mib} MiB are free where {min_mib} are to stay: make room, or lower \
         [disk] free_min_bytes"
    )]
    DiskFull {
        /// What.
        what: &'static str,
        /// Free now.
        free_mib: u64,
        /// What is to stay free.
        min_mib: u64,
    },
    /// The fit failed.
    #[error("the item model could not be fitted")]
    Fit(#[from] LinalgError),
    /// A shard did not finish its part.
    #[error("shard {shard} did not finish its part of the {what}; the log says why")]
    ShardFailed {
        /// Which shard.
        shard: u16,
        /// What was under way.
        what: &'static str,
    },
    /// The engine stops.
    #[error("the {0} was given up: the server stops")]
    Stopping(&'static str),
    /// A helper thread went away.
    #[error("the {0} was given up: its thread has gone")]
    Lost(&'static str),
}

/// Each on a line of its own, behind a colon; nothing of none.
fn lines(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(":\n  {}", found.join("\n  ")) }
}
