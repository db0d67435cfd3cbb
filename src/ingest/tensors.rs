//! What attention learned, as a safetensors file: read to begin with, written to take elsewhere.
//!
//! `docs/neural.md` says which tensors a file holds. Everything is checked here: what comes out can be installed.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::file_error::FileError;
use crate::base::Id;
use crate::base::limits::ID_BYTES_MAX;
use crate::learn::bank::pretrained::{Pretrained, PretrainedItem};
use crate::linalg::attention::{DIM, LENGTH, NOTHING, PLACES, QUERY, QUERY_BIAS, ROWS, VALUE, Vector, Weights};

/// Tensors of the weights: name, first row, shape.
const WEIGHTS: [(&str, usize, &[usize]); 5] = [
    ("attention.query.weight", QUERY, &[DIM, DIM]),
    ("attention.query.bias", QUERY_BIAS, &[DIM]),
    ("attention.places.bias", PLACES, &[LENGTH]),
    ("attention.nothing.bias", NOTHING, &[1]),
    ("attention.value.weight", VALUE, &[DIM, DIM]),
];
/// Vectors of items, a row an item.
const ITEM_VECTORS: &str = "items.vectors";
/// What each item scores with everybody.
const ITEM_BIASES: &str = "items.biases";
/// Sums of squared slopes of vector and bias.
const ITEM_SQUARES: &str = "items.squares";
/// The key of the metadata that names the items.
pub(super) const ITEM_IDS: &str = "items";
/// Largest absolute value: what is larger was not learned.
const VALUE_MAX: f32 = 1e4;

/// Why a file of tensors cannot be used.
pub type TensorsError = FileError<TensorProblem>;

/// What is wrong with the content of a file of tensors.
#[derive(Debug, thiserror::Error)]
pub enum TensorProblem {
    /// It is no safetensors file.
    #[error("not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor is not there.
    #[error("no tensor {name}, expected one of shape {expected:?}; there are {}", there.join(", "))]
    Missing {
        /// Its name.
        name: &'static str,
        /// The shape that it must have.
        expected: Vec<usize>,
        /// What there is.
        there: Vec<String>,
    },
    /// A tensor has another shape.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that it must have.
        expected: Vec<usize>,
    },
    /// A tensor holds other numbers than `f32`.
    #[error("tensor {name} holds {found:?}, expected F32")]
    Type {
        /// Its name.
        name: &'static str,
        /// What it holds.
        found: Dtype,
    },
    /// A number cannot be one that was learned.
    #[error("tensor {name} is {found} at {at}, expected a number within +-{VALUE_MAX}, not below 0 for squares")]
    Value {
        /// Its name.
        name: &'static str,
        /// Where, counted through the tensor.
        at: usize,
        /// The number.
        found: f32,
    },
    /// The items are not named.
    #[error("{0}, expected item ids of 1 to {ID_BYTES_MAX} bytes, one a line, each once")]
    Ids(String),
}

/// Reads a file.
///
/// # Errors
/// [`TensorsError`], with what was found and what was expected.
pub fn read_tensors(path: &Path) -> Result<Pretrained, TensorsError> {
    parse(&TensorsError::read(path)?).map_err(|problem| TensorsError::content(path, problem))
}

/// Writes a file.
///
/// # Errors
/// [`TensorsError`].
pub fn write_tensors(path: &Path, learned: &Pretrained) -> Result<(), TensorsError> {
    let bytes = encode(learned).map_err(|problem| TensorsError::content(path, problem))?;
    TensorsError::write(path, &bytes)
}

fn parse(bytes: &[u8]) -> Result<Pretrained, TensorProblem> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut weights: Box<Weights> = Box::new([[0.0; DIM]; ROWS]);
    for (name, first, shape) in WEIGHTS {
        let values = floats(&tensors, name, shape)?;
        weights[first..].as_flattened_mut()[..values.len()].copy_from_slice(&values);
    }
    let items = if tensors.tensor(ITEM_VECTORS).is_ok() {
        let named = header.metadata().as_ref().and_then(|metadata| metadata.get(ITEM_IDS));
        let text = named.ok_or_else(|| TensorProblem::Ids(format!("{ITEM_VECTORS} without metadata `items`")))?;
        items(&tensors, ids(text, "`items`")?)?
    } else {
        Vec::new()
    };
    Ok(Pretrained { stamp: 0, weights: Some(weights), items }.stamped())
}

fn items(tensors: &SafeTensors<'_>, ids: Vec<Id>) -> Result<Vec<PretrainedItem>, TensorProblem> {
    let count = ids.len();
    let vectors = floats(tensors, ITEM_VECTORS, &[count, DIM])?;
    let given = |name| tensors.tensor(name).is_ok();
    let biases = if given(ITEM_BIASES) { floats(tensors, ITEM_BIASES, &[count])? } else { vec![0.0; count] };
    // One, where it is not said: what was learned elsewhere shall not be swept away by the first events.
    let squares = if given(ITEM_SQUARES) { floats(tensors, ITEM_SQUARES, &[count, 2])? } else { vec![1.0; 2 * count] };
    if let Some(at) = squares.iter().position(|square| *square < 0.0) {
        return Err(TensorProblem::Value { name: ITEM_SQUARES, at, found: squares[at] });
    }
    let rows = vectors.as_chunks::<DIM>().0.iter().zip(squares.as_chunks::<2>().0).zip(biases);
    let item = |(id, ((vector, squares), bias)): (Id, ((&Vector, &[f32; 2]), f32))| PretrainedItem {
        id,
        vector: *vector,
        bias,
        squares: *squares,
    };
    Ok(ids.into_iter().zip(rows).map(item).collect())
}

/// The numbers of a tensor of this shape.
fn floats(tensors: &SafeTensors<'_>, name: &'static str, shape: &[usize]) -> Result<Vec<f32>, TensorProblem> {
    let Ok(tensor) = tensors.tensor(name) else {
        let mut there: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
        there.sort_unstable();
        return Err(TensorProblem::Missing { name, expected: shape.to_vec(), there });
    };
    if tensor.dtype() != Dtype::F32 {
        return Err(TensorProblem::Type { name, found: tensor.dtype() });
    }
    if tensor.shape() != shape {
        return Err(TensorProblem::Shape { name, found: tensor.shape().to_vec(), expected: shape.to_vec() });
    }
    let values: Vec<f32> = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    // Sums of squares may be large; everything must be a number.
    let most = if name == ITEM_SQUARES { f32::MAX } else { VALUE_MAX };
    match values.iter().position(|value| value.is_nan() || value.abs() > most) {
        Some(at) => Err(TensorProblem::Value { name, at, found: values[at] }),
        None => Ok(values),
    }
}

/// The ids that stand in `text`, one a line; `of` names it in messages.
pub(super) fn ids(text: &str, of: &str) -> Result<Vec<Id>, TensorProblem> {
    let id = |text: &str| match text.len() {
        1..=ID_BYTES_MAX => Ok(Id::parse(text)),
        length => Err(TensorProblem::Ids(format!("{of} has an id of {length} bytes"))),
    };
    let ids = text.split('\n').map(id).collect::<Result<Vec<_>, _>>()?;
    let mut seen = std::collections::HashSet::new();
    match ids.iter().find(|id| !seen.insert(*id)) {
        Some(twice) => Err(TensorProblem::Ids(format!("{of} names {twice} twice"))),
        None => Ok(ids),
    }
}

fn encode(learned: &Pretrained) -> Result<Vec<u8>, TensorProblem> {
    let mut parts: Vec<(&str, Vec<usize>, Vec<u8>)> = Vec::new();
    if let Some(weights) = &learned.weights {
        for (name, first, shape) in WEIGHTS {
            let count: usize = shape.iter().product();
            parts.push((name, shape.to_vec(), bytes(weights[first..].as_flattened()[..count].iter().copied())));
        }
    }
    let items = &learned.items;
    if !items.is_empty() {
        let count = items.len();
        parts.push((ITEM_VECTORS, vec![count, DIM], bytes(items.iter().flat_map(|item| item.vector))));
        parts.push((ITEM_BIASES, vec![count], bytes(items.iter().map(|item| item.bias))));
        parts.push((ITEM_SQUARES, vec![count, 2], bytes(items.iter().flat_map(|item| item.squares))));
    }
    let names: Vec<String> = items.iter().map(|item| item.id.to_string()).collect();
    if let Some(name) = names.iter().find(|name| name.contains('\n')) {
        return Err(TensorProblem::Ids(format!("{name:?} has more than one line")));
    }
    let metadata = HashMap::from([(ITEM_IDS.to_owned(), names.join("\n"))]);
    let views = parts
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, TensorProblem>>()?;
    Ok(safetensors::serialize(views, Some(metadata))?)
}

fn bytes(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Pretrained {
        let mut weights: Box<Weights> = Box::new([[0.0; DIM]; ROWS]);
        for (_, first, shape) in WEIGHTS {
            let count: usize = shape.iter().product();
            let row = weights[first..].as_flattened_mut();
            row[..count].iter_mut().zip(1_u16..).for_each(|(value, at)| *value = f32::from(at) + first as f32);
        }
        let item = |id| PretrainedItem { id, vector: [0.5; DIM], bias: -1.0, squares: [3.0, 4.0] };
        let items = vec![item(Id::Int(u64::MAX)), item(Id::Text("red shoe".into()))];
        Pretrained { stamp: 0, weights: Some(weights), items }.stamped()
    }

    fn file(tensors: &[(&str, &[usize], Vec<u8>)], items: Option<&str>) -> Vec<u8> {
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("as long as its shape"))
        });
        let metadata = items.map(|items| HashMap::from([(ITEM_IDS.to_owned(), items.to_owned())]));
        safetensors::serialize(views, metadata).expect("views are whole")
    }

    fn weights() -> Vec<(&'static str, &'static [usize], Vec<u8>)> {
        WEIGHTS.iter().map(|(name, _, shape)| (*name, *shape, vec![0; 4 * shape.iter().product::<usize>()])).collect()
    }

    fn refused(bytes: &[u8]) -> String {
        parse(bytes).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("w.safetensors");
        write_tensors(&path, &sample()).expect("written");
        assert_eq!(read_tensors(&path).expect("read"), sample());
        let missing = read_tensors(&folder.path().join("none")).expect_err("there is none").to_string();
        assert!(missing.starts_with("cannot read "), "{missing}");
    }

    #[test]
    fn weights_alone_are_enough() {
        let read = parse(&file(&weights(), None)).expect("whole");
        assert_eq!((read.items.len(), read.weights.is_some()), (0, true));
    }

    #[test]
    fn items_have_defaults_beside_their_vectors() {
        let mut tensors = weights();
        tensors.push((ITEM_VECTORS, &[2, DIM], vec![0; 8 * DIM]));
        let read = parse(&file(&tensors, Some("7\na"))).expect("whole");
        assert_eq!(read.items[0].id, Id::Int(7));
        assert_eq!((read.items[1].bias, read.items[1].squares), (0.0, [1.0, 1.0]));
    }

    #[test]
    fn messages_tell_what_was_found_and_what_is_expected() {
        assert!(refused(b"no such thing").starts_with("not a safetensors file"));
        let mut tensors = weights();
        tensors.remove(1);
        let message = refused(&file(&tensors, None));
        assert!(
            message.starts_with("no tensor attention.query.bias, expected one of shape [32]; there are "),
            "{message}"
        );
        let mut tensors = weights();
        tensors[2] = ("attention.places.bias", &[4, 5], vec![0; 80]);
        assert_eq!(refused(&file(&tensors, None)), "tensor attention.places.bias has shape [4, 5], expected [20]");
        let mut tensors = weights();
        tensors[1].2[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(refused(&file(&tensors, None)).starts_with("tensor attention.query.bias is NaN at 1, expected"));
        let mut tensors = weights();
        tensors.push((ITEM_VECTORS, &[2, DIM], vec![0; 8 * DIM]));
        for (names, start) in [
            (None, "items.vectors without metadata `items`"),
            (Some("1"), "tensor items.vectors has shape [2, 32], expected [1, 32]"),
            (Some("1\n1"), "`items` names 1 twice"),
            (Some("1\n"), "`items` has an id of 0 bytes, expected item ids of 1 to 128 bytes"),
        ] {
            let message = refused(&file(&tensors, names));
            assert!(message.starts_with(start), "{names:?}: {message}");
        }
    }

    #[test]
    fn an_id_that_cannot_stand_on_one_line_is_not_written() {
        let mut learned = sample();
        learned.items[0].id = Id::Text("two\nlines".into());
        assert!(encode(&learned).expect_err("it is refused").to_string().starts_with(r#""two\nlines" has more"#));
    }

    #[test]
    fn a_cut_file_is_refused() {
        let whole = encode(&sample()).expect("whole");
        for cut in (0..whole.len()).step_by(211) {
            assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
