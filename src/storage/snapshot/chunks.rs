//! What snapshots need of a store of keys and values; [`SledChunks`] is the one that serves.
//!
//! sled asserts what it reads, so a damaged store may panic: that is told as a failure like any other.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::SnapshotOptions;
use super::repair::{OpenReport, open_proven, open_store, quietly};
use crate::storage::disk::{Disk, OsDisk};
use crate::storage::error::StorageError;
use crate::storage::files::{list, sync_dir};

/// What a walk over entries does with one; `false` ends it.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// A store of keys and values, keys in the order of their bytes. A failure is told in words.
#[expect(clippy::missing_errors_doc, reason = "said above, once for all")]
pub trait ChunkStore: Debug + Send + Sync {
    /// Puts a value, in the place of the one that is there.
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), String>;

    /// Removes keys, all or none of them.
    fn remove(&self, keys: &[Vec<u8>]) -> Result<(), String>;

    /// Walks over the entries from `low` to `high`, both included.
    fn walk(&self, low: &[u8], high: &[u8], visit: Visit<'_>) -> Result<(), String>;

    /// Makes everything that was put and removed survive power loss.
    fn sync(&self) -> Result<(), String>;

    /// Bytes of its files.
    fn size_on_disk(&self) -> Result<u64, String>;
}

/// A sled database.
#[derive(Debug)]
pub struct SledChunks {
    db: sled::Db,
    dir: PathBuf,
}

impl SledChunks {
    /// Opens the database in `dir`, repairing or replacing what cannot be opened.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Store`].
    pub fn open(dir: &Path, options: SnapshotOptions) -> Result<(Self, OpenReport), StorageError> {
        let open = if options.prove { open_proven } else { open_store };
        let (db, report) = open(dir, options.cache_bytes)?;
        Ok((Self { db, dir: dir.to_path_buf() }, report))
    }
}

impl ChunkStore for SledChunks {
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        quietly(|| self.db.insert(key, value)).map(drop)
    }

    fn remove(&self, keys: &[Vec<u8>]) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        keys.iter().for_each(|key| batch.remove(key.as_slice()));
        quietly(|| self.db.apply_batch(batch))
    }

    fn walk(&self, low: &[u8], high: &[u8], visit: Visit<'_>) -> Result<(), String> {
        let mut entries = self.db.range(low..=high);
        loop {
            let Some((key, value)) = quietly(|| entries.next().transpose())? else { return Ok(()) };
            if !visit(&key, &value) {
                return Ok(());
            }
        }
    }

    /// sled's flush is no fsync: its files are synced here.
    fn sync(&self) -> Result<(), String> {
        quietly(|| self.db.flush())?;
        sync_tree(&self.dir).map_err(|error| error.to_string())
    }

    fn size_on_disk(&self) -> Result<u64, String> {
        quietly(|| self.db.size_on_disk())
    }
}

/// Syncs every file and directory below `dir`, and `dir` itself. A file that is gone meanwhile needs no sync.
pub(super) fn sync_tree(dir: &Path) -> Result<(), StorageError> {
    for path in list(&OsDisk, dir)? {
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(source) if source.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(StorageError::io("look at", &path)(source)),
        };
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            match OsDisk.sync_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::io("sync", &path)(source));
                }
                _ => {}
            }
        }
    }
    sync_dir(&OsDisk, dir)
}
