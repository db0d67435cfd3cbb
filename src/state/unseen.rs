//! The items in the order of their newest event, as `raisgd` asks for them: those unseen for longest first.
//!
//! A doubly linked list over row numbers, so that an item moves to the end in a few steps however many there are. The
//! mark of an item says when it was moved last; marks rise along the list, are what an image holds, and put the list
//! together again. An item without an event has mark 0 and stands in no list.

use super::items::row_number;

/// No row.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    newer: u32,
    mark: u64,
}

/// The queue.
#[derive(Debug)]
pub struct Unseen {
    links: Vec<Link>,
    oldest: u32,
    newest: u32,
    /// The newest mark.
    clock: u64,
}

impl Default for Unseen {
    fn default() -> Self {
        Self { links: Vec::new(), oldest: NONE, newest: NONE, clock: 0 }
    }
}

impl Unseen {
    /// Moves the item in `row` to the end: it was seen just now.
    pub fn see(&mut self, row: usize) {
        if row >= self.links.len() {
            self.links.resize(row + 1, Link { older: NONE, newer: NONE, mark: 0 });
        }
        if self.links[row].mark > 0 {
            self.take_out(row);
        }
        self.clock += 1;
        self.links[row].mark = self.clock;
        self.append(row);
    }

    /// The item that was unseen for longest.
    #[must_use]
    pub fn oldest(&self) -> Option<usize> {
        (self.oldest != NONE).then_some(self.oldest as usize)
    }

    /// When the item in `row` was moved last; 0 if never.
    #[must_use]
    pub fn mark(&self, row: usize) -> u64 {
        self.links.get(row).map_or(0, |link| link.mark)
    }

    /// Adds the next row with its mark, out of order: to be followed by [`Self::queue_by_mark`].
    pub fn restore(&mut self, mark: u64) {
        self.links.push(Link { older: NONE, newer: NONE, mark });
    }

    /// Puts the restored rows in their order.
    pub fn queue_by_mark(&mut self) {
        let mut rows: Vec<usize> = (0..self.links.len()).filter(|row| self.links[*row].mark > 0).collect();
        rows.sort_by_key(|row| self.links[*row].mark);
        self.clock = rows.last().map_or(0, |row| self.links[*row].mark);
        (self.oldest, self.newest) = (NONE, NONE);
        rows.into_iter().for_each(|row| self.append(row));
    }

    fn append(&mut self, row: usize) {
        let at = row_number(row);
        self.links[row] = Link { older: self.newest, newer: NONE, ..self.links[row] };
        match self.newest {
            NONE => self.oldest = at,
            newest => self.links[newest as usize].newer = at,
        }
        self.newest = at;
    }

    fn take_out(&mut self, row: usize) {
        let Link { older, newer, .. } = self.links[row];
        match older {
            NONE => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn order(unseen: &Unseen) -> Vec<usize> {
        let (mut rows, mut at) = (Vec::new(), unseen.oldest);
        while at != NONE {
            rows.push(at as usize);
            at = unseen.links[at as usize].newer;
        }
        rows
    }

    #[test]
    fn keeps_the_order_that_a_list_would_and_comes_back_from_its_marks() {
        let (seed, mut unseen, mut list) = (61, Unseen::default(), Vec::<usize>::new());
        let mut rng = Rng::new(seed);
        for step in 0..3_000 {
            let row = rng.below(40) as usize;
            unseen.see(row);
            list.retain(|other| *other != row);
            list.push(row);
            if step % 100 == 0 {
                assert_eq!(order(&unseen), list, "seed {seed}, step {step}");
            }
        }
        let mut restored = Unseen::default();
        (0..50).for_each(|row| restored.restore(unseen.mark(row)));
        restored.queue_by_mark();
        assert_eq!(order(&restored), list);
        for twin in [&mut unseen, &mut restored] {
            twin.see(3);
            twin.see(45);
        }
        assert_eq!((order(&restored), restored.mark(45)), (order(&unseen), unseen.mark(45)));
        assert_eq!((restored.mark(49), restored.mark(1_000)), (0, 0));
    }
}
