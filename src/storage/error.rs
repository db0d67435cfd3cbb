//! Why bytes could not be kept or could not be trusted. Every variant says where, with numbers, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the storage floor.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("could not {action} {}: {source}: check rights, free space and the device", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory does not exist and was not to be created.
    #[error("{} is not a data directory: check the path, or start with creation allowed", path.display())]
    NoDataDir {
        /// The directory asked for.
        path: PathBuf,
    },
    /// Another owner has the data directory.
    #[error("{} is in use by process {owner}: stop it first, two owners would destroy the data", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The pid that the lock file names, or `unknown`.
        owner: String,
    },
    /// A whole-file checksum, length or content is wrong.
    #[error("{} is damaged at offset {offset}: {reason}: restore the file from a copy or remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong, with numbers.
        reason: String,
    },
    /// A file was written by a newer version, or by none.
    #[error("{} has format version {found}, this program reads 1 to {newest}: use a newer program", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version that is understood.
        newest: u16,
    },
    /// A file belongs to another cluster.
    #[error("{} belongs to cluster {found:016x}, not {expected:016x}: it was copied here by mistake", path.display())]
    WrongCluster {
        /// The file.
        path: PathBuf,
        /// Its cluster.
        found: u64,
        /// This cluster.
        expected: u64,
    },
    /// Something is longer than its limit.
    #[error("{what} for {} has {bytes} bytes, limit {max}: split it", path.display())]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Where it was to go or came from.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The most that is allowed, in bytes.
        max: u64,
    },
    /// A record does not continue the journal.
    #[error("journal {} expects sequence {expected}, given {given}: recover the journal and continue there", path.display())]
    OutOfSequence {
        /// The segment or journal directory.
        path: PathBuf,
        /// The sequence that must come next.
        expected: u64,
        /// The sequence that was given.
        given: u64,
    },
    /// A record's arguments are not allowed.
    #[error("record at sequence {sequence} refused by {}: {reason}", path.display())]
    BadRecord {
        /// The segment.
        path: PathBuf,
        /// The record's first sequence.
        sequence: u64,
        /// What is not allowed, and what is.
        reason: &'static str,
    },
    /// An earlier write or sync of this journal failed; nothing may be acknowledged any more.
    #[error("journal {} is poisoned ({reason}): restart the shard, recovery finds what reached the disk", path.display())]
    Poisoned {
        /// The shard's journal directory.
        path: PathBuf,
        /// The first failure.
        reason: String,
    },
    /// The journal is damaged before its end: whole records would be lost by going on.
    #[error(
        "journal {} is damaged at offset {offset}, sequence {sequence}: {reason}: restore the file from a copy, or \
         salvage (keeps what is before the damage, sets the rest aside, loses later sequences)",
        path.display()
    )]
    JournalDamaged {
        /// The segment.
        path: PathBuf,
        /// Where in the segment, in bytes.
        offset: u64,
        /// The first sequence that cannot be read.
        sequence: u64,
        /// What is wrong.
        reason: String,
    },
    /// The journal starts after the sequence that is needed.
    #[error("journal {} starts at sequence {first}, needed from {needed}: an older part is missing", path.display())]
    MissingHistory {
        /// The oldest segment.
        path: PathBuf,
        /// The first sequence that is needed.
        needed: u64,
        /// The first sequence that is there.
        first: u64,
    },
    /// The snapshot store failed.
    #[error("snapshot store {} could not {action}: {reason}: give up this generation, keep the older one", path.display())]
    Store {
        /// The store's directory.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the store said.
        reason: String,
    },
    /// There is no such generation, or it is there already.
    #[error("generation {generation} in {}: {reason}", path.display())]
    Generation {
        /// The directory of the manifests.
        path: PathBuf,
        /// The generation.
        generation: u64,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// A snapshot's chunk is missing, out of place or has the wrong bytes.
    #[error(
        "generation {generation} in {}, shard {shard}, chunk {index}: {reason}: fall back to an older generation",
        path.display()
    )]
    ChunkDamaged {
        /// The store's directory.
        path: PathBuf,
        /// The generation.
        generation: u64,
        /// The shard.
        shard: u16,
        /// The chunk.
        index: u32,
        /// What is wrong, with numbers.
        reason: String,
    },
}

impl StorageError {
    /// Wraps what the system said about `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }

    /// A damaged whole file.
    pub(crate) fn damaged(path: &Path, offset: usize, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), offset: offset as u64, reason: reason.into() }
    }
}

// Results carry this by value on the append path; clippy's limit for large errors is 128 bytes.
const _: () = assert!(size_of::<StorageError>() <= 96, "keep the error small");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_where_and_what_to_do() {
        let path = PathBuf::from("/data/journal/shard-003/0000000007.mjl");
        let error = StorageError::JournalDamaged { path, offset: 4_711, sequence: 99, reason: "bad checksum".into() };
        let text = error.to_string();
        for part in ["0000000007.mjl", "4711", "99", "bad checksum", "salvage"] {
            assert!(text.contains(part), "{part} is missing in {text:?}");
        }
        let error = StorageError::Locked { path: "/data/LOCK".into(), owner: "123".into() };
        assert_eq!(
            error.to_string(),
            "/data/LOCK is in use by process 123: stop it first, two owners would destroy the data"
        );
    }
}
