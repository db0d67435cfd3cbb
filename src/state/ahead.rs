//! Asking memory for what the next events will touch. Nothing here changes anything but the time that it takes.
//!
//! An event touches a dozen places far apart: two tables, the user's facts, marks and column, the item's facts and
//! column. One event after the other waits for each place in turn. Looked up together, the waits overlap.

use super::Shard;
use crate::linalg::prefetch::prefetch;
use crate::model::Event;

/// Events that are looked up together: what they touch fits the innermost cache.
pub const AHEAD: usize = 16;

impl Shard {
    /// Asks memory for what applying the first [`AHEAD`] of `events` will touch.
    pub fn look_ahead<'a>(&self, events: impl Iterator<Item = Event<'a>>) {
        let mut slots = [None; AHEAD];
        for (place, event) in slots.iter_mut().zip(events) {
            if let Some(slot) = self.users.find(event.user) {
                prefetch(std::slice::from_ref(self.users.get(slot)));
                self.arms.iter().for_each(|arm| prefetch(arm.users.col(slot)));
                *place = Some(slot);
            }
            if let Some(row) = self.items.find(event.item) {
                prefetch(std::slice::from_ref(self.items.get(row)));
                self.arms.iter().for_each(|arm| prefetch(arm.items.col(row)));
            }
        }
        // Where a history is stands in the user's facts, which have been asked for above.
        slots.into_iter().flatten().for_each(|slot| self.users.get(slot).history.look_ahead());
    }
}
