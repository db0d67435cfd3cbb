//! What lies behind a bad record, and what it tells: how much was synced, and how many whole records are dropped.
//!
//! A record says how much was synced when it was appended, and power loss takes nothing that was synced. So a bad
//! record at or after the largest such mark is the start of an unsynced tail, in which any block may be there, missing,
//! torn or zero; one before it is damage. The marks behind the bad record count as well, and they never say too much:
//! they are older than the crash.

use super::JournalPlace;
use super::format::{HEADER_BYTES, decode_header, decode_record, plausible_record, segment_seed};
use super::segments::{SEGMENT_FILE_BYTES_MAX, Segment};
use crate::storage::error::StorageError;
use crate::storage::files::read_bounded;

/// Most bytes that the search for valid records after a bad one checksums: some seconds. Only bytes that were made
/// to look like records all over come near; then the segment counts as damaged, which loses nothing.
const SCAN_CHECKSUM_BYTES_MAX: u64 = 16 << 30;

/// The valid records of a segment behind an offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    /// How many there are, gaps included.
    pub(crate) records: u64,
    /// The largest mark among them; 0 without any.
    pub(crate) synced: u64,
    /// Whether too much looked like records to look at all of it.
    pub(crate) gave_up: bool,
}

/// Looks at every offset of `bytes` for records that belong to the segment of `seed` and do not begin before
/// `lowest_sequence`.
pub(crate) fn scan(bytes: &[u8], seed: u32, lowest_sequence: u64) -> Behind {
    let (mut behind, mut budget, mut offset) = (Behind::default(), SCAN_CHECKSUM_BYTES_MAX, 0);
    while offset < bytes.len() {
        let Some(cost) = plausible_record(&bytes[offset..], lowest_sequence) else {
            offset += 1;
            continue;
        };
        if let Ok(framed) = decode_record(&bytes[offset..], seed) {
            behind.records += 1;
            behind.synced = behind.synced.max(framed.synced);
            offset += framed.bytes;
            continue;
        }
        budget = budget.saturating_sub(cost as u64);
        if budget == 0 {
            behind.gave_up = true;
            break;
        }
        offset += 1;
    }
    behind
}

/// The largest mark in `segments`, headers and records. Stops at the first one above `enough`.
///
/// # Errors
/// [`StorageError::Io`], [`StorageError::TooLarge`].
pub(crate) fn largest_mark(place: &JournalPlace, segments: &[Segment], enough: u64) -> Result<u64, StorageError> {
    let headers = segments.iter().filter_map(|segment| segment.header);
    let mut synced = headers.map(|header| header.synced).max().unwrap_or(0);
    let mut bytes = Vec::new();
    for segment in segments {
        if synced > enough {
            break;
        }
        read_bounded(place.disk(), &segment.path, "journal segment", SEGMENT_FILE_BYTES_MAX, &mut bytes)?;
        let start = if decode_header(&bytes).is_some() { HEADER_BYTES } else { 0 };
        let lowest = segment.header.map_or(0, |header| header.first_sequence);
        synced = synced.max(scan(&bytes[start..], segment_seed(segment.id, place.shard), lowest).synced);
    }
    Ok(synced)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload that looks like records everywhere may cost time, but not much.
    #[test]
    fn the_search_behind_a_bad_record_is_fast() {
        // At every fourth offset a length of 32 KiB, and a sequence, mark, count and kind that could be.
        let hostile = [0x01, 0x80, 0, 0].repeat(1 << 18);
        assert!(plausible_record(&hostile, 0).is_some());
        let started = std::time::Instant::now();
        assert_eq!(scan(&hostile, 1, 0), Behind::default());
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
