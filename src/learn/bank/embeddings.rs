//! What items look, read or sound like: vectors of the modalities that the schema declares, made elsewhere (a text or
//! image encoder), and what each modality is worth, learned online.
//!
//! Every vector is kept at length 1. Let `m` be the mean of a modality's vectors and `u` the decayed mean of those of a
//! user's newest items: the user's taste ([`super::taste`]). A candidate's vector `v` then stands at
//!
//! ```text
//! z = (u - m) . (v - m) / s
//! ```
//!
//! where `s` is the deviation of that product over items that others met: encoders put all their vectors into one corner
//! (their mean is far from 0), and some into a smaller one than others; `z` is 0 for what anybody would meet, in every
//! modality alike. The fused score is `sum_k w_k z_k` over the modalities that both sides have: one that is missing says
//! nothing, for or against. The weights are learned from every event, as a logistic regression on pairs (Bradley & Terry
//! 1952; online: Rendle et al. 2009): the item that came against items of random recent events, by Adagrad. All start at 1.

use super::space::Space;
use super::taste::Taste;
use super::window::Window;
use crate::base::Rng;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::MODALITIES_MAX;

/// Items of random recent events that an event's item is told from.
const NEGATIVES: usize = 4;
/// Draws for these: not every item has a vector.
const DRAWS: usize = 3 * NEGATIVES;
/// Events learned up to which every one teaches the weights; later ones do one in `LATER_EVERY`.
const LEARN_FULL: u64 = 50_000;
const LATER_EVERY: u64 = 8;

/// All modalities.
#[derive(Debug)]
pub struct Embeddings {
    spaces: Vec<Space>,
    items: usize,
    /// Items with a vector and without an event, rising.
    fresh: Vec<u32>,
    rng: Rng,
    /// Scratch: the taste of the user that is learned from.
    taste: Taste,
}

impl Embeddings {
    /// No modality yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { spaces: Vec::new(), items: 0, fresh: Vec::new(), rng: Rng::new(seed), taste: Taste::default() }
    }

    /// Makes these the modalities that there are, by name and length: new ones are empty, those that are named no more are
    /// forgotten with their vectors.
    pub fn declare<'a>(&mut self, modalities: impl Iterator<Item = (&'a str, usize)>) {
        let mut old = std::mem::take(&mut self.spaces);
        let spaces = modalities.map(|(name, dim)| {
            let known = old.iter().position(|space| space.name() == name && space.dim() == dim);
            known.map_or_else(|| Space::new(name, dim, self.items), |at| old.swap_remove(at))
        });
        self.spaces = spaces.collect();
        let Self { spaces, fresh, .. } = self;
        fresh.retain(|item| spaces.iter().any(|space| space.column(*item as usize).is_some()));
    }

    /// The modalities, in the order of the schema.
    #[must_use]
    #[inline]
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// Whether any item has a vector.
    #[must_use]
    #[inline]
    pub fn any(&self) -> bool {
        self.spaces.iter().any(|space| space.count() > 0)
    }

    /// Whether an item has a vector.
    #[must_use]
    #[inline]
    pub fn has(&self, item: usize) -> bool {
        self.spaces.iter().any(|space| space.column(item).is_some())
    }

    /// Items with a vector, rising.
    #[must_use]
    pub fn embedded(&self) -> Vec<u32> {
        (0..self.items as u32).filter(|item| self.has(*item as usize)).collect()
    }

    /// Items with a vector and without an event, rising.
    #[must_use]
    pub fn fresh(&self) -> &[u32] {
        &self.fresh
    }

    /// Adds an item without vectors.
    pub fn insert(&mut self) {
        self.items += 1;
        self.spaces.iter_mut().for_each(Space::insert);
    }

    /// Gives an item a vector of length 1 in a modality, or takes it away, as it was at `time_ms`; what is older than what
    /// is known changes nothing. `met` says whether anybody met the item.
    ///
    /// # Panics
    /// If there is no such item or modality, or the vector is not as long as those of the modality.
    pub fn put(&mut self, modality: usize, item: usize, time_ms: i64, vector: Option<&[f32]>, met: bool) {
        let space = &mut self.spaces[modality];
        if space.is_older(item, time_ms, vector) {
            return;
        }
        space.put(item, time_ms, vector);
        let (has, number) = (self.has(item), item as u32);
        match self.fresh.binary_search(&number) {
            Err(at) if has && !met => self.fresh.insert(at, number),
            Ok(at) if !has => drop(self.fresh.remove(at)),
            _ => {}
        }
    }

    /// An item was met for the first time.
    pub fn met(&mut self, item: usize) {
        if let Ok(at) = self.fresh.binary_search(&(item as u32)) {
            self.fresh.remove(at);
        }
    }

    /// Learns what the modalities are worth from a user with these newest items who met `item`, as the `events`-th event.
    pub fn learn(&mut self, events: u64, window: &Window, newest: impl Iterator<Item = u32>, item: u32) {
        let due = events < LEARN_FULL || events.is_multiple_of(LATER_EVERY);
        if !due || !self.has(item as usize) {
            return;
        }
        let mut taste = std::mem::take(&mut self.taste);
        taste.of(self, newest);
        if taste.known() {
            let mut left = NEGATIVES;
            for _ in 0..DRAWS {
                let Some(other) = window.draw(&mut self.rng).map(|met| met.item) else { break };
                if other != item && self.has(other as usize) {
                    self.tell_apart(&taste, item as usize, other as usize);
                    left -= 1;
                }
                if left == 0 {
                    break;
                }
            }
        }
        self.taste = taste;
    }

    /// One step uphill on the probability that `item` comes rather than `other`.
    fn tell_apart(&mut self, taste: &Taste, item: usize, other: usize) {
        let mut differences = [0.0_f32; MODALITIES_MAX];
        let mut margin = 0.0;
        for ((at, space), difference) in self.spaces.iter_mut().enumerate().zip(&mut differences) {
            let products = [item, other].map(|item| taste.product(at, space.vector(item)));
            if let Some(product) = products[1] {
                space.compare(product);
            }
            let [one, two] = products.map(|product| product.unwrap_or(0.0) * space.inverse_deviation());
            *difference = one - two;
            margin += space.weight() * *difference;
        }
        let doubt = 1.0 / (1.0 + margin.exp());
        for (space, difference) in self.spaces.iter_mut().zip(differences).filter(|(_, difference)| *difference != 0.0)
        {
            space.learn(doubt * difference);
        }
    }

    /// Bytes mapped for vectors.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.spaces.iter().map(Space::bytes).sum()
    }
}

impl Embeddings {
    /// Appends what is kept over all items.
    pub fn encode_head(&self, out: &mut Writer<'_>) {
        self.rng.words().iter().for_each(|word| {
            out.u64(*word);
        });
        out.count(self.fresh.len()).u32s(&self.fresh);
        out.count(self.spaces.len());
        self.spaces.iter().for_each(|space| space.encode_head(out));
    }

    /// Reads what [`Self::encode_head`] wrote, in the place of what was declared; items follow.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no embeddings.
    pub fn decode_head(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.rng = Rng::from_words([from.u64()?, from.u64()?, from.u64()?, from.u64()?]);
        let fresh = from.count(4, usize::MAX)?;
        self.fresh = (0..fresh).map(|_| from.u32()).collect::<Result<_, _>>()?;
        let spaces = from.count(4, MODALITIES_MAX)?;
        self.spaces = (0..spaces).map(|_| Space::decode_head(from)).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Appends the vectors of one item.
    pub fn encode_item(&self, item: usize, out: &mut Writer<'_>) {
        self.spaces.iter().for_each(|space| space.encode_item(item, out));
    }

    /// Adds an item as [`Self::encode_item`] wrote it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no vectors.
    pub fn decode_item(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
        self.items += 1;
        self.spaces.iter_mut().try_for_each(|space| space.decode_item(from))
    }
}

/// A vector as operations carry it: the bytes of its numbers, brought to length 1; `None` for one that has no direction.
#[must_use]
pub fn unit_bytes(vector: &[f32]) -> Option<Vec<u8>> {
    unit(vector).map(|unit| unit.into_iter().flat_map(f32::to_le_bytes).collect())
}

/// Brings a vector to length 1; `None` for one that has no direction, whose length is 0 or beyond what numbers hold.
#[must_use]
pub fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let square: f64 = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let inverse = 1.0 / square.sqrt();
    (square > 0.0 && inverse.is_finite() && inverse > 0.0)
        .then(|| vector.iter().map(|value| (f64::from(*value) * inverse) as f32).collect())
}

#[cfg(test)]
mod tests;
