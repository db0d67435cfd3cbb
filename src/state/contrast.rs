//! Which items an event is contrasted with, for strategies that learn from what was passed over as well.
//!
//! Only the shard knows the other items. It chooses among all that it knows, copies of other shards' items included: in
//! the order of their newest event as far as this shard has heard of it (an event of its own users at once, another's
//! when the item's row is published or its observation arrives).

use super::Shard;
use crate::learn::{Negatives, Seen};

impl Shard {
    /// Contrasts an event of the user in `slot` with the item in `row`, for the arms that do so.
    #[inline]
    pub(super) fn contrast(&mut self, slot: usize, row: usize, seen: &Seen) {
        for index in 0..self.arms.len() {
            if let Negatives::LongestUnseen(count) = self.arms[index].negatives
                && seen.weight > 0.0
            {
                self.contrast_unseen(index, slot, row, count, seen);
            }
        }
    }

    fn contrast_unseen(&mut self, index: usize, slot: usize, row: usize, count: usize, seen: &Seen) {
        for _ in 0..count {
            let Some(other) = self.arms[index].unseen.as_ref().and_then(|unseen| unseen.oldest()) else { break };
            self.touch_item(other);
            let arm = &mut self.arms[index];
            if other != row {
                arm.contrast(slot, row, other, seen);
            }
            if let Some(unseen) = &mut arm.unseen {
                unseen.see(other);
            }
        }
        self.touch_item(row);
        if let Some(unseen) = &mut self.arms[index].unseen {
            unseen.see(row);
        }
    }

    /// The item in `row` had an event in another shard.
    pub(super) fn heard_of(&mut self, row: usize) {
        for unseen in self.arms.iter_mut().filter_map(|arm| arm.unseen.as_mut()) {
            unseen.see(row);
        }
    }
}
