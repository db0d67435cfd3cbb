//! The items that one shard knows: those it owns, and copies of the others as their owners last published them.
//!
//! Popularity is a reversible sum with closed-form decay: `c_i <- c_i + w 2^((t - t0) / half_life)`, one reference time
//! `t0` for the whole table. `t0` moves in steps of 64 half-lives that are aligned to the calendar, so that tables of
//! different shards agree on it, and sums over any order of arrival are the same.

use super::directory::Directory;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::{Id, IdRef};
use crate::model::Attributes;
use crate::person::Described;

use super::users::{decode_attributes, encode_attributes};

/// The number of a row, as histories, lists and controls keep it.
///
/// # Panics
/// Past `u32::MAX`: so many items have no room in memory.
pub fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("rows are numbered in u32")
}

/// Facts of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Which.
    pub id: Id,
    /// The shard that owns it.
    pub owner: u16,
    /// Rises by one with every change of the facts that callers state.
    pub version: u32,
    /// Events learned, of all users.
    pub events: u64,
    /// Sum of the weights of its events.
    pub weight: f64,
    /// The same, decayed to the table's reference time.
    pub decayed: f64,
    /// Latest event, in milliseconds; meaningless without events.
    pub last_ms: i64,
    /// Tags, as numbers of the shard's tag table, rising.
    pub tags: Vec<u32>,
    /// When the tags were stated.
    pub tags_ms: i64,
    /// Typed attributes; most items have none.
    pub attributes: Option<Box<Attributes>>,
    /// What it was to those who turned to it, the present last; none is [`NOTHING`].
    described: Vec<Described>,
    /// Whether an event has counted with the last of them.
    counted: bool,
    /// Whether this row waits to be published to the other shards.
    pub dirty: bool,
}

/// Most descriptions that are kept of an item. An event under a later one counts as under the last that is kept.
pub const DESCRIPTIONS_MAX: usize = 1_024;

/// What an item is of which nothing was stated.
pub static NOTHING: Described = Described { facets: Vec::new(), log_price: f32::NAN };

impl Item {
    /// What it was under this number.
    #[must_use]
    pub fn described(&self, number: u16) -> &Described {
        self.described.get(usize::from(number)).unwrap_or(&NOTHING)
    }

    /// What it is.
    #[must_use]
    pub fn present(&self) -> &Described {
        self.described.last().unwrap_or(&NOTHING)
    }

    /// What it was to those who turned to it, the present last; empty where nothing was stated.
    #[must_use]
    pub fn descriptions(&self) -> &[Described] {
        &self.described
    }

    /// Whether an event has counted with the present description.
    #[must_use]
    pub fn counted(&self) -> bool {
        self.counted
    }

    /// Takes over what it was, as [`Self::descriptions`] and [`Self::counted`] tell it.
    pub fn set_descriptions(&mut self, described: Vec<Described>, counted: bool) {
        (self.described, self.counted) = (described, counted);
    }

    /// What it is, with its number; an event counts with it from now on.
    pub fn describe(&mut self) -> (u16, &Described) {
        self.counted = true;
        let number = self.described.len().saturating_sub(1) as u16;
        (number, self.described.last().unwrap_or(&NOTHING))
    }

    /// It is something else from now on.
    pub fn redescribe(&mut self, described: Described) {
        let same = |last: &Described| {
            last.facets == described.facets && last.log_price.to_bits() == described.log_price.to_bits()
        };
        if same(self.described.last().unwrap_or(&NOTHING)) {
            return;
        }
        if self.counted && self.described.is_empty() {
            self.described.push(NOTHING.clone());
        }
        let full = self.described.len() >= DESCRIPTIONS_MAX;
        match self.described.last_mut() {
            Some(last) if !self.counted && !full => *last = described,
            _ if full => {}
            _ => self.described.push(described),
        }
        self.counted = false;
    }

    /// Appends the facts.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.owned_id(&self.id).u16(self.owner).u32(self.version).u64(self.events).f64(self.weight).f64(self.decayed);
        out.i64(self.last_ms).i64(self.tags_ms).count(self.tags.len()).u32s(&self.tags);
        encode_attributes(self.attributes.as_deref(), out);
        out.count(self.described.len()).u8(u8::from(self.counted));
        self.described.iter().for_each(|described| described.encode(out));
    }

    /// Reads what [`Self::encode`] wrote, in an image of this version. Rows wait to be published anew: what was on its way is
    /// not known.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not an item.
    pub fn decode(from: &mut Reader<'_>, image: u8) -> Result<Self, CursorError> {
        let id = from.id()?.to_owned();
        let (owner, version, events) = (from.u16()?, from.u32()?, from.u64()?);
        let (weight, decayed) = (from.f64()?, from.f64()?);
        let (last_ms, tags_ms) = (from.i64()?, from.i64()?);
        let count = from.count(4, crate::base::limits::ITEM_TAGS_MAX)?;
        let tags = (0..count).map(|_| from.u32()).collect::<Result<_, _>>()?;
        let attributes = decode_attributes(from)?;
        let (mut described, mut counted) = (Vec::new(), events > 0);
        if image > 3 {
            let count = from.count(8, DESCRIPTIONS_MAX)?;
            counted = from.u8()? != 0;
            described = (0..count).map(|_| Described::decode(from)).collect::<Result<_, _>>()?;
        }
        Ok(Self {
            id,
            owner,
            version,
            events,
            weight,
            decayed,
            last_ms,
            tags,
            tags_ms,
            attributes,
            described,
            counted,
            dirty: false,
        })
    }
}

/// Reference time of decayed sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    half_life_ms: f64,
    /// `t0` in milliseconds; always a multiple of 64 half-lives.
    at_ms: f64,
}

/// Half-lives between two reference times: sums stay within 2^64 of their unit, far from the ends of `f64`.
const STEP: f64 = 64.0;

impl Reference {
    fn new(half_life_s: f64) -> Self {
        Self { half_life_ms: 1_000.0 * half_life_s, at_ms: f64::NEG_INFINITY }
    }

    /// Whether there is decay at all.
    fn decays(self) -> bool {
        self.half_life_ms > 0.0
    }

    /// Moves to the step that holds `time_ms`, if it is a later one. Returns the factor on all sums.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit 53 bits")]
    fn advance(&mut self, time_ms: i64) -> f64 {
        let step_ms = STEP * self.half_life_ms;
        let start = (time_ms as f64 / step_ms).floor() * step_ms;
        if start <= self.at_ms {
            return 1.0;
        }
        let factor = ((self.at_ms - start) / self.half_life_ms).exp2();
        self.at_ms = start;
        factor
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit 53 bits")]
    fn weight(self, time_ms: i64) -> f64 {
        ((time_ms as f64 - self.at_ms) / self.half_life_ms).exp2()
    }
}

/// All items that one shard knows, in dense rows.
#[derive(Debug)]
pub struct Items {
    directory: Directory,
    rows: Vec<Item>,
    reference: Reference,
    /// Sum of the rows' events.
    events: u64,
}

impl Items {
    /// An empty table. `half_life_s` 0 means plain counts.
    #[must_use]
    pub fn new(half_life_s: f64) -> Self {
        Self { directory: Directory::default(), rows: Vec::new(), reference: Reference::new(half_life_s), events: 0 }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of an item.
    #[must_use]
    #[inline]
    pub fn find(&self, id: IdRef<'_>) -> Option<usize> {
        self.directory.get(id)
    }

    /// The item in `row`.
    #[must_use]
    #[inline]
    pub fn get(&self, row: usize) -> &Item {
        &self.rows[row]
    }

    /// The item in `row`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, row: usize) -> &mut Item {
        &mut self.rows[row]
    }

    /// Adds an item that is not there yet.
    pub fn insert(&mut self, id: IdRef<'_>, owner: u16) -> usize {
        self.restore(Item {
            id: id.to_owned(),
            owner,
            version: 0,
            events: 0,
            weight: 0.0,
            decayed: 0.0,
            last_ms: 0,
            tags: Vec::new(),
            tags_ms: i64::MIN,
            attributes: None,
            described: Vec::new(),
            counted: false,
            dirty: false,
        })
    }

    /// Adds an item as it was.
    pub fn restore(&mut self, item: Item) -> usize {
        self.directory.insert(&item.id, self.rows.len());
        // What an image says may be anything; counts that are there fit by far.
        self.events = self.events.saturating_add(item.events);
        self.rows.push(item);
        self.rows.len() - 1
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.rows.iter()
    }

    /// Whether counting at `time_ms` would change the scale of every row.
    #[must_use]
    pub fn would_rescale(&self, time_ms: i64) -> bool {
        self.reference.decays() && { self.reference }.advance(time_ms) < 1.0
    }

    /// Counts one event of `weight` at `time_ms` (`by` 1), or takes it away (`by` -1). When the latest event was, is not
    /// taken back.
    pub fn count(&mut self, row: usize, weight: f32, time_ms: i64, by: i64) {
        let decayed = by as f64 * self.decayed_weight(f64::from(weight), time_ms);
        let item = &mut self.rows[row];
        if by > 0 {
            item.last_ms = if item.events == 0 { time_ms } else { item.last_ms.max(time_ms) };
        }
        item.events = item.events.saturating_add_signed(by);
        self.events = self.events.saturating_add_signed(by);
        item.weight += by as f64 * f64::from(weight);
        item.decayed += decayed;
    }

    /// Takes over how many events an item has had, as its owner says.
    pub fn set_events(&mut self, row: usize, events: u64) {
        let item = &mut self.rows[row];
        self.events = self.events.saturating_sub(item.events).saturating_add(events);
        item.events = events;
    }

    /// What it tells that somebody turns to this item: `-log2` of its share of all events, in bits. An item without
    /// events counts as one with a single event.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]
    pub fn information(&self, row: usize) -> f64 {
        (self.events.max(1) as f64 / self.rows[row].events.max(1) as f64).log2()
    }

    /// What `weight` at `time_ms` adds to a decayed sum; moves the reference time first where that is due.
    fn decayed_weight(&mut self, weight: f64, time_ms: i64) -> f64 {
        if !self.reference.decays() {
            return weight;
        }
        self.advance(time_ms);
        weight * self.reference.weight(time_ms)
    }

    /// Moves the reference time to the step of `time_ms`, if it is a later one, and every decayed sum with it.
    pub fn advance(&mut self, time_ms: i64) {
        if !self.reference.decays() {
            return;
        }
        let factor = self.reference.advance(time_ms);
        if factor < 1.0 {
            for item in &mut self.rows {
                item.decayed *= factor;
            }
        }
    }

    /// The popularity of a row, as it ranks: the decayed sum, or the plain one.
    #[must_use]
    #[inline]
    pub fn popularity(&self, row: usize) -> f64 {
        self.rows[row].decayed
    }

    /// The reference time of decayed sums, in milliseconds (minus infinity: none yet).
    #[must_use]
    pub fn reference_ms(&self) -> f64 {
        self.reference.at_ms
    }

    /// Takes over the reference time of an image.
    pub fn restore_reference(&mut self, at_ms: f64) {
        self.reference.at_ms = at_ms;
    }

    /// A decayed sum of another table with reference time `reference_ms`, in units of this one.
    #[must_use]
    pub fn translated(&self, decayed: f64, reference_ms: f64) -> f64 {
        if !self.reference.decays() || reference_ms == self.reference.at_ms || decayed == 0.0 {
            return decayed;
        }
        decayed * ((reference_ms - self.reference.at_ms) / self.reference.half_life_ms).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    /// r8: the events of an image's items were added up as they came, and counts that sum up to more than 2^64 stopped the
    /// reader with an overflow.
    #[test]
    fn r8_counts_of_an_image_may_be_anything() {
        let mut items = Items::new(60.0);
        let row = items.insert(IdRef::Int(0), 0);
        let item = items.get(row).clone();
        for id in 1..4 {
            items.restore(Item { id: Id::Int(id), events: u64::MAX, ..item.clone() });
        }
        items.set_events(1, 5);
        items.set_events(2, u64::MAX);
        assert!((0..items.len()).all(|row| items.information(row).is_finite()));
    }

    /// Sums are the same whatever the order of arrival, over many reference steps.
    #[test]
    fn counts_do_not_depend_on_order() {
        let seed = 23;
        let mut rng = Rng::new(seed);
        let events: Vec<(usize, i64)> =
            (0..2_000).map(|_| (rng.below(5) as usize, rng.below(40_000_000) as i64)).collect();
        let count = |events: &[(usize, i64)]| {
            let mut items = Items::new(60.0);
            for id in 0..5 {
                items.insert(IdRef::Int(id), 0);
            }
            for (row, time_ms) in events {
                items.count(*row, 1.0, *time_ms, 1);
            }
            (0..5).map(|row| items.popularity(row)).collect::<Vec<_>>()
        };
        let forward = count(&events);
        let mut shuffled = events;
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, rng.below(at as u64 + 1) as usize);
        }
        for (a, b) in forward.iter().zip(count(&shuffled)) {
            assert!((a - b).abs() <= 1e-9 * a.abs(), "seed {seed}: {a} {b}");
        }
    }

    #[test]
    fn halves_after_a_half_life() {
        let mut items = Items::new(60.0);
        let (old, new) = (items.insert(IdRef::Int(1), 0), items.insert(IdRef::Int(2), 0));
        items.count(old, 1.0, 1_000_000_000_000, 1);
        items.count(new, 1.0, 1_000_000_060_000, 1);
        assert!((items.popularity(new) / items.popularity(old) - 2.0).abs() < 1e-9);
        assert!((items.get(old).weight - 1.0).abs() < 1e-12);
    }
}
