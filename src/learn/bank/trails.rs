//! The newest items of every user, nothing else of them: what co-occurrence, neighbours and sequences read, 4 bytes an
//! event where the history takes 34.

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::learn::SITTING_MS;

/// Items kept of one user.
pub const TRAIL_MAX: usize = 128;

/// One user's trail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// A ring once it is full: the item of event `p` (from 0) stands at `p % TRAIL_MAX`.
    items: Vec<u32>,
    count: u32,
    /// Events before the sitting that the latest one belongs to.
    before_sitting: u32,
    last_ms: i64,
}

impl Trail {
    /// Events of this user so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Time of the latest event, in milliseconds; meaningless without events.
    #[must_use]
    pub fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Newest events that belong to one sitting with an event at `time_ms`: 0 if the latest is too long ago.
    #[must_use]
    pub fn sitting(&self, time_ms: i64) -> usize {
        let near = self.count > 0 && time_ms.saturating_sub(self.last_ms) <= SITTING_MS;
        if near { (self.count - self.before_sitting) as usize } else { 0 }
    }

    /// Items still held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there was no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The item of event `position`, counted from 0, if it is still held.
    #[must_use]
    #[inline]
    pub fn at(&self, position: usize) -> Option<u32> {
        let held = position < self.count() && position + self.items.len() >= self.count();
        held.then(|| self.items[position % TRAIL_MAX])
    }

    /// The newest `n` items, newest first.
    #[inline]
    pub fn newest(&self, n: usize) -> impl Iterator<Item = u32> + '_ {
        self.before(self.count(), n)
    }

    /// The newest `n` items before event `position`, newest first.
    #[inline]
    pub fn before(&self, position: usize, n: usize) -> impl Iterator<Item = u32> + Clone + '_ {
        // A trail that was made anew is shorter than the places that others remember of it.
        let position = position.min(self.count());
        let oldest = position.saturating_sub(n).max(self.count() - self.items.len());
        (oldest..position).rev().map(|at| self.items[at % TRAIL_MAX])
    }

    /// Adds an event.
    pub fn push(&mut self, item: u32, time_ms: i64) {
        let at = self.count() % TRAIL_MAX;
        match self.items.get_mut(at) {
            Some(place) => *place = item,
            None => {
                if self.items.len() == self.items.capacity() {
                    self.items.reserve_exact(self.items.len().max(4));
                }
                self.items.push(item);
            }
        }
        if self.sitting(time_ms) == 0 {
            self.before_sitting = self.count;
        }
        self.last_ms = if self.count == 0 { time_ms } else { self.last_ms.max(time_ms) };
        self.count += 1;
    }

    /// Renames every item, as another bank numbers it.
    pub fn renumber(&mut self, mut row_of: impl FnMut(u32) -> u32) {
        self.items.iter_mut().for_each(|item| *item = row_of(*item));
    }

    /// Heap bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<u32>()
    }

    /// Appends it, as it stands.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.count).u32(self.before_sitting).i64(self.last_ms).count(self.items.len());
        out.u32s(&self.items);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a trail.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (count, before_sitting, last_ms) = (from.u32()?, from.u32()?, from.i64()?);
        let before_sitting = before_sitting.min(count);
        let held = from.count(4, TRAIL_MAX.min(count as usize))?;
        let items = (0..held).map(|_| from.u32()).collect::<Result<_, _>>()?;
        Ok(Self { items, count, before_sitting, last_ms })
    }
}
