//! The newest events of all users, in order: what is replayed, drawn as negatives, and refitted.

use crate::base::Rng;
use crate::base::capture::{Capture, Captured};
use crate::base::cursor::{CursorError, Reader, Writer};

/// One event: who met what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Slot of the user.
    pub user: u32,
    /// Row of the item.
    pub item: u32,
    /// Place of the item in the user's trail, from 0.
    pub position: u32,
}

/// Events kept.
pub const WINDOW_MAX: usize = 1_000_000;
/// Of them, the newest that are drawn from.
const DRAWN_MAX: usize = 200_000;

/// A ring of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    ring: Vec<Met>,
    next: usize,
    capture: Option<Box<Capture>>,
}

impl Window {
    /// Remembers an event; forgets the oldest if the ring is full.
    pub fn push(&mut self, met: Met) {
        self.keep(self.next);
        match self.ring.get_mut(self.next) {
            Some(place) => *place = met,
            None => self.ring.push(met),
        }
        self.next = (self.next + 1) % WINDOW_MAX;
    }

    /// A random one of the newest.
    #[inline]
    pub fn draw(&self, rng: &mut Rng) -> Option<Met> {
        let held = self.ring.len();
        if held == 0 {
            return None;
        }
        let back = 1 + rng.below(held.min(DRAWN_MAX) as u64) as usize;
        // The newest stands before `next`, which runs from 0 until the ring is full.
        let at = if back <= self.next { self.next - back } else { self.next + held - back };
        Some(self.ring[at])
    }

    /// The newest `n`, oldest first.
    pub fn newest(&self, n: usize) -> impl Iterator<Item = Met> + '_ {
        let oldest = if self.ring.len() < WINDOW_MAX { 0 } else { self.next };
        let (newer, older) = self.ring.split_at(oldest);
        older.iter().chain(newer).skip(self.ring.len().saturating_sub(n)).copied()
    }

    /// Appends where the next event goes; the events are [`Captured`] one by one.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        out.count(self.next);
    }

    /// Reads what [`Self::encode_head`] wrote, into a window without events.
    ///
    /// # Errors
    /// [`CursorError`] for too few bytes or a place outside.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.next = from.count(0, WINDOW_MAX)?;
        Ok(())
    }

    /// Reads a window as images up to version 5 have it: in one piece.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a window.
    pub fn decode_whole(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let next = from.count(0, WINDOW_MAX)?;
        let count = from.count(12, WINDOW_MAX)?;
        let mut ring = (0..count).map(|_| Met::decode(from)).collect::<Result<Vec<_>, CursorError>>()?;
        if count < WINDOW_MAX && next < count {
            // A ring that was full when it was smaller (500,000 in images of version 2): the oldest comes first.
            ring.rotate_left(next);
        }
        Ok(Self { ring, next: if count < WINDOW_MAX { count } else { next }, capture: None })
    }
}

impl Met {
    fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        Ok(Self { user: from.u32()?, item: from.u32()?, position: from.u32()? })
    }
}

impl Captured for Window {
    fn capture(&mut self) -> &mut Option<Box<Capture>> {
        &mut self.capture
    }

    fn count(&self) -> usize {
        self.ring.len()
    }

    fn encode_one(&self, at: usize, out: &mut Writer<'_>) {
        let Met { user, item, position } = self.ring[at];
        out.u32(user).u32(item).u32(position);
    }

    fn decode_one(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        self.ring.push(Met::decode(from)?);
        match self.ring.len() {
            held if held > WINDOW_MAX => {
                let allowed = "at most as many as a window holds";
                Err(CursorError::Bad { what: "events of a window", offset, found: held as u64, allowed })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of three that was full, its oldest event in the middle, as an older version with less room left it.
    #[test]
    fn a_smaller_ring_goes_on_in_its_order() {
        let met = |position| Met { user: 1, item: 2, position };
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        out.u32(1).u32(3);
        for position in [5, 3, 4] {
            out.u32(1).u32(2).u32(position);
        }
        let mut window = Window::decode_whole(&mut Reader::new(&bytes)).expect("a window");
        window.push(met(6));
        assert!(window.newest(9).map(|met| met.position).eq([3, 4, 5, 6]));
        assert!(window.newest(2).map(|met| met.position).eq([5, 6]));
    }
}
