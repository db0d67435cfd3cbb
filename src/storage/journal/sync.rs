//! Syncing the journal from another thread, and the poison that all who share a journal see.
//!
//! A slow device must not hold up the shard, so a segment that is full is not synced where it is written: handles carry such
//! segments with them and sync them first, oldest first, and the names of new ones before anything in them is called durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::JournalPlace;
use crate::storage::disk::DiskFile;
use crate::storage::error::StorageError;
use crate::storage::files::sync_dir;

/// Syncs the journal up to where it was written when this was made; meant for another thread.
#[derive(Clone)]
pub struct SyncHandle {
    place: JournalPlace,
    shared: Arc<Shared>,
    /// Full segments that were not known to be synced, oldest first; the segment that is written, last.
    parts: Vec<Part>,
    position: u64,
}

/// A segment, or the beginning of one.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    /// The segment's number.
    pub(crate) id: u64,
    /// Once it is synced, every sequence below this is.
    pub(crate) end: u64,
}

impl std::fmt::Debug for SyncHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let newest = self.newest();
        out.debug_struct("SyncHandle")
            .field("path", &newest.path)
            .field("sequence", &newest.end)
            .finish_non_exhaustive()
    }
}

/// What the writer and its sync handles know together.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The first failure; set once, never cleared.
    poison: OnceLock<String>,
    /// Every sequence below is synced.
    durable: AtomicU64,
    /// The directory was synced when it held the segments up to this number.
    named: AtomicU64,
}

impl Shared {
    pub(crate) fn new(durable: u64, named: u64) -> Self {
        Self { poison: OnceLock::new(), durable: AtomicU64::new(durable), named: AtomicU64::new(named) }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn raise_durable(&self, sequence: u64) {
        self.durable.fetch_max(sequence, Ordering::AcqRel);
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }

    #[inline]
    pub(crate) fn check(&self, dir: &Path) -> Result<(), StorageError> {
        match self.poison.get() {
            None => Ok(()),
            Some(reason) => Err(StorageError::Poisoned { path: dir.to_path_buf(), reason: reason.clone() }),
        }
    }

    /// Poisons the journal with `error`, and hands it on.
    pub(crate) fn poison(&self, error: StorageError) -> StorageError {
        self.poison.get_or_init(|| error.to_string());
        error
    }
}

impl SyncHandle {
    /// `parts` has at least the segment that is written, of which `position` bytes are.
    pub(crate) fn new(place: &JournalPlace, shared: &Arc<Shared>, parts: Vec<Part>, position: u64) -> Self {
        Self { place: place.clone(), shared: Arc::clone(shared), parts, position }
    }

    /// Syncs; gives the sequence below which everything is now durable.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`]; [`StorageError::Io`], which poisons the writer and every handle.
    pub fn sync(&self) -> Result<u64, StorageError> {
        self.shared.check(&self.place.dir)?;
        let (named, newest) = (&self.shared.named, self.newest().id);
        if named.load(Ordering::Acquire) < newest {
            sync_dir(self.place.disk(), &self.place.dir).map_err(|error| self.shared.poison(error))?;
            named.fetch_max(newest, Ordering::AcqRel);
        }
        for part in &self.parts {
            let synced = part.file.sync();
            synced.map_err(|source| self.shared.poison(StorageError::io("sync", &part.path)(source)))?;
            // Somebody else's sync may have failed meanwhile and taken the error report that would have been ours.
            self.shared.check(&self.place.dir)?;
            self.shared.raise_durable(part.end);
        }
        Ok(self.sequence())
    }

    /// What [`sync`](Self::sync) makes durable: every sequence below.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.newest().end
    }

    /// Bytes of the newest segment's file that it makes durable.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    fn newest(&self) -> &Part {
        self.parts.last().expect("the segment that is written is among them")
    }
}
