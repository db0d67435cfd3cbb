//! The neural step: attention over a user's newest items, learned online.
//!
//! The items' vectors serve as what attention reads and as what its result is compared with (tied, as in SASRec: Kang &
//! McAuley 2018; [`crate::linalg::attention`] says what is computed). An event is a step uphill on BPR-max with negatives by
//! popularity (Hidasi & Karatzoglou 2018): the items of random recent events. Vectors and biases step by Adagrad a row
//! (Duchi, Hazan & Singer 2011), the weights of attention by Adam, a batch at a time.
//!
//! Nothing is stored a user: the vector is made from the newest items when it is asked for, by the newest weights, in less
//! time than storing it would take on every event; so nothing of a user goes stale as weights move.

use super::loss::{NEGATIVES_MAX, bpr_max};
use super::pretrained::PretrainedItem;
use super::trails::Trail;
use super::window::{Met, Window};
use crate::base::capture::{Capture, Captured};
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::{Id, Rng};
use crate::linalg::attention::{Adam, DIM, LENGTH, NOTHING, PLACES, Pass, QUERY, ROWS, VALUE, Vector, Weights};
use crate::linalg::{Slab, kernels};

/// Negatives a step.
const NEGATIVES: usize = NEGATIVES_MAX;
/// Step of Adagrad for vectors, and for biases.
const STEPS: [f32; 2] = [0.15, 0.1];
/// Step of Adam for the weights, and gradients that it takes together.
const ADAM: (f32, u32) = (0.001, 8);
/// Standard deviation of new vectors.
const VECTOR_STD: f64 = 0.1;
/// Standard deviation of the first weights of the query.
const QUERY_STD: f64 = 0.02;
/// What each older place weighs at first.
const RECENCY: f32 = 0.9;
/// What nothing scores at first: as much as two of the newest items.
const NOTHING_FIRST: f32 = 0.7;

/// How much is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Replayed events for each new one.
    pub replays: usize,
    /// Events up to which every one is learned, ...
    pub train_full: u64,
    /// ... and the share of the later ones.
    pub train_share: f64,
}

/// What is kept of an item beside its vector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Side {
    bias: f32,
    /// Sums of squared slopes of vector and bias.
    squares: [f32; 2],
}

/// Weights, and vectors of all items.
#[derive(Debug)]
pub struct Attention {
    options: AttentionOptions,
    /// Names what was installed last; 0 if nothing was.
    stamp: u64,
    weights: Box<Weights>,
    adam: Adam,
    vectors: Slab,
    sides: Vec<Side>,
    rng: Rng,
    pass: Box<Pass>,
    slopes: Box<[Vector; LENGTH]>,
    capture: Option<Box<Capture>>,
}

impl Attention {
    /// Nothing learned yet: attention begins as a decayed mean.
    #[must_use]
    pub fn new(seed: u64, options: AttentionOptions) -> Self {
        let mut rng = Rng::new(seed);
        let mut weights: Box<Weights> = Box::new([[0.0; DIM]; ROWS]);
        for row in &mut weights[QUERY..QUERY + DIM] {
            row.fill_with(|| (QUERY_STD * rng.normal()) as f32);
        }
        (0..DIM).for_each(|at| weights[VALUE + at][at] = 1.0);
        let mut place = 0.0;
        for score in &mut weights[PLACES][..LENGTH] {
            *score = place;
            place += RECENCY.ln();
        }
        weights[NOTHING][0] = NOTHING_FIRST;
        Self {
            options,
            stamp: 0,
            weights,
            adam: Adam::default(),
            vectors: Slab::new(DIM),
            sides: Vec::new(),
            rng,
            pass: Box::default(),
            slopes: Box::new([[0.0; DIM]; LENGTH]),
            capture: None,
        }
    }

    /// Adds an item; `seed` belongs to its id.
    pub fn insert(&mut self, seed: u64) {
        let column = self.vectors.push();
        let mut rng = Rng::new(seed);
        self.vectors.col_mut(column).fill_with(|| (VECTOR_STD * rng.normal()) as f32);
        self.sides.push(Side::default());
    }

    /// Vectors of the items, a column an item.
    #[must_use]
    pub fn vectors(&self) -> &Slab {
        &self.vectors
    }

    /// What an item scores with everybody.
    #[must_use]
    #[inline]
    pub fn bias(&self, item: usize) -> f32 {
        self.sides[item].bias
    }

    /// The vector of a user whose newest items are these, newest first; `None` without items. An item's score is its
    /// product with the item's vector, and the item's bias.
    #[must_use]
    pub fn user(&self, newest: impl Iterator<Item = u32>) -> Option<Vector> {
        let mut pass = Pass::default();
        read(&self.vectors, newest, &mut pass);
        pass.forward(&self.weights);
        (pass.count > 0).then_some(pass.out)
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> Box<Weights> {
        self.weights.clone()
    }

    /// The stamp of what was installed last; 0 if nothing was.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Goes on from weights that were learned elsewhere; `stamp` names them.
    pub fn install(&mut self, weights: Box<Weights>, stamp: u64) {
        self.weights = weights;
        self.adam = Adam::default();
        self.stamp = stamp;
    }

    /// Goes on from what was learned elsewhere of the item at `row`.
    pub fn install_item(&mut self, row: usize, item: &PretrainedItem) {
        self.keep(row);
        self.vectors.col_mut(row).copy_from_slice(&item.vector);
        self.sides[row] = Side { bias: item.bias, squares: item.squares };
    }

    /// What is kept of the item at `row`, whose id this is.
    #[must_use]
    pub fn item(&self, row: usize, id: Id) -> PretrainedItem {
        let Side { bias, squares } = self.sides[row];
        let mut vector = [0.0; DIM];
        vector.copy_from_slice(&self.vectors.col(row)[..DIM]);
        PretrainedItem { id, vector, bias, squares }
    }

    /// Learns the newest event of the window, and some replayed ones; all or a share, by the number of events so far.
    /// `trail` finds the trail of a user's slot; the newest event may stand in it already or not.
    pub fn learn<'a>(&mut self, events: u64, window: &Window, newest: Met, trail: impl Fn(u32) -> &'a Trail) {
        let all = events < self.options.train_full;
        for round in 0..=self.options.replays {
            if !all && self.rng.unit() >= self.options.train_share {
                continue;
            }
            let met = if round == 0 { Some(newest) } else { window.draw(&mut self.rng) };
            let Some(met) = met else { continue };
            let trail = trail(met.user);
            read(&self.vectors, trail.before(met.position as usize, LENGTH), &mut self.pass);
            if self.pass.count == 0 {
                continue; // a first event, or replayed so late that what came before it is forgotten
            }
            let (mut items, mut count) = ([met.item; NEGATIVES + 1], 1);
            for _ in 0..NEGATIVES {
                if let Some(other) = window.draw(&mut self.rng).filter(|other| other.item != met.item) {
                    items[count] = other.item;
                    count += 1;
                }
            }
            self.step(trail.before(met.position as usize, LENGTH), &items[..count]);
        }
    }

    /// One step for the first of `items` against the others, for the user in `pass`, whose newest items are `newest`.
    fn step(&mut self, newest: impl Iterator<Item = u32> + Clone, items: &[u32]) {
        if self.capture.is_some() {
            items.iter().copied().chain(newest.clone()).for_each(|item| self.keep(item as usize));
        }
        let Self { weights, adam, vectors, sides, pass, slopes, .. } = self;
        pass.forward(weights);
        let mut scores = [0.0; NEGATIVES + 1];
        let scores = &mut scores[..items.len()];
        for (score, item) in scores.iter_mut().zip(items) {
            *score = kernels::dot(&pass.out, vectors.col(*item as usize)) + sides[*item as usize].bias;
        }
        bpr_max(scores);
        let square = kernels::squared_norm(&pass.out) / DIM as f32;
        let mut slope = [0.0; DIM];
        for (error, item) in scores.iter().zip(items) {
            let (vector, side) = (vectors.col_mut(*item as usize), &mut sides[*item as usize]);
            kernels::scale_add(&mut slope, 1.0, *error, vector);
            side.squares[0] += error * error * square;
            side.squares[1] += error * error;
            kernels::scale_add(vector, 1.0, error * step(STEPS[0], side.squares[0]), &pass.out);
            side.bias += error * step(STEPS[1], side.squares[1]);
        }
        pass.backward(weights, &slope, &mut adam.gradient, slopes);
        adam.added(weights, ADAM.0, ADAM.1);
        for (slope, item) in slopes.iter().zip(newest) {
            let side = &mut sides[item as usize];
            side.squares[0] += kernels::squared_norm(slope) / DIM as f32;
            kernels::scale_add(vectors.col_mut(item as usize), 1.0, step(STEPS[0], side.squares[0]), slope);
        }
    }

    /// Bytes mapped.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.vectors.bytes()
    }
}

/// Reads the vectors of a user's newest items into the inputs of a pass.
fn read(vectors: &Slab, newest: impl Iterator<Item = u32>, pass: &mut Pass) {
    pass.count = 0;
    for (input, item) in pass.inputs.iter_mut().zip(newest) {
        input.copy_from_slice(&vectors.col(item as usize)[..DIM]);
        pass.count += 1;
    }
}

/// Adagrad's step: the longer, the less was learned.
fn step(length: f32, squares: f32) -> f32 {
    length / (squares + 1e-6).sqrt()
}

impl Attention {
    /// Appends the weights, how far they are learned, and the generator.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        self.rng.words().iter().for_each(|word| {
            out.u64(*word);
        });
        out.u64(self.stamp).u32(self.adam.pending).f32(self.adam.missing[0]).f32(self.adam.missing[1]);
        let Adam { gradient, mean, square, .. } = &self.adam;
        for table in [&self.weights, gradient, mean, square] {
            out.f32s(table.as_flattened());
        }
    }

    /// Reads what [`Self::encode_head`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for too few bytes.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.rng = Rng::from_words([from.u64()?, from.u64()?, from.u64()?, from.u64()?]);
        self.stamp = from.u64()?;
        self.adam.pending = from.u32()?;
        self.adam.missing = [from.f32()?, from.f32()?];
        let Adam { gradient, mean, square, .. } = &mut self.adam;
        for table in [&mut self.weights, gradient, mean, square] {
            from.f32s(table.as_flattened_mut())?;
        }
        Ok(())
    }
}

impl Captured for Attention {
    fn capture(&mut self) -> &mut Option<Box<Capture>> {
        &mut self.capture
    }

    fn count(&self) -> usize {
        self.sides.len()
    }

    fn encode_one(&self, item: usize, out: &mut Writer<'_>) {
        let Side { bias, squares } = self.sides[item];
        out.f32s(self.vectors.col(item)).f32s(&[bias, squares[0], squares[1]]);
    }

    fn decode_one(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        let column = self.vectors.push();
        from.f32s(self.vectors.col_mut(column))?;
        self.sides.push(Side { bias: from.f32()?, squares: [from.f32()?, from.f32()?] });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: AttentionOptions = AttentionOptions { replays: 1, train_full: u64::MAX, train_share: 0.0 };

    /// Users go round a ring of items, each from another start: what comes next is known, how popular it is says nothing.
    fn taught(options: AttentionOptions, events: u32) -> (Attention, Vec<Trail>) {
        let (users, items) = (40, 60);
        let mut attention = Attention::new(3, options);
        (0..items).for_each(|item| attention.insert(u64::from(item) + 7));
        let (mut trails, mut window) = (vec![Trail::default(); users as usize], Window::default());
        for x in 0..events {
            let user = x % users;
            let trail = &mut trails[user as usize];
            let met = Met { user, item: (user * 7 + x / users) % items, position: trail.count() as u32 };
            trail.push(met.item, 0);
            attention.learn(u64::from(x), &window, met, |user| &trails[user as usize]);
            window.push(met);
        }
        (attention, trails)
    }

    fn best(attention: &Attention, trail: &Trail) -> usize {
        let user = attention.user(trail.newest(LENGTH)).expect("it has items");
        let score = |item: usize| kernels::dot(&user, attention.vectors().col(item)) + attention.bias(item);
        (0..attention.vectors().len()).max_by(|a, b| score(*a).total_cmp(&score(*b))).expect("items")
    }

    #[test]
    fn it_learns_what_follows() {
        let (attention, trails) = taught(ALL, 12_000);
        let right = trails.iter().filter(|trail| {
            let next = (trail.newest(1).next().expect("it has items") as usize + 1) % 60;
            let user = attention.user(trail.newest(LENGTH)).expect("it has items");
            let score = |item: usize| kernels::dot(&user, attention.vectors().col(item)) + attention.bias(item);
            let ahead = (0..60).filter(|item| score(*item) > score(next)).count();
            ahead < 12
        });
        let right = right.count();
        assert!(right >= 30, "{right} of 40 have what follows among the first fifth");
    }

    #[test]
    fn image_leads_back_bit_for_bit_and_learns_on_alike() {
        let (mut one, trails) = taught(ALL, 501); // in the middle of a batch
        let encode = |attention: &Attention| {
            let mut bytes = Vec::new();
            attention.encode_head(&mut Writer::new(&mut bytes));
            (0..attention.vectors().len()).for_each(|item| attention.encode_one(item, &mut Writer::new(&mut bytes)));
            bytes
        };
        let bytes = encode(&one);
        let mut two = Attention::new(99, ALL);
        let mut from = Reader::new(&bytes);
        two.decode_head(&mut from).expect("whole");
        (0..60).for_each(|_| two.decode_one(&mut from).expect("whole"));
        from.finish().expect("nothing left");
        assert_eq!(encode(&two), bytes);
        let mut window = Window::default();
        for attention in [&mut one, &mut two] {
            window = Window::default();
            for position in 0..8 {
                let met = Met { user: 5, item: trails[5].at(position).expect("held"), position: position as u32 };
                attention.learn(0, &window, met, |user| &trails[user as usize]);
                window.push(met);
            }
        }
        assert_eq!(encode(&one), encode(&two));
        assert_ne!(encode(&one), bytes, "it learned");
        assert!(best(&one, &trails[5]) < 60);
        assert!(window.newest(8).count() == 8);
        assert!(Attention::new(1, ALL).decode_head(&mut Reader::new(&bytes[..500])).is_err());
    }

    #[test]
    fn no_share_means_nothing_is_learned() {
        let none = AttentionOptions { replays: 1, train_full: 0, train_share: 0.0 };
        let ((learned, _), (fresh, _)) = (taught(none, 200), taught(none, 0));
        assert_eq!(learned.weights, fresh.weights);
        assert_eq!(learned.sides, fresh.sides);
    }
}
