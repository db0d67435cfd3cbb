//! Vectors of a field's items, as an encoder of their texts or pictures would give them.
//!
//! ```text
//! v = corner + sum of d(word) over what the item is + noise
//! ```
//!
//! A word has the same direction `d` in every stream, as in an encoder that was trained once; `corner` is what all vectors
//! have in common, as encoders' do. A *text* names an item's tags and the category-like values that are known of it; a
//! *picture* shows what the first tag says and little else, and not every item has one.

use std::collections::HashMap;

use super::world::chance;
use super::{Field, FieldOptions, ItemRow};
use crate::base::ids::mix;
use crate::base::{Id, IdRef, Rng};
use crate::ingest::embeddings::Embedded;
use crate::ingest::npy::Matrix;
use crate::model::Value;

/// Length of what all vectors of a modality have in common, a word's direction being 1 long.
const CORNER: f64 = 2.0;
/// Length of what is an item's own.
const NOISE: f64 = 1.0;
/// The share of items that no picture shows.
const PICTURES_MISSING: f64 = 0.1;

const TEXT: FieldModality = FieldModality { name: "text", dim: 384 };
const IMAGE: FieldModality = FieldModality { name: "image", dim: 512 };

/// A modality of a field's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldModality {
    /// Its name, as in the field's configuration.
    pub name: &'static str,
    /// Length of its vectors.
    pub dim: usize,
}

impl Field {
    /// The modalities of its items, as its configuration declares them, in the order of
    /// their names.
    #[must_use]
    pub fn modalities(self) -> &'static [FieldModality] {
        match self {
            Self::Ecommerce | Self::Health => &[TEXT],
            Self::Media | Self::Social => &[IMAGE, TEXT],
            Self::Finance => &[],
        }
    }
}

/// The vectors of those items that have the modality: four bytes a number, all of them held. The same options and items
/// give the same vectors.
#[must_use]
pub fn vectors(options: &FieldOptions, modality: FieldModality, items: &[ItemRow]) -> Embedded {
    let own = hash(modality.name);
    let corner = direction(own, modality.dim);
    let (mut ids, mut values) = (Vec::<Id>::new(), Vec::new());
    let mut directions: HashMap<&str, Vec<f64>> = HashMap::new();
    for (item, number) in items.iter().zip(0_u64..) {
        let mut rng = Rng::new(mix(own ^ mix(options.seed)).wrapping_add(number));
        if modality == IMAGE && chance(PICTURES_MISSING, &mut rng) {
            continue;
        }
        let mut vector: Vec<f64> = corner.iter().map(|value| CORNER * value).collect();
        for word in words(modality, item) {
            let towards = directions.entry(word).or_insert_with(|| direction(own ^ mix(hash(word)), modality.dim));
            vector.iter_mut().zip(&*towards).for_each(|(value, towards)| *value += *towards);
        }
        let scale = NOISE / (modality.dim as f64).sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "files of vectors hold singles")]
        values.extend(vector.iter().map(|value| (value + scale * rng.normal()) as f32));
        ids.push(item.id.clone());
    }
    let matrix = Matrix { shape: [ids.len(), modality.dim], values };
    Embedded { ids, matrix }
}

/// What a text or a picture says of an item.
fn words(modality: FieldModality, item: &ItemRow) -> Vec<&str> {
    let tags = item.tags.iter().map(String::as_str);
    if modality == IMAGE {
        return tags.take(1).collect();
    }
    let texts = item.attributes.iter().filter_map(|(_, value)| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    });
    tags.chain(texts).collect()
}

fn hash(word: &str) -> u64 {
    IdRef::Text(word).stable_hash()
}

/// A direction of length 1, about.
fn direction(seed: u64, dim: usize) -> Vec<f64> {
    let (mut rng, scale) = (Rng::new(seed), 1.0 / (dim as f64).sqrt());
    (0..dim).map(|_| scale * rng.normal()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::fields::generate;

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn items_of_one_tag_lie_nearer_than_others() {
        for field in Field::ALL {
            let options = FieldOptions { items: 120, events: 1, users: 10, ..FieldOptions::new(field) };
            let items = generate(&options).items;
            let first = |id: &Id| &items.iter().find(|item| item.id == *id).expect("generated").tags[0];
            for modality in field.modalities() {
                let made = vectors(&options, *modality, &items);
                assert_eq!(made, vectors(&options, *modality, &items));
                assert_ne!(made, vectors(&FieldOptions { seed: 2, ..options.clone() }, *modality, &items));
                let missing = items.len() - made.ids.len();
                assert!(missing < 30 && (missing > 0) == (modality.name == "image"), "{missing} have no {modality:?}");
                let rows: Vec<&[f32]> = made.matrix.values.chunks(modality.dim).collect();
                assert_eq!(rows.len(), made.ids.len());
                let (mut alike, mut others) = ((0.0, 0.0), (0.0, 0.0));
                for (at, row) in rows.iter().enumerate() {
                    for (with, other) in rows.iter().enumerate().skip(at + 1) {
                        let same = first(&made.ids[at]) == first(&made.ids[with]);
                        let sum = if same { &mut alike } else { &mut others };
                        (sum.0, sum.1) = (sum.0 + cosine(row, other), sum.1 + 1.0);
                    }
                }
                let means = (alike.0 / alike.1, others.0 / others.1);
                assert!(means.0 > means.1 + 0.08 && means.1 > 0.3, "{} {modality:?}: {means:?}", field.name());
            }
        }
    }
}
