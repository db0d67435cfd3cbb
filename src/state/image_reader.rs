//! Putting a shard together from the sections of its image (format: `image`).

use super::arm::Arm;
use super::churn::Leaving;
use super::cleaning::Values;
use super::decisions::Decisions;
use super::exchange::Outbox;
use super::image::{DECISIONS, HEAD, ITEMS, PARTS_FIRST, USERS, VERSION};
use super::items::Item;
use super::portrait::formulas;
use super::unseen::Unseen;
use super::users::User;
use super::{Options, Shard, Spread};
use crate::base::Captured;
use crate::base::cursor::{CursorError, Reader};
use crate::base::limits::{ARMS_MAX, AUDIENCE_MAX, DIM_MAX, SHARDS_MAX};
use crate::evaluate::{Forecasts, Prequential};
use crate::learn::Strategy;
use crate::learn::auto::gather;
use crate::learn::bank::PARTS;
use crate::linalg::padded;
use crate::model::Schema;
use crate::person::{Population, churn::Churn};
use crate::pipeline::Grain;

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

/// Puts a shard together from the sections of its image, in whatever order and cuts they come.
#[derive(Debug)]
pub struct ImageReader {
    options: Options,
    pending: Vec<u8>,
    head: Option<Vec<u8>>,
    decisions: Option<Vec<u8>>,
    users: Vec<Section>,
    items: Vec<Section>,
    /// Of the bank, by kind.
    parts: [Vec<Section>; PARTS.len()],
}

/// What is kept of a section until all have come: its first, how many, and its body.
type Section = (u32, u32, Vec<u8>);

impl ImageReader {
    /// Reads an image that was written under these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let (pending, users, items) = (Vec::new(), Vec::new(), Vec::new());
        Self { options, pending, head: None, decisions: None, users, items, parts: Default::default() }
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
                DECISIONS => self.decisions = Some(body.to_vec()),
                kind => {
                    let part = kind.checked_sub(PARTS_FIRST).and_then(|part| self.parts.get_mut(usize::from(part)));
                    let (offset, found) = (0, u64::from(kind));
                    let bad = CursorError::Bad { what: "section kind", offset, found, allowed: "1 to 9" };
                    part.ok_or(bad)?.push((first, count, body.to_vec()));
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
        let Head { version, mut shard, users, items, parts } = take_head(&mut Reader::new(&head), self.options)?;
        if let Some(bytes) = self.decisions.take() {
            let (arms, fading) = (shard.arms.len(), shard.options.fading);
            shard.decisions = Decisions::decode(arms, fading, &mut Reader::new(&bytes))?;
        }
        for (first, count, body) in in_order(self.users) {
            if first as usize != shard.users.len() {
                return Err(incomplete("next user", first as usize, shard.users.len()));
            }
            take_users(&mut shard, version, count, &mut Reader::new(&body))?;
        }
        for (first, count, body) in in_order(self.items) {
            if first as usize != shard.items.len() {
                return Err(incomplete("next item", first as usize, shard.items.len()));
            }
            take_items(&mut shard, version, count, &mut Reader::new(&body))?;
        }
        if let Some(counts) = parts {
            take_parts(&mut shard, self.parts, counts)?;
        }
        shard.arms.iter_mut().filter_map(|arm| arm.unseen.as_mut()).for_each(Unseen::queue_by_mark);
        if version < 4 {
            (0..shard.items.len()).for_each(|row| shard.redescribe(row));
            (0..shard.users.len()).for_each(|slot| shard.regroup(slot));
        }
        match (shard.users.len() == users, shard.items.len() == items) {
            (true, true) => Ok(shard),
            (false, _) => Err(incomplete("users", shard.users.len(), users)),
            (true, false) => Err(incomplete("items", shard.items.len(), items)),
        }
    }
}

fn in_order(mut sections: Vec<Section>) -> Vec<Section> {
    sections.sort_by_key(|(first, _, _)| *first);
    sections
}

/// What a head says.
struct Head {
    version: u8,
    /// Without users and items.
    shard: Shard,
    /// How many of each it should have.
    users: usize,
    items: usize,
    /// The same of the bank's parts, where they stand apart.
    parts: Option<[u32; PARTS.len()]>,
}

fn take_head(from: &mut Reader<'_>, options: Options) -> Result<Head, ImageError> {
    let version = from.u8()?;
    if !(1..=VERSION).contains(&version) {
        let found = u64::from(version);
        Err(CursorError::Bad { what: "image version", offset: 0, found, allowed: "1 to 6" })?;
    }
    let mut shard = Shard::new(from.u16()?.min(options.shards - 1), options);
    shard.sequence = from.u64()?;
    let merged = from.count(8, usize::from(SHARDS_MAX))?;
    shard.merged = (0..merged).map(|_| from.u64()).collect::<Result<_, _>>()?;
    let outboxes = from.count(16, usize::from(SHARDS_MAX))?;
    shard.outboxes = (0..outboxes).map(|_| Outbox::decode(from)).collect::<Result<_, _>>()?;
    (shard.events, shard.epoch) = (from.u64()?, from.u32()?);
    shard.spread = Spread { count: from.u64()?, mean: from.f64()?, squares: from.f64()? };
    shard.items.restore_reference(from.f64()?);
    let (users, items) = (from.u32()? as usize, from.u32()? as usize);
    for _ in 0..from.count(2, usize::MAX)? {
        shard.tags.number(from.text()?);
    }
    let arms = from.count(14, ARMS_MAX)?;
    if arms != shard.arms.len() {
        return Err(ImageError::Incomplete { what: "strategies", found: arms, expected: shard.arms.len() });
    }
    for arm in &mut shard.arms {
        take_arm(arm, version, from)?;
    }
    let banked = version > 1 && from.u8()? == 1;
    if banked != shard.banked.is_some() {
        let (found, expected) = (usize::from(banked), usize::from(shard.banked.is_some()));
        return Err(ImageError::Incomplete { what: "banks", found, expected });
    }
    let parts = shard.banked.as_mut().map_or(Ok(None), |banked| banked.decode(from, version))?;
    if version > 3 {
        shard.schema = Schema::decode(from)?;
        shard.formulas = formulas(&shard.schema);
        shard.population = Population::decode(from)?;
        shard.values = Values::decode(from)?;
        shard.grain = Grain::decode(from)?;
        *shard.leaving = Leaving { churn: Churn::decode(from)?, forecasts: Forecasts::decode(from)? };
    }
    if version < 5 {
        shard.declare_modalities();
    }
    from.finish()?;
    Ok(Head { version, shard, users, items, parts })
}

fn take_arm(arm: &mut Arm, version: u8, from: &mut Reader<'_>) -> Result<(), ImageError> {
    let found = from.text()?;
    if found != arm.strategy.name() {
        return Err(ImageError::Strategy { found: found.to_owned(), expected: arm.strategy.name() });
    }
    (arm.model.epoch, arm.model.items) = (from.u32()?, from.u64()?);
    let length = from.count(4, DIM_MAX * DIM_MAX)?;
    arm.model.gram = vec![0.0; length];
    from.f32s(&mut arm.model.gram)?;
    if length == item_rows(arm, version) {
        arm.model.gram.resize(arm.shape.item_rows, 0.0);
    }
    arm.prequential = Prequential::decode(from)?;
    Ok(from.f32s(&mut arm.shared)?)
}

/// Numbers that an image of some version holds of an item's column.
fn item_rows(arm: &Arm, version: u8) -> usize {
    // The leading axes alone are a model, too: the others say nothing until the next fit.
    if version < 3 && matches!(arm.strategy, Strategy::Auto(_)) { gather::DIM } else { arm.shape.item_rows }
}

/// Reads the parts of the bank, of which there should be so many.
fn take_parts(
    shard: &mut Shard,
    sections: [Vec<Section>; PARTS.len()],
    counts: [u32; PARTS.len()],
) -> Result<(), ImageError> {
    let items = shard.items.len();
    let Some(banked) = &mut shard.banked else { return Ok(()) };
    let parts = PARTS.into_iter().zip(banked.bank.parts_mut());
    for ((sections, wanted), ((what, _), part)) in sections.into_iter().zip(counts).zip(parts) {
        let Some(part) = part else { continue };
        for (first, count, body) in in_order(sections) {
            if first as usize != part.count() {
                let (found, expected) = (first as usize, part.count());
                return Err(ImageError::Incomplete { what, found, expected });
            }
            let mut from = Reader::new(&body);
            (0..count).try_for_each(|_| part.decode_one(&mut from))?;
            from.finish()?;
        }
        let (found, expected) = (part.count(), wanted as usize);
        if found != expected {
            return Err(ImageError::Incomplete { what, found, expected });
        }
    }
    // All but the window have one thing of each item.
    let of_items = banked.bank.parts().into_iter().take(PARTS.len() - 1).flatten();
    match of_items.map(Captured::count).find(|count| *count != items) {
        Some(found) => Err(ImageError::Incomplete { what: "items in a part", found, expected: items }),
        None => Ok(()),
    }
}

fn take_users(shard: &mut Shard, version: u8, count: u32, from: &mut Reader<'_>) -> Result<(), ImageError> {
    for _ in 0..count {
        let user = User::decode(from, version)?;
        let hash = user.id.as_ref().stable_hash();
        shard.users.restore(user);
        for arm in &mut shard.arms {
            let (column, rows) = (arm.users.push(), arm.shape.user_rows);
            from.f32s(&mut arm.users.col_mut(column)[..rows])?;
        }
        if let Some(banked) = &mut shard.banked {
            banked.decode_user(hash, from, version)?;
        }
    }
    Ok(from.finish()?)
}

fn take_items(shard: &mut Shard, version: u8, count: u32, from: &mut Reader<'_>) -> Result<(), ImageError> {
    for _ in 0..count {
        let item = Item::decode(from, version)?;
        let hash = item.id.as_ref().stable_hash();
        shard.items.restore(item);
        for arm in &mut shard.arms {
            let column = arm.items.push();
            debug_assert_eq!(arm.items.stride(), padded(arm.shape.item_rows));
            let rows = item_rows(arm, version);
            from.f32s(&mut arm.items.col_mut(column)[..rows])?;
            if let Some(unseen) = &mut arm.unseen {
                unseen.restore(from.u64()?);
            }
            if arm.sweeps.is_some() {
                let count = from.count(4, AUDIENCE_MAX)?;
                arm.audiences.push((0..count).map(|_| from.u32()).collect::<Result<_, _>>()?);
            }
        }
        if let Some(banked) = &mut shard.banked {
            banked.decode_item(hash, from, version)?;
        }
    }
    Ok(from.finish()?)
}
