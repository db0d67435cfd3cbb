//! Reading refused events: from a sequence on, or the newest, while the writer goes on.

use super::RejectSegment;
use super::format::KIND_REJECT;
use crate::base::Reader;
use crate::model::{Reject, RejectReason};
use crate::storage::error::StorageError;

/// As [`RejectQuery::from`]: the newest ones.
pub const NEWEST: u64 = u64::MAX;

/// Which refused events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectQuery {
    /// The first sequence that is wanted; 0: the oldest kept, [`NEWEST`]: the newest `max`.
    pub from: u64,
    /// Most events.
    pub max: usize,
    /// Only this reason.
    pub reason: Option<RejectReason>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectPage {
    /// The events with their sequences, in their order.
    pub rows: Vec<(u64, Reject)>,
    /// The sequence at which more follow; 0: there are no more.
    pub next: u64,
    /// Places in what was read where something could not be read, or was missing, and was passed over.
    pub damaged: u64,
}

/// Reads from segments as they stood when the writer gave them. A segment that was removed meanwhile is passed over.
///
/// # Errors
/// [`StorageError::Io`].
pub fn read(segments: &[RejectSegment], cluster_id: u64, query: RejectQuery) -> Result<RejectPage, StorageError> {
    if query.max == 0 {
        return Ok(RejectPage::default());
    }
    if query.from == NEWEST { newest(segments, cluster_id, query) } else { forward(segments, cluster_id, query) }
}

fn forward(segments: &[RejectSegment], cluster_id: u64, query: RejectQuery) -> Result<RejectPage, StorageError> {
    let mut page = RejectPage::default();
    let (mut bytes, mut expected) = (Vec::new(), None);
    for (at, segment) in segments.iter().enumerate() {
        let wholly_before = segments.get(at + 1).is_some_and(|after| after.first_sequence <= query.from);
        if wholly_before {
            continue;
        }
        let scanned = scan(segment, cluster_id, query, expected, &mut bytes, &mut page)?;
        if page.next != 0 {
            break;
        }
        expected = scanned;
    }
    Ok(page)
}

fn newest(segments: &[RejectSegment], cluster_id: u64, query: RejectQuery) -> Result<RejectPage, StorageError> {
    let mut page = RejectPage::default();
    let mut bytes = Vec::new();
    let whole = RejectQuery { from: 0, max: usize::MAX, ..query };
    for segment in segments.iter().rev() {
        let mut part = RejectPage::default();
        scan(segment, cluster_id, whole, None, &mut bytes, &mut part)?;
        let wanted = query.max - page.rows.len();
        part.rows.drain(..part.rows.len().saturating_sub(wanted));
        part.rows.append(&mut page.rows);
        (page.rows, page.damaged) = (part.rows, page.damaged + part.damaged);
        if page.rows.len() == query.max {
            break;
        }
    }
    Ok(page)
}

/// Adds what is wanted of one segment, up to `query.max` in the page; then sets where more follow. Gives the sequence
/// after its last record, if it could be read; the one before should have ended where it starts (`expected`).
fn scan(
    segment: &RejectSegment,
    cluster_id: u64,
    query: RejectQuery,
    expected: Option<u64>,
    bytes: &mut Vec<u8>,
    page: &mut RejectPage,
) -> Result<Option<u64>, StorageError> {
    segment.load(bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let Some(mut records) = segment.records(bytes, cluster_id) else {
        page.damaged += 1;
        return Ok(None);
    };
    page.damaged += u64::from(expected.is_some_and(|expected| expected < segment.first_sequence));
    for record in records.by_ref().filter(|record| record.sequence >= query.from) {
        page.damaged += u64::from(record.after_damage);
        if record.kind != KIND_REJECT {
            continue;
        }
        let mut reader = Reader::new(record.payload);
        let Some(reject) = Reject::decode(&mut reader).ok().filter(|_| reader.finish().is_ok()) else {
            page.damaged += 1;
            continue;
        };
        if query.reason.is_some_and(|reason| reason != reject.reason) {
            continue;
        }
        if page.rows.len() == query.max {
            page.next = record.sequence;
            break;
        }
        page.rows.push((record.sequence, reject));
    }
    Ok(Some(records.end().1))
}
