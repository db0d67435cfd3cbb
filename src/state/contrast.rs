//! Which items an event is contrasted with, for strategies that learn from what was passed over as well.
//!
//! Only the shard knows the other items. It chooses among all that it knows, copies of other shards' items included;
//! what is learned of those is dropped, as for an event's own item.
//!
//! *Longest unseen*: in the order of their newest event as far as this shard has heard of it: an event of its own users
//! at once, another's when the item's row is published or its observation arrives.
//! *Drawn*: by a generator that belongs to the operation's sequence, so nothing of it is kept and a replay draws alike.

use super::Shard;
use super::arm::Arm;
use super::unseen::Unseen;
use crate::base::Rng;
use crate::base::ids::mix;
use crate::learn::{Negatives, Seen};

/// Draws before one is given up: a user who knows nearly all items has hardly anything to be contrasted with.
const TRIES: usize = 8;

impl Shard {
    /// Contrasts an event of the user in `slot` with the item in `row`, for the arms that do so.
    #[inline]
    pub(super) fn contrast(&mut self, slot: usize, row: usize, owned: bool, seen: &Seen) {
        for index in 0..self.arms.len() {
            match self.arms[index].negatives {
                Negatives::Absent => {}
                _ if seen.weight <= 0.0 => {}
                Negatives::LongestUnseen(count) => self.contrast_unseen(index, slot, row, count, seen),
                Negatives::Drawn(count) => self.contrast_drawn(index, slot, (row, owned), count, seen),
            }
        }
    }

    fn contrast_unseen(&mut self, index: usize, slot: usize, row: usize, count: usize, seen: &Seen) {
        for _ in 0..count {
            let Some(other) = self.arms[index].unseen.as_ref().and_then(Unseen::oldest) else { break };
            self.touch_item(other);
            let arm = &mut self.arms[index];
            if other != row {
                arm.contrast(slot, (row, false), (other, false), seen);
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

    fn contrast_drawn(&mut self, index: usize, slot: usize, item: (usize, bool), count: usize, seen: &Seen) {
        let mut rng = Rng::new(mix(self.options.seed ^ self.sequence));
        for _ in 0..count {
            let draw = |_: usize| rng.below(self.items.len() as u64) as usize;
            let history = self.users.get(slot).history.entries();
            let had = |row: &usize| *row == item.0 || history.iter().any(|entry| entry.item as usize == *row);
            let Some(other) = (0..TRIES).map(draw).find(|row| !had(row)) else { continue };
            let owned = self.items.get(other).owner == self.index;
            if owned {
                self.touch_item(other);
                self.mark_dirty(other);
            }
            self.arms[index].contrast(slot, item, (other, owned), seen);
        }
    }

    /// The item in `row` had an event in another shard.
    pub(super) fn heard_of(&mut self, row: usize) {
        for unseen in self.arms.iter_mut().filter_map(|arm| arm.unseen.as_mut()) {
            unseen.see(row);
        }
    }
}

/// The owner's half for an event of another shard's user, whose history is not known here: the item in `row` is set
/// against items drawn among all `items` by the generator of `seed`.
pub(super) fn contrast_observed(arm: &mut Arm, user: &mut [f32], row: usize, items: usize, seed: u64, seen: &Seen) {
    let Negatives::Drawn(count) = arm.negatives else { return };
    if seen.weight <= 0.0 {
        return;
    }
    let mut rng = Rng::new(mix(seed));
    for _ in 0..count {
        let other = rng.below(items as u64) as usize;
        if other != row {
            arm.contrast_item(user, row, other, seen);
        }
    }
}
