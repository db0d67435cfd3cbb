//! What comes together: sums over pairs of items that one user met within a short span.
//!
//! Item-based collaborative filtering (Sarwar et al. 2001; incremental: Papagelis et al. 2005) from four sums a pair,
//! all of them plain or decayed in closed form: together in either order, plain; the one after the other, discounted by
//! the distance, plain and with a short half-life; and together with a long half-life, where a pair of one sitting counts
//! four times as much as others (one basket, one session: what goes together, not only what pleases the same people).
//! Half-lives count events (see `counts`).
//!
//! Work is bounded: a user's newest [`PAIRED`] items are paired with the item of the event, whatever the length of the
//! history; a row holds at most [`ROW_MAX`] neighbours and drops the weaker half when it is full.

use crate::base::capture::{Capture, Captured};
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::linalg::kernels;

/// Newest items of the user that an event is paired with.
pub const PAIRED: usize = 20;
/// Most neighbours of an item.
pub const ROW_MAX: usize = 512;
/// Sums of a pair.
pub const SUMS: usize = 4;
/// Encoded bytes of a neighbour: which item, and its sums.
const NEIGHBOUR_BYTES: usize = 4 + 4 * SUMS;
/// Factor on the ordered sums by each step of distance.
const DISTANCE: f32 = 0.7;
/// What a pair counts whose items were not met in one sitting, in the sum that tells them apart.
const APART: f32 = 0.25;
/// Half-lives of the decayed sums, in events: ordered, unordered.
const HALF_LIVES: [u64; 2] = [4_000, 64_000];
/// Half-lives between two bases. Bases lie on a grid, the same one for all rows: every row that an event touches is
/// brought to the newest base, so that one scale serves them all.
const BASE_HALF_LIVES: u64 = 60;

/// The neighbours of one item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairRow {
    /// The other items, in the order in which they were met.
    items: Vec<u32>,
    /// Together; after, by distance; the same decayed fast; together by sitting decayed slowly. The last two scaled forward.
    sums: Vec<[f32; SUMS]>,
    /// Event numbers at which the decayed sums have scale 1.
    bases: [u64; 2],
}

impl PairRow {
    /// Neighbours and their sums as stored.
    pub fn iter(&self) -> impl Iterator<Item = (u32, [f32; SUMS])> + '_ {
        self.items.iter().copied().zip(self.sums.iter().copied())
    }

    /// The other items.
    #[must_use]
    #[inline]
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Their sums as stored.
    #[must_use]
    #[inline]
    pub fn sums(&self) -> &[[f32; SUMS]] {
        &self.sums
    }

    /// What turns stored sums into their values at event number `x`.
    #[must_use]
    #[inline]
    pub fn factors(&self, x: u64) -> [f32; SUMS] {
        let factor = |at: usize| power(self.bases[at] as f64 - x as f64, HALF_LIVES[at]);
        [1.0, 1.0, factor(0), factor(1)]
    }

    /// Adds to the sums of `other`: `ordered` counts where this item came first, `together` by sitting.
    fn add(&mut self, other: u32, moment: &Moment, ordered: f32, together: f32) {
        if self.bases != moment.bases {
            self.rebase(moment);
        }
        let place = match kernels::position(&self.items, other) {
            Some(place) => place,
            None => self.insert(other),
        };
        let sums = &mut self.sums[place];
        sums[0] += 1.0;
        sums[1] += ordered;
        sums[2] += ordered * moment.scales[0];
        sums[3] += together * moment.scales[1];
    }

    #[cold]
    fn rebase(&mut self, moment: &Moment) {
        for at in 0..2 {
            let factor = power(self.bases[at] as f64 - moment.bases[at] as f64, HALF_LIVES[at]);
            self.bases[at] = moment.bases[at];
            self.sums.iter_mut().for_each(|sums| sums[2 + at] *= factor);
        }
    }

    fn insert(&mut self, other: u32) -> usize {
        if self.items.len() == ROW_MAX {
            self.prune();
        }
        self.items.push(other);
        self.sums.push([0.0; SUMS]);
        self.items.len() - 1
    }

    /// Drops the half that was met together least, of late; keeps the order of the others.
    #[cold]
    fn prune(&mut self) {
        let mut ranked: Vec<f32> = self.sums.iter().map(|sums| sums[3]).collect();
        let (_, bar, _) = ranked.select_nth_unstable_by(ROW_MAX / 2, |a, b| b.total_cmp(a));
        let bar = *bar;
        let mut kept = 0;
        for at in 0..self.items.len() {
            if self.sums[at][3] > bar {
                self.items[kept] = self.items[at];
                self.sums[kept] = self.sums[at];
                kept += 1;
            }
        }
        self.items.truncate(kept);
        self.sums.truncate(kept);
    }

    /// Heap bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<u32>() + self.sums.capacity() * size_of::<[f32; SUMS]>()
    }
}

/// The bases of an event, and the scales of what it adds.
struct Moment {
    bases: [u64; 2],
    scales: [f32; 2],
}

impl Moment {
    fn of(x: u64) -> Self {
        let bases = HALF_LIVES.map(|half_life| x - x % (half_life * BASE_HALF_LIVES));
        Self { bases, scales: std::array::from_fn(|at| power((x - bases[at]) as f64, HALF_LIVES[at])) }
    }
}

#[inline]
fn power(events: f64, half_life: u64) -> f32 {
    (events / half_life as f64).exp2() as f32
}

/// Pair sums of all items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairSums {
    rows: Vec<PairRow>,
    capture: Option<Box<Capture>>,
}

impl PairSums {
    /// Adds an item without neighbours.
    pub fn insert(&mut self) {
        self.rows.push(PairRow::default());
    }

    /// The neighbours of an item.
    #[must_use]
    #[inline]
    pub fn row(&self, item: usize) -> &PairRow {
        &self.rows[item]
    }

    /// Pairs `item`, met at event number `x`, with the items before it (newest first), of which the first `sitting` belong
    /// to its sitting.
    pub fn learn(&mut self, item: u32, before: impl Iterator<Item = u32>, sitting: usize, x: u64) {
        let moment = Moment::of(x);
        let mut ordered = 1.0;
        self.keep(item as usize);
        for (age, other) in before.take(PAIRED).enumerate() {
            if other != item {
                let together = if age < sitting { 1.0 } else { APART };
                self.keep(other as usize);
                self.rows[other as usize].add(item, &moment, ordered, together);
                self.rows[item as usize].add(other, &moment, 0.0, together);
            }
            ordered *= DISTANCE;
        }
    }

    /// Heap bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(PairRow::bytes).sum()
    }
}

impl Captured for PairSums {
    fn capture(&mut self) -> &mut Option<Box<Capture>> {
        &mut self.capture
    }

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn encode_one(&self, item: usize, out: &mut Writer<'_>) {
        let row = &self.rows[item];
        out.u64(row.bases[0]).u64(row.bases[1]).count(row.items.len());
        out.each(row.items.iter().zip(&row.sums), |(other, sums)| {
            let mut bytes = [0; NEIGHBOUR_BYTES];
            bytes[..4].copy_from_slice(&other.to_le_bytes());
            bytes[4..].as_chunks_mut().0.iter_mut().zip(sums).for_each(|(place, sum)| *place = sum.to_le_bytes());
            bytes
        });
    }

    fn decode_one(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let bases = [from.u64()?, from.u64()?];
        let count = from.count(NEIGHBOUR_BYTES, ROW_MAX)?;
        let mut row = PairRow { items: Vec::with_capacity(count), sums: Vec::with_capacity(count), bases };
        for _ in 0..count {
            row.items.push(from.u32()?);
            row.sums.push([from.f32()?, from.f32()?, from.f32()?, from.f32()?]);
        }
        self.rows.push(row);
        Ok(())
    }
}
