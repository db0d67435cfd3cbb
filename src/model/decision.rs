//! Lists that were served, by decision id, and a bounded memory for them.
//!
//! A *decision* is one list that one user got. Its items are remembered by the stable hash of their ids, so that a list
//! of ten costs a hundred bytes however long the ids are.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::TOP_K_MAX;

/// Places a list that a [`Remembered`] of some lists has room for, on average.
pub const PLACES_PER_LIST: usize = 16;

/// A list that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedList<'a> {
    /// Stable hash of the user that got it.
    pub user: u64,
    /// The strategy that ranked.
    pub strategy: &'a str,
    /// When it was served, in milliseconds since 1970-01-01 UTC.
    pub served_ms: i64,
    /// Until when outcomes count.
    pub until_ms: i64,
    /// Stable hashes of its items, the best first.
    pub items: Vec<u64>,
}

impl<'a> ServedList<'a> {
    /// Appends it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.user).text(self.strategy).i64(self.served_ms).i64(self.until_ms).count(self.items.len());
        for item in &self.items {
            out.u64(*item);
        }
    }

    /// Takes what [`Self::encode`] put.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no list.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, CursorError> {
        let (user, strategy, served_ms, until_ms) = (from.u64()?, from.text()?, from.i64()?, from.i64()?);
        let count = from.count(8, TOP_K_MAX)?;
        let items = (0..count).map(|_| from.u64()).collect::<Result<_, _>>()?;
        Ok(Self { user, strategy, served_ms, until_ms, items })
    }
}

/// Whether something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall<T> {
    /// It is.
    Known(T),
    /// It was, and had to give way.
    Forgotten,
    /// It never was, or so long ago that not even its id is left.
    Unknown,
}

/// What is remembered of the newest decisions: at most so many, with at most [`PLACES_PER_LIST`] times as many places.
/// The oldest give way; of them the ids alone are kept, as many again.
#[derive(Clone, Debug)]
pub struct Remembered<V> {
    most: usize,
    /// By id; `None`: forgotten.
    values: HashMap<u64, Option<(u32, V)>, foldhash::fast::RandomState>,
    /// Ids, oldest first; those taken out may still stand here.
    order: VecDeque<u64>,
    forgotten: VecDeque<u64>,
    alive: usize,
    places: usize,
}

impl<V> Remembered<V> {
    /// Room for `most` decisions.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let (values, order, forgotten) = (HashMap::default(), VecDeque::new(), VecDeque::new());
        Self { most, values, order, forgotten, alive: 0, places: 0 }
    }

    /// Decisions remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.alive
    }

    /// Whether nothing is remembered and nothing was forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What is remembered of a decision.
    #[must_use]
    pub fn recall(&self, id: u64) -> Recall<&V> {
        match self.values.get(&id) {
            Some(Some((_, value))) => Recall::Known(value),
            Some(None) => Recall::Forgotten,
            None => Recall::Unknown,
        }
    }

    /// What is remembered, oldest first, each with its id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.order.iter().filter_map(|id| Some((*id, &self.values.get(id)?.as_ref()?.1)))
    }

    /// The ids of what was forgotten, oldest first.
    pub fn forgotten(&self) -> impl Iterator<Item = u64> {
        self.forgotten.iter().copied()
    }

    /// What is remembered of a decision, to be changed.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut V> {
        self.values.get_mut(&id).and_then(Option::as_mut).map(|(_, value)| value)
    }

    /// Remembers a decision over a list of so many places; the oldest give way.
    pub fn insert(&mut self, id: u64, places: usize, value: V) {
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        if let Some(Some((before, _))) = self.values.insert(id, Some((places, value))) {
            self.places -= before as usize;
        } else {
            self.order.push_back(id);
            self.alive += 1;
        }
        self.places += places as usize;
        while self.alive > self.most
            || self.places > self.most * PLACES_PER_LIST
            || self.order.len() > 2 * self.most.max(1)
        {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(oldest);
        }
    }

    /// Forgets the oldest as long as they are `stale`.
    pub fn forget_while(&mut self, stale: impl Fn(&V) -> bool) {
        while let Some(oldest) = self.order.front().copied()
            && self.values.get(&oldest).and_then(Option::as_ref).is_none_or(|(_, value)| stale(value))
        {
            self.order.pop_front();
            self.forget(oldest);
        }
    }

    /// Takes a decision out: it is unknown from now on.
    pub fn take(&mut self, id: u64) -> Option<V> {
        let (places, value) = self.values.remove(&id)??;
        self.alive -= 1;
        self.places -= places as usize;
        Some(value)
    }

    /// Leaves the id alone of a decision that has left the order, if it is still there.
    fn forget(&mut self, id: u64) {
        let Some(slot) = self.values.get_mut(&id) else { return };
        let Some((places, _)) = slot.take() else { return };
        self.alive -= 1;
        self.places -= places as usize;
        self.note_forgotten(id);
    }

    /// Takes note that a decision was and had to give way.
    pub fn note_forgotten(&mut self, id: u64) {
        self.values.insert(id, None);
        self.forgotten.push_back(id);
        if self.forgotten.len() > self.most
            && let Some(oldest) = self.forgotten.pop_front()
            && matches!(self.values.get(&oldest), Some(None))
        {
            self.values.remove(&oldest);
        }
    }

    /// Appends everything, each value by `put` after its id and places.
    pub fn encode(&self, out: &mut Writer<'_>, put: impl Fn(&V, &mut Writer<'_>)) {
        out.count(self.alive);
        for id in &self.order {
            if let Some(Some((places, value))) = self.values.get(id) {
                put(value, out.u64(*id).u32(*places));
            }
        }
        out.count(self.forgotten.len());
        for id in &self.forgotten {
            out.u64(*id);
        }
    }

    /// Takes what [`Self::encode`] put into an empty memory with the same room.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no such memory.
    pub fn decode<'b>(
        &mut self,
        from: &mut Reader<'b>,
        take: impl Fn(&mut Reader<'b>) -> Result<V, CursorError>,
    ) -> Result<(), CursorError> {
        for _ in 0..from.count(12, self.most)? {
            let (id, places) = (from.u64()?, from.u32()?);
            let value = take(from)?;
            self.insert(id, places as usize, value);
        }
        for _ in 0..from.count(8, self.most)? {
            self.note_forgotten(from.u64()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_and_a_cut_one_does_not() {
        let list = ServedList { user: 7, strategy: "decay", served_ms: 5, until_ms: 9, items: vec![3, 1, 2] };
        let mut bytes = Vec::new();
        list.encode(&mut Writer::new(&mut bytes));
        assert_eq!(ServedList::decode(&mut Reader::new(&bytes)), Ok(list));
        for cut in 0..bytes.len() {
            assert!(ServedList::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_oldest_give_way_and_leave_their_ids_for_a_while() {
        let mut memory = Remembered::new(3);
        for id in 1..=5 {
            memory.insert(id, 10, id * 100);
        }
        assert_eq!((memory.len(), memory.recall(5)), (3, Recall::Known(&500)));
        assert_eq!((memory.recall(2), memory.recall(9)), (Recall::Forgotten, Recall::Unknown));
        memory.insert(6, 40, 600);
        assert_eq!(memory.recall(5), Recall::Forgotten, "40 of 48 places are taken: ten do not fit beside them");
        assert_eq!((memory.len(), memory.recall(1)), (1, Recall::Unknown), "ids of three are kept, not of five");
        assert_eq!((memory.take(6), memory.take(6), memory.len()), (Some(600), None, 0));
        assert_eq!(memory.recall(6), Recall::Unknown);
    }

    #[test]
    fn stale_ones_are_forgotten_and_those_taken_out_do_not_stand_in_the_way() {
        let mut memory = Remembered::new(100);
        for id in 1..=6 {
            memory.insert(id, 1, id);
        }
        memory.take(2);
        memory.forget_while(|value| *value < 4);
        assert_eq!((memory.len(), memory.recall(3), memory.recall(2)), (3, Recall::Forgotten, Recall::Unknown));
        for id in 10..10_000 {
            memory.insert(id, 1, id);
            memory.take(id);
        }
        assert!(memory.order.len() <= 200, "{}", memory.order.len());
    }

    #[test]
    fn a_memory_comes_back_to_the_same_bytes() {
        let mut memory = Remembered::new(4);
        for id in 1..=9 {
            memory.insert(id, 2, id * 3);
        }
        let bytes_of = |memory: &Remembered<u64>| {
            let mut bytes = Vec::new();
            memory.encode(&mut Writer::new(&mut bytes), |value, out| {
                out.u64(*value);
            });
            bytes
        };
        let bytes = bytes_of(&memory);
        let mut again = Remembered::new(4);
        again.decode(&mut Reader::new(&bytes), Reader::u64).expect("own bytes");
        assert_eq!((bytes_of(&again), again.recall(4)), (bytes, Recall::Forgotten));
    }
}
