//! A user as the items' embeddings see it: one centred vector a modality, fused into one by the weights that the stream
//! taught. Made from the newest items when it is asked for; nothing is stored a user.

use super::embeddings::Embeddings;
use super::space::Space;
use crate::linalg::kernels;
use crate::linalg::score::score_some_twice;

/// The user's newest items that are looked at.
pub const LOOKED: usize = 20;
/// Factor on each older item.
const RECENCY: f32 = 0.9;

/// One modality of it.
#[derive(Clone, Debug, Default)]
struct Part {
    /// How many of the newest items have the modality.
    items: usize,
    /// The decayed mean of their vectors less the mean of all, and its product with the mean of all.
    query: Vec<f32>,
    offset: f32,
    /// The same of the newest item that has it.
    newest: Vec<f32>,
    newest_offset: f32,
    /// Length of the decayed mean, 0 to 1: how much alike the items are.
    agreement: f32,
}

/// What embeddings say of a user: scratch of queries.
#[derive(Clone, Debug, Default)]
pub struct Taste {
    parts: Vec<Part>,
    looked: Vec<u32>,
    mean: Vec<f32>,
    columns: Vec<u32>,
    places: Vec<u32>,
    products: Vec<[f32; 2]>,
}

impl Taste {
    /// Looks at a user whose newest items are these, newest first.
    pub fn of(&mut self, embeddings: &Embeddings, newest: impl Iterator<Item = u32>) {
        self.looked.clear();
        self.looked.extend(newest.take(LOOKED));
        self.parts.resize_with(embeddings.spaces().len(), Part::default);
        for (part, space) in self.parts.iter_mut().zip(embeddings.spaces()) {
            part.items = 0;
            if space.count() > 0 {
                part.look(space, &self.looked, &mut self.mean);
            }
        }
    }

    /// Nothing is known of the user. Keeps its memory.
    pub fn forget(&mut self) {
        self.parts.iter_mut().for_each(|part| part.items = 0);
    }

    /// Whether any of the newest items has a vector.
    #[must_use]
    pub fn known(&self) -> bool {
        self.parts.iter().any(|part| part.items > 0)
    }

    /// How many of the newest items have a modality, and how much alike these are: 0 not at all, 1 the same.
    #[must_use]
    pub fn evidence(&self, modality: usize) -> (usize, f32) {
        self.parts.get(modality).filter(|part| part.items > 0).map_or((0, 0.0), |part| (part.items, part.agreement))
    }

    /// The centred product with a vector, if both sides have the modality.
    #[inline]
    pub(super) fn product(&self, modality: usize, vector: Option<&[f32]>) -> Option<f32> {
        let part = self.parts.get(modality).filter(|part| part.items > 0)?;
        Some(kernels::dot(&part.query, vector?) - part.offset)
    }

    /// The user as one vector: modality after modality in the order of the schema, each its centred mean times its weight
    /// over its deviation, zeros where nothing is known. Its product with the centred vectors of an item is the fused score.
    #[must_use]
    pub fn fused(&self, embeddings: &Embeddings) -> Vec<f32> {
        let mut fused = Vec::new();
        for (part, space) in self.parts.iter().zip(embeddings.spaces()) {
            let scale = space.weight() * space.inverse_deviation();
            let known = part.items > 0;
            fused.extend((0..space.dim()).map(|at| if known { scale * part.query[at] } else { 0.0 }));
        }
        fused
    }

    /// The fused scores of `items`, for all that the user looked at and for the newest item alone; 0 for an item of which
    /// nothing is known.
    pub fn score(&mut self, embeddings: &Embeddings, items: &[u32], scores: &mut Vec<[f32; 2]>) {
        scores.clear();
        scores.resize(items.len(), [0.0; 2]);
        let Self { parts, columns, places, products, .. } = self;
        for (part, space) in parts.iter().zip(embeddings.spaces()).filter(|(part, _)| part.items > 0) {
            columns.clear();
            places.clear();
            for (place, item) in (0_u32..).zip(items) {
                if let Some(column) = space.column(*item as usize) {
                    columns.push(column);
                    places.push(place);
                }
            }
            let scale = space.weight() * space.inverse_deviation();
            score_some_twice(space.vectors(), [&part.query, &part.newest], columns, products);
            for (place, [all, newest]) in places.iter().zip(&*products) {
                let score = &mut scores[*place as usize];
                score[0] += scale * (all - part.offset);
                score[1] += scale * (newest - part.newest_offset);
            }
        }
    }
}

impl Part {
    fn look(&mut self, space: &Space, newest: &[u32], mean: &mut Vec<f32>) {
        let (mut weight, mut total) = (1.0_f32, 0.0_f32);
        for item in newest {
            if let Some(vector) = space.vector(*item as usize) {
                if self.items == 0 {
                    self.newest.clear();
                    self.newest.extend_from_slice(vector);
                    self.query.clear();
                    self.query.resize(vector.len(), 0.0);
                }
                kernels::scale_add(&mut self.query, 1.0, weight, vector);
                total += weight;
                self.items += 1;
            }
            weight *= RECENCY;
        }
        if self.items == 0 {
            return;
        }
        space.mean(mean);
        let inverse = 1.0 / total;
        self.agreement = inverse * kernels::squared_norm(&self.query).sqrt();
        // The mean less that of all, in one: a y + b x.
        kernels::scale_add(&mut self.query, inverse, -1.0, mean);
        kernels::scale_add(&mut self.newest, 1.0, -1.0, mean);
        self.offset = kernels::dot(&self.query, mean);
        self.newest_offset = kernels::dot(&self.newest, mean);
    }
}
