//! Reads a shard's journal in order and trusts nothing: header, checksum, chain and sequence of every record.
//!
//! One segment is in memory at a time. A record's payload is borrowed from it. A torn tail (see the folder's header)
//! is cut and reported; damage is an error that says where. Reading changes nothing on disk.

use std::path::{Path, PathBuf};

use super::format::{HEADER_BYTES, KIND_GAP, Record, decode_header, decode_record, plausible_record, segment_seed};
use super::segments::{SEGMENT_FILE_BYTES_MAX, Segment, list_segments, start_index};
use crate::storage::error::StorageError;
use crate::storage::files::read_bounded;

/// Most bytes that the search for a valid record after a bad one checksums: some seconds. Only bytes that were made
/// to look like records all over come near; then the segment counts as damaged, which loses nothing.
const SCAN_CHECKSUM_BYTES_MAX: u64 = 16 << 30;

/// A half-written end that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's number.
    pub segment: u64,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of it that are good.
    pub offset: u64,
    /// Bytes after that, which are ignored.
    pub bytes_dropped: u64,
    /// The first sequence that is not there: the journal goes on with it.
    pub next_sequence: u64,
    /// What was wrong with the first bytes that were dropped.
    pub reason: String,
}

/// Iterates over the records of a shard's journal.
#[derive(Debug)]
pub struct JournalReader {
    shard: u16,
    from: u64,
    /// Segments not yet begun, in order.
    ahead: std::vec::IntoIter<Segment>,
    current: Option<Current>,
    bytes: Vec<u8>,
    next_sequence: u64,
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
    pub fn open(dir: &Path, shard: u16, cluster_id: u64, from_sequence: u64) -> Result<Self, StorageError> {
        let mut segments = list_segments(dir, shard, cluster_id)?;
        let start = start_index(&segments, from_sequence);
        // With a damaged header before it, reading tells more than that the oldest whole one starts too late.
        if let (None, Some(Segment { path, header: Some(header), .. })) = (start, segments.first()) {
            return Err(missing_history(path, from_sequence, header.first_sequence));
        }
        segments.drain(..start.unwrap_or(0));
        Ok(Self::over(segments, shard, from_sequence))
    }

    /// Reads all of `segments`.
    pub(crate) fn over(segments: Vec<Segment>, shard: u16, from_sequence: u64) -> Self {
        Self {
            shard,
            from: from_sequence,
            ahead: segments.into_iter(),
            current: None,
            bytes: Vec::new(),
            next_sequence: from_sequence,
            anchored: false,
            torn: Vec::new(),
            counts: Counts::default(),
        }
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

    /// Where the journal in `dir` ends; `None` if it has no segment with a whole header. Reads the newest segments.
    pub(crate) fn end_sequence(dir: &Path, shard: u16, cluster_id: u64) -> Result<Option<u64>, StorageError> {
        let mut reader = Self::open(dir, shard, cluster_id, u64::MAX)?;
        while reader.next_record()?.is_some() {}
        Ok(reader.end())
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
                    self.next_sequence = found.record.end_sequence().unwrap_or(u64::MAX);
                    let gap = found.record.kind == KIND_GAP;
                    self.counts.gaps += u64::from(gap);
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
        read_bounded(&segment.path, "journal segment", SEGMENT_FILE_BYTES_MAX, &mut self.bytes)?;
        self.counts.segments += 1;
        self.counts.bytes += self.bytes.len() as u64;
        let seed = segment_seed(segment.id, self.shard);
        let Some((header, chain)) = decode_header(&self.bytes) else {
            let reason = format!("segment header is cut or damaged, {} bytes there", self.bytes.len());
            self.current = Some(Current { segment, seed, chain: 0, offset: 0 });
            self.cut(reason)?;
            return Ok(true);
        };
        if self.anchored && header.first_sequence != self.next_sequence {
            return Err(self.discontinuity(&segment, header.first_sequence));
        }
        if !self.anchored && header.first_sequence > self.from {
            return Err(missing_history(&segment.path, self.from, header.first_sequence));
        }
        self.anchored = true;
        self.next_sequence = header.first_sequence;
        self.current = Some(Current { segment, seed, chain, offset: HEADER_BYTES });
        Ok(true)
    }

    /// Ends the current segment at its offset, if nothing valid lies behind.
    fn cut(&mut self, reason: String) -> Result<(), StorageError> {
        let Some(Current { segment, seed, offset, .. }) = self.current.take() else { return Ok(()) };
        let lowest = segment.header.map_or(0, |header| header.first_sequence);
        if let Some(behind) = find_valid(&self.bytes, offset, seed, lowest) {
            let reason = format!("{reason}, and {behind}");
            let sequence = self.next_sequence;
            return Err(StorageError::JournalDamaged { path: segment.path, offset: offset as u64, sequence, reason });
        }
        self.torn.push(TornTail {
            segment: segment.id,
            path: segment.path,
            offset: offset as u64,
            bytes_dropped: (self.bytes.len() - offset) as u64,
            next_sequence: self.next_sequence,
            reason,
        });
        Ok(())
    }

    /// `segment` does not go on where the one before ends: the fault is where that one was cut, if it was.
    fn discontinuity(&self, segment: &Segment, first: u64) -> StorageError {
        let sequence = self.next_sequence;
        let last_torn = self.torn.last().filter(|torn| torn.next_sequence == sequence && first > sequence);
        let (path, offset, cause) = match last_torn {
            Some(torn) => (torn.path.clone(), torn.offset, torn.reason.as_str()),
            None => (segment.path.clone(), 0, "no tail was cut before it"),
        };
        let reason = format!("segment {} starts at sequence {first}, expected {sequence} ({cause})", segment.id);
        StorageError::JournalDamaged { path, offset, sequence, reason }
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
    Ok(Found { record: Record { kind, first_sequence, count, stamp_ms, payload: &[] }, payload })
}

/// Looks at every offset from `from` on for a record that belongs to this segment; says what it found.
fn find_valid(bytes: &[u8], from: usize, seed: u32, lowest_sequence: u64) -> Option<String> {
    let mut budget = SCAN_CHECKSUM_BYTES_MAX;
    for offset in from..bytes.len() {
        let Some(cost) = plausible_record(&bytes[offset..], lowest_sequence) else { continue };
        if decode_record(&bytes[offset..], seed).is_ok() {
            return Some(format!("a valid record lies at offset {offset}"));
        }
        budget = budget.saturating_sub(cost as u64);
        if budget == 0 {
            return Some("too much behind it looks like records to rule them out".to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLUSTER, SHARD, fill, open, read};
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
        let other = JournalReader::open(dir.path(), SHARD, CLUSTER + 1, 1);
        assert!(matches!(other, Err(StorageError::WrongCluster { expected, .. }) if expected == CLUSTER + 1));
    }

    /// A payload that looks like records everywhere may cost time, but not much.
    #[test]
    fn the_search_behind_a_bad_record_is_fast() {
        // At every fourth offset a length of 32 KiB, and a sequence, count and kind that could be.
        let hostile = [0x01, 0x80, 0, 0].repeat(1 << 18);
        let started = std::time::Instant::now();
        assert_eq!(find_valid(&hostile, 0, 1, 0), None);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
