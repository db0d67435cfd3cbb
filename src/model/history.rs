//! The newest events of one user: a ring that grows to a configured size and then forgets the oldest.
//!
//! Fold-in, explanation, erasure, refitting, the exclusion of seen items and the detection of repeated events all read
//! it. Order is the order of arrival.
//!
//! Looking for a repeated event is on the path of every event, and for a frequent user it looks at a full ring: 16 bits
//! of each event id therefore stand in an array of their own, two bytes an entry instead of 32 to read, and only where
//! those are found are the ids themselves compared.

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::HISTORY_MAX;
use crate::linalg::prefetch::prefetch;

/// One remembered event: 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry {
    /// The caller's event id, hashed; 0 is none.
    pub event_id: u64,
    /// When it happened, in milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    /// Row of the item in the shard's item table.
    pub item: u32,
    /// The value that came with it.
    pub value: f32,
    /// What it weighed when it was learned.
    pub weight: f32,
    /// Code of the behaviour kind.
    pub kind: u8,
    /// Which of the item's descriptions held when it was learned.
    pub described: u16,
}

/// Bytes of one encoded entry, and of one as it was before items had descriptions.
const ENTRY_BYTES: usize = ENTRY_BYTES_1 + 2;
const ENTRY_BYTES_1: usize = 8 + 8 + 4 + 4 + 4 + 1;

impl Entry {
    fn encoded(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.event_id.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.item.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.value.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.weight.to_le_bytes());
        bytes[28] = self.kind;
        bytes[29..].copy_from_slice(&self.described.to_le_bytes());
        bytes
    }
}

/// A ring of entries, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    entries: Vec<Entry>,
    /// The [`mark`] of each entry's event id, in the same place.
    marks: Vec<u16>,
    /// Where the oldest entry stands once the ring is full.
    oldest: usize,
}

impl History {
    /// Remembers `entry`; forgets the oldest one if `max` are held.
    pub fn push(&mut self, entry: Entry, max: usize) {
        if self.entries.len() < max {
            if self.entries.len() == self.entries.capacity() {
                let room = (self.entries.len().max(4)).min(max - self.entries.len());
                self.entries.reserve_exact(room);
                self.marks.reserve_exact(room);
            }
            self.entries.push(entry);
            self.marks.push(mark(entry.event_id));
        } else if max > 0 {
            self.entries[self.oldest] = entry;
            self.marks[self.oldest] = mark(entry.event_id);
            self.oldest = (self.oldest + 1) % self.entries.len();
        }
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        let (newer, older) = self.entries.split_at(self.oldest);
        newer.iter().rev().chain(older.iter().rev())
    }

    /// All entries, oldest first.
    pub fn oldest_first(&self) -> impl Iterator<Item = &Entry> {
        let (newer, older) = self.entries.split_at(self.oldest);
        older.iter().chain(newer)
    }

    /// All entries in no order: the fastest way to look at each.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether an event with this id is held. Id 0 is none and never held.
    #[must_use]
    #[inline]
    pub fn holds(&self, event_id: u64) -> bool {
        event_id != 0
            && self.marks.contains(&mark(event_id))
            && self.entries.iter().any(|entry| entry.event_id == event_id)
    }

    /// Takes out the event with this id, if it is held. Id 0 is none.
    pub fn take(&mut self, event_id: u64) -> Option<Entry> {
        if !self.holds(event_id) {
            return None;
        }
        self.entries.rotate_left(self.oldest);
        self.oldest = 0;
        let place = self.entries.iter().position(|entry| entry.event_id == event_id)?;
        let entry = self.entries.remove(place);
        self.marks = self.entries.iter().map(|entry| mark(entry.event_id)).collect();
        Some(entry)
    }

    /// Changes every entry, oldest first; event ids stay as they are.
    pub fn change_each(&mut self, mut change: impl FnMut(&mut Entry)) {
        let (newer, older) = self.entries.split_at_mut(self.oldest);
        older.iter_mut().chain(newer).for_each(&mut change);
    }

    /// Asks memory for what [`Self::holds`] and [`Self::push`] will touch.
    #[inline]
    pub fn look_ahead(&self) {
        prefetch(&self.marks);
        // A ring that is not full grows behind its last entry, mostly on the same line.
        let next = if self.oldest == 0 { self.entries.last() } else { self.entries.get(self.oldest) };
        prefetch(next.map_or(&[], std::slice::from_ref));
    }

    /// Heap bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.marks.capacity() * size_of::<u16>()
    }

    /// Appends all entries, oldest first.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.count(self.len());
        for entry in self.oldest_first() {
            out.bytes(&entry.encoded());
        }
    }

    /// Reads what [`Self::encode`] wrote, or wrote before items had `described`. The ring starts over with its oldest entry
    /// first, which no reader can tell from the ring that was written.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a history.
    pub fn decode(from: &mut Reader<'_>, described: bool) -> Result<Self, CursorError> {
        let count = from.count(if described { ENTRY_BYTES } else { ENTRY_BYTES_1 }, HISTORY_MAX)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(Entry {
                event_id: from.u64()?,
                time_ms: from.i64()?,
                item: from.u32()?,
                value: from.f32()?,
                weight: from.f32()?,
                kind: from.u8()?,
                described: if described { from.u16()? } else { 0 },
            });
        }
        let marks = entries.iter().map(|entry| mark(entry.event_id)).collect();
        Ok(Self { entries, marks, oldest: 0 })
    }
}

/// The highest 16 bits: event ids are hashes, so any will do.
#[inline]
fn mark(event_id: u64) -> u16 {
    (event_id >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(item: u32) -> Entry {
        Entry { event_id: u64::from(item) + 1, item, weight: 1.0, ..Entry::default() }
    }

    #[test]
    fn keeps_the_newest_in_order() {
        for max in [0, 1, 3, 4, 7, 100] {
            let mut history = History::default();
            for item in 0..20 {
                history.push(entry(item), max);
            }
            let newest: Vec<u32> = history.newest_first().map(|entry| entry.item).collect();
            let expected: Vec<u32> = (0..20).rev().take(max).collect();
            assert_eq!(newest, expected, "max {max}");
            let mut oldest: Vec<u32> = history.oldest_first().map(|entry| entry.item).collect();
            oldest.reverse();
            assert_eq!(oldest, expected, "max {max}");
            assert_eq!(history.holds(20), max > 0);
            assert!(!history.holds(0) && !history.holds(20_u64.saturating_sub(max as u64)));
        }
    }

    /// Marks are a shortcut and no answer: ids that share one are told apart, in a ring that goes round and after decoding.
    #[test]
    fn ids_with_one_mark_are_told_apart() {
        let id = |low: u64| 7 << 48 | low;
        let mut history = History::default();
        for low in 0..10 {
            history.push(Entry { event_id: id(low), ..Entry::default() }, 6);
        }
        let mut bytes = Vec::new();
        history.encode(&mut Writer::new(&mut bytes));
        for history in [&history, &History::decode(&mut Reader::new(&bytes), true).expect("own bytes")] {
            for low in 0..20 {
                assert_eq!(history.holds(id(low)), (4..10).contains(&low), "id {low}");
            }
            assert!(!history.holds(8 << 48));
        }
    }

    #[test]
    fn decoded_rings_go_on_as_the_original() {
        let mut history = History::default();
        for item in 0..11 {
            history.push(entry(item), 4);
        }
        let mut bytes = Vec::new();
        history.encode(&mut Writer::new(&mut bytes));
        let mut copy = History::decode(&mut Reader::new(&bytes), true).expect("own bytes");
        for item in 11..14 {
            history.push(entry(item), 4);
            copy.push(entry(item), 4);
            assert!(history.oldest_first().eq(copy.oldest_first()));
        }
    }
}
