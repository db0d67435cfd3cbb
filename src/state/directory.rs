//! Id to slot, within one shard.
//!
//! Hashing is keyed at random against floods of colliding ids; nothing ever depends on the order of the table, so the
//! shard stays deterministic.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{Id, IdRef};

/// Slots by id. Slots are dense and never reused.
#[derive(Debug, Default)]
pub struct Directory {
    ints: HashMap<u64, u32, RandomState>,
    texts: HashMap<Box<str>, u32, RandomState>,
}

impl Directory {
    /// The slot of `id`.
    #[must_use]
    #[inline]
    pub fn get(&self, id: IdRef<'_>) -> Option<usize> {
        match id {
            IdRef::Int(number) => self.ints.get(&number),
            IdRef::Text(text) => self.texts.get(text),
        }
        .map(|slot| *slot as usize)
    }

    /// Gives `id` the slot `slot`, which is the number of ids before it.
    ///
    /// # Panics
    /// At 2^32 ids in one shard, which memory does not allow.
    pub fn insert(&mut self, id: &Id, slot: usize) {
        let slot = u32::try_from(slot).expect("memory ends before 2^32 ids");
        match id {
            Id::Int(number) => self.ints.insert(*number, slot),
            Id::Text(text) => self.texts.insert(text.clone(), slot),
        };
    }
}
