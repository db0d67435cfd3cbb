//! One column a user and one an item, made when the first rating comes: whoever is never rated costs eight bytes.
//!
//! A column holds the factors of all models side by side (one lane group a model), then their biases, then running
//! figures; a column of zeros reads as "nothing known", which is what strangers are predicted with. First values of
//! factors come from the id's stable hash and the seed, so the order of arrival does not matter.

use crate::base::Rng;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::ids::mix;
use crate::linalg::{LANES, Slab};

use super::bank;

/// Where the biases begin.
pub(super) const BIASES: usize = bank::FACTORED * LANES;
/// Where the running figures begin.
pub(super) const FIGURES: usize = BIASES + LANES;
/// Length of a column.
pub(super) const ROWS: usize = FIGURES + LANES;

const MADE: u64 = 1 << 63;

/// A stranger's column.
pub(super) static UNKNOWN: [f32; ROWS] = [0.0; ROWS];

/// The columns of one side.
#[derive(Debug)]
pub(super) struct Columns {
    /// By row: half of the stable hash, or which column it has (with [`MADE`]).
    places: Vec<u64>,
    slab: Slab,
    seed: u64,
}

impl Columns {
    pub fn new(seed: u64) -> Self {
        Self { places: Vec::new(), slab: Slab::new(ROWS), seed }
    }

    /// Adds a row that has no column yet.
    pub fn insert(&mut self, stable_hash: u64) {
        self.places.push(stable_hash & !MADE);
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The column of a row, if it has one.
    #[inline]
    pub fn find(&self, row: usize) -> Option<usize> {
        let place = *self.places.get(row)?;
        (place & MADE != 0).then_some((place & !MADE) as usize)
    }

    /// The column of a row, made if need be, and whether it was made. None if there is no such row.
    pub fn make(&mut self, row: usize) -> Option<(usize, bool)> {
        if let Some(column) = self.find(row) {
            return Some((column, false));
        }
        let hash = *self.places.get(row)?;
        let column = self.slab.push();
        self.places[row] = column as u64 | MADE;
        let mut rng = Rng::new(mix(hash ^ self.seed));
        for value in &mut self.slab.col_mut(column)[..BIASES] {
            *value = bank::FIRST * rng.normal() as f32;
        }
        Some((column, true))
    }

    #[inline]
    pub fn get(&self, column: usize) -> &[f32] {
        self.slab.col(column)
    }

    #[inline]
    pub fn get_mut(&mut self, column: usize) -> &mut [f32] {
        self.slab.col_mut(column)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.slab.bytes() + self.places.capacity() * size_of::<u64>()
    }

    pub fn encode(&self, column: usize, out: &mut Writer<'_>) {
        out.f32s(self.get(column));
    }

    pub fn decode(&mut self, column: usize, from: &mut Reader<'_>) -> Result<(), CursorError> {
        from.f32s(self.slab.col_mut(column))
    }
}
