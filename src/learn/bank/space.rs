//! One modality: the vectors of the items that have it, and what it is worth ([`super::embeddings`] says how it is used).

use std::cmp::Ordering;

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::EMBEDDING_DIM_MAX;
use crate::linalg::Slab;

/// Step of Adagrad.
const STEP: f32 = 0.05;
/// What a modality weighs before anything is learned, and the most that it may weigh.
const WEIGHTS: (f32, f32) = (1.0, 8.0);
/// Comparisons that the running deviation looks back on, at most.
const DEVIATION_MEMORY: u64 = 20_000;
/// Deviation before the first comparison; the square of it counts as one.
const DEVIATION_FIRST: f32 = 0.25;
/// Where an item has no vector.
const NONE: u32 = u32::MAX;
/// Where nothing was ever said of an item.
const NEVER: i64 = i64::MIN;
/// What an image says of an item.
const NOTHING: u8 = 0;
const GIVEN: u8 = 1;
const TAKEN_AWAY: u8 = 2;

/// One modality: the vectors of the items that have it.
#[derive(Debug)]
pub struct Space {
    name: String,
    dim: usize,
    /// Column by item; [`NONE`] without a vector.
    columns: Vec<u32>,
    /// By item: when what it has was so; [`NEVER`] if nothing was said.
    times_ms: Vec<i64>,
    /// Columns whose vectors were taken away.
    free: Vec<u32>,
    vectors: Slab,
    /// Sum of all vectors, and how many there are.
    sum: Vec<f64>,
    count: u64,
    /// Running mean of squares of the centred product, and comparisons that it is over.
    square: f32,
    compared: u64,
    weight: f32,
    /// Sum of squared slopes of the weight.
    slopes: f32,
}

impl Space {
    pub(super) fn new(name: &str, dim: usize, items: usize) -> Self {
        Self {
            name: name.to_owned(),
            dim,
            columns: vec![NONE; items],
            times_ms: vec![NEVER; items],
            free: Vec::new(),
            vectors: Slab::new(dim),
            sum: vec![0.0; dim],
            count: 0,
            square: DEVIATION_FIRST * DEVIATION_FIRST,
            compared: 1,
            weight: WEIGHTS.0,
            slopes: 0.0,
        }
    }

    /// Its name in the schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Length of its vectors.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Items that have it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What one deviation in it counts in the fused score.
    #[must_use]
    pub fn weight(&self) -> f32 {
        self.weight
    }

    /// The vector of an item, of length 1 and padded; `None` if it has none.
    #[must_use]
    #[inline]
    pub fn vector(&self, item: usize) -> Option<&[f32]> {
        self.column(item).map(|column| self.vectors.col(column as usize))
    }

    /// What was last said of an item and when it was so: its vector, or that it has none any more. `None` if nothing was.
    #[must_use]
    pub fn said(&self, item: usize) -> Option<(i64, Option<&[f32]>)> {
        let time_ms = self.times_ms.get(item).copied().filter(|time_ms| *time_ms != NEVER)?;
        Some((time_ms, self.vector(item).map(|vector| &vector[..self.dim])))
    }

    /// The column of an item's vector.
    #[inline]
    pub(super) fn column(&self, item: usize) -> Option<u32> {
        self.columns.get(item).copied().filter(|column| *column != NONE)
    }

    pub(super) fn vectors(&self) -> &Slab {
        &self.vectors
    }

    /// One over the deviation of centred products among items that others met.
    #[inline]
    pub(super) fn inverse_deviation(&self) -> f32 {
        1.0 / (self.square.sqrt() + 1e-6)
    }

    /// The mean of all vectors, into a padded column.
    pub(super) fn mean(&self, out: &mut Vec<f32>) {
        out.clear();
        let count = self.count.max(1) as f64;
        out.extend(self.sum.iter().map(|sum| (sum / count) as f32));
        out.resize(self.vectors.stride(), 0.0);
    }

    /// Whether what is said of an item is older than what is known. Of two things that were so at the same time the one of
    /// greater bits holds: shards that hear them in another order agree.
    pub(super) fn is_older(&self, item: usize, time_ms: i64, vector: Option<&[f32]>) -> bool {
        fn bits(vector: &[f32]) -> Vec<u32> {
            vector.iter().map(|value| value.to_bits()).collect()
        }
        match time_ms.cmp(&self.times_ms[item]) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => vector.map(bits) < self.vector(item).map(|held| bits(&held[..self.dim])),
        }
    }

    /// Gives an item a vector, in the place of the one it had; `None` takes it away.
    pub(super) fn put(&mut self, item: usize, time_ms: i64, vector: Option<&[f32]>) {
        self.times_ms[item] = time_ms;
        let had = self.column(item);
        if let Some(column) = had {
            self.add(column as usize, -1.0);
        }
        match (vector, had) {
            (Some(vector), _) => {
                let column = had
                    .or_else(|| self.free.pop())
                    .unwrap_or_else(|| u32::try_from(self.vectors.push()).expect("items are numbered in u32"));
                self.vectors.col_mut(column as usize)[..self.dim].copy_from_slice(vector);
                self.columns[item] = column;
                self.add(column as usize, 1.0);
            }
            (None, Some(column)) => {
                self.columns[item] = NONE;
                self.free.push(column);
            }
            (None, None) => {}
        }
    }

    fn add(&mut self, column: usize, sign: f64) {
        let vector = &self.vectors.col(column)[..self.dim];
        self.sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += sign * f64::from(*value));
        self.count = if sign > 0.0 { self.count + 1 } else { self.count - 1 };
    }

    /// A centred product of an item that others met.
    pub(super) fn compare(&mut self, product: f32) {
        self.compared = (self.compared + 1).min(DEVIATION_MEMORY);
        self.square += (product * product - self.square) / self.compared as f32;
    }

    pub(super) fn learn(&mut self, slope: f32) {
        self.slopes += slope * slope;
        let step = STEP / (self.slopes + 1e-6).sqrt();
        self.weight = (self.weight + step * slope).clamp(0.0, WEIGHTS.1);
    }

    /// Adds an item without a vector.
    pub(super) fn insert(&mut self) {
        self.columns.push(NONE);
        self.times_ms.push(NEVER);
    }

    /// Bytes mapped for vectors.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.vectors.bytes()
    }

    pub(super) fn encode_head(&self, out: &mut Writer<'_>) {
        out.text(&self.name).count(self.dim).u64(self.compared).f32(self.square).f32(self.weight).f32(self.slopes);
        self.sum.iter().for_each(|value| {
            out.f64(*value);
        });
    }

    pub(super) fn decode_head(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let name = from.text()?;
        let mut space = Self::new(name, from.count(0, EMBEDDING_DIM_MAX)?, 0);
        space.compared = from.u64()?;
        (space.square, space.weight, space.slopes) = (from.f32()?, from.f32()?, from.f32()?);
        space.sum.iter_mut().try_for_each(|value| from.f64().map(|read| *value = read))?;
        Ok(space)
    }

    pub(super) fn encode_item(&self, item: usize, out: &mut Writer<'_>) {
        let (vector, time_ms) = (self.vector(item), self.times_ms[item]);
        match (vector, time_ms) {
            (None, NEVER) => drop(out.u8(NOTHING)),
            (None, _) => drop(out.u8(TAKEN_AWAY).i64(time_ms)),
            (Some(_), _) => drop(out.u8(GIVEN).i64(time_ms)),
        }
        out.f32s(vector.map_or(&[][..], |vector| &vector[..self.dim]));
    }

    pub(super) fn decode_item(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let offset = from.at();
        let state = from.u8()?;
        if state > TAKEN_AWAY {
            let (what, found) = ("state of an embedding", u64::from(state));
            return Err(CursorError::Bad { what, offset, found, allowed: "0 to 2" });
        }
        self.insert();
        if state == NOTHING {
            return Ok(());
        }
        let (item, time_ms) = (self.columns.len() - 1, from.i64()?);
        self.times_ms[item] = time_ms;
        if state == GIVEN {
            let column = self.vectors.push();
            from.f32s(&mut self.vectors.col_mut(column)[..self.dim])?;
            self.columns[item] = column as u32;
            self.count += 1; // the sum stands in the head
        }
        Ok(())
    }
}
