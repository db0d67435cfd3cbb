//! Generations of chunks in sled, and the manifests that make them count.
//!
//! Every call blocks; run them on a thread of their own. Only chunks whose checksum is right are ever handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chunk::{CHUNK_BYTES_MAX, GenerationWriter, KEY_BYTES, Totals, decode_value, encode_value, key, split_key};
use super::chunks::{ChunkStore, SledChunks};
use super::manifest::{Manifest, NAME, manifest_path, read_manifest, write_manifest};
use super::repair::OpenReport;
use crate::storage::data_dir::DataDir;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::files::{exists, list_numbered, remove_durably};

/// Above every key of ours.
const KEY_LAST: &[u8] = &[0xFF; KEY_BYTES + 1];

/// Chunks removed in one batch.
const REMOVE_BATCH: usize = 256;

/// Sizes of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// What sled may cache, in bytes. It takes several times as much memory.
    pub cache_bytes: u64,
    /// Whether it is proved that a later opening finds what is written: for who writes generations.
    pub prove: bool,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, prove: false }
    }
}

/// The snapshots of one data directory.
#[derive(Debug)]
pub struct SnapshotStore {
    disk: Arc<dyn Disk>,
    chunks: Box<dyn ChunkStore>,
    store_dir: PathBuf,
    manifests_dir: PathBuf,
    cluster_id: u64,
    /// Generations that failed a verification: they do not count as kept.
    bad: Mutex<BTreeSet<u64>>,
}

/// A generation that could not be used.
#[derive(Debug)]
pub struct Rejected {
    /// Its number.
    pub generation: u64,
    /// What is wrong with it.
    pub error: StorageError,
}

/// A generation's number, and its manifest or what is wrong with the file.
pub type Listed = (u64, Result<Manifest, StorageError>);

/// What is done with each chunk.
type Take<'a, E> = &'a mut dyn FnMut(u32, &[u8]) -> Result<(), E>;

/// What [`SnapshotStore::newest_valid`] chose.
#[derive(Debug)]
pub struct Choice {
    /// The newest generation that is wholly valid; `None` if there is none.
    pub manifest: Option<Manifest>,
    /// Newer ones that are not, newest first.
    pub rejected: Vec<Rejected>,
}

impl SnapshotStore {
    /// Opens the store of a data directory, repairing or replacing what cannot be opened.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Store`].
    pub fn open(data: &DataDir, cluster_id: u64, options: SnapshotOptions) -> Result<(Self, OpenReport), StorageError> {
        let (chunks, report) = SledChunks::open(&data.snapshots_dir(), options)?;
        Ok((Self::over(data, cluster_id, Box::new(chunks)), report))
    }

    /// The snapshots of a data directory whose chunks lie in `chunks`.
    #[must_use]
    pub fn over(data: &DataDir, cluster_id: u64, chunks: Box<dyn ChunkStore>) -> Self {
        let (store_dir, manifests_dir) = (data.snapshots_dir(), data.manifests_dir());
        let disk = Arc::clone(&data.disk);
        Self { disk, chunks, store_dir, manifests_dir, cluster_id, bad: Mutex::default() }
    }

    /// Begins a generation; chunks of an earlier attempt under its number are removed.
    ///
    /// # Errors
    /// [`StorageError::Generation`] if it is committed already; [`StorageError::Store`].
    pub fn begin(&self, generation: u64) -> Result<GenerationWriter, StorageError> {
        if exists(self.disk.as_ref(), &manifest_path(&self.manifests_dir, generation))? {
            return Err(self.generation_error(generation, "is committed already: use a higher number"));
        }
        self.remove_chunks(generation)?;
        self.bad().remove(&generation);
        Ok(GenerationWriter::new(generation))
    }

    /// Puts the next chunk of a shard; indices count from 0. Keep chunks to 16-64 KiB.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] above 1 MiB; [`StorageError::ChunkDamaged`] for an index that is not the next;
    /// [`StorageError::Store`]. Nothing is put then.
    pub fn put_chunk(
        &self,
        writer: &mut GenerationWriter,
        shard: u16,
        index: u32,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        if bytes.len() > CHUNK_BYTES_MAX {
            let (bytes, max) = (bytes.len() as u64, CHUNK_BYTES_MAX as u64);
            return Err(StorageError::TooLarge { what: "chunk", path: self.store_dir.clone(), bytes, max });
        }
        let generation = writer.generation();
        let expected = writer.totals(shard).chunks;
        if index != expected {
            return Err(self.chunk_error(generation, shard, index, format!("put out of order, {expected} is next")));
        }
        let key = key(generation, shard, index);
        let (value, crc) = encode_value(&key, bytes);
        self.chunks.insert(&key, &value).map_err(|reason| self.store("put a chunk", reason))?;
        writer.count(shard, bytes.len(), crc);
        Ok(())
    }

    /// Makes a generation count: everything is on the device before its manifest is.
    ///
    /// # Errors
    /// [`StorageError::Generation`] if the manifest is not of what was put (take the entries from
    /// [`GenerationWriter::shard_manifest`]); [`StorageError::WrongCluster`], [`StorageError::Store`],
    /// [`StorageError::Io`]. The generation does not count then, unless the very last sync failed.
    #[expect(clippy::needless_pass_by_value, reason = "a generation is committed once, and written no more after")]
    pub fn commit(&self, writer: GenerationWriter, manifest: &Manifest) -> Result<(), StorageError> {
        let generation = writer.generation();
        if manifest.cluster_id != self.cluster_id {
            let (path, found) = (manifest_path(&self.manifests_dir, generation), manifest.cluster_id);
            return Err(StorageError::WrongCluster { path, found, expected: self.cluster_id });
        }
        let said: BTreeMap<u16, Totals> =
            manifest.shards.iter().map(|entry| (entry.shard, Totals::of(entry))).collect();
        let whole = manifest.generation == generation
            && said.len() == manifest.shards.len()
            && writer.shards().all(|shard| said.contains_key(&shard))
            && said.iter().all(|(shard, totals)| writer.totals(*shard) == *totals);
        if !whole {
            return Err(self.generation_error(generation, "has a manifest that is not of the chunks that were put"));
        }
        self.chunks.sync().map_err(|reason| self.store("sync", reason))?;
        write_manifest(self.disk.as_ref(), &self.manifests_dir, manifest)
    }

    /// Every generation that has a manifest file, ascending, with the manifest or what is wrong with the file. Chunks
    /// are not read.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the directory cannot be listed.
    pub fn generations(&self) -> Result<Vec<Listed>, StorageError> {
        let numbers = self.committed()?;
        Ok(numbers.into_iter().map(|number| (number, self.manifest(number))).collect())
    }

    /// The manifest of a generation; chunks are not read.
    ///
    /// # Errors
    /// [`StorageError::Io`] if there is none; [`StorageError::Damaged`], [`StorageError::WrongCluster`],
    /// [`StorageError::UnsupportedVersion`].
    pub fn manifest(&self, generation: u64) -> Result<Manifest, StorageError> {
        read_manifest(self.disk.as_ref(), &self.manifests_dir, generation, self.cluster_id)
    }

    /// Reads every chunk of a generation and compares counts, lengths and checksums with its manifest.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); [`StorageError::ChunkDamaged`]; [`StorageError::Store`].
    pub fn verify(&self, generation: u64) -> Result<Manifest, StorageError> {
        let result = self.manifest(generation).and_then(|manifest| {
            let found = self.scan::<StorageError>(generation, None, &mut |_, _| Ok(()))?;
            for entry in &manifest.shards {
                self.compare(generation, entry.shard, found.get(&entry.shard).copied(), Totals::of(entry))?;
            }
            match found.keys().find(|shard| manifest.shard(**shard).is_none()) {
                Some(shard) => {
                    Err(self.chunk_error(generation, *shard, 0, "the manifest has no such shard".to_owned()))
                }
                None => Ok(manifest),
            }
        });
        match &result {
            Ok(_) => self.bad().remove(&generation),
            Err(_) => self.bad().insert(generation),
        };
        result
    }

    /// Hands every chunk of a shard to `take`, in order, each after its checksum was verified; count, length and
    /// order are verified at the end.
    ///
    /// # Errors
    /// [`StorageError::ChunkDamaged`], [`StorageError::Generation`] for a shard that the manifest does not have,
    /// [`StorageError::Store`]; or what `take` says. What was handed out is then no whole shard.
    pub fn read_chunks<E: From<StorageError>>(
        &self,
        manifest: &Manifest,
        shard: u16,
        mut take: impl FnMut(u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let generation = manifest.generation;
        let Some(entry) = manifest.shard(shard) else {
            return Err(self.generation_error(generation, "does not have the shard that is asked for").into());
        };
        let found = self.scan(generation, Some(shard), &mut take)?;
        Ok(self.compare(generation, shard, found.get(&shard).copied(), Totals::of(entry))?)
    }

    /// The newest generation whose manifest and chunks are all valid, and what is wrong with newer ones.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the manifests cannot be listed.
    pub fn newest_valid(&self) -> Result<Choice, StorageError> {
        let mut rejected = Vec::new();
        for generation in self.committed()?.into_iter().rev() {
            match self.verify(generation) {
                Ok(manifest) => return Ok(Choice { manifest: Some(manifest), rejected }),
                Err(error) => rejected.push(Rejected { generation, error }),
            }
        }
        Ok(Choice { manifest: None, rejected })
    }

    /// Removes a generation: the manifest first, durably, then the chunks.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Store`]; what is left are orphans.
    pub fn drop_generation(&self, generation: u64) -> Result<(), StorageError> {
        remove_durably(self.disk.as_ref(), &manifest_path(&self.manifests_dir, generation))?;
        self.remove_chunks(generation)?;
        self.bad().remove(&generation);
        Ok(())
    }

    /// Drops every generation older than the newest `keep` good ones: those with a readable manifest that did not
    /// fail a verification. With fewer good ones, nothing is dropped. Says which were.
    ///
    /// # Errors
    /// As [`drop_generation`](Self::drop_generation).
    pub fn keep_newest(&self, keep: usize) -> Result<Vec<u64>, StorageError> {
        let all = self.generations()?;
        let bad = self.bad().clone();
        let good = all.iter().rev().filter(|(number, manifest)| manifest.is_ok() && !bad.contains(number));
        let Some((oldest, _)) = good.take(keep.max(1)).nth(keep.max(1) - 1) else { return Ok(Vec::new()) };
        let old: Vec<u64> = all.iter().map(|(number, _)| *number).filter(|number| number < oldest).collect();
        for generation in &old {
            self.drop_generation(*generation)?;
        }
        Ok(old)
    }

    /// Removes chunks of generations without a manifest file: attempts that never finished. Not while a generation is
    /// being written. Gives the number of chunks removed.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Store`].
    pub fn sweep_orphans(&self) -> Result<u64, StorageError> {
        let committed: BTreeSet<u64> = self.committed()?.into_iter().collect();
        let mut removed = 0;
        let mut from = Some(0_u64);
        while let Some(start) = from {
            let Some(raw) = self.first_key(&key(start, 0, 0))? else { break };
            let Some((generation, ..)) = split_key(&raw).filter(|(generation, ..)| *generation >= start) else {
                // Not one of our keys: nobody would ever read it.
                self.chunks.remove(&[raw]).map_err(|reason| self.store("remove a stray key", reason))?;
                continue;
            };
            if !committed.contains(&generation) {
                removed += self.remove_chunks(generation)?;
            }
            from = generation.checked_add(1);
        }
        Ok(removed)
    }

    /// The first key at or after `low`.
    fn first_key(&self, low: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let mut first = None;
        let walked = self.chunks.walk(low, KEY_LAST, &mut |key, _| {
            first = Some(key.to_vec());
            false
        });
        walked.map(|()| first).map_err(|reason| self.store("look for orphans", reason))
    }

    /// Bytes of the store's files.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.chunks.size_on_disk().map_err(|reason| self.store("measure itself", reason))
    }

    #[cfg(test)]
    pub(crate) fn chunks(&self) -> &dyn ChunkStore {
        self.chunks.as_ref()
    }

    fn committed(&self) -> Result<Vec<u64>, StorageError> {
        let files = list_numbered(self.disk.as_ref(), &self.manifests_dir, NAME.0, NAME.1)?;
        Ok(files.into_iter().map(|(number, _)| number).collect())
    }

    /// Walks over the chunks of a generation, or of one of its shards, and checks each.
    fn scan<E: From<StorageError>>(
        &self,
        generation: u64,
        shard: Option<u16>,
        take: Take<'_, E>,
    ) -> Result<BTreeMap<u16, Totals>, E> {
        let (low, high) = shard.map_or((0, u16::MAX), |shard| (shard, shard));
        let mut found: BTreeMap<u16, Totals> = BTreeMap::new();
        let mut failure = None;
        let mut visit = |raw: &[u8], value: &[u8]| match self.check(generation, raw, value, &mut found, take) {
            Ok(()) => true,
            Err(error) => {
                failure = Some(error);
                false
            }
        };
        let walked = self.chunks.walk(&key(generation, low, 0), &key(generation, high, u32::MAX), &mut visit);
        walked.map_err(|reason| self.store("read chunks", reason))?;
        failure.map_or(Ok(found), Err)
    }

    /// One chunk of a walk: it must be the next of its shard, and whole.
    fn check<E: From<StorageError>>(
        &self,
        generation: u64,
        raw: &[u8],
        value: &[u8],
        found: &mut BTreeMap<u16, Totals>,
        take: Take<'_, E>,
    ) -> Result<(), E> {
        let Some((_, shard, index)) = split_key(raw) else {
            return Err(self.store("read chunks", format!("key of {} bytes", raw.len())).into());
        };
        let totals = found.entry(shard).or_default();
        if index != totals.chunks {
            let reason = format!("missing, {index} is there instead");
            return Err(self.chunk_error(generation, shard, totals.chunks, reason).into());
        }
        let (bytes, crc) = decode_value(&self.store_dir, &key(generation, shard, index), value)?;
        totals.count(bytes.len(), crc);
        take(index, bytes)
    }

    fn compare(&self, generation: u64, shard: u16, found: Option<Totals>, said: Totals) -> Result<(), StorageError> {
        let found = found.unwrap_or_default();
        if found == said {
            return Ok(());
        }
        let reason = format!(
            "the manifest says {} chunks, {} bytes, checksum {:08x}; there are {}, {}, {:08x}",
            said.chunks, said.bytes, said.chunks_crc, found.chunks, found.bytes, found.chunks_crc
        );
        Err(self.chunk_error(generation, shard, found.chunks, reason))
    }

    fn remove_chunks(&self, generation: u64) -> Result<u64, StorageError> {
        let (mut low, high) = (key(generation, 0, 0).to_vec(), key(generation, u16::MAX, u32::MAX));
        let mut removed = 0;
        loop {
            let mut batch: Vec<Vec<u8>> = Vec::with_capacity(REMOVE_BATCH);
            let walked = self.chunks.walk(&low, &high, &mut |key, _| {
                batch.push(key.to_vec());
                batch.len() < REMOVE_BATCH
            });
            walked.map_err(|reason| self.store("list chunks", reason))?;
            self.chunks.remove(&batch).map_err(|reason| self.store("remove chunks", reason))?;
            removed += batch.len() as u64;
            match batch.pop() {
                Some(last) if batch.len() + 1 == REMOVE_BATCH => low = last,
                _ => return Ok(removed),
            }
        }
    }

    fn bad(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, action: &'static str, reason: String) -> StorageError {
        StorageError::Store { path: self.store_dir.clone(), action, reason }
    }

    fn chunk_error(&self, generation: u64, shard: u16, index: u32, reason: String) -> StorageError {
        StorageError::ChunkDamaged { path: self.store_dir.clone(), generation, shard, index, reason }
    }

    fn generation_error(&self, generation: u64, reason: &'static str) -> StorageError {
        StorageError::Generation { path: self.manifests_dir.clone(), generation, reason }
    }
}
