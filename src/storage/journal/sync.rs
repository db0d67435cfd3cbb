//! Syncing the journal from another thread, and the poison that all who share a journal see.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::storage::disk::DiskFile;
use crate::storage::error::StorageError;

/// Syncs the journal up to where it was written when this was made; meant for another thread.
#[derive(Clone)]
pub struct SyncHandle {
    file: Arc<dyn DiskFile>,
    shared: Arc<Shared>,
    dir: PathBuf,
    path: PathBuf,
    sequence: u64,
    position: u64,
}

impl std::fmt::Debug for SyncHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SyncHandle")
            .field("path", &self.path)
            .field("sequence", &self.sequence)
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
}

impl Shared {
    pub(crate) fn new(durable: u64) -> Self {
        Self { poison: OnceLock::new(), durable: AtomicU64::new(durable) }
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
    pub(crate) fn new(
        file: Arc<dyn DiskFile>,
        shared: &Arc<Shared>,
        dir: &Path,
        path: &Path,
        sequence: u64,
        position: u64,
    ) -> Self {
        let (dir, path) = (dir.to_path_buf(), path.to_path_buf());
        Self { file, shared: Arc::clone(shared), dir, path, sequence, position }
    }

    /// Syncs; gives the sequence below which everything is now durable.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`]; [`StorageError::Io`], which poisons the writer and every handle.
    pub fn sync(&self) -> Result<u64, StorageError> {
        self.shared.check(&self.dir)?;
        let synced = self.file.sync();
        synced.map_err(|source| self.shared.poison(StorageError::io("sync", &self.path)(source)))?;
        // Somebody else's sync may have failed meanwhile and taken the error report that would have been ours.
        self.shared.check(&self.dir)?;
        self.shared.raise_durable(self.sequence);
        Ok(self.sequence)
    }

    /// What [`sync`](Self::sync) makes durable: every sequence below.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes of the segment's file that it makes durable.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }
}
