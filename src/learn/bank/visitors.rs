//! Who met an item last: a ring of visitors an item, for neighbours among sessions.
//!
//! Session-based kNN (Jannach & Ludewig 2017; Ludewig & Jannach 2018): users who met the same items lately are
//! neighbours, and what they met next is proposed.

use crate::base::cursor::{CursorError, Reader, Writer};

/// Visitors kept of an item.
pub const VISITORS_MAX: usize = 100;

/// One visit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Visit {
    /// Slot of the user.
    pub user: u32,
    /// Place of the item in the user's trail, from 0.
    pub position: u32,
}

/// Rings of visits, by item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visitors {
    rings: Vec<(Vec<Visit>, u32)>,
}

impl Visitors {
    /// Adds an item without visits.
    pub fn insert(&mut self) {
        self.rings.push((Vec::new(), 0));
    }

    /// The latest visits of an item, in no order of time.
    #[must_use]
    #[inline]
    pub fn of(&self, item: usize) -> &[Visit] {
        &self.rings[item].0
    }

    /// Remembers a visit; forgets the oldest if the ring is full.
    pub fn learn(&mut self, item: usize, visit: Visit) {
        let (ring, next) = &mut self.rings[item];
        match ring.get_mut(*next as usize) {
            Some(place) => *place = visit,
            None => ring.push(visit),
        }
        *next = (*next + 1) % VISITORS_MAX as u32;
    }

    /// Appends the ring of one item.
    pub fn encode_item(&self, item: usize, out: &mut Writer<'_>) {
        let (ring, next) = &self.rings[item];
        out.u32(*next).count(ring.len());
        out.each(ring.iter(), |visit| (u64::from(visit.position) << 32 | u64::from(visit.user)).to_le_bytes());
    }

    /// Adds a ring as [`Self::encode_item`] wrote it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a ring.
    pub fn decode_item(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let next = from.u32()?.min(VISITORS_MAX as u32 - 1);
        let count = from.count(8, VISITORS_MAX)?;
        let visit = |from: &mut Reader<'_>| Ok(Visit { user: from.u32()?, position: from.u32()? });
        let ring = (0..count).map(|_| visit(from)).collect::<Result<_, CursorError>>()?;
        self.rings.push((ring, next));
        Ok(())
    }
}
