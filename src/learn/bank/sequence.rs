//! An embedding of what follows what, learned online: the context is the decayed mean of the newest items' input
//! vectors, an item's score is its product with the item's output vector.
//!
//! Continuous bag of words with negative sampling (Mikolov et al. 2013; for item sequences: Grbovic et al. 2015, Barkan
//! & Koenigstein 2016), one logistic step an event and a few on replayed events, steps by Adagrad a row (Duchi, Hazan &
//! Singer 2011). Negatives are the items of random recent events, so they come by popularity.

use super::trails::Trail;
use super::window::{Met, Window};
use crate::base::Rng;
use crate::base::capture::{Capture, Captured};
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::linalg::{Slab, kernels};

/// Length of a vector.
pub const DIM: usize = 32;
/// Newest items in a context.
const CONTEXT: usize = 10;
/// Factor on each older item of the context.
const RECENCY: f32 = 0.8;
/// Negatives a step.
const NEGATIVES: usize = 10;
/// Replayed events a step.
const REPLAYS: usize = 1;
/// Step of Adagrad.
const STEP: f32 = 0.2;
/// Standard deviation of new input vectors; output vectors begin at 0.
const INIT_STD: f64 = 0.3;

/// The vectors of all items.
#[derive(Debug)]
pub struct Sequence {
    input: Slab,
    output: Slab,
    /// Mean squared gradients of the input and of the output row.
    squares: Vec<[f32; 2]>,
    rng: Rng,
    context: [f32; DIM],
    gradient: [f32; DIM],
    capture: Option<Box<Capture>>,
}

impl Sequence {
    /// Nothing learned yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            input: Slab::new(DIM),
            output: Slab::new(DIM),
            squares: Vec::new(),
            rng: Rng::new(seed),
            context: [0.0; DIM],
            gradient: [0.0; DIM],
            capture: None,
        }
    }

    /// Adds an item; `seed` belongs to its id.
    pub fn insert(&mut self, seed: u64) {
        let column = self.input.push();
        self.output.push();
        self.squares.push([0.0; 2]);
        let mut rng = Rng::new(seed);
        self.input.col_mut(column).fill_with(|| (INIT_STD * rng.normal()) as f32);
    }

    /// Input vectors, a column an item.
    #[must_use]
    pub fn input(&self) -> &Slab {
        &self.input
    }

    /// Output vectors, a column an item.
    #[must_use]
    pub fn output(&self) -> &Slab {
        &self.output
    }

    /// The context of a user whose newest items are these; says whether there is one.
    pub fn context(&self, newest: impl Iterator<Item = u32>, context: &mut [f32; DIM]) -> bool {
        context.fill(0.0);
        let (mut weight, mut total) = (1.0_f32, 0.0_f32);
        for item in newest.take(CONTEXT) {
            kernels::scale_add(context, 1.0, weight, self.input.col(item as usize));
            total += weight;
            weight *= RECENCY;
        }
        if total > 0.0 {
            context.iter_mut().for_each(|value| *value /= total);
        }
        total > 0.0
    }

    /// Learns the newest event of the window, and some replayed ones. `trail` finds the trail of a user's slot; the
    /// newest event may stand in it already or not.
    pub fn learn<'a>(&mut self, window: &Window, newest: Met, trail: impl Fn(u32) -> &'a Trail) {
        for round in 0..=REPLAYS {
            let met = if round == 0 { Some(newest) } else { window.draw(&mut self.rng) };
            let Some(met) = met else { continue };
            if met.position == 0 {
                continue;
            }
            let mut negatives = [u32::MAX; NEGATIVES];
            for negative in &mut negatives {
                *negative = window.draw(&mut self.rng).map_or(u32::MAX, |met| met.item);
            }
            self.step(trail(met.user), met, &negatives);
        }
    }

    fn step(&mut self, trail: &Trail, met: Met, negatives: &[u32; NEGATIVES]) {
        let before = || trail.before(met.position as usize, CONTEXT);
        let mut context = self.context;
        if !self.context(before(), &mut context) {
            return; // replayed so late that its context is forgotten
        }
        self.gradient.fill(0.0);
        let square = kernels::squared_norm(&context) / DIM as f32;
        for (at, item) in std::iter::once(met.item).chain(negatives.iter().copied()).enumerate() {
            if item == u32::MAX || (at > 0 && item == met.item) {
                continue;
            }
            self.keep(item as usize);
            let output = self.output.col_mut(item as usize);
            let label = if at == 0 { 1.0 } else { 0.0 };
            let error = label - 1.0 / (1.0 + (-kernels::dot(&context, output)).exp());
            let squares = &mut self.squares[item as usize][1];
            *squares += error * error * square;
            kernels::scale_add(&mut self.gradient, 1.0, error, output);
            kernels::scale_add(output, 1.0, error * STEP / (*squares + 1e-6).sqrt(), &context);
        }
        let total: f32 = {
            let mut weight = 1.0 / RECENCY;
            before()
                .map(|_| {
                    weight *= RECENCY;
                    weight
                })
                .sum()
        };
        let square = kernels::squared_norm(&self.gradient) / DIM as f32;
        let mut weight = 1.0 / total;
        for item in before() {
            self.keep(item as usize);
            let squares = &mut self.squares[item as usize][0];
            *squares += weight * weight * square;
            let step = weight * STEP / (*squares + 1e-6).sqrt();
            kernels::scale_add(self.input.col_mut(item as usize), 1.0, step, &self.gradient);
            weight *= RECENCY;
        }
        self.context = context;
    }

    /// Appends the generator.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        self.rng.words().iter().for_each(|word| {
            out.u64(*word);
        });
    }

    /// Reads what [`Self::encode_head`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for too few bytes.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.rng = Rng::from_words([from.u64()?, from.u64()?, from.u64()?, from.u64()?]);
        Ok(())
    }

    /// Bytes mapped.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.input.bytes() + self.output.bytes()
    }
}

impl Captured for Sequence {
    fn capture(&mut self) -> &mut Option<Box<Capture>> {
        &mut self.capture
    }

    fn count(&self) -> usize {
        self.squares.len()
    }

    fn encode_one(&self, item: usize, out: &mut Writer<'_>) {
        out.f32s(self.input.col(item)).f32s(self.output.col(item)).f32s(&self.squares[item]);
    }

    fn decode_one(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let column = self.input.push();
        self.output.push();
        from.f32s(self.input.col_mut(column))?;
        from.f32s(self.output.col_mut(column))?;
        self.squares.push([from.f32()?, from.f32()?]);
        Ok(())
    }
}
