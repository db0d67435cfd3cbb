//! What items are about: their tags, how often each tag was met, and the items that nobody met yet.
//!
//! An item without an event has no counts, no pairs and no factor; by its tags it can still be proposed and described
//! (content-based filtering of cold items: Schein et al. 2002). How much a user likes a tag is its share among the
//! user's newest items over its share among all events, as a logarithm: 0 is what anybody would meet.

use crate::base::cursor::{CursorError, Reader, Writer};

/// Items that wait for their first event, at most; the newest stay.
const FRESH_MAX: usize = 256;
/// Factor on each older item of a user.
const RECENCY: f32 = 0.9;
/// Added to both shares: a tag that was met little says little.
const SMOOTH: f32 = 0.02;
/// Most tags of one item that count.
pub const TAGS_MAX: usize = 64;

/// Tags of all items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tags {
    /// By item.
    items: Vec<Box<[u32]>>,
    /// Events by tag.
    met: Vec<u32>,
    /// Events of items that have tags.
    events: u32,
    /// Items with tags and without an event, oldest first.
    fresh: Vec<u32>,
}

/// How much a user likes each tag: scratch of queries.
#[derive(Debug, Default)]
pub struct Liking {
    /// By tag: its share among the user's newest items.
    shares: Vec<f32>,
    /// Whether the user's newest items have tags.
    known: bool,
}

impl Liking {
    /// Nothing is known of the user. Keeps its memory.
    pub fn forget(&mut self) {
        self.known = false;
    }

    /// Whether the user's newest items have tags.
    #[must_use]
    pub fn known(&self) -> bool {
        self.known
    }
}

impl Tags {
    /// Adds an item without tags.
    pub fn insert(&mut self) {
        self.items.push(Box::default());
    }

    /// The tags of an item.
    #[must_use]
    #[inline]
    pub fn of(&self, item: usize) -> &[u32] {
        &self.items[item]
    }

    /// Whether any item has tags.
    #[must_use]
    #[inline]
    pub fn any(&self) -> bool {
        !self.met.is_empty()
    }

    /// Items with tags that nobody met yet, oldest first.
    #[must_use]
    pub fn fresh(&self) -> &[u32] {
        &self.fresh
    }

    /// Sets the tags of an item; `met` says whether it had an event.
    pub fn set(&mut self, item: usize, tags: &[u32], met: bool) {
        let tags = &tags[..tags.len().min(TAGS_MAX)];
        self.items[item] = tags.into();
        let most = tags.iter().map(|tag| *tag as usize + 1).max().unwrap_or(0);
        if most > self.met.len() {
            self.met.resize(most, 0);
        }
        self.fresh.retain(|other| *other as usize != item);
        if !met && !tags.is_empty() {
            if self.fresh.len() == FRESH_MAX {
                self.fresh.remove(0);
            }
            self.fresh.push(item as u32);
        }
    }

    /// Learns an event of an item; `first` says whether it is its first.
    pub fn learn(&mut self, item: usize, first: bool) {
        if self.items[item].is_empty() {
            return;
        }
        if first {
            self.fresh.retain(|other| *other as usize != item);
        }
        self.events = self.events.saturating_add(1);
        for tag in &self.items[item] {
            self.met[*tag as usize] = self.met[*tag as usize].saturating_add(1);
        }
    }

    /// What a user likes whose newest items are these.
    pub fn like(&self, newest: impl Iterator<Item = u32>, liking: &mut Liking) {
        liking.shares.clear();
        liking.shares.resize(self.met.len(), 0.0);
        let (mut weight, mut total) = (1.0_f32, 0.0_f32);
        for tags in newest.map(|item| self.of(item as usize)).filter(|tags| !tags.is_empty()) {
            tags.iter().for_each(|tag| liking.shares[*tag as usize] += weight);
            total += weight;
            weight *= RECENCY;
        }
        liking.known = total > 0.0;
        if liking.known {
            liking.shares.iter_mut().for_each(|share| *share /= total);
        }
    }

    /// How much more than others that user would meet an item, by its tags: the mean over them; 0 without.
    #[must_use]
    pub fn affinity(&self, liking: &Liking, item: usize) -> f32 {
        let tags = self.of(item);
        if tags.is_empty() || !liking.known || self.events == 0 {
            return 0.0;
        }
        let events = self.events as f32;
        // The logarithm of the product is the sum of logarithms; 64 factors of 1/50 to 50 stay within a double.
        let lift: f64 = tags
            .iter()
            .map(|tag| {
                let share = liking.shares.get(*tag as usize).copied().unwrap_or(0.0);
                f64::from((share + SMOOTH) / (self.met[*tag as usize] as f32 / events + SMOOTH))
            })
            .product();
        (lift.ln() / tags.len() as f64) as f32
    }

    /// Appends what is kept over all items.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        out.u32(self.events);
        for list in [&self.met, &self.fresh] {
            out.count(list.len()).u32s(list);
        }
    }

    /// Reads what [`Self::encode_head`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no such lists.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.events = from.u32()?;
        self.met = list(from, usize::MAX)?;
        self.fresh = list(from, FRESH_MAX)?;
        Ok(())
    }

    /// Appends the tags of one item.
    pub fn encode_item(&self, item: usize, out: &mut Writer<'_>) {
        let tags = self.of(item);
        out.count(tags.len()).u32s(tags);
    }

    /// Adds an item as [`Self::encode_item`] wrote it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no tags, or tags that the head does not know.
    pub fn decode_item(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        let tags = list(from, TAGS_MAX)?;
        if let Some(unknown) = tags.iter().find(|tag| **tag as usize >= self.met.len()) {
            let (what, allowed) = ("tag of an item", "below the number of tags");
            return Err(CursorError::Bad { what, offset, found: u64::from(*unknown), allowed });
        }
        self.items.push(tags.into());
        Ok(())
    }
}

fn list(from: &mut Reader<'_>, most: usize) -> Result<Vec<u32>, CursorError> {
    let count = from.count(4, most)?;
    (0..count).map(|_| from.u32()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Tags {
        let mut tags = Tags::default();
        for (item, of) in [&[0, 1][..], &[1], &[2], &[]].into_iter().enumerate() {
            tags.insert();
            tags.set(item, of, false);
        }
        tags
    }

    #[test]
    fn fresh_items_are_those_with_tags_and_without_an_event() {
        let mut tags = tags();
        assert_eq!(tags.fresh(), [0, 1, 2]);
        tags.learn(1, true);
        tags.learn(3, true);
        assert_eq!(tags.fresh(), [0, 2]);
        tags.set(0, &[], false);
        tags.set(1, &[0], true);
        assert_eq!(tags.fresh(), [2]);
    }

    #[test]
    fn a_tag_is_liked_by_its_share_over_everybodys() {
        let mut tags = tags();
        [0, 0, 1, 2].into_iter().for_each(|item| tags.learn(item, false));
        let mut liking = Liking::default();
        tags.like([1, 3, 0].into_iter(), &mut liking);
        // Shares .9 / 1.9, 1, 0 against 2/4, 3/4, 1/4.
        let lift = |share: f64, all: f64| ((share + 0.02) / (all + 0.02)).ln();
        let exact = [(lift(0.9 / 1.9, 0.5) + lift(1.0, 0.75)) / 2.0, lift(1.0, 0.75), lift(0.0, 0.25), 0.0];
        for (item, exact) in exact.into_iter().enumerate() {
            assert!((f64::from(tags.affinity(&liking, item)) - exact).abs() < 1e-5, "item {item}");
        }
        tags.like([3].into_iter(), &mut liking);
        assert_eq!(tags.affinity(&liking, 0).to_bits(), 0.0_f32.to_bits(), "nothing is known of this user");
    }

    #[test]
    fn comes_back_from_its_bytes() {
        let mut tags = tags();
        tags.learn(0, true);
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        tags.encode_head(&mut out);
        (0..4).for_each(|item| tags.encode_item(item, &mut out));
        let (mut again, mut from) = (Tags::default(), Reader::new(&bytes));
        again.decode_head(&mut from).unwrap();
        (0..4).for_each(|_| again.decode_item(&mut from).unwrap());
        assert_eq!(again, tags);
        let mut empty = Tags::default();
        assert!(empty.decode_item(&mut Reader::new(&bytes[bytes.len() - 16..])).is_err(), "a tag nobody knows");
    }
}
