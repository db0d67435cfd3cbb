//! The image of a shard: what a snapshot holds, written while the shard goes on.
//!
//! ```text
//! sections (`base/capture.rs`):
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
//!                  from version 5 on the bank's parts of head and items end with embeddings;
//!                  from version 6 on what follows stands apart)
//!   kind 4, decisions: lists shown and what came of them (decisions.rs); left out as long as no operation named one
//!   kinds 5 to 9:  parts of the bank, from version 6 on; how many of each the head says. Of each item: 5 its pairs, 6 its
//!                  vectors of the sequence, 7 its counts, 8 its vectors of attention; 9 the events of the window
//! ```
//!
//! *While serving.* [`Shard::capture_begin`] fixes the image at the present sequence. Users and items are then encoded a
//! few at a time by [`Shard::capture_some`], and an operation that is about to change one not yet encoded encodes it first
//! (copy on write), alone: right after the beginning nearly every event pays for its user, its item, and what the bank
//! changes with them. Sections therefore come in any order; [`ImageReader`](super::ImageReader) puts them back in theirs.
//!
//! *Digest.* The hash of all that is known, users and items in order; sequences, outboxes and what was merged are left out
//! (they say where the shard stands, not what it knows): two shards with equal digests answer everything alike.

use super::Shard;
use crate::base::capture::{Capture, Captured, Sections, put_section};
use crate::base::cursor::Writer;
use crate::base::ids::mix;
use crate::learn::bank::PARTS;

/// Users and items of one section where nobody is in a hurry.
const RUN: usize = 16;
pub(super) const VERSION: u8 = 6;
pub(super) const HEAD: u8 = 1;
pub(super) const USERS: u8 = 2;
pub(super) const ITEMS: u8 = 3;
pub(super) const DECISIONS: u8 = 4;
/// Of the first part of a bank; the others follow.
pub(super) const PARTS_FIRST: u8 = 5;

/// An image in the making: which users and items it has, and what is ready of the rest. The parts of a bank know for
/// themselves.
#[derive(Debug)]
pub(super) struct Image {
    users: Capture,
    items: Capture,
    done: Vec<Sections>,
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
        let users = Capture::new(USERS, self.users.len(), RUN);
        let items = Capture::new(ITEMS, self.items.len(), RUN);
        self.capture = Some(Box::new(Image { users, items, done: vec![head] }));
        let parts = self.banked.iter_mut().flat_map(|banked| banked.bank.parts_mut());
        for ((kind, (_, run)), part) in (PARTS_FIRST..).zip(PARTS).zip(parts) {
            // One that is not there keeps its number.
            let Some(part) = part else { continue };
            part.set_capture(Some(Capture::new(kind, part.count(), run)));
        }
    }

    /// Encodes up to `runs` more runs and hands out what fills a buffer, which may be nothing; what changes most goes first.
    /// `None` when the image is complete and all of it has been handed out.
    pub fn capture_some(&mut self, runs: usize) -> Option<Vec<Sections>> {
        self.capture.as_ref()?;
        let all = (0..runs).any(|_| !self.capture_run());
        let mut done = Vec::new();
        self.parts_mut().filter_map(|part| part.capture().as_mut()).for_each(|capture| capture.drain(all, &mut done));
        if let Some(image) = &mut self.capture {
            done.append(&mut image.done);
            image.items.drain(all, &mut done);
            image.users.drain(all, &mut done);
        }
        if all && done.is_empty() {
            self.capture_stop();
            return None;
        }
        Some(done)
    }

    /// Encodes the next run; says whether there was one.
    fn capture_run(&mut self) -> bool {
        if self.parts_mut().any(Captured::keep_run) {
            return true;
        }
        let Some(mut image) = self.capture.take() else { return false };
        let found = if let Some(range) = image.items.take_run() {
            image.items.put(range, |row, out| self.put_item(row, out));
            true
        } else if let Some(range) = image.users.take_run() {
            image.users.put(range, |slot, out| self.put_user(slot, out));
            true
        } else {
            false
        };
        self.capture = Some(image);
        found
    }

    /// Gives up the image in the making.
    pub fn capture_stop(&mut self) {
        self.capture = None;
        self.parts_mut().for_each(|part| part.set_capture(None));
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut dyn Captured> {
        self.banked.iter_mut().flat_map(|banked| banked.bank.parts_mut()).flatten()
    }

    /// To be called before the user in `slot` changes.
    #[inline]
    pub(super) fn touch_user(&mut self, slot: usize) {
        if let Some(image) = &mut self.capture
            && image.users.take(slot)
        {
            self.save(|shard, image| image.users.put(slot..slot + 1, |slot, out| shard.put_user(slot, out)));
        }
    }

    /// To be called before the item in `row` changes.
    #[inline]
    pub(super) fn touch_item(&mut self, row: usize) {
        if let Some(image) = &mut self.capture
            && image.items.take(row)
        {
            self.save(|shard, image| image.items.put(row..row + 1, |row, out| shard.put_item(row, out)));
        }
    }

    /// To be called before all items change.
    pub(super) fn touch_all_items(&mut self) {
        if self.capture.is_some() {
            (0..self.items.len()).for_each(|row| self.touch_item(row));
        }
    }

    /// Encodes for the image in the making what is about to change.
    #[cold]
    fn save(&mut self, put: impl FnOnce(&Self, &mut Image)) {
        let Some(mut image) = self.capture.take() else { return };
        put(self, &mut image);
        self.capture = Some(image);
    }

    fn put_user(&self, slot: usize, out: &mut Writer<'_>) {
        self.users.get(slot).encode(out);
        for arm in &self.arms {
            out.f32s(&arm.users.col(slot)[..arm.shape.user_rows]);
        }
        if let Some(banked) = &self.banked {
            banked.encode_user(slot, out);
        }
    }

    fn put_item(&self, row: usize, out: &mut Writer<'_>) {
        self.items.get(row).encode(out);
        for arm in &self.arms {
            out.f32s(&arm.items.col(row)[..arm.shape.item_rows]);
            if let Some(unseen) = &arm.unseen {
                out.u64(unseen.mark(row));
            }
            if arm.sweeps.is_some() {
                let audience = arm.audiences.get(row).map_or(&[][..], Vec::as_slice);
                out.count(audience.len()).u32s(audience);
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
            out.f32s(&arm.model.gram);
            arm.prequential.encode(out);
            out.f32s(&arm.shared);
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
        for part in self.banked.iter().flat_map(|banked| banked.bank.parts()).flatten() {
            for at in 0..part.count() {
                bytes.clear();
                part.encode_one(at, &mut Writer::new(&mut bytes));
                hash = hash_bytes(hash, &bytes);
            }
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

/// A 64-bit hash of bytes, chained: eight bytes a step through the SplitMix64 finaliser. Not for hostile input.
fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(mix(seed ^ bytes.len() as u64), |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash ^ u64::from(*byte)))
}
