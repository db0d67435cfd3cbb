//! The bytes of a journal segment. Frozen: a change is a new format version, and version 1 stays readable.
//!
//! ```text
//! segment header, 48 bytes                       record, 41 bytes and the payload
//! offset  size  field                            offset  size  field
//!      0     8  magic "MIRRAJL1"                      0     4  length    u32, bytes after the checksum: 33 + payload
//!      8     2  format version  u16                   4     4  checksum  u32, masked crc32c
//!     10     2  shard           u16                   8     4  previous  u32, checksum of the record before (of the
//!     12     8  segment id      u64                               header for the first): the chain
//!     20     8  cluster id      u64                  12     8  first sequence u64
//!     28     8  first sequence  u64                  20     8  synced    u64
//!     36     8  synced          u64                  28     8  stamp_ms  i64
//!     44     4  masked crc32c of bytes 0..44         36     4  count     u32, sequences that the record covers
//!                                                    40     1  kind      u8, 0 = GAP
//!                                                    41   ...  payload, opaque
//! ```
//! *Synced.* Every sequence below it was synced when the header or record was made; never above its first sequence.
//! It tells, after power loss, damage in what was synced from disorder in what was not.
//! *Checksum.* crc32c over segment id (u64), shard (u16), length (u32), then everything after the checksum; masked as
//! in LevelDB, so that a checksum of bytes that contain checksums stays good. Bytes of another segment or shard do not
//! validate; a length of 0 is never valid, so zero-filled space does not either.
//! *Sequence.* A record covers `count >= 1` sequences; the next record starts where it ends. A GAP record has count 0,
//! no payload, and a first sequence at or after the expected one: the journal goes on from there.

use crate::base::{Reader, Writer};

/// First bytes of a segment.
pub const MAGIC: [u8; 8] = *b"MIRRAJL1";

/// The format that is written, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 48;

/// Bytes of a record before its payload.
pub const RECORD_HEAD_BYTES: usize = 41;

/// Longest payload of one record, in bytes: four frames of the longest kind.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// The record kind that moves the sequence forward. All others belong to the caller.
pub const KIND_GAP: u8 = 0;

/// Bytes of length and checksum, which `length` does not count.
const PREFIX_BYTES: usize = 8;
const LENGTH_MIN: usize = RECORD_HEAD_BYTES - PREFIX_BYTES;
const LENGTH_MAX: usize = LENGTH_MIN + PAYLOAD_BYTES_MAX;
const _: () = assert!(LENGTH_MAX <= u32::MAX as usize);

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Format version.
    pub version: u16,
    /// Shard that the records belong to.
    pub shard: u16,
    /// Number of the segment within the shard, from 1, ascending.
    pub segment: u64,
    /// Cluster that it belongs to.
    pub cluster_id: u64,
    /// Sequence at which the segment starts.
    pub first_sequence: u64,
    /// Every sequence below was synced when the segment was made; at most `first_sequence`.
    pub synced: u64,
}

/// One record, as it lies in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The caller's kind, at least 1.
    pub kind: u8,
    /// First sequence that it covers.
    pub first_sequence: u64,
    /// Sequences that it covers.
    pub count: u32,
    /// Time that the caller gave, in milliseconds since 1970-01-01 UTC.
    pub stamp_ms: i64,
    /// The caller's bytes.
    pub payload: &'a [u8],
}

/// A record with what ties it to its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framed<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) checksum: u32,
    pub(crate) previous: u32,
    /// Every sequence below was synced when the record was appended.
    pub(crate) synced: u64,
    /// Bytes of the whole record.
    pub(crate) bytes: usize,
}

impl Record<'_> {
    /// The sequence after the record's last one; `None` if that is no `u64`.
    #[must_use]
    pub fn end_sequence(&self) -> Option<u64> {
        self.first_sequence.checked_add(u64::from(self.count))
    }
}

/// Masks a crc32c (LevelDB, Google 2011).
pub(crate) const fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// The crc32c that every record's checksum in a segment starts from: binds a record to its segment and shard.
pub(crate) fn segment_seed(segment: u64, shard: u16) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &shard.to_le_bytes())
}

/// The header's bytes, and its checksum (the first link of the chain).
pub(crate) fn encode_header(header: &SegmentHeader) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    let mut writer = Writer::new(&mut bytes);
    writer.bytes(&MAGIC).u16(header.version).u16(header.shard);
    writer.u64(header.segment).u64(header.cluster_id).u64(header.first_sequence).u64(header.synced);
    let checksum = mask(crc32c::crc32c(&bytes));
    Writer::new(&mut bytes).u32(checksum);
    (bytes, checksum)
}

/// Decodes the header at the start of `bytes`; `None` if it is short, its checksum or magic is wrong, or it claims that
/// more was synced than there was.
pub(crate) fn decode_header(bytes: &[u8]) -> Option<(SegmentHeader, u32)> {
    let mut reader = Reader::new(bytes.get(..HEADER_BYTES)?);
    let magic = reader.bytes(MAGIC.len()).ok()?;
    let (version, shard) = (reader.u16().ok()?, reader.u16().ok()?);
    let (segment, cluster_id) = (reader.u64().ok()?, reader.u64().ok()?);
    let (first_sequence, synced, checksum) = (reader.u64().ok()?, reader.u64().ok()?, reader.u32().ok()?);
    let whole = magic == MAGIC && checksum == mask(crc32c::crc32c(&bytes[..HEADER_BYTES - 4]));
    let header = SegmentHeader { version, shard, segment, cluster_id, first_sequence, synced };
    (whole && synced <= first_sequence).then_some((header, checksum))
}

/// Appends a record to `out`; its payload is `parts` in order, at most [`PAYLOAD_BYTES_MAX`] together (the caller has
/// checked), and every sequence below `synced` is synced. Gives its checksum. One pass over the bytes, no allocation once `out` has grown.
#[inline]
pub(crate) fn encode_record(
    out: &mut Vec<u8>,
    seed: u32,
    (previous, synced): (u32, u64),
    record: &Record<'_>,
    parts: &[&[u8]],
    payload_bytes: usize,
) -> u32 {
    let length = (LENGTH_MIN + payload_bytes) as u32;
    let start = out.len();
    // One fixed-size head, so that the buffer's capacity is checked once.
    let mut head = [0_u8; RECORD_HEAD_BYTES];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[8..12].copy_from_slice(&previous.to_le_bytes());
    head[12..20].copy_from_slice(&record.first_sequence.to_le_bytes());
    head[20..28].copy_from_slice(&synced.to_le_bytes());
    head[28..36].copy_from_slice(&record.stamp_ms.to_le_bytes());
    head[36..40].copy_from_slice(&record.count.to_le_bytes());
    head[40] = record.kind;
    out.reserve(RECORD_HEAD_BYTES + payload_bytes);
    out.extend_from_slice(&head);
    for part in parts {
        out.extend_from_slice(part);
    }
    let checksum = record_checksum(seed, length, &out[start + PREFIX_BYTES..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Decodes the record at the start of `bytes`, or says what is wrong with it. Chain and sequence are the caller's.
pub(crate) fn decode_record(bytes: &[u8], seed: u32) -> Result<Framed<'_>, String> {
    let short = |error: crate::base::CursorError| format!("record head is cut: {error}");
    let mut reader = Reader::new(bytes);
    let length_raw = reader.u32().map_err(short)?;
    let length = length_raw as usize;
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        return Err(format!("record length {length} is not within {LENGTH_MIN} to {LENGTH_MAX}"));
    }
    let checksum = reader.u32().map_err(short)?;
    if length > reader.left() {
        return Err(format!("record of {length} bytes is cut, {} there", reader.left()));
    }
    let computed = record_checksum(seed, length_raw, &bytes[PREFIX_BYTES..PREFIX_BYTES + length]);
    if computed != checksum {
        return Err(format!("record checksum {checksum:08x} said, {computed:08x} computed"));
    }
    let previous = reader.u32().map_err(short)?;
    let (first_sequence, synced) = (reader.u64().map_err(short)?, reader.u64().map_err(short)?);
    let stamp_ms = reader.i64().map_err(short)?;
    let (count, kind) = (reader.u32().map_err(short)?, reader.u8().map_err(short)?);
    let payload = &bytes[RECORD_HEAD_BYTES..PREFIX_BYTES + length];
    if (kind == KIND_GAP) != (count == 0) || (kind == KIND_GAP && !payload.is_empty()) {
        return Err(format!("record of kind {kind} with count {count} and {} bytes", payload.len()));
    }
    if synced > first_sequence {
        return Err(format!("record at sequence {first_sequence} calls everything below {synced} synced"));
    }
    let record = Record { kind, first_sequence, count, stamp_ms, payload };
    Ok(Framed { record, checksum, previous, synced, bytes: PREFIX_BYTES + length })
}

/// Bytes that [`decode_record`] would checksum at the start of `bytes`, if what lies there could be a record at or
/// after sequence `from`; `None` if it cannot be. A few comparisons: it is asked at every offset after a bad record.
#[inline]
pub(crate) fn plausible_record(bytes: &[u8], from: u64) -> Option<usize> {
    let head: &[u8; RECORD_HEAD_BYTES] = bytes.first_chunk()?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) || length > bytes.len() - PREFIX_BYTES {
        return None;
    }
    let count = u32::from_le_bytes([head[36], head[37], head[38], head[39]]);
    let (mut sequence, mut synced) = ([0; 8], [0; 8]);
    sequence.copy_from_slice(&head[12..20]);
    synced.copy_from_slice(&head[20..28]);
    let sequence = u64::from_le_bytes(sequence);
    let ordered = sequence >= from && u64::from_le_bytes(synced) <= sequence;
    (ordered && (head[40] == KIND_GAP) == (count == 0)).then_some(length)
}

#[inline]
fn record_checksum(seed: u32, length: u32, rest: &[u8]) -> u32 {
    mask(crc32c::crc32c_append(crc32c::crc32c_append(seed, &length.to_le_bytes()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8]) -> Record<'_> {
        Record { kind: 7, first_sequence: 40, count: 3, stamp_ms: -5, payload }
    }

    #[test]
    fn headers_round_trip_and_every_flip_is_seen() {
        let header = SegmentHeader { version: 1, shard: 2, segment: 3, cluster_id: 4, first_sequence: 5, synced: 5 };
        let (bytes, checksum) = encode_header(&header);
        assert_eq!((bytes.len(), decode_header(&bytes)), (HEADER_BYTES, Some((header, checksum))));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_header(&bad), None, "bit {bit}");
        }
        assert_eq!(decode_header(&[0; HEADER_BYTES]), None);
        assert_eq!(decode_header(&encode_header(&SegmentHeader { synced: 6, ..header }).0), None);
    }

    #[test]
    fn records_round_trip_and_every_flip_cut_and_other_place_is_seen() {
        let seed = segment_seed(9, 1);
        let mut bytes = Vec::new();
        let checksum = encode_record(&mut bytes, seed, (77, 39), &record(b""), &[b"pay", b"", b"load"], 7);
        let framed = decode_record(&bytes, seed).unwrap();
        assert_eq!(framed.record, record(b"payload"));
        assert_eq!((framed.checksum, framed.previous, framed.bytes), (checksum, 77, bytes.len()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_record(&bad, seed).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(decode_record(&bytes[..cut], seed).is_err(), "cut at {cut}");
        }
        for other in [segment_seed(8, 1), segment_seed(9, 0), 0] {
            assert!(decode_record(&bytes, other).is_err());
        }
        assert!(decode_record(&[0; 4_096], seed).is_err());
        assert!(decode_record(&[0xFF; 4_096], seed).is_err());
    }

    /// The quick test may let through what is no record, but never the other way round.
    #[test]
    fn every_valid_record_is_plausible() {
        let mut rng = crate::base::Rng::new(11);
        for _ in 0..2_000 {
            let payload: Vec<u8> = (0..rng.below(64)).map(|_| rng.bits() as u8).collect();
            let gap = rng.below(4) == 0;
            let (kind, count) = if gap { (KIND_GAP, 0) } else { (1 + rng.below(255) as u8, 1 + rng.below(9) as u32) };
            let payload = if gap { &[][..] } else { &payload };
            let first_sequence = rng.bits() >> rng.below(64);
            let record = Record { kind, first_sequence, count, stamp_ms: rng.bits() as i64, payload };
            let mut bytes = Vec::new();
            let synced = first_sequence - (rng.bits() >> rng.below(64)).min(first_sequence);
            encode_record(&mut bytes, 5, (6, synced), &record, &[payload], payload.len());
            let framed = decode_record(&bytes, 5).unwrap();
            assert_eq!((framed.record, framed.previous, framed.synced), (record, 6, synced), "seed 11");
            assert_eq!(plausible_record(&bytes, first_sequence), Some(bytes.len() - 8));
            assert_eq!(plausible_record(&bytes, first_sequence.saturating_add(1)).is_none(), first_sequence < u64::MAX);
            if first_sequence < u64::MAX {
                bytes.clear();
                encode_record(&mut bytes, 5, (6, first_sequence + 1), &record, &[payload], payload.len());
                assert!(decode_record(&bytes, 5).is_err() && plausible_record(&bytes, 0).is_none());
            }
        }
    }
}
