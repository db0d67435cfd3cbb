//! Reads a shard's journal in order and trusts nothing: header, checksum, chain and sequence of every record.
//!
//! One segment is in memory at a time. A record's payload is borrowed from it. A torn tail (see the folder's header)
//! is cut and reported; damage is an error that says where. Reading changes nothing on disk. How much was synced is
//! looked for behind a bad record only (module `tail`).

use std::path::{Path, PathBuf};

use super::JournalPlace;
use super::format::{HEADER_BYTES, KIND_GAP, Record, decode_header, decode_record, segment_seed};
use super::segments::{SEGMENT_FILE_BYTES_MAX, Segment, list_segments, start_index};
use super::tail::{largest_mark, scan};
use crate::storage::error::StorageError;
use crate::storage::files::read_bounded;

/// An end that was never synced and that a crash left incomplete: it was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's number.
    pub segment: u64,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of it that are good; 0 if nothing of the segment belongs to the journal.
    pub offset: u64,
    /// Bytes after that, which are ignored.
    pub bytes_dropped: u64,
    /// Whole records among them.
    pub records_dropped: u64,
    /// The first sequence that is not there: the journal goes on with it.
    pub next_sequence: u64,
    /// What was wrong with the first bytes that were dropped.
    pub reason: String,
}

/// Iterates over the records of a shard's journal.
#[derive(Debug)]
pub struct JournalReader {
    place: JournalPlace,
    from: u64,
    /// Segments not yet begun, in order.
    ahead: std::vec::IntoIter<Segment>,
    current: Option<Current>,
    bytes: Vec<u8>,
    next_sequence: u64,
    /// The largest mark of what was read: everything below was synced.
    synced: u64,
    /// Whether any whole header was met: before that, `next_sequence` is only what the caller asked for.
    anchored: bool,
    torn: Vec<TornTail>,
    counts: Counts,
}

/// What was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Segment files.
    pub segments: u64,
    /// Records, without gaps.
    pub records: u64,
    /// Gap records.
    pub gaps: u64,
    /// Sequences that the records cover.
    pub sequences: u64,
    /// Bytes of the segment files, dropped ones included.
    pub bytes: u64,
}

#[derive(Debug)]
struct Current {
    segment: Segment,
    seed: u32,
    chain: u32,
    offset: usize,
}

/// A record's fields and where its payload lies in `bytes`.
struct Found {
    record: Record<'static>,
    synced: u64,
    payload: std::ops::Range<usize>,
}

impl JournalReader {
    /// Reads from the record that covers `from_sequence` (older segments are skipped unread). A journal that is not
    /// there has no records.
    ///
    /// # Errors
    /// [`StorageError::MissingHistory`] if the oldest segment starts later; [`StorageError::WrongCluster`],
    /// [`StorageError::UnsupportedVersion`], [`StorageError::JournalDamaged`] for a header out of place,
    /// [`StorageError::Io`].
    pub fn open(place: &JournalPlace, from_sequence: u64) -> Result<Self, StorageError> {
        let mut segments = list_segments(place)?;
        let start = start_index(&segments, from_sequence);
        // With a damaged header before it, reading tells more than that the oldest whole one starts too late.
        if let (None, Some(Segment { path, header: Some(header), .. })) = (start, segments.first()) {
            return Err(missing_history(path, from_sequence, header.first_sequence));
        }
        segments.drain(..start.unwrap_or(0));
        Ok(Self::over(place, segments, from_sequence))
    }

    /// Reads all of `segments`.
    pub(crate) fn over(place: &JournalPlace, segments: Vec<Segment>, from_sequence: u64) -> Self {
        Self {
            place: place.clone(),
            from: from_sequence,
            ahead: segments.into_iter(),
            current: None,
            bytes: Vec::new(),
            next_sequence: from_sequence,
            synced: 0,
            anchored: false,
            torn: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Bytes of the segments that are not yet begun.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn bytes_ahead(&self) -> Result<u64, StorageError> {
        let sizes = self.ahead.as_slice().iter().map(|segment| {
            let size = self.place.disk().size(&segment.path);
            size.map_err(StorageError::io("read the size of", &segment.path))
        });
        sizes.sum()
    }

    /// The next record that covers `from_sequence` or later ones (the first may begin before it); `None` at the end.
    ///
    /// # Errors
    /// [`StorageError::JournalDamaged`], [`StorageError::MissingHistory`], [`StorageError::Io`]; after an error nothing
    /// more can be read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, StorageError> {
        while let Some(found) = self.step()? {
            let end = found.record.end_sequence().unwrap_or(u64::MAX);
            if found.record.kind != KIND_GAP && end > self.from {
                return Ok(Some(Record { payload: &self.bytes[found.payload], ..found.record }));
            }
        }
        Ok(None)
    }

    /// The sequence after the last record read: at the end, where a writer goes on. If the journal has no segment
    /// with a whole header, it is the `from_sequence` asked for.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Every sequence below this is known to have been synced, from the marks of what was read so far.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// The torn tails met so far: what the last crash left, and what earlier ones did.
    #[must_use]
    pub fn torn(&self) -> &[TornTail] {
        &self.torn
    }

    /// Where the journal ends and goes on, once all of it has been read; `None` if it has no segment with a whole header.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.anchored.then_some(self.next_sequence)
    }

    /// What was read so far, records before `from_sequence` included.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn step(&mut self) -> Result<Option<Found>, StorageError> {
        loop {
            let Some(current) = &mut self.current else {
                if self.begin_segment()? {
                    continue;
                }
                return Ok(None);
            };
            if current.offset == self.bytes.len() {
                self.current = None;
                continue;
            }
            match decode_next(current, &self.bytes, self.next_sequence) {
                Ok(found) => {
                    let gap = found.record.kind == KIND_GAP;
                    // A GAP that goes nowhere is a mark.
                    self.counts.gaps += u64::from(gap && found.record.first_sequence > self.next_sequence);
                    self.next_sequence = found.record.end_sequence().unwrap_or(u64::MAX);
                    self.synced = self.synced.max(found.synced);
                    self.counts.records += u64::from(!gap);
                    self.counts.sequences += u64::from(found.record.count);
                    return Ok(Some(found));
                }
                Err(reason) => self.cut(reason)?,
            }
        }
    }

    /// Loads the next segment; `false` if there is none.
    fn begin_segment(&mut self) -> Result<bool, StorageError> {
        let Some(segment) = self.ahead.next() else { return Ok(false) };
        let disk = self.place.disk();
        read_bounded(disk, &segment.path, "journal segment", SEGMENT_FILE_BYTES_MAX, &mut self.bytes)?;
        self.counts.segments += 1;
        self.counts.bytes += self.bytes.len() as u64;
        let seed = segment_seed(segment.id, self.place.shard);
        let Some((header, chain)) = decode_header(&self.bytes) else {
            let reason = format!("segment header is cut or damaged, {} bytes there", self.bytes.len());
            self.current = Some(Current { segment, seed, chain: 0, offset: 0 });
            self.cut(reason)?;
            return Ok(true);
        };
        self.synced = self.synced.max(header.synced);
        if self.anchored && header.first_sequence != self.next_sequence {
            return self.discontinuity(segment, header.first_sequence, seed).map(|()| true);
        }
        if !self.anchored && header.first_sequence > self.from {
            return Err(missing_history(&segment.path, self.from, header.first_sequence));
        }
        self.anchored = true;
        self.next_sequence = header.first_sequence;
        self.current = Some(Current { segment, seed, chain, offset: HEADER_BYTES });
        Ok(true)
    }

    /// Ends the current segment at its offset, if nothing that was synced is missing.
    fn cut(&mut self, reason: String) -> Result<(), StorageError> {
        let Some(Current { segment, seed, offset, .. }) = self.current.take() else { return Ok(()) };
        let next_sequence = self.next_sequence;
        let lowest = segment.header.map_or(0, |header| header.first_sequence);
        let behind = scan(&self.bytes[offset..], seed, lowest);
        let mut synced = self.synced.max(behind.synced);
        // A segment that goes on exactly here was made by a writer that knew of the cut: what younger ones say was
        // synced came after it. Before the first whole header it is not known where the journal ends.
        if self.anchored && !self.goes_on_at(next_sequence) {
            synced = synced.max(largest_mark(&self.place, self.ahead.as_slice(), next_sequence)?);
        }
        if synced > next_sequence || behind.gave_up {
            let why = match synced > next_sequence {
                true => format!("{reason}; everything below {synced} was synced, {} records behind", behind.records),
                false => format!("{reason}; too much behind it looks like records to rule them out"),
            };
            let (path, offset) = (segment.path, offset as u64);
            return Err(StorageError::JournalDamaged { path, offset, sequence: next_sequence, reason: why });
        }
        self.torn.push(TornTail {
            segment: segment.id,
            path: segment.path,
            offset: offset as u64,
            bytes_dropped: (self.bytes.len() - offset) as u64,
            records_dropped: behind.records,
            next_sequence,
            reason,
        });
        Ok(())
    }

    /// Whether the next segment with a whole header starts at `sequence`.
    fn goes_on_at(&self, sequence: u64) -> bool {
        let next = self.ahead.as_slice().iter().find_map(|segment| segment.header);
        next.is_some_and(|header| header.first_sequence == sequence)
    }

    /// `segment`, whose bytes are loaded, does not go on where the one before ends: it is dropped if it is later and
    /// nothing in between was synced.
    fn discontinuity(&mut self, segment: Segment, first: u64, seed: u32) -> Result<(), StorageError> {
        let sequence = self.next_sequence;
        let reason = format!("segment {} starts at sequence {first}, expected {sequence}", segment.id);
        if first < sequence {
            return Err(StorageError::JournalDamaged { path: segment.path, offset: 0, sequence, reason });
        }
        self.current = Some(Current { segment, seed, chain: 0, offset: 0 });
        self.cut(reason)
    }
}

fn missing_history(path: &Path, needed: u64, first: u64) -> StorageError {
    StorageError::MissingHistory { path: path.to_path_buf(), needed, first }
}

/// Decodes the record at the offset and moves past it.
fn decode_next(current: &mut Current, bytes: &[u8], expected: u64) -> Result<Found, String> {
    let framed = decode_record(&bytes[current.offset..], current.seed)?;
    let Record { kind, first_sequence, count, stamp_ms, payload } = framed.record;
    if framed.previous != current.chain {
        return Err(format!(
            "record follows checksum {:08x}, the one before has {:08x}",
            framed.previous, current.chain
        ));
    }
    let in_order = if kind == KIND_GAP { first_sequence >= expected } else { first_sequence == expected };
    if !in_order || framed.record.end_sequence().is_none() {
        return Err(format!(
            "record of kind {kind} covers {count} sequences from {first_sequence}, expected {expected}"
        ));
    }
    let end = current.offset + framed.bytes;
    let payload = end - payload.len()..end;
    current.offset = end;
    current.chain = framed.checksum;
    let record = Record { kind, first_sequence, count, stamp_ms, payload: &[] };
    Ok(Found { record, synced: framed.synced, payload })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLUSTER, fill, open, place, read};
    use super::*;

    #[test]
    fn reading_starts_at_the_record_that_covers_the_sequence() {
        let dir = tempfile::tempdir().unwrap();
        let mut written = Vec::new();
        let mut next = 1;
        for _ in 0..4 {
            let mut writer = open(dir.path(), next);
            written.extend(fill(&mut writer, 5));
            next = writer.next_sequence();
        }
        for from in 1..next + 3 {
            let (records, reader) = read(dir.path(), from).unwrap();
            let expected: Vec<_> =
                written.iter().filter(|(first, count, _)| first + u64::from(*count) > from).cloned().collect();
            assert_eq!(records, expected, "from {from}");
            assert_eq!((reader.next_sequence(), reader.torn().len()), (next, 0));
        }
        assert!(matches!(read(dir.path(), 0), Err(StorageError::MissingHistory { needed: 0, first: 1, .. })));
        // Late starts do not read early segments.
        assert_eq!(read(dir.path(), next).unwrap().1.counts().segments, 1);
    }

    #[test]
    fn nothing_there_and_other_clusters() {
        let dir = tempfile::tempdir().unwrap();
        let (records, reader) = read(&dir.path().join("none"), 42).unwrap();
        assert_eq!((records.len(), reader.next_sequence()), (0, 42));
        drop(open(dir.path(), 1));
        let other = JournalReader::open(&JournalPlace { cluster_id: CLUSTER + 1, ..place(dir.path()) }, 1);
        assert!(matches!(other, Err(StorageError::WrongCluster { expected, .. }) if expected == CLUSTER + 1));
    }
}
