//! The item model of one epoch: what a refit leaves, as it is stored and installed.
//!
//! ```text
//! version u8 = 1 | epoch u32 | parts u32 | items u32 | item ids
//! part: dim u32 | model items u64 | gram dim*dim f32 | factors items*dim f32
//! ```
//!
//! A part serves every strategy over an item model with that `dim`.

use crate::base::Id;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::{ARMS_MAX, DIM_MAX};

/// Fitted factors of all items at the time of the fit.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochModel {
    /// Its number, 1 or more.
    pub epoch: u32,
    /// The items.
    pub ids: Vec<Id>,
    /// One part for each length of factor.
    pub parts: Vec<EpochPart>,
}

/// Factors of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochPart {
    /// Length of a factor.
    pub dim: usize,
    /// `unobserved_weight x H'H`, `dim x dim`.
    pub gram: Vec<f32>,
    /// Item-major, in the order of `ids`.
    pub factors: Vec<f32>,
}

const VERSION: u8 = 1;

impl EpochModel {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        out.u8(VERSION).u32(self.epoch).count(self.parts.len()).count(self.ids.len());
        for id in &self.ids {
            out.owned_id(id);
        }
        for part in &self.parts {
            out.count(part.dim).u64(self.ids.len() as u64);
            out.f32s(&part.gram).f32s(&part.factors);
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are not a model.
    pub fn decode(bytes: &[u8]) -> Result<Self, CursorError> {
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if version != VERSION {
            let (what, found) = ("model version", u64::from(version));
            return Err(CursorError::Bad { what, offset: 0, found, allowed: "1" });
        }
        let epoch = from.u32()?;
        let parts = from.count(0, ARMS_MAX)?;
        let items = from.count(2, usize::MAX)?;
        let ids = (0..items).map(|_| Ok(from.id()?.to_owned())).collect::<Result<Vec<_>, CursorError>>()?;
        let parts = (0..parts)
            .map(|_| {
                let dim = from.count(0, DIM_MAX)?;
                from.u64()?;
                Ok(EpochPart { dim, gram: floats(&mut from, dim * dim)?, factors: floats(&mut from, items * dim)? })
            })
            .collect::<Result<Vec<_>, CursorError>>()?;
        from.finish()?;
        Ok(Self { epoch, ids, parts })
    }
}

fn floats(from: &mut Reader<'_>, count: usize) -> Result<Vec<f32>, CursorError> {
    let raw = from.bytes(count * size_of::<f32>())?;
    Ok(raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let part = EpochPart { dim: 2, gram: vec![1.0, 0.5, 0.5, 2.0], factors: vec![1.0, 2.0, 3.0, 4.0] };
        let model = EpochModel { epoch: 3, ids: vec![Id::Int(4), Id::parse("x")], parts: vec![part] };
        let bytes = model.encode();
        assert_eq!(EpochModel::decode(&bytes), Ok(model));
        for cut in 0..bytes.len() {
            assert!(EpochModel::decode(&bytes[..cut]).is_err());
        }
    }
}
