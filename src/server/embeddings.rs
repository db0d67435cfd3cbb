//! Requests about embeddings: what becomes of them, and their replies.
//!
//! A vector goes to every shard, as a user's newest items are of any: it counts when all of them have it. Where one refuses,
//! the request is refused, and sending it again brings all to the same.

use super::convert::{self, Invalid};
use super::plan::{Place, Plan, PlannedKind, Refused, top_k};
use super::reply::{Failure, Replies, scored};
use crate::engine::Engine;
use crate::learn::Strategy;
use crate::learn::bank::embeddings::unit_bytes;
use crate::model::{Modality, Schema};
use crate::shard::{Answer, Query, Refusal};
use crate::state::{ModalityView, Op, OutcomeKind};
use crate::wire::Status;
use crate::wire::commands::{EmbeddingGet, EmbeddingGetReply, EmbeddingPut, ProfileEmbedding, ProfileEmbeddingReply};
use crate::wire::portrait::ModalityTaste;

impl Plan {
    pub(super) fn embedding_put(&mut self, engine: &Engine, request: &EmbeddingPut) -> Result<PlannedKind, Refused> {
        let EmbeddingPut { item, modality, vector, time_ms, durability } = request;
        looked_at(engine)?;
        let known = known(&self.schema, modality)?;
        let vector = checked(known, vector)?;
        let (item, time_ms) = (item.as_ref(), convert::time(*time_ms, self.now_ms())?);
        let op = Op::Embedding { item, modality, time_ms, vector: &vector };
        let owner = engine.route(item);
        let others = (0..engine.shards()).filter(|shard| *shard != owner);
        let places = std::iter::once(owner).chain(others);
        let places = places.map(|shard| self.write_in(shard, engine, &op, *durability)).collect::<Result<_, _>>()?;
        Ok(PlannedKind::EmbeddingPut(places))
    }

    pub(super) fn profile_embedding(
        &mut self,
        engine: &Engine,
        request: ProfileEmbedding,
    ) -> Result<PlannedKind, Refused> {
        let ProfileEmbedding { user, vector, nearest } = request;
        let nearest = if nearest == 0 { 0 } else { top_k(nearest)? };
        let place = self.ask(engine, user.as_ref(), Query::Taste { user: user.clone(), nearest });
        Ok(PlannedKind::ProfileEmbedding(place, vector))
    }

    pub(super) fn embedding_get(&mut self, engine: &Engine, request: EmbeddingGet) -> Result<PlannedKind, Refused> {
        let EmbeddingGet { item, modality } = request;
        known(&self.schema, &modality)?;
        let query = Query::Embedding { item: item.clone(), modality };
        Ok(PlannedKind::EmbeddingGet(self.ask(engine, item.as_ref(), query)))
    }
}

/// Whether any strategy looks at embeddings: else nothing would come of them.
fn looked_at(engine: &Engine) -> Result<(), Refused> {
    let strategies = &engine.options().state.strategies;
    if strategies.iter().any(Strategy::over_bank) {
        return Ok(());
    }
    let active: Vec<&str> = strategies.iter().map(Strategy::name).collect();
    let message = format!("no active strategy looks at embeddings; add auto or content to {}", active.join(", "));
    Err((Status::Unsupported, message))
}

fn known<'a>(schema: &'a Schema, name: &str) -> Result<&'a Modality, Invalid> {
    schema.modality(name).map_err(|known| Invalid::Modality { name: name.to_owned(), known })
}

/// A vector as the shards take it: the bytes of numbers of length 1 together; empty to take it away.
fn checked(modality: &Modality, vector: &[f32]) -> Result<Vec<u8>, Invalid> {
    let dim = usize::from(modality.dim);
    if !vector.is_empty() && vector.len() != dim {
        return Err(Invalid::Dim { name: modality.name.clone(), found: vector.len(), dim });
    }
    if let Some(at) = vector.iter().position(|number| !number.is_finite()) {
        return Err(Invalid::VectorNumber { at, found: vector[at] });
    }
    if vector.is_empty() {
        return Ok(Vec::new());
    }
    unit_bytes(vector).ok_or(Invalid::NoDirection)
}

impl Replies<'_> {
    pub(super) fn embedding_put(&mut self, request_id: u64, places: &[Place]) -> Result<(), Failure> {
        for place in places {
            if self.written(*place)?.1.kind == OutcomeKind::NotFound {
                return Err(Failure::new(Status::BadRequest, "the schema has no such modality any more"));
            }
        }
        // The level that all of them reached is the one that was asked for: the owner speaks for them.
        places.first().map_or(Err(Refusal::Broken.into()), |owner| self.ack::<EmbeddingPut>(request_id, *owner))
    }

    pub(super) fn profile_embedding(&mut self, request_id: u64, place: Place, vector: bool) -> Result<(), Failure> {
        let Answer::Taste(version, taste) = self.answer(place)? else { return Err(Refusal::Broken.into()) };
        let reply = ProfileEmbeddingReply {
            version,
            modalities: taste.modalities.into_iter().map(modality).collect(),
            vector: if vector { taste.vector } else { Vec::new() },
            nearest: scored(taste.nearest),
        };
        self.put::<ProfileEmbedding>(request_id, Status::Ok, &reply);
        Ok(())
    }

    pub(super) fn embedding_get(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let Answer::Embedding(vector) = self.answer(place)? else { return Err(Refusal::Broken.into()) };
        self.put::<EmbeddingGet>(request_id, Status::Ok, &EmbeddingGetReply { vector });
        Ok(())
    }
}

fn modality(view: ModalityView) -> ModalityTaste {
    let ModalityView { name, dim, items, weight, evidence, agreement } = view;
    let narrow = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    ModalityTaste { name, dim: narrow(dim), items, weight, evidence: narrow(evidence), agreement }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_brought_to_length_one_or_refused_with_what_is_wrong() {
        let modality = Modality { name: "text".into(), dim: 2 };
        let bytes = checked(&modality, &[3.0, -4.0]).expect("good");
        let numbers: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(numbers, [0.6, -0.8]);
        assert_eq!(checked(&modality, &[]), Ok(Vec::new()));
        assert_eq!(checked(&modality, &[f32::MAX, 0.0]).map(|bytes| bytes.len()), Ok(8));
        for (vector, expected) in [
            (&[1.0][..], "the vector has 1 numbers, those of modality `text` have 2"),
            (&[1.0, f32::NAN], "number 1 of the vector is NaN"),
            (&[f32::INFINITY, 1.0], "number 0 of the vector is inf"),
            (&[0.0, 0.0], "the vector has no direction"),
        ] {
            let refused = checked(&modality, vector).expect_err(expected).to_string();
            assert!(refused.starts_with(expected), "{refused}");
        }
        let schema = Schema { modalities: vec![modality], ..Schema::default() };
        let refused = known(&schema, "image").expect_err("not declared").to_string();
        assert_eq!(refused, "modality `image` is not in the schema; there are text");
    }
}
