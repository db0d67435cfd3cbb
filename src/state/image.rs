//! The image of a shard: what a snapshot holds, written while the shard goes on.
//!
//! ```text
//! section: kind u8 | first u32 | count u32 | length u32 | body
//!   kind 1, head:  version u8, index u16, sequence u64, events u64, epoch u32, spread (u64, f64, f64), reference f64,
//!                  users u32, items u32, tags (u32, texts), merged (u32, u64...), outboxes (u32, ...),
//!                  arms (u32: name text, model epoch u32, model items u64, gram u32 + f32..., prequential)
//!   kind 2, users: each `User`, then for each arm its column
//!   kind 3, items: each `Item`, then for each arm its column
//! ```
//!
//! *While serving.* [`Shard::capture_begin`] fixes the image at the present sequence. Leaves of 256 entities are then
//! encoded a few at a time by [`Shard::capture_some`], and an operation that is about to change a leaf not yet encoded
//! encodes it first (copy on write). Sections therefore come in any order; [`ImageReader`] puts them back in theirs.
//!
//! *Digest.* The hash of all sections in order, outboxes and publication left out (they say what is on its way, not what
//! is known): two shards with equal digests answer everything alike.

use super::arm::Arm;
use super::exchange::{Outbox, put_column, take_column};
use super::items::Item;
use super::users::User;
use super::{Options, Shard, Spread};
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::ids::mix;
use crate::base::limits::{ARMS_MAX, DIM_MAX, SHARDS_MAX};
use crate::evaluate::Prequential;
use crate::linalg::padded;

/// Entities of one section: the grain of copy on write. Small in tests, so that the rare path is the usual one.
const LEAF: usize = if cfg!(test) { 16 } else { 256 };
const VERSION: u8 = 1;
const HEAD: u8 = 1;
const USERS: u8 = 2;
const ITEMS: u8 = 3;

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
    saved: Vec<bool>,
    next: usize,
}

impl Leaves {
    fn new(entities: usize) -> Self {
        Self { entities, saved: vec![false; entities.div_ceil(LEAF)], next: 0 }
    }

    /// Takes the leaf of `entity` for encoding, if it is part of the image and was not taken.
    fn take(&mut self, entity: usize) -> Option<std::ops::Range<usize>> {
        let leaf = entity / LEAF;
        if entity >= self.entities || self.saved[leaf] {
            return None;
        }
        self.saved[leaf] = true;
        Some(leaf * LEAF..((leaf + 1) * LEAF).min(self.entities))
    }

    fn take_next(&mut self) -> Option<std::ops::Range<usize>> {
        while self.next < self.saved.len() {
            let first = self.next * LEAF;
            self.next += 1;
            if let Some(range) = self.take(first) {
                return Some(range);
            }
        }
        None
    }
}

/// Why bytes are not an image of this shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The bytes are not sections.
    #[error("a section of the image cannot be read")]
    Bytes(#[from] CursorError),
    /// The image lacks something or holds it twice.
    #[error("the image is not whole: {what} {found}, expected {expected}")]
    Incomplete {
        /// What is amiss.
        what: &'static str,
        /// What there is.
        found: usize,
        /// What should be.
        expected: usize,
    },
    /// The image was written under other strategies.
    #[error("the image holds strategy `{found}` where the configuration says `{expected}`")]
    Strategy {
        /// In the image.
        found: String,
        /// Configured.
        expected: &'static str,
    },
}

impl Shard {
    /// Begins an image of the present state. One at a time: an older one in the making is given up.
    pub fn capture_begin(&mut self) {
        let mut head = Vec::new();
        put_section(&mut head, HEAD, 0..1, |out| self.put_head(out, true));
        let (users, items) = (Leaves::new(self.users.len()), Leaves::new(self.items.len()));
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
        for row in (0..self.items.len()).step_by(LEAF) {
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
    }

    fn put_item(&self, row: usize, out: &mut Writer<'_>) {
        self.items.get(row).encode(out);
        for arm in &self.arms {
            put_column(out, &arm.items.col(row)[..arm.shape.item_rows]);
        }
    }

    fn put_head(&self, out: &mut Writer<'_>, with_outboxes: bool) {
        out.u8(VERSION).u16(self.index).u64(self.sequence).u64(self.events).u32(self.epoch);
        out.u64(self.spread.count).f64(self.spread.mean).f64(self.spread.squares).f64(self.items.reference_ms());
        out.count(self.users.len()).count(self.items.len()).count(self.tags.names.len());
        for name in &self.tags.names {
            out.text(name);
        }
        out.count(self.merged.len());
        for sequence in &self.merged {
            out.u64(*sequence);
        }
        if with_outboxes {
            out.count(self.outboxes.len());
            self.outboxes.iter().for_each(|outbox| outbox.encode(out));
        }
        out.count(self.arms.len());
        for arm in &self.arms {
            out.text(arm.strategy.name()).u32(arm.model.epoch).u64(arm.model.items).count(arm.model.gram.len());
            put_column(out, &arm.model.gram);
            arm.prequential.encode(out);
        }
    }

    /// Hash of every bit that is known (see the module's head).
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        self.put_head(&mut Writer::new(&mut bytes), false);
        let mut hash = hash_bytes(0, &bytes);
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

/// Puts a shard together from the sections of its image, in whatever order and cuts they come.
#[derive(Debug)]
pub struct ImageReader {
    options: Options,
    pending: Vec<u8>,
    head: Option<Vec<u8>>,
    users: Vec<(u32, u32, Vec<u8>)>,
    items: Vec<(u32, u32, Vec<u8>)>,
}

impl ImageReader {
    /// Reads an image that was written under these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, pending: Vec::new(), head: None, users: Vec::new(), items: Vec::new() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ImageError`] for bytes that are no sections.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.pending.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            let mut from = Reader::new(&self.pending[used..]);
            let (Ok(kind), Ok(first), Ok(count), Ok(length)) = (from.u8(), from.u32(), from.u32(), from.u32()) else {
                break;
            };
            let Ok(body) = from.bytes(length as usize) else { break };
            match kind {
                HEAD => self.head = Some(body.to_vec()),
                USERS => self.users.push((first, count, body.to_vec())),
                ITEMS => self.items.push((first, count, body.to_vec())),
                _ => {
                    let (offset, found) = (0, u64::from(kind));
                    Err(CursorError::Bad { what: "section kind", offset, found, allowed: "1 to 3" })?;
                }
            }
            used += from.at();
        }
        self.pending.drain(..used);
        Ok(())
    }

    /// The shard.
    ///
    /// # Errors
    /// [`ImageError`] if something is missing, doubled or of other strategies.
    pub fn finish(mut self) -> Result<Shard, ImageError> {
        let incomplete = |what, found, expected| ImageError::Incomplete { what, found, expected };
        if !self.pending.is_empty() {
            return Err(incomplete("bytes of a cut section", self.pending.len(), 0));
        }
        let head = self.head.take().ok_or(incomplete("heads", 0, 1))?;
        let (mut shard, users, items) = take_head(&mut Reader::new(&head), self.options)?;
        for (first, count, body) in in_order(self.users) {
            if first as usize != shard.users.len() {
                return Err(incomplete("next user", first as usize, shard.users.len()));
            }
            take_users(&mut shard, count, &mut Reader::new(&body))?;
        }
        for (first, count, body) in in_order(self.items) {
            if first as usize != shard.items.len() {
                return Err(incomplete("next item", first as usize, shard.items.len()));
            }
            take_items(&mut shard, count, &mut Reader::new(&body))?;
        }
        match (shard.users.len() == users, shard.items.len() == items) {
            (true, true) => Ok(shard),
            (false, _) => Err(incomplete("users", shard.users.len(), users)),
            (true, false) => Err(incomplete("items", shard.items.len(), items)),
        }
    }
}

fn in_order(mut sections: Vec<(u32, u32, Vec<u8>)>) -> Vec<(u32, u32, Vec<u8>)> {
    sections.sort_by_key(|(first, _, _)| *first);
    sections
}

/// The shard without users and items, and how many of each it should have.
fn take_head(from: &mut Reader<'_>, options: Options) -> Result<(Shard, usize, usize), ImageError> {
    let version = from.u8()?;
    if version != VERSION {
        let found = u64::from(version);
        Err(CursorError::Bad { what: "image version", offset: 0, found, allowed: "1" })?;
    }
    let mut shard = Shard::new(from.u16()?.min(options.shards - 1), options);
    (shard.sequence, shard.events, shard.epoch) = (from.u64()?, from.u64()?, from.u32()?);
    shard.spread = Spread { count: from.u64()?, mean: from.f64()?, squares: from.f64()? };
    shard.items.restore_reference(from.f64()?);
    let (users, items) = (from.u32()? as usize, from.u32()? as usize);
    for _ in 0..from.count(2, usize::MAX)? {
        shard.tags.number(from.text()?);
    }
    let merged = from.count(8, usize::from(SHARDS_MAX))?;
    shard.merged = (0..merged).map(|_| from.u64()).collect::<Result<_, _>>()?;
    let outboxes = from.count(16, usize::from(SHARDS_MAX))?;
    shard.outboxes = (0..outboxes).map(|_| Outbox::decode(from)).collect::<Result<_, _>>()?;
    let arms = from.count(14, ARMS_MAX)?;
    if arms != shard.arms.len() {
        return Err(ImageError::Incomplete { what: "strategies", found: arms, expected: shard.arms.len() });
    }
    for arm in &mut shard.arms {
        take_arm(arm, from)?;
    }
    from.finish()?;
    Ok((shard, users, items))
}

fn take_arm(arm: &mut Arm, from: &mut Reader<'_>) -> Result<(), ImageError> {
    let found = from.text()?;
    if found != arm.strategy.name() {
        return Err(ImageError::Strategy { found: found.to_owned(), expected: arm.strategy.name() });
    }
    (arm.model.epoch, arm.model.items) = (from.u32()?, from.u64()?);
    let length = from.count(4, DIM_MAX * DIM_MAX)?;
    arm.model.gram = vec![0.0; length];
    take_column(from, &mut arm.model.gram, length)?;
    arm.prequential = Prequential::decode(from)?;
    Ok(())
}

fn take_users(shard: &mut Shard, count: u32, from: &mut Reader<'_>) -> Result<(), ImageError> {
    for _ in 0..count {
        shard.users.restore(User::decode(from)?);
        for arm in &mut shard.arms {
            let (column, rows) = (arm.users.push(), arm.shape.user_rows);
            take_column(from, arm.users.col_mut(column), rows)?;
        }
    }
    Ok(from.finish()?)
}

fn take_items(shard: &mut Shard, count: u32, from: &mut Reader<'_>) -> Result<(), ImageError> {
    for _ in 0..count {
        shard.items.restore(Item::decode(from)?);
        for arm in &mut shard.arms {
            let (column, rows) = (arm.items.push(), arm.shape.item_rows);
            debug_assert_eq!(arm.items.stride(), padded(rows));
            take_column(from, arm.items.col_mut(column), rows)?;
        }
    }
    Ok(from.finish()?)
}
