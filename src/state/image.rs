//! The image of a shard: what a snapshot holds, written while the shard goes on.
//!
//! ```text
//! section: kind u8 | first u32 | count u32 | length u32 | body
//!   kind 1, head:  version u8, index u16, sequence u64, merged (u32, u64...), outboxes (u32, ...), events u64,
//!                  epoch u32, spread (u64, f64, f64), reference f64, users u32, items u32, tags (u32, texts),
//!                  arms (u32: name text, model epoch u32, model items u64, gram u32 + f32..., prequential, and what
//!                  it keeps once, f32..., if it sweeps),
//!                  from version 2: bank u8 (1: the bank's head, ranker, ratings),
//!                  from version 4: schema, events by facet (u64, u32: u64...), values by kind (u32: u8,
//!                  moments), grain of time, churn risk, forecasts
//!   kind 2, users: each `User`, then for each arm its column, then the bank's part
//!   kind 3, items: each `Item`, then for each arm its column, its mark u64 if the arm keeps a queue of items, and its
//!                  newest users (u32, u32...) if it sweeps, then the bank's part
//!                  (columns of `auto` are MODEL_DIM long from version 3 on, before that they were DIM long;
//!                  from version 4 on users are persons, items have descriptions;
//!                  from version 5 on the bank's parts of head and items end with embeddings)
//!   kind 4, decisions: lists shown and what came of them (decisions.rs); left out as long as no operation named one
//! ```
//!
//! *While serving.* [`Shard::capture_begin`] fixes the image at the present sequence. Leaves of some entities are then
//! encoded a few at a time by [`Shard::capture_some`], and an operation that is about to change a leaf not yet encoded
//! encodes it first (copy on write). Sections therefore come in any order; [`ImageReader`](super::ImageReader) puts them back in theirs.
//!
//! *Digest.* The hash of all that is known, users and items in order; sequences, outboxes and what was merged are left out
//! (they say where the shard stands, not what it knows): two shards with equal digests answer everything alike.

use super::Shard;
use super::exchange::put_column;
use crate::base::cursor::Writer;
use crate::base::ids::mix;

/// Users of one section: the grain of copy on write. Few, as right after the beginning nearly every event is of a user not
/// yet encoded, and pays for its whole leaf: with 256 the first hundred events paid for all users at once. The grain is no
/// part of the format; the fixture of the tests was written with this one.
const USER_LEAF: usize = if cfg!(test) { 16 } else { 8 };
/// Items of one section: fewer, as one event changes a score of them and each may have kilobytes of neighbours.
const ITEM_LEAF: usize = if cfg!(test) { 16 } else { 2 };
pub(super) const VERSION: u8 = 5;
pub(super) const HEAD: u8 = 1;
pub(super) const USERS: u8 = 2;
pub(super) const ITEMS: u8 = 3;
pub(super) const DECISIONS: u8 = 4;

/// Some encoded sections, in no order.
pub type Section = Vec<u8>;

/// An image in the making.
#[derive(Debug)]
pub(super) struct Capture {
    users: Leaves,
    items: Leaves,
    done: Vec<Section>,
}

#[derive(Debug)]
struct Leaves {
    entities: usize,
    size: usize,
    saved: Vec<bool>,
    next: usize,
}

impl Leaves {
    fn new(entities: usize, size: usize) -> Self {
        Self { entities, size, saved: vec![false; entities.div_ceil(size)], next: 0 }
    }

    /// Takes the leaf of `entity` for encoding, if it is part of the image and was not taken.
    fn take(&mut self, entity: usize) -> Option<std::ops::Range<usize>> {
        let leaf = entity / self.size;
        if entity >= self.entities || self.saved[leaf] {
            return None;
        }
        self.saved[leaf] = true;
        Some(leaf * self.size..((leaf + 1) * self.size).min(self.entities))
    }

    fn take_next(&mut self) -> Option<std::ops::Range<usize>> {
        while self.next < self.saved.len() {
            let first = self.next * self.size;
            self.next += 1;
            if let Some(range) = self.take(first) {
                return Some(range);
            }
        }
        None
    }
}

impl Shard {
    /// Begins an image of the present state. One at a time: an older one in the making is given up.
    pub fn capture_begin(&mut self) {
        let mut head = Vec::new();
        put_section(&mut head, HEAD, 0..1, |out| {
            self.put_place(out);
            self.put_knowledge(out);
        });
        if !self.decisions.is_empty() {
            put_section(&mut head, DECISIONS, 0..1, |out| self.decisions.encode(out));
        }
        let (users, items) = (Leaves::new(self.users.len(), USER_LEAF), Leaves::new(self.items.len(), ITEM_LEAF));
        self.capture = Some(Capture { users, items, done: vec![head] });
    }

    /// Encodes up to `leaves` more leaves and hands out what is ready. `None` when the image is complete and all of it
    /// has been handed out.
    pub fn capture_some(&mut self, leaves: usize) -> Option<Vec<Section>> {
        let mut capture = self.capture.take()?;
        for _ in 0..leaves {
            let section = if let Some(range) = capture.users.take_next() {
                self.users_section(range)
            } else if let Some(range) = capture.items.take_next() {
                self.items_section(range)
            } else {
                break;
            };
            capture.done.push(section);
        }
        let done = std::mem::take(&mut capture.done);
        if done.is_empty() {
            return None;
        }
        self.capture = Some(capture);
        Some(done)
    }

    /// Gives up the image in the making.
    pub fn capture_stop(&mut self) {
        self.capture = None;
    }

    /// To be called before the user in `slot` changes.
    #[inline]
    pub(super) fn touch_user(&mut self, slot: usize) {
        if self.capture.is_some() {
            self.save_user(slot);
        }
    }

    /// To be called before the item in `row` changes.
    #[inline]
    pub(super) fn touch_item(&mut self, row: usize) {
        if self.capture.is_some() {
            self.save_item(row);
        }
    }

    /// To be called before all items change.
    pub(super) fn touch_all_items(&mut self) {
        for row in (0..self.items.len()).step_by(ITEM_LEAF) {
            self.touch_item(row);
        }
    }

    #[cold]
    fn save_user(&mut self, slot: usize) {
        let range = self.capture.as_mut().and_then(|capture| capture.users.take(slot));
        let section = range.map(|range| self.users_section(range));
        if let Some(capture) = &mut self.capture {
            capture.done.extend(section);
        }
    }

    #[cold]
    fn save_item(&mut self, row: usize) {
        let range = self.capture.as_mut().and_then(|capture| capture.items.take(row));
        let section = range.map(|range| self.items_section(range));
        if let Some(capture) = &mut self.capture {
            capture.done.extend(section);
        }
    }

    fn users_section(&self, range: std::ops::Range<usize>) -> Section {
        let mut bytes = Vec::new();
        put_section(&mut bytes, USERS, range.clone(), |out| range.for_each(|slot| self.put_user(slot, out)));
        bytes
    }

    fn items_section(&self, range: std::ops::Range<usize>) -> Section {
        let mut bytes = Vec::new();
        put_section(&mut bytes, ITEMS, range.clone(), |out| range.for_each(|row| self.put_item(row, out)));
        bytes
    }

    fn put_user(&self, slot: usize, out: &mut Writer<'_>) {
        self.users.get(slot).encode(out);
        for arm in &self.arms {
            put_column(out, &arm.users.col(slot)[..arm.shape.user_rows]);
        }
        if let Some(banked) = &self.banked {
            banked.encode_user(slot, out);
        }
    }

    fn put_item(&self, row: usize, out: &mut Writer<'_>) {
        self.items.get(row).encode(out);
        for arm in &self.arms {
            put_column(out, &arm.items.col(row)[..arm.shape.item_rows]);
            if let Some(unseen) = &arm.unseen {
                out.u64(unseen.mark(row));
            }
            if arm.sweeps.is_some() {
                let audience = arm.audiences.get(row).map_or(&[][..], Vec::as_slice);
                out.count(audience.len());
                for user in audience {
                    out.u32(*user);
                }
            }
        }
        if let Some(banked) = &self.banked {
            banked.encode_item(row, out);
        }
    }

    /// Where the shard stands among operations and shards.
    fn put_place(&self, out: &mut Writer<'_>) {
        out.u8(VERSION).u16(self.index).u64(self.sequence).count(self.merged.len());
        for sequence in &self.merged {
            out.u64(*sequence);
        }
        out.count(self.outboxes.len());
        self.outboxes.iter().for_each(|outbox| outbox.encode(out));
    }

    /// What the shard as a whole has learned.
    fn put_knowledge(&self, out: &mut Writer<'_>) {
        out.u64(self.events).u32(self.epoch).u64(self.spread.count).f64(self.spread.mean).f64(self.spread.squares);
        out.f64(self.items.reference_ms());
        out.count(self.users.len()).count(self.items.len()).count(self.tags.names.len());
        for name in &self.tags.names {
            out.text(name);
        }
        out.count(self.arms.len());
        for arm in &self.arms {
            out.text(arm.strategy.name()).u32(arm.model.epoch).u64(arm.model.items).count(arm.model.gram.len());
            put_column(out, &arm.model.gram);
            arm.prequential.encode(out);
            put_column(out, &arm.shared);
        }
        match &self.banked {
            None => {
                out.u8(0);
            }
            Some(banked) => banked.encode(out.u8(1)),
        }
        self.schema.encode(out);
        self.population.encode(out);
        self.values.encode(out);
        self.grain.encode(out);
        self.leaving.churn.encode(out);
        self.leaving.forecasts.encode(out);
    }

    /// Hash of every bit that is known (see the module's head).
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        self.put_knowledge(&mut Writer::new(&mut bytes));
        let mut hash = hash_bytes(0, &bytes);
        if !self.decisions.is_empty() {
            bytes.clear();
            self.decisions.encode(&mut Writer::new(&mut bytes));
            hash = hash_bytes(hash, &bytes);
        }
        for slot in 0..self.users.len() {
            bytes.clear();
            self.put_user(slot, &mut Writer::new(&mut bytes));
            hash = hash_bytes(hash, &bytes);
        }
        for row in 0..self.items.len() {
            bytes.clear();
            self.put_item(row, &mut Writer::new(&mut bytes));
            hash = hash_bytes(hash, &bytes);
        }
        hash
    }

    /// Hash of every bit that is kept of one user.
    pub(super) fn user_digest(&self, slot: usize) -> u64 {
        let mut bytes = Vec::new();
        self.put_user(slot, &mut Writer::new(&mut bytes));
        hash_bytes(0, &bytes)
    }
}

fn put_section(bytes: &mut Vec<u8>, kind: u8, range: std::ops::Range<usize>, body: impl FnOnce(&mut Writer<'_>)) {
    Writer::new(bytes).u8(kind).count(range.start).count(range.len()).u32(0);
    let start = bytes.len();
    body(&mut Writer::new(bytes));
    let length = u32::try_from(bytes.len() - start).expect("a leaf is far below 4 GiB: histories are bounded");
    bytes[start - 4..start].copy_from_slice(&length.to_le_bytes());
}

/// A 64-bit hash of bytes, chained: eight bytes a step through the SplitMix64 finaliser. Not for hostile input.
fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(mix(seed ^ bytes.len() as u64), |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash ^ u64::from(*byte)))
}
