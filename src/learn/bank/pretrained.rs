//! What attention learned elsewhere: weights and vectors of items, as an operation carries them and a shard exports them.
//!
//! ```text
//! stamp u64 | weights u8 (1: ROWS x DIM f32 follow) | items u32 | (id | DIM f32 | bias f32 | squares f32, f32)...
//! ```

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::ids::mix;
use crate::base::{Id, IdRef};
use crate::linalg::attention::{DIM, ROWS, Vector, Weights};

/// Items of one operation: keeps operations far below a megabyte.
const ITEMS_EACH: usize = 2_048;
/// Least bytes of an item: a short id, its floats.
const ITEM_BYTES_MIN: usize = 2 + 4 * (DIM + 3);

/// Weights, items or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pretrained {
    /// Names the file that this came from, once all of it is installed; 0 before.
    pub stamp: u64,
    /// Weights of attention.
    pub weights: Option<Box<Weights>>,
    /// Items, in the order in which they were known.
    pub items: Vec<PretrainedItem>,
}

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct PretrainedItem {
    /// Which.
    pub id: Id,
    /// Its vector.
    pub vector: Vector,
    /// What it scores with everybody.
    pub bias: f32,
    /// Sums of squared slopes of vector and bias (Adagrad): the larger, the less new events change.
    pub squares: [f32; 2],
}

impl Pretrained {
    /// Sets the stamp to a hash of all that is here.
    #[must_use]
    pub fn stamped(mut self) -> Self {
        let mut bytes = Vec::new();
        self.stamp = 0;
        self.encode(&mut Writer::new(&mut bytes));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words = bytes.as_chunks::<8>().0;
        self.stamp = words.iter().fold(1, |hash, word| mix(hash ^ u64::from_le_bytes(*word))).max(1);
        self
    }

    /// The bytes of the operations that install it: items a part at a time, and at last the weights with the stamp, so that
    /// what was cut short is begun anew.
    #[must_use]
    pub fn parts(&self) -> Vec<Vec<u8>> {
        let encoded = |part: Self| {
            let mut bytes = Vec::new();
            part.encode(&mut Writer::new(&mut bytes));
            bytes
        };
        let items = self.items.chunks(ITEMS_EACH);
        let mut parts: Vec<_> = items.map(|items| encoded(Self { items: items.to_vec(), ..Self::default() })).collect();
        parts.push(encoded(Self { stamp: self.stamp, weights: self.weights.clone(), items: Vec::new() }));
        parts
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.stamp).u8(u8::from(self.weights.is_some()));
        out.f32s(self.weights.as_ref().map_or(&[][..], |weights| weights.as_flattened()));
        out.count(self.items.len());
        for PretrainedItem { id, vector, bias, squares } in &self.items {
            out.owned_id(id).f32s(vector).f32(*bias).f32s(squares);
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for other bytes.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let stamp = from.u64()?;
        let weights = if from.u8()? == 0 {
            None
        } else {
            let mut weights: Box<Weights> = Box::new([[0.0; DIM]; ROWS]);
            from.f32s(weights.as_flattened_mut())?;
            Some(weights)
        };
        let count = from.count(ITEM_BYTES_MIN, usize::MAX)?;
        let item = |from: &mut Reader<'_>| {
            let id = from.id().map(IdRef::to_owned)?;
            let (mut vector, mut rest) = ([0.0; DIM], [0.0; 3]);
            from.f32s(&mut vector)?;
            from.f32s(&mut rest)?;
            Ok(PretrainedItem { id, vector, bias: rest[0], squares: [rest[1], rest[2]] })
        };
        let items = (0..count).map(|_| item(from)).collect::<Result<_, CursorError>>()?;
        Ok(Self { stamp, weights, items })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(items: usize) -> Pretrained {
        let item = |at: usize| PretrainedItem {
            id: if at.is_multiple_of(2) { Id::Int(at as u64) } else { Id::Text(format!("item {at}").into()) },
            vector: [at as f32; DIM],
            bias: 0.5,
            squares: [1.0, 2.0],
        };
        let weights = Some(Box::new([[0.25; DIM]; ROWS]));
        Pretrained { stamp: 0, weights, items: (0..items).map(item).collect() }.stamped()
    }

    #[test]
    fn bytes_lead_back_and_cut_bytes_do_not() {
        let whole = sample(3);
        let mut bytes = Vec::new();
        whole.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Pretrained::decode(&mut Reader::new(&bytes)), Ok(whole));
        for cut in (0..bytes.len()).step_by(97) {
            assert!(Pretrained::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn parts_hold_everything_and_the_stamp_comes_last() {
        let whole = sample(2 * ITEMS_EACH + 5);
        let parts: Vec<_> =
            whole.parts().iter().map(|part| Pretrained::decode(&mut Reader::new(part)).expect("own bytes")).collect();
        assert_eq!(parts.len(), 4);
        let items: Vec<_> = parts.iter().flat_map(|part| part.items.clone()).collect();
        assert_eq!(items, whole.items);
        let stamps: Vec<_> = parts.iter().map(|part| part.stamp).collect();
        assert_eq!(stamps, [0, 0, 0, whole.stamp]);
        assert_eq!(parts[3].weights, whole.weights);
    }

    #[test]
    fn another_content_has_another_stamp() {
        let (one, mut other) = (sample(3), sample(3));
        assert_eq!(one.stamp, other.clone().stamped().stamp, "the old stamp is no part of it");
        other.items[1].bias = 0.75;
        assert_ne!(one.stamp, other.stamped().stamp);
    }
}
