//! Operations that a shard broke at.
//!
//! A panic costs the shard its machine, which is made anew from disk, and whoever gets no answer sends again: a single bad
//! operation could keep a shard from serving anybody. So what panics in company is tried once more, each operation on its
//! own; the one that panics alone is refused, its event kept for inspection, and not tried again while the process lives. The
//! others never notice.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Operations that are remembered; the oldest give way.
const REMEMBERED_MAX: usize = 256;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Poison(VecDeque<u64>);

impl Poison {
    /// Whether there is nothing to look for.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers an operation by its bytes.
    pub fn remember(&mut self, op: &[u8]) {
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(hash(op));
    }

    /// Whether the shard broke at this operation.
    #[must_use]
    pub fn knows(&self, op: &[u8]) -> bool {
        let wanted = hash(op);
        self.0.iter().any(|known| *known == wanted)
    }
}

fn hash(op: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    op.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut poison = Poison::default();
        assert!(poison.is_empty() && !poison.knows(b"op"));
        for number in 0..=REMEMBERED_MAX as u64 {
            poison.remember(&number.to_le_bytes());
        }
        assert!(!poison.knows(&0_u64.to_le_bytes()) && poison.knows(&1_u64.to_le_bytes()) && !poison.is_empty());
    }
}
