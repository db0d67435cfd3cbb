//! Embeddings of items in a shard: stated by operations, read back, and what they say of a user.
//!
//! They lie in the bank (`learn/bank/embeddings.rs`), as strategies over it are who looks at them. Every shard has those of
//! all items: a user's newest items are of any shard.

use super::banked::Banked;
use super::{Outcome, OutcomeKind, Scored, Shard};
use crate::base::IdRef;
use crate::learn::bank::embeddings::Embeddings;
use crate::learn::bank::space::Space;
use crate::learn::bank::taste::{LOOKED, Taste};
use crate::linalg::TopK;

/// What a modality is worth, and what a user's newest items say in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModalityView {
    /// Its name.
    pub name: String,
    /// Length of its vectors.
    pub dim: usize,
    /// Items that have it.
    pub items: u64,
    /// What one deviation in it counts in the fused score: learned, 1 at first.
    pub weight: f32,
    /// How many of the user's newest items have it.
    pub evidence: usize,
    /// How much alike these are: 0 not at all, 1 the same.
    pub agreement: f32,
}

/// A user as embeddings see it.
#[derive(Clone, Debug, PartialEq)]
pub struct TasteView {
    /// The modalities, in the order of the schema.
    pub modalities: Vec<ModalityView>,
    /// The fused vector: modality after modality (`learn/bank/taste.rs`).
    pub vector: Vec<f32>,
    /// The items nearest to it with their fused scores, the best first; those of the history are left out.
    pub nearest: Vec<Scored>,
}

impl Shard {
    /// Follows the schema: modalities that are new begin empty, those that are gone are forgotten with their vectors.
    pub(super) fn declare_modalities(&mut self) {
        let Some(embeddings) = self.embeddings() else { return };
        let declared = embeddings.spaces().iter().map(|space| (space.name(), space.dim()));
        if declared.eq(self.schema.modalities()) {
            return;
        }
        self.touch_all_items();
        if let Some(banked) = &mut self.banked {
            banked.bank.embeddings.declare(self.schema.modalities());
        }
    }

    /// Carries out [`Op::Embedding`](super::Op::Embedding): the vector is the item's from now on, unless a newer one is
    /// known. An item that is not known becomes known. NOT_FOUND for a modality that the schema has no more, and where no
    /// strategy looks at embeddings.
    pub(super) fn put_embedding(&mut self, id: IdRef<'_>, modality: &str, time_ms: i64, vector: &[u8]) -> Outcome {
        let spaces = self.embeddings().map_or(&[][..], Embeddings::spaces);
        let found = spaces.iter().position(|space| space.name() == modality);
        let numbers: Vec<f32> = vector.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let Some(at) = found.filter(|at| numbers.is_empty() || numbers.len() == spaces[*at].dim()) else {
            return Outcome::unchanged(OutcomeKind::NotFound, 0);
        };
        let row = self.known_item(id);
        self.touch_item(row);
        if let Some(banked) = &mut self.banked {
            banked.bank.put_embedding(at, row, time_ms, (!numbers.is_empty()).then_some(&numbers));
        }
        Outcome::applied(self.items.get(row).version)
    }

    /// The vector of an item in a modality, of length 1; `None` if it has none.
    #[must_use]
    pub fn embedding(&self, id: IdRef<'_>, modality: &str) -> Option<&[f32]> {
        let space = self.embeddings()?.spaces().iter().find(|space| space.name() == modality)?;
        Some(&space.vector(self.items.find(id)?)?[..space.dim()])
    }

    /// A user as embeddings see it, with its `nearest` best items; `None` for a user that is not known.
    #[must_use]
    pub fn taste(&self, id: IdRef<'_>, nearest: usize) -> Option<TasteView> {
        let slot = self.users.find(id)?;
        let Some(Banked { bank, .. }) = self.banked.as_deref() else {
            return Some(TasteView { modalities: Vec::new(), vector: Vec::new(), nearest: Vec::new() });
        };
        let (embeddings, mut taste) = (&bank.embeddings, Taste::default());
        taste.of(embeddings, bank.trail(slot).newest(LOOKED));
        let modality = |(at, space): (usize, &Space)| {
            let (evidence, agreement) = taste.evidence(at);
            let (name, dim, items, weight) = (space.name().to_owned(), space.dim(), space.count(), space.weight());
            ModalityView { name, dim, items, weight, evidence, agreement }
        };
        let modalities = embeddings.spaces().iter().enumerate().map(modality).collect();
        let vector = taste.fused(embeddings);
        let nearest = if taste.known() { self.nearest(embeddings, &mut taste, slot, nearest) } else { Vec::new() };
        Some(TasteView { modalities, vector, nearest })
    }

    fn nearest(&self, embeddings: &Embeddings, taste: &mut Taste, slot: usize, most: usize) -> Vec<Scored> {
        if most == 0 {
            return Vec::new();
        }
        let rows = embeddings.embedded();
        let (mut found, mut scores) = (Vec::new(), vec![f32::NAN; self.items.len()]);
        taste.score(embeddings, &rows, &mut found);
        rows.iter().zip(found).for_each(|(row, [score, _])| scores[*row as usize] = score);
        self.users.get(slot).history.entries().iter().for_each(|entry| scores[entry.item as usize] = f32::NAN);
        let mut best = TopK::default();
        best.reset(most);
        best.offer_all(&scores);
        self.named(best.best())
    }

    fn embeddings(&self) -> Option<&Embeddings> {
        self.banked.as_ref().map(|banked| &banked.bank.embeddings)
    }
}
