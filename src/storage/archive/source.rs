//! The parts of a data directory: what an archive is written of, and what a restore without one takes.

use std::io::Read;
use std::path::Path;

use super::{PIECE_BYTES, Part};
use crate::storage::data_dir::{DataDir, Meta};
use crate::storage::envelope::Running;
use crate::storage::epochs::EPOCH;
use crate::storage::error::StorageError;
use crate::storage::files::exists;
use crate::storage::journal::segments::{list_segments, start_index};
use crate::storage::journal::{JournalPlace, JournalReader};
use crate::storage::snapshot::{Manifest, SnapshotStore};

/// A generation of a data directory, with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct DirSource<'a> {
    /// The directory.
    pub dir: &'a DataDir,
    /// What it belongs to.
    pub meta: &'a Meta,
    /// Its snapshots.
    pub store: &'a SnapshotStore,
    /// The generation.
    pub manifest: &'a Manifest,
    /// Whether the journal behind the generation is taken as well.
    pub with_journal: bool,
}

impl DirSource<'_> {
    /// Reads the journals behind the generation whole, so that no damage is carried away; gives where each ends.
    ///
    /// # Errors
    /// What is wrong with the first that is not good.
    pub fn verify_journals(&self) -> Result<Vec<u64>, StorageError> {
        let ends = self.manifest.shards.iter().map(|entry| {
            let place = self.dir.journal(entry.shard, self.meta.cluster_id);
            read_whole(&place, entry.sequence).map(|(end, _)| end)
        });
        ends.collect()
    }

    /// Hands every part to `take_part`, in order. Chunks and item models are checked on the way.
    ///
    /// # Errors
    /// What cannot be read, or what `take_part` says.
    pub fn each_part<E: From<StorageError>>(
        &self,
        mut take_part: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        take_part(Part::Meta(self.meta))?;
        if let Some(schema) = self.dir.read_schema()? {
            take_part(Part::Schema(&schema))?;
        }
        take_part(Part::Manifest(self.manifest))?;
        for entry in &self.manifest.shards {
            let shard = entry.shard;
            let mut chunk = |index, bytes: &[u8]| take_part(Part::Chunk { shard, index, bytes });
            self.store.read_chunks::<E>(self.manifest, shard, &mut chunk)?;
        }
        for number in self.dir.list_epochs()? {
            epoch_parts(self.dir, number, &mut take_part)?;
        }
        if self.with_journal { segment_parts(self.dir, self.manifest, &mut take_part) } else { Ok(()) }
    }
}

/// Hands the journals of `dir` behind a generation to `take_part`, and before them the item models above `epoch`: what goes on from
/// a generation that comes from elsewhere.
///
/// # Errors
/// What cannot be read, or what `take_part` says.
pub fn journal_parts<E: From<StorageError>>(
    dir: &DataDir,
    manifest: &Manifest,
    epoch: Option<u32>,
    mut take_part: impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for number in dir.list_epochs()?.into_iter().filter(|number| epoch.is_none_or(|epoch| *number > epoch)) {
        epoch_parts(dir, number, &mut take_part)?;
    }
    segment_parts(dir, manifest, &mut take_part)
}

fn epoch_parts<E: From<StorageError>>(
    dir: &DataDir,
    number: u32,
    take_part: &mut impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (path, mut running) = (dir.epoch_path(number), Running::new(EPOCH));
    each_piece(dir, &path, false, |offset, bytes| {
        running.feed(bytes);
        take_part(Part::Epoch { number, offset, bytes })
    })?;
    running.finish(&path)?;
    Ok(())
}

fn segment_parts<E: From<StorageError>>(
    dir: &DataDir,
    manifest: &Manifest,
    take_part: &mut impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for entry in &manifest.shards {
        let shard = entry.shard;
        let segments = list_segments(&dir.journal(shard, manifest.cluster_id))?;
        let from = start_index(&segments, entry.sequence).unwrap_or(0);
        for segment in &segments[from..] {
            let number = segment.id;
            each_piece(dir, &segment.path, true, |offset, bytes| {
                take_part(Part::Segment { shard, number, offset, bytes })
            })?;
        }
    }
    Ok(())
}

/// Reads a journal from `sequence` to its end; gives the sequence with which it goes on, and its bytes.
pub(super) fn read_whole(place: &JournalPlace, sequence: u64) -> Result<(u64, u64), StorageError> {
    if !exists(place.disk(), &place.dir)? {
        return Ok((sequence, 0));
    }
    let mut reader = JournalReader::open(place, sequence)?;
    while reader.next_record()?.is_some() {}
    Ok((reader.end().unwrap_or(sequence), reader.counts().bytes))
}

/// Hands a file to `take`, piece by piece, each with where it lies. One without bytes is a piece, too, if `empty`.
fn each_piece<E: From<StorageError>>(
    dir: &DataDir,
    path: &Path,
    empty: bool,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut input = dir.disk().open(path).map_err(StorageError::io("read", path))?;
    let (mut piece, mut offset) = (Vec::with_capacity(PIECE_BYTES), 0);
    loop {
        piece.clear();
        let read = (&mut input).take(PIECE_BYTES as u64).read_to_end(&mut piece);
        read.map_err(StorageError::io("read", path))?;
        if piece.is_empty() && (offset > 0 || !empty) {
            return Ok(());
        }
        take(offset, &piece)?;
        offset += piece.len() as u64;
        if piece.is_empty() {
            return Ok(());
        }
    }
}
