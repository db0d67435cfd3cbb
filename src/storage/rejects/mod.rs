//! Refused events, kept for inspection: segment files of bounded size in all, the oldest removed first.
//!
//! Every record has a sequence of its own, ascending over segments and restarts; a segment is named by its first. Nothing
//! is ever synced: what the system had not written at a loss of power is gone, and a torn tail is cut without a word.
//! Damage in the middle costs the records that it lies in, and is told.

pub mod format;
mod reader;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

pub use reader::{NEWEST, RejectPage, RejectQuery, read};

use super::disk::{OsDisk, private_file};
use super::error::StorageError;
use super::files::{list_numbered, make_private_dir, read_bounded};
use crate::base::Reader;
use crate::base::limits::{REJECTS_BYTES_MAX, REJECTS_BYTES_MIN};
use crate::model::{Reject, RejectReason};
use format::{KIND_REJECT, KIND_TOTALS, RECORD_HEAD_BYTES, Records};

/// How a segment's name ends, after at least ten digits.
const SUFFIX: &str = ".mrj";

/// Segments that the bytes are divided into: at most an eighth of what is kept goes at once.
const SEGMENTS: u64 = 8;

/// What was ever refused in this data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectTotals {
    /// Refused events, in the order of [`RejectReason::ALL`]; kept or not.
    pub counts: [u64; RejectReason::COUNT],
    /// Of these, those that could not be kept: too many at once, or the disk failed.
    pub dropped: u64,
}

impl RejectTotals {
    /// All refused events.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectSegment {
    path: PathBuf,
    first_sequence: u64,
    bytes: u64,
}

/// The store: one writer, on one thread.
#[derive(Debug)]
pub struct RejectStore {
    dir: PathBuf,
    cluster_id: u64,
    bytes_max: u64,
    /// Oldest first.
    segments: VecDeque<RejectSegment>,
    /// The newest segment, if it can be appended to.
    file: Option<File>,
    next: u64,
    /// Records that are not written yet, and the sequence of the first.
    buffer: Vec<u8>,
    buffer_first: u64,
    totals: RejectTotals,
    /// Whether the records tell the totals.
    told: bool,
}

impl RejectStore {
    /// Takes up what is there, and makes the directory if it is not. At most `bytes_max` bytes stand in all segments
    /// together, at least [`REJECTS_BYTES_MIN`].
    ///
    /// # Errors
    /// [`StorageError::Io`]. Damage is no error: what cannot be read is passed over.
    pub fn open(dir: &Path, cluster_id: u64, bytes_max: u64) -> Result<Self, StorageError> {
        make_private_dir(&OsDisk, dir)?;
        let mut segments = VecDeque::new();
        for (first_sequence, path) in list_numbered(&OsDisk, dir, "", SUFFIX)? {
            let bytes = fs::metadata(&path).map_err(StorageError::io("read the size of", &path))?.len();
            segments.push_back(RejectSegment { path, first_sequence, bytes });
        }
        let mut store = Self {
            dir: dir.to_path_buf(),
            cluster_id,
            bytes_max: bytes_max.max(REJECTS_BYTES_MIN),
            segments,
            file: None,
            next: 1,
            buffer: Vec::new(),
            buffer_first: 0,
            totals: RejectTotals::default(),
            told: true,
        };
        store.totals = store.recover_totals()?;
        store.take_up_newest()?;
        store.make_room(0)?;
        Ok(store)
    }

    /// Removes every segment: nothing is to be kept.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn clear(dir: &Path) -> Result<(), StorageError> {
        for (_, path) in list_numbered(&OsDisk, dir, "", SUFFIX)? {
            remove(&path)?;
        }
        Ok(())
    }

    /// What was ever refused.
    #[must_use]
    pub fn totals(&self) -> &RejectTotals {
        &self.totals
    }

    /// The segments as they stand, for [`read`].
    #[must_use]
    pub fn segments(&self) -> Vec<RejectSegment> {
        self.segments.iter().cloned().collect()
    }

    /// Keeps refused events, with one write for all that fit a segment; gives how many. After an error the rest is counted
    /// as dropped, and the next call tries again.
    pub fn append(&mut self, rejects: &[Reject]) -> (usize, Result<(), StorageError>) {
        let (mut kept, mut counted, mut done) = (0, 0, Ok(()));
        let mut payload = Vec::new();
        for reject in rejects {
            payload.clear();
            reject.encode(&mut payload);
            if !self.has_room(payload.len()) {
                done = self.write();
                if done.is_ok() {
                    kept = counted;
                    done = self.begin();
                }
                if done.is_err() {
                    break;
                }
            }
            self.put(KIND_REJECT, &payload);
            self.totals.counts[reject.reason.index()] += 1;
            counted += 1;
        }
        if done.is_ok() {
            done = self.write();
        }
        if done.is_ok() {
            kept = counted;
        }
        for reject in &rejects[counted..] {
            self.totals.counts[reject.reason.index()] += 1;
        }
        let lost = rejects.len() - kept;
        self.totals.dropped += lost as u64;
        self.told &= lost == 0;
        (kept, done)
    }

    /// Counts events that were refused and never came here.
    pub fn missed(&mut self, counts: &[u64; RejectReason::COUNT]) {
        let sum: u64 = counts.iter().sum();
        self.totals.counts.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        self.totals.dropped += sum;
        self.told &= sum == 0;
    }

    /// Writes the totals, if they do not follow from the records.
    ///
    /// # Errors
    /// [`StorageError::Io`]; the next call tries again.
    pub fn tell_totals(&mut self) -> Result<(), StorageError> {
        if self.told {
            return Ok(());
        }
        let payload = self.totals_payload();
        if self.has_room(payload.len()) {
            self.put(KIND_TOTALS, &payload);
            self.told = true;
        } else {
            self.begin()?;
        }
        self.write()
    }

    fn totals_payload(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        format::put_totals(&mut payload, &self.totals);
        payload
    }

    /// Whether a record with a payload of so many bytes goes into the newest segment.
    fn has_room(&self, payload_bytes: usize) -> bool {
        let Some(newest) = self.segments.back().filter(|_| self.file.is_some()) else { return false };
        let bytes = newest.bytes + self.buffer.len() as u64 + format::record_bytes(payload_bytes);
        bytes <= self.bytes_max / SEGMENTS
    }

    /// Begins a segment; it opens with the totals. Everything before is written.
    fn begin(&mut self) -> Result<(), StorageError> {
        self.file = None;
        let path = self.dir.join(format!("{:010}{SUFFIX}", self.next));
        let mut options = OpenOptions::new();
        let file = private_file(options.write(true).create(true).truncate(true), &path)
            .map_err(StorageError::io("create", &path))?;
        self.file = Some(file);
        self.segments.push_back(RejectSegment { path, first_sequence: self.next, bytes: 0 });
        self.buffer_first = self.next;
        format::put_header(&mut self.buffer, self.cluster_id, self.next);
        let payload = self.totals_payload();
        self.put(KIND_TOTALS, &payload);
        self.told = true;
        Ok(())
    }

    /// Adds a record to what will be written.
    fn put(&mut self, kind: u8, payload: &[u8]) {
        let Some(newest) = self.segments.back() else { return };
        if self.buffer.is_empty() {
            self.buffer_first = self.next;
        }
        format::put_record(&mut self.buffer, (self.cluster_id, newest.first_sequence), self.next, kind, payload);
        self.next += 1;
    }

    /// Writes what waits. If that fails it is given up, and its segment takes no more.
    fn write(&mut self) -> Result<(), StorageError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let room = self.make_room(buffer.len() as u64);
        let (Some(file), Some(newest)) = (&mut self.file, self.segments.back_mut()) else { return room };
        let written = room.and_then(|()| file.write_all(&buffer).map_err(StorageError::io("write", &newest.path)));
        if written.is_ok() {
            newest.bytes += buffer.len() as u64;
            self.buffer = buffer;
            self.buffer.clear();
            return Ok(());
        }
        // A part of it may stand there now. Where it cannot be cut off, the numbers go on behind it.
        if file.set_len(newest.bytes).is_ok() {
            self.next = self.buffer_first;
        }
        self.file = None;
        if newest.bytes == 0 {
            // What cannot be removed now is removed as the oldest, some day.
            let _ = remove(&newest.path);
            self.segments.pop_back();
        }
        written
    }

    /// Removes the oldest segments until so many bytes more are within the limit; the newest stays.
    fn make_room(&mut self, bytes: u64) -> Result<(), StorageError> {
        let mut all: u64 = bytes + self.segments.iter().map(|segment| segment.bytes).sum::<u64>();
        while all > self.bytes_max
            && self.segments.len() > 1
            && let Some(oldest) = self.segments.front()
        {
            remove(&oldest.path)?;
            all -= oldest.bytes;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// The newest totals that can be read, and what was kept after them.
    fn recover_totals(&self) -> Result<RejectTotals, StorageError> {
        let (mut after, mut bytes) = (RejectTotals::default(), Vec::new());
        for segment in self.segments.iter().rev() {
            let (mut totals, mut found) = (RejectTotals::default(), false);
            segment.load(&mut bytes)?;
            for record in segment.records(&bytes, self.cluster_id).into_iter().flatten() {
                match (record.kind, record.payload) {
                    (KIND_TOTALS, payload) => {
                        if let Ok(told) = format::take_totals(payload) {
                            (totals, found) = (told, true);
                        }
                    }
                    (KIND_REJECT, payload) => {
                        if let Ok(reject) = Reject::decode(&mut Reader::new(payload)) {
                            totals.counts[reject.reason.index()] += 1;
                        }
                    }
                    _ => {}
                }
            }
            after.counts.iter_mut().zip(totals.counts).for_each(|(all, count)| *all += count);
            after.dropped += totals.dropped;
            if found {
                break;
            }
        }
        Ok(after)
    }

    /// Goes on in the newest segment, behind its last whole record, or behind it where it cannot be read.
    fn take_up_newest(&mut self) -> Result<(), StorageError> {
        let Some(newest) = self.segments.back_mut() else { return Ok(()) };
        let mut bytes = Vec::new();
        newest.load(&mut bytes)?;
        let Some(mut records) = newest.records(&bytes, self.cluster_id) else {
            // No record is shorter than its head: so many there were at most.
            self.next = newest.first_sequence.saturating_add(newest.bytes / RECORD_HEAD_BYTES as u64 + 1);
            return Ok(());
        };
        records.by_ref().for_each(drop);
        let (end, next) = records.end();
        self.next = next;
        let file = private_file(OpenOptions::new().append(true), &newest.path)
            .map_err(StorageError::io("open", &newest.path))?;
        file.set_len(end as u64).map_err(StorageError::io("cut the torn tail of", &newest.path))?;
        newest.bytes = end as u64;
        self.file = Some(file);
        Ok(())
    }
}

impl RejectSegment {
    /// Reads the segment's bytes, as many as it had; none if it is gone.
    fn load(&self, bytes: &mut Vec<u8>) -> Result<(), StorageError> {
        match read_bounded(&OsDisk, &self.path, "segment of refused events", REJECTS_BYTES_MAX, bytes) {
            // Removed meanwhile, or none of ours.
            Err(StorageError::TooLarge { .. }) => Ok(()),
            Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => {
                // What was written since may be half there.
                bytes.truncate(usize::try_from(self.bytes).unwrap_or(usize::MAX));
                done
            }
        }
    }

    fn records<'a>(&self, bytes: &'a [u8], cluster_id: u64) -> Option<Records<'a>> {
        Records::new(bytes, cluster_id, self.first_sequence)
    }
}

/// Removes a file; one that is not there is fine.
fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(source)),
        _ => Ok(()),
    }
}
