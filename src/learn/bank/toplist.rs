//! The most popular items at one half-life, kept in order as events come.
//!
//! Decayed sums scaled forward change for the item of the event alone, and only upwards: one insertion keeps the list
//! exact, no scan is ever needed.

/// The best items by a sum that only rises.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopList {
    best: Vec<(f32, u32)>,
}

/// Items kept in a list: room for those that a user has met already.
pub const TOP_MAX: usize = 150;

impl TopList {
    /// The items, best first; among equals the one that came to its sum first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.best.iter().map(|(_, item)| *item)
    }

    /// The sum of `item` rose to `sum`.
    pub fn rise(&mut self, item: u32, sum: f32) {
        let mut at = match self.best.iter().position(|(_, held)| *held == item) {
            Some(at) => at,
            None if self.best.len() < TOP_MAX => {
                self.best.push((sum, item));
                self.best.len() - 1
            }
            None if self.best[TOP_MAX - 1].0 < sum => TOP_MAX - 1,
            None => return,
        };
        while at > 0 && self.best[at - 1].0 < sum {
            self.best[at] = self.best[at - 1];
            at -= 1;
        }
        self.best[at] = (sum, item);
    }

    /// Reads sums anew after they were rescaled, or fills the list from a whole table.
    pub fn refresh(&mut self, sum_of: impl Fn(u32) -> f32) {
        for (sum, item) in &mut self.best {
            *sum = sum_of(*item);
        }
    }

    /// The items and their sums, best first.
    pub fn entries(&self) -> &[(f32, u32)] {
        &self.best
    }

    /// A list with these entries.
    pub fn restored(best: Vec<(f32, u32)>) -> Self {
        Self { best }
    }
}
