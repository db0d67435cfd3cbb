//! The items worth a look when every item would be too many: at most [`ALIVE_MAX`] by slow decayed popularity, and
//! those that were met for the first time since they were chosen.
//!
//! Chosen anew at learn time, every `REST_MIN` events or an eighth of the items if that is more, so that the work is
//! spread thin (a scan of 8 items an event at most); a query only reads.

use crate::base::cursor::{CursorError, Reader, Writer};

/// Most items chosen.
pub const ALIVE_MAX: usize = 8_192;
/// Fewest events from one choice to the next.
const REST_MIN: u64 = 1_024;

/// Rows of the items alive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alive {
    /// Rising up to the choice, then in the order of their first event.
    items: Vec<u32>,
    due: u64,
}

impl Alive {
    /// The items.
    #[must_use]
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Event `x` was learned; `first` is its item if that was met for the first time. `weight_of` tells the popularity
    /// of one of `count` items, 0 of those never met.
    pub fn learn(&mut self, x: u64, first: Option<u32>, count: usize, weight_of: impl Fn(u32) -> f32) {
        self.items.extend(first);
        if x < self.due {
            return;
        }
        self.due = x + REST_MIN.max(count as u64 / 8);
        if self.items.len() <= ALIVE_MAX && self.items.len() == count {
            return; // all of them already
        }
        let mut ranked: Vec<(f32, u32)> =
            (0..count as u32).map(|item| (weight_of(item), item)).filter(|(weight, _)| *weight > 0.0).collect();
        if ranked.len() > ALIVE_MAX {
            ranked.select_nth_unstable_by(ALIVE_MAX - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            ranked.truncate(ALIVE_MAX);
        }
        self.items.clear();
        self.items.extend(ranked.iter().map(|(_, item)| *item));
        self.items.sort_unstable();
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.due).count(self.items.len()).u32s(&self.items);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not such a list.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let due = from.u64()?;
        let count = from.count(4, u32::MAX as usize)?;
        let items = (0..count).map(|_| from.u32()).collect::<Result<_, _>>()?;
        Ok(Self { items, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_most_popular_and_the_new() {
        let count = ALIVE_MAX + 100;
        let weight = |item: u32| if item.is_multiple_of(2) { 1.0 + item as f32 } else { 1.0 };
        let mut alive = Alive::default();
        alive.learn(0, Some(5), count, weight);
        assert_eq!(alive.items().len(), ALIVE_MAX);
        assert!(alive.items().is_sorted());
        assert!((0..count as u32).step_by(2).all(|item| alive.items().binary_search(&item).is_ok()));
        let chosen = alive.clone();
        alive.learn(1, None, count, |_| 0.0);
        assert_eq!(alive, chosen, "not due yet");
        alive.learn(2, Some(count as u32), count + 1, weight);
        assert_eq!(alive.items().last(), Some(&(count as u32)), "met just now");
        alive.learn(1_024 + count as u64, None, 4, |item| item as f32);
        assert_eq!(alive.items(), [1, 2, 3], "never met, never alive");
        let mut bytes = Vec::new();
        alive.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Alive::decode(&mut Reader::new(&bytes)).unwrap(), alive);
    }
}
