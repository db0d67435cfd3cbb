//! The bytes of a segment of refused events. Frozen: a change is a new format version, and version 1 stays readable.
//!
//! ```text
//! segment header, 30 bytes                       record, 17 bytes and the payload
//! offset  size  field                            offset  size  field
//!      0     8  magic "MIRRARJ1"                      0     4  length    u32, bytes after the checksum: 9 + payload
//!      8     2  format version  u16                   4     4  checksum  u32, masked crc32c
//!     10     8  cluster id      u64                   8     8  sequence  u64
//!     18     8  first sequence  u64                  16     1  kind      u8: 1 reject, 2 totals
//!     26     4  masked crc32c of bytes 0..26         17   ...  payload
//! ```
//! *Checksum.* crc32c over cluster id (u64), first sequence of the segment (u64), length (u32), then everything after the
//! checksum; masked as in the journal. Bytes of another segment or cluster do not validate, nor does zero-filled space.
//! *Reject.* As [`Reject::encode`](crate::model::Reject::encode) writes it.
//! *Totals.* dropped u64, number of reasons u8, then for each its code u8 and count u64: everything refused before this
//! record, kept or not. Every segment begins with one.

use super::RejectTotals;
use crate::base::limits::{ID_BYTES_MAX, TEXT_BYTES_MAX};
use crate::base::{CursorError, Reader, Writer};
use crate::model::RejectReason;
use crate::model::reject::SOURCE_BYTES_MAX;
use crate::storage::journal::format::mask;

/// First bytes of a segment.
pub const MAGIC: [u8; 8] = *b"MIRRARJ1";

/// The format that is written, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 30;

/// Bytes of a record before its payload.
pub(super) const RECORD_HEAD_BYTES: usize = 17;

/// A record that holds a refused event.
pub(super) const KIND_REJECT: u8 = 1;

/// A record that holds the totals before it.
pub(super) const KIND_TOTALS: u8 = 2;

/// Longest payload, in bytes.
const PAYLOAD_BYTES_MAX: usize = 1_024;

/// Bytes of length and checksum, which `length` does not count.
const PREFIX_BYTES: usize = 8;
const LENGTH_MIN: usize = RECORD_HEAD_BYTES - PREFIX_BYTES;
const LENGTH_MAX: usize = LENGTH_MIN + PAYLOAD_BYTES_MAX;

const REJECT_BYTES_MAX: usize = 8 + 1 + 2 + SOURCE_BYTES_MAX + 2 + TEXT_BYTES_MAX + 3 * (1 + ID_BYTES_MAX) + 1 + 4 + 8;
const TOTALS_BYTES: usize = 8 + 1 + 9 * RejectReason::COUNT;
const _: () = assert!(REJECT_BYTES_MAX <= PAYLOAD_BYTES_MAX && TOTALS_BYTES <= PAYLOAD_BYTES_MAX);

/// What a record's checksum starts from: binds it to its segment and cluster.
fn seed(cluster_id: u64, first_sequence: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&cluster_id.to_le_bytes()), &first_sequence.to_le_bytes())
}

fn checksum(seed: u32, length: u32, rest: &[u8]) -> u32 {
    mask(crc32c::crc32c_append(crc32c::crc32c_append(seed, &length.to_le_bytes()), rest))
}

/// Appends a segment's header.
pub(super) fn put_header(out: &mut Vec<u8>, cluster_id: u64, first_sequence: u64) {
    let start = out.len();
    Writer::new(out).bytes(&MAGIC).u16(FORMAT_VERSION).u64(cluster_id).u64(first_sequence);
    let crc = mask(crc32c::crc32c(&out[start..]));
    Writer::new(out).u32(crc);
}

/// Whether `bytes` begin with the header of this very segment, in a version that is read.
fn has_header(bytes: &[u8], cluster_id: u64, first_sequence: u64) -> bool {
    let mut expected = Vec::with_capacity(HEADER_BYTES);
    put_header(&mut expected, cluster_id, first_sequence);
    bytes.starts_with(&expected)
}

/// Appends a record to a segment.
pub(super) fn put_record(
    out: &mut Vec<u8>,
    (cluster_id, first_sequence): (u64, u64),
    sequence: u64,
    kind: u8,
    payload: &[u8],
) {
    let length = (LENGTH_MIN + payload.len()) as u32; // at most LENGTH_MAX, see above
    let start = out.len();
    Writer::new(out).u32(length).u32(0).u64(sequence).u8(kind).bytes(payload);
    let crc = checksum(seed(cluster_id, first_sequence), length, &out[start + PREFIX_BYTES..]);
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Bytes of a record with a payload of so many.
pub(super) fn record_bytes(payload_bytes: usize) -> u64 {
    (RECORD_HEAD_BYTES + payload_bytes) as u64
}

/// Appends totals.
pub(super) fn put_totals(out: &mut Vec<u8>, totals: &RejectTotals) {
    let mut writer = Writer::new(out);
    writer.u64(totals.dropped).u8(RejectReason::COUNT as u8);
    for reason in RejectReason::ALL {
        writer.u8(reason.code()).u64(totals.counts[reason.index()]);
    }
}

/// Takes totals; counts of reasons that are not known here are passed over.
pub(super) fn take_totals(payload: &[u8]) -> Result<RejectTotals, CursorError> {
    let mut reader = Reader::new(payload);
    let mut totals = RejectTotals { dropped: reader.u64()?, ..RejectTotals::default() };
    for _ in 0..reader.u8()? {
        let (code, count) = (reader.u8()?, reader.u64()?);
        if let Some(reason) = RejectReason::from_code(code) {
            totals.counts[reason.index()] = count;
        }
    }
    Ok(totals)
}

/// One record, as it lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) sequence: u64,
    pub(super) kind: u8,
    pub(super) payload: &'a [u8],
    /// Whether something before it could not be read, or is missing.
    pub(super) after_damage: bool,
}

/// The records of a segment, in order. What cannot be read in the middle is passed over: every byte behind it is tried.
/// What cannot be read at the end is a torn tail.
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    seed: u32,
    at: usize,
    next: u64,
}

impl<'a> Records<'a> {
    /// The records of the segment that starts at `first_sequence`; `None` if its header is not whole.
    pub(super) fn new(bytes: &'a [u8], cluster_id: u64, first_sequence: u64) -> Option<Self> {
        has_header(bytes, cluster_id, first_sequence).then(|| Self {
            bytes,
            seed: seed(cluster_id, first_sequence),
            at: HEADER_BYTES,
            next: first_sequence,
        })
    }

    /// Where the last record that was read ends, in bytes, and the sequence after it.
    pub(super) fn end(&self) -> (usize, u64) {
        (self.at, self.next)
    }

    /// The record at `at`, and where it ends.
    fn record_at(&self, at: usize) -> Option<(Record<'a>, usize)> {
        let mut reader = Reader::new(self.bytes.get(at..)?);
        let length_raw = reader.u32().ok()?;
        let length = length_raw as usize;
        let said = reader.u32().ok()?;
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return None;
        }
        let rest = reader.bytes(length).ok()?;
        let mut inner = Reader::new(rest);
        let (sequence, kind) = (inner.u64().ok()?, inner.u8().ok()?);
        // Cheap, and it is asked at every offset behind damage: no sequence comes again, and each takes a few bytes.
        let ahead = sequence.checked_sub(self.next)?;
        if ahead > self.bytes.len() as u64 || checksum(self.seed, length_raw, rest) != said {
            return None;
        }
        let after_damage = at != self.at || ahead > 0;
        Some((Record { sequence, kind, payload: &rest[LENGTH_MIN..], after_damage }, at + PREFIX_BYTES + length))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (record, end) = (self.at..self.bytes.len()).find_map(|at| self.record_at(at))?;
        (self.at, self.next) = (end, record.sequence.saturating_add(1));
        Some(record)
    }
}
