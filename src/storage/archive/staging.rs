//! A new data directory made of parts, and read back: it is not the place where it will be, so a failure costs nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Part;
use super::format::{FORMAT_VERSION, Head};
use super::order::{Contents, Order};
use super::source::read_whole;
use crate::storage::data_dir::{DataDir, Meta};
use crate::storage::disk::{DiskFile, OsDisk};
use crate::storage::envelope::Running;
use crate::storage::epochs::EPOCH;
use crate::storage::error::StorageError;
use crate::storage::files::{make_private_dir, parent, sync_dir};
use crate::storage::journal::segments::segment_path;
use crate::storage::journal::trim;
use crate::storage::snapshot::{GenerationWriter, Manifest, SnapshotOptions, SnapshotStore};

/// What a new directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its generation.
    pub manifest: Manifest,
    /// What was put.
    pub contents: Contents,
    /// Its item models.
    pub epochs: Vec<u32>,
    /// Where the journal of each shard goes on.
    pub next_sequences: Vec<u64>,
    /// Bytes of the journals that a start will read.
    pub journal_bytes: u64,
}

/// A data directory that is being made.
#[derive(Debug)]
pub struct Staging {
    dir: DataDir,
    order: Order,
    images: Option<(SnapshotStore, GenerationWriter)>,
    epochs: BTreeSet<u32>,
    /// The file whose pieces come.
    file: Option<(PathBuf, Arc<dyn DiskFile>)>,
}

impl Staging {
    /// Begins in `path`, an empty directory.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open(path: &Path, cluster_id: u64, generation: u64) -> Result<Self, StorageError> {
        let dir = DataDir::open(path, true)?;
        let order = Order::new(Head { version: FORMAT_VERSION, cluster_id, generation });
        Ok(Self { dir, order, images: None, epochs: BTreeSet::new(), file: None })
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] for a part that has no place there; what the disk says.
    pub fn put(&mut self, part: &Part<'_>) -> Result<(), StorageError> {
        let out_of_place = |reason: String| StorageError::damaged(self.dir.path(), 0, reason);
        self.order.take(part).map_err(out_of_place)?;
        match *part {
            Part::Meta(meta) => self.dir.write_meta(meta),
            Part::Schema(bytes) => self.dir.write_schema(bytes),
            Part::Manifest(manifest) => {
                let (store, _) = SnapshotStore::open(&self.dir, manifest.cluster_id, SnapshotOptions::default())?;
                let writer = store.begin(manifest.generation)?;
                self.images = Some((store, writer));
                Ok(())
            }
            Part::Chunk { shard, index, bytes } => match &mut self.images {
                Some((store, writer)) => store.put_chunk(writer, shard, index, bytes),
                None => Ok(()), // the order has refused it
            },
            Part::Epoch { number, bytes, .. } => {
                self.epochs.insert(number);
                self.piece(&self.dir.epoch_path(number), bytes)
            }
            Part::Segment { shard, number, bytes, .. } => {
                let dir = self.dir.journal_dir(shard);
                make_private_dir(self.dir.disk(), &dir)?;
                self.piece(&segment_path(&dir, number), bytes)
            }
        }
    }

    /// Makes everything durable and reads it back: chunks, item models, small files and journals.
    ///
    /// # Errors
    /// What is missing, is not what was put, or cannot be read.
    pub fn finish(mut self) -> Result<Restored, StorageError> {
        self.end_file()?;
        let missing = |reason: String| StorageError::damaged(self.dir.path(), 0, reason);
        self.order.finish().map_err(missing)?;
        let contents = self.order.contents();
        let (Some(meta), Some(manifest)) = (self.order.meta().cloned(), self.order.manifest().cloned()) else {
            return Err(missing("no meta or no manifest came".to_owned()));
        };
        if let Some((store, writer)) = self.images.take() {
            store.commit(writer, &manifest)?;
            if store.verify(manifest.generation)? != manifest {
                return Err(missing(format!("generation {} reads back otherwise", manifest.generation)));
            }
        }
        if self.dir.read_meta()?.as_ref() != Some(&meta) {
            return Err(missing("the meta file reads back otherwise than it was written".to_owned()));
        }
        self.dir.read_schema()?;
        for number in &self.epochs {
            check_epoch(&self.dir, *number)?;
        }
        // The images refer to it, and a start would miss it.
        if manifest.epoch > 0 && !self.epochs.contains(&manifest.epoch) {
            return Err(missing(format!("item model {} is missing, which the generation refers to", manifest.epoch)));
        }
        let (next_sequences, journal_bytes) = self.check_journals(&meta, &manifest)?;
        let epochs = self.epochs.into_iter().collect();
        Ok(Restored { manifest, contents, epochs, next_sequences, journal_bytes })
    }

    fn check_journals(&self, meta: &Meta, manifest: &Manifest) -> Result<(Vec<u64>, u64), StorageError> {
        let (mut next_sequences, mut journal_bytes) = (Vec::new(), 0);
        for entry in &manifest.shards {
            let place = self.dir.journal(entry.shard, meta.cluster_id);
            trim(&place, entry.sequence)?;
            let (end, bytes) = read_whole(&place, entry.sequence)?;
            next_sequences.push(end.max(entry.sequence));
            journal_bytes += bytes;
        }
        Ok((next_sequences, journal_bytes))
    }

    /// Appends a piece to the file that is being written; another path begins another file.
    fn piece(&mut self, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        if self.file.as_ref().is_none_or(|(now, _)| now != path) {
            self.end_file()?;
            let file = self.dir.disk().create_new(path).map_err(StorageError::io("create", path))?;
            self.file = Some((path.to_path_buf(), file));
        }
        match &self.file {
            Some((path, file)) => file.write(bytes).map_err(StorageError::io("write", path)),
            None => Ok(()),
        }
    }

    fn end_file(&mut self) -> Result<(), StorageError> {
        let Some((path, file)) = self.file.take() else { return Ok(()) };
        file.sync().map_err(StorageError::io("sync", &path))?;
        sync_dir(&OsDisk, parent(&path))
    }
}

/// Reads an item model's file back, without holding it.
fn check_epoch(dir: &DataDir, number: u32) -> Result<(), StorageError> {
    let path = dir.epoch_path(number);
    let mut input = dir.disk().open(&path).map_err(StorageError::io("read", &path))?;
    let (mut running, mut piece) = (Running::new(EPOCH), vec![0; super::PIECE_BYTES]);
    loop {
        match std::io::Read::read(&mut input, &mut piece).map_err(StorageError::io("read", &path))? {
            0 => return running.finish(&path).map(drop),
            read => running.feed(&piece[..read]),
        }
    }
}
