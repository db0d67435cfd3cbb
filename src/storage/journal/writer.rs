//! Appends records to a shard's journal.
//!
//! Three steps, three levels: [`append`](JournalWriter::append) copies into memory (no system call, no allocation in
//! steady state), [`write`](JournalWriter::write) hands the buffer to the system in one write (survives a killed
//! process), a sync makes it survive power loss (every record says how much was synced when it was appended);
//! [`sync_handle`](JournalWriter::sync_handle) lets another thread do the last. Invariants: every open starts a new segment, whose
//! header is durable before it is used; a segment that is full is synced before what stands in younger ones is called durable;
//! the first failed write or sync poisons the journal for good (what a failed fsync left behind is unknown, and the
//! next may report success: Rebello et al., "Can applications recover from fsync failures?", ATC 2020).

use std::path::PathBuf;
use std::sync::Arc;

use super::JournalPlace;
use super::format::{
    FORMAT_VERSION, KIND_GAP, PAYLOAD_BYTES_MAX, RECORD_HEAD_BYTES, Record, SegmentHeader, encode_header,
    encode_record, segment_seed,
};
use super::reader::JournalReader;
use super::segments::{
    SEGMENT_FILE_BYTES_MAX, list_segments, next_segment_id, segment_path, set_dropped_aside, start_index,
};
use super::sync::{Part, Shared, SyncHandle};
use crate::storage::disk::DiskFile;
use crate::storage::error::StorageError;
use crate::storage::files::{make_private_dir, read_bounded, sweep_temps, sync_dir, write_atomically};

/// Most bytes that wait in memory for a write: more means that the caller has stopped writing.
pub const BUFFER_BYTES_MAX: usize = 64 << 20;

/// Smallest and largest size at which a segment may end, in bytes.
pub const SEGMENT_BYTES_RANGE: (u64, u64) = (4 << 10, 256 << 20);

/// Full segments that may wait for their sync before the device counts as too slow, and before the writer waits for it.
pub(super) const FULL_MANY: usize = 4;
pub(super) const FULL_MAX: usize = 8;

/// Sizes of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// A segment ends with the write that reaches this size, in bytes; brought into [`SEGMENT_BYTES_RANGE`].
    pub segment_bytes: u64,
    /// Bytes of the buffer to begin with; it grows as needed and comes back to four times this after a write.
    pub buffer_bytes: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, buffer_bytes: 1 << 20 }
    }
}

/// The end of a shard's journal.
pub struct JournalWriter {
    place: JournalPlace,
    options: JournalOptions,
    shared: Arc<Shared>,
    segment: OpenSegment,
    /// Segments before it that were not synced when they were full, oldest first.
    full: Vec<Part>,
    buffer: Vec<u8>,
    next_sequence: u64,
    written_sequence: u64,
    /// The newest synced mark in a record of this writer.
    marked: u64,
    set_aside: Vec<PathBuf>,
}

/// The segment that is written.
struct OpenSegment {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    id: u64,
    seed: u32,
    /// Checksum of the last record (or of the header): the next one's link.
    chain: u32,
    /// Bytes in the file.
    position: u64,
}

impl JournalWriter {
    /// Continues the journal in its directory (made if missing) at `next_sequence`, in a new segment. Segments behind the end
    /// of which nothing belongs to the journal (an unsynced tail that a crash left) are renamed to `*.dropped-<n>`.
    ///
    /// # Errors
    /// [`StorageError::OutOfSequence`] if the journal there ends at another sequence (ask
    /// [`JournalReader::next_sequence`]; to go on later, use [`gap`](Self::gap)),
    /// [`StorageError::MissingHistory`] if it even begins later; what reading the last segments finds;
    /// [`StorageError::Io`].
    pub fn open(place: &JournalPlace, next_sequence: u64, options: JournalOptions) -> Result<Self, StorageError> {
        let JournalPlace { disk, dir, .. } = place;
        make_private_dir(disk.as_ref(), dir)?;
        let mut reader = JournalReader::open(place, next_sequence)?;
        while reader.next_record()?.is_some() {}
        if let Some(expected) = reader.end().filter(|end| *end != next_sequence) {
            return Err(StorageError::OutOfSequence { path: dir.clone(), expected, given: next_sequence });
        }
        // Left in place, a segment that starts elsewhere would later stand between the end and the new segment.
        let dropped = reader.torn().iter().filter(|torn| torn.offset == 0);
        let set_aside =
            dropped.map(|torn| set_dropped_aside(disk.as_ref(), &torn.path)).collect::<Result<Vec<_>, _>>()?;
        if !set_aside.is_empty() {
            sync_dir(disk.as_ref(), dir)?;
        }
        sweep_temps(disk.as_ref(), dir)?;
        let torn = reader.torn().iter().any(|torn| torn.offset > 0);
        if torn || reader.synced() < next_sequence {
            write_anew(place, reader.synced())?;
        }
        let segment = OpenSegment::create(place, next_segment_id(place)?, next_sequence, next_sequence)?;
        // It may be the first: without its header nobody could say where the journal begins.
        segment.file.sync().map_err(StorageError::io("sync", &segment.path))?;
        sync_dir(disk.as_ref(), dir)?;
        let (low, high) = SEGMENT_BYTES_RANGE;
        let options = JournalOptions {
            segment_bytes: options.segment_bytes.clamp(low, high),
            buffer_bytes: options.buffer_bytes.min(BUFFER_BYTES_MAX),
        };
        Ok(Self {
            place: place.clone(),
            options,
            shared: Arc::new(Shared::new(next_sequence, segment.id)),
            segment,
            full: Vec::new(),
            buffer: Vec::with_capacity(options.buffer_bytes),
            next_sequence,
            written_sequence: next_sequence,
            marked: 0,
            set_aside,
        })
    }

    /// Appends a record to the buffer: `kind` at least 1, `count` at least 1 sequences from `first_sequence`, which
    /// must be [`next_sequence`](Self::next_sequence); the payload is `parts` in order.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`]; or, with the journal unchanged, [`StorageError::OutOfSequence`],
    /// [`StorageError::BadRecord`], [`StorageError::TooLarge`] for the payload or for a buffer that nobody writes.
    #[inline]
    pub fn append(
        &mut self,
        kind: u8,
        first_sequence: u64,
        count: u32,
        stamp_ms: i64,
        parts: &[&[u8]],
    ) -> Result<(), StorageError> {
        let record = Record { kind, first_sequence, count, stamp_ms, payload: &[] };
        let end =
            record.end_sequence().filter(|_| first_sequence == self.next_sequence && kind != KIND_GAP && count != 0);
        let Some(end) = end else { return Err(self.refusal(&record)) };
        self.push(&record, parts)?;
        self.next_sequence = end;
        Ok(())
    }

    /// Lets the journal go on at `next_sequence`, which is at or after the expected one: for a state (a snapshot) that
    /// is ahead of what the journal kept. Nothing happens if it is the expected one.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`], [`StorageError::OutOfSequence`] for a step back, [`StorageError::TooLarge`].
    pub fn gap(&mut self, next_sequence: u64) -> Result<(), StorageError> {
        if next_sequence < self.next_sequence {
            return Err(self.out_of_sequence(next_sequence));
        }
        if next_sequence > self.next_sequence {
            let record = Record { kind: KIND_GAP, first_sequence: next_sequence, count: 0, stamp_ms: 0, payload: &[] };
            self.push(&record, &[])?;
            self.next_sequence = next_sequence;
        }
        Ok(())
    }

    /// Appends a record without sequences that says what is synced by now, unless a record has said so: what was synced
    /// last is then known to be, and damage there is told from a torn tail.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`], [`StorageError::TooLarge`].
    pub fn mark(&mut self) -> Result<(), StorageError> {
        if self.shared.durable() <= self.marked {
            return Ok(());
        }
        let (kind, first_sequence) = (KIND_GAP, self.next_sequence);
        self.push(&Record { kind, first_sequence, count: 0, stamp_ms: 0, payload: &[] }, &[])
    }

    /// Hands the buffer to the system in one write: afterwards its records survive a killed process. Behind a full segment the
    /// next one is begun; the full one waits for the next sync, and this for that one if there are too many.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`]; [`StorageError::Io`], which poisons.
    pub fn write(&mut self) -> Result<(), StorageError> {
        self.shared.check(&self.place.dir)?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.segment.file.write(&self.buffer);
        written.map_err(|source| self.shared.poison(StorageError::io("append to", &self.segment.path)(source)))?;
        self.segment.position += self.buffer.len() as u64;
        self.written_sequence = self.next_sequence;
        self.buffer.clear();
        if self.buffer.capacity() > 4 * self.options.buffer_bytes {
            self.buffer.shrink_to(4 * self.options.buffer_bytes);
        }
        if !self.full.is_empty() {
            // A file that is trimmed takes room for as long as it is held.
            let durable = self.shared.durable();
            self.full.retain(|part| part.end > durable);
        }
        if self.segment.position >= self.options.segment_bytes {
            self.rotate().map_err(|error| self.shared.poison(error))?;
        }
        Ok(())
    }

    /// Syncs what was written: afterwards everything below [`written_sequence`](Self::written_sequence) survives
    /// power loss. Does not write the buffer.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`]; [`StorageError::Io`], which poisons.
    pub fn sync(&mut self) -> Result<u64, StorageError> {
        self.sync_handle().sync()
    }

    /// A handle with which another thread can sync what has been written until now.
    #[must_use]
    pub fn sync_handle(&self) -> SyncHandle {
        let newest = self.segment.up_to(self.written_sequence);
        let parts = self.unsynced().cloned().chain([newest]).collect();
        SyncHandle::new(&self.place, &self.shared, parts, self.segment.position)
    }

    fn unsynced(&self) -> impl Iterator<Item = &Part> {
        let durable = self.shared.durable();
        self.full.iter().filter(move |part| part.end > durable)
    }

    /// Whether a full segment waits for its sync.
    #[must_use]
    pub fn awaits_sync(&self) -> bool {
        self.unsynced().next().is_some()
    }

    /// Whether so much waits for a sync that no more should be taken.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.unsynced().count() >= FULL_MANY
    }

    /// The sequence that the next record must start with.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Every sequence below this was handed to the system.
    #[must_use]
    pub fn written_sequence(&self) -> u64 {
        self.written_sequence
    }

    /// Every sequence below this was synced, by this writer or by one of its handles.
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.shared.durable()
    }

    /// Bytes that wait for [`write`](Self::write).
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The number of the segment that is written.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.segment.id
    }

    /// Segments that opening found to hold nothing but a dropped tail, under their new names.
    #[must_use]
    pub fn set_aside(&self) -> &[PathBuf] {
        &self.set_aside
    }

    /// Whether a write or sync has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    #[inline]
    fn push(&mut self, record: &Record<'_>, parts: &[&[u8]]) -> Result<(), StorageError> {
        self.shared.check(&self.place.dir)?;
        // Slices that exist in memory, so the sum of a few lengths cannot overflow unless parts overlap in bulk.
        let bytes = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(self.too_large("record payload", bytes, PAYLOAD_BYTES_MAX));
        }
        let buffered = self.buffer.len() + RECORD_HEAD_BYTES + bytes;
        if buffered > BUFFER_BYTES_MAX {
            return Err(self.too_large("unwritten buffer", buffered, BUFFER_BYTES_MAX));
        }
        let segment = &mut self.segment;
        self.marked = self.shared.durable();
        let ties = (segment.chain, self.marked);
        segment.chain = encode_record(&mut self.buffer, segment.seed, ties, record, parts, bytes);
        Ok(())
    }

    /// The buffer is empty here: a record's checksum is bound to its segment.
    fn rotate(&mut self) -> Result<(), StorageError> {
        if self.unsynced().count() >= FULL_MAX {
            self.sync()?;
        }
        let (durable, id) = (self.shared.durable(), self.segment.id + 1);
        if self.written_sequence > durable {
            self.full.push(self.segment.up_to(self.written_sequence));
        }
        self.segment = OpenSegment::create(&self.place, id, self.next_sequence, durable)?;
        Ok(())
    }

    #[cold]
    fn refusal(&self, record: &Record<'_>) -> StorageError {
        if record.first_sequence != self.next_sequence {
            return self.out_of_sequence(record.first_sequence);
        }
        let reason = if record.kind == KIND_GAP {
            "kind 0 is reserved for gaps, use 1 to 255"
        } else if record.count == 0 {
            "a record covers at least one sequence"
        } else {
            "the sequences end at 2^64 - 1"
        };
        StorageError::BadRecord { path: self.segment.path.clone(), sequence: record.first_sequence, reason }
    }

    #[cold]
    fn out_of_sequence(&self, given: u64) -> StorageError {
        StorageError::OutOfSequence { path: self.segment.path.clone(), expected: self.next_sequence, given }
    }

    #[cold]
    fn too_large(&self, what: &'static str, bytes: usize, max: usize) -> StorageError {
        StorageError::TooLarge { what, path: self.segment.path.clone(), bytes: bytes as u64, max: max as u64 }
    }
}

/// Makes what earlier processes wrote durable, where it is not known to be: before this, a sync of the new segment would
/// call old sequences durable that are not.
///
/// It is not enough to sync the file: what a killed process wrote may be in the page cache only, and if a sync of it failed
/// there, the kernel calls it clean and no later sync writes it (Rebello et al., ATC 2020). So it is written once more. The
/// same goes for a tail that is cut off: power loss could still make a whole record of it, where zeros complete it.
fn write_anew(place: &JournalPlace, synced: u64) -> Result<(), StorageError> {
    let segments = list_segments(place)?;
    let mut bytes = Vec::new();
    for old in &segments[start_index(&segments, synced).unwrap_or(0)..] {
        read_bounded(place.disk(), &old.path, "journal segment", SEGMENT_FILE_BYTES_MAX, &mut bytes)?;
        write_atomically(place.disk(), &old.path, &bytes)?;
    }
    Ok(())
}

impl OpenSegment {
    /// Everything below `synced` is. Nothing of the file is, its name included.
    fn create(place: &JournalPlace, id: u64, first_sequence: u64, synced: u64) -> Result<Self, StorageError> {
        let JournalPlace { disk, dir, shard, cluster_id } = place;
        let (shard, cluster_id) = (*shard, *cluster_id);
        let path = segment_path(dir, id);
        let header = SegmentHeader { version: FORMAT_VERSION, shard, segment: id, cluster_id, first_sequence, synced };
        let (bytes, chain) = encode_header(&header);
        let file = disk.create_new(&path).map_err(StorageError::io("create", &path))?;
        file.write(&bytes).map_err(StorageError::io("write the header of", &path))?;
        Ok(Self { file, path, id, seed: segment_seed(id, shard), chain, position: bytes.len() as u64 })
    }

    /// What a sync of it makes durable: every sequence below `end`.
    fn up_to(&self, end: u64) -> Part {
        Part { file: Arc::clone(&self.file), path: self.path.clone(), id: self.id, end }
    }
}
