//! Embeddings of items from the files of other tools: safetensors and NumPy's npy.
//!
//! A file holds a matrix, a row an item. Which item stands in a file beside it, an id a line, or in the metadata `items` of
//! a safetensors file, as in `docs/neural.md`.

use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::file_error::FileError;
use super::npy::{self, Matrix, NpyError};
use super::tensors::{ITEM_IDS, TensorProblem, ids};
use crate::base::Id;

/// Vectors of items.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Which items.
    pub ids: Vec<Id>,
    /// A row an item.
    pub matrix: Matrix,
}

/// Why a file of embeddings cannot be used.
pub type EmbeddingsError = FileError<EmbeddingsProblem>;

/// What is wrong with the content of a file of embeddings.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingsProblem {
    /// It is no such npy file.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// It is no such safetensors file, or its ids are none.
    #[error(transparent)]
    Tensors(#[from] TensorProblem),
    /// Nobody says which row belongs to which item.
    #[error("it does not say whose its rows are; name a file with an id a line by --ids")]
    NoIds,
    /// Another number of ids than of rows.
    #[error("{ids} ids for {rows} rows")]
    Count {
        /// Ids.
        ids: usize,
        /// Rows.
        rows: usize,
    },
    /// Which tensor is not clear.
    #[error("no tensor `{wanted}`; there are {}; choose one by --tensor", there.join(", "))]
    Which {
        /// What was looked for.
        wanted: String,
        /// What there is, with shapes.
        there: Vec<String>,
    },
    /// A tensor that is no matrix of floating point.
    #[error("tensor `{name}` is {found}, expected two dimensions of F32, F64, F16 or BF16")]
    Tensor {
        /// Its name.
        name: String,
        /// What it is.
        found: String,
    },
}

impl From<safetensors::SafeTensorError> for EmbeddingsProblem {
    fn from(error: safetensors::SafeTensorError) -> Self {
        Self::Tensors(error.into())
    }
}

/// Reads a file: npy where it begins as one, else safetensors. Of several tensors the one named `tensor` is taken, or the
/// only one there is. `ids_file` names the items; without it the metadata of a safetensors file does.
///
/// # Errors
/// [`EmbeddingsError`], with what was found and what was expected.
pub fn read_embeddings(
    path: &Path,
    tensor: Option<&str>,
    modality: &str,
    ids_file: Option<&Path>,
) -> Result<Embedded, EmbeddingsError> {
    let bytes = EmbeddingsError::read(path)?;
    let (matrix, named) = if bytes.starts_with(b"\x93NUMPY") {
        (npy::parse(&bytes).map_err(|error| EmbeddingsError::content(path, error))?, None)
    } else {
        parse_tensors(&bytes, tensor, modality).map_err(|problem| EmbeddingsError::content(path, problem))?
    };
    let ids = match (ids_file, named) {
        (Some(file), _) => {
            let text = String::from_utf8_lossy(&EmbeddingsError::read(file)?).replace("\r\n", "\n");
            let ids = ids(text.trim_end_matches('\n'), "the file");
            ids.map_err(|problem| EmbeddingsError::content(file, problem))?
        }
        (None, Some(text)) => ids(&text, "`items`").map_err(|problem| EmbeddingsError::content(path, problem))?,
        (None, None) => return Err(EmbeddingsError::content(path, EmbeddingsProblem::NoIds)),
    };
    let rows = matrix.shape[0];
    if ids.len() != rows {
        return Err(EmbeddingsError::content(path, EmbeddingsProblem::Count { ids: ids.len(), rows }));
    }
    Ok(Embedded { ids, matrix })
}

/// Writes the safetensors file of [`embeddings_bytes`].
///
/// # Errors
/// [`EmbeddingsError::Write`].
pub fn write_embeddings(path: &Path, name: &str, embedded: &Embedded) -> Result<(), EmbeddingsError> {
    EmbeddingsError::write(path, &embeddings_bytes(name, embedded))
}

/// A safetensors file with one tensor of this name, and the ids in its metadata.
///
/// # Panics
/// If the matrix holds another number of values than its shape says.
#[must_use]
pub fn embeddings_bytes(name: &str, embedded: &Embedded) -> Vec<u8> {
    let data: Vec<u8> = embedded.matrix.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let names: Vec<String> = embedded.ids.iter().map(Id::to_string).collect();
    let metadata = std::collections::HashMap::from([(ITEM_IDS.to_owned(), names.join("\n"))]);
    let view = TensorView::new(Dtype::F32, embedded.matrix.shape.to_vec(), &data).expect("as long as its shape");
    safetensors::serialize([(name, view)], Some(metadata)).expect("one tensor fits a file")
}

/// The matrix, and the text of its items' ids if there is one.
fn parse_tensors(
    bytes: &[u8],
    tensor: Option<&str>,
    modality: &str,
) -> Result<(Matrix, Option<String>), EmbeddingsProblem> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let tensors = SafeTensors::deserialize(bytes)?;
    let there = tensors.names();
    let name = match (tensor, &there[..]) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => modality,
    };
    let Ok(view) = tensors.tensor(name) else {
        let shown = |(name, view): (String, TensorView<'_>)| format!("{name} {:?}", view.shape());
        let mut there: Vec<String> = tensors.tensors().into_iter().map(shown).collect();
        there.sort_unstable();
        return Err(EmbeddingsProblem::Which { wanted: name.to_owned(), there });
    };
    let matrix = matrix(&view).ok_or_else(|| EmbeddingsProblem::Tensor {
        name: name.to_owned(),
        found: format!("{:?} of shape {:?}", view.dtype(), view.shape()),
    })?;
    let named = header.metadata().as_ref().and_then(|metadata| metadata.get(ITEM_IDS)).cloned();
    Ok((matrix, named))
}

fn matrix(view: &TensorView<'_>) -> Option<Matrix> {
    let &[rows, columns] = view.shape() else { return None };
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|raw| f64::from_le_bytes(*raw) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|raw| f16::from_le_bytes(*raw).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|raw| bf16::from_le_bytes(*raw).to_f32()).collect(),
        _ => return None,
    };
    Some(Matrix { shape: [rows, columns], values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Embedded {
        let matrix = Matrix { shape: [2, 3], values: vec![1.0, 2.0, 3.0, -1.0, 0.5, 0.0] };
        Embedded { ids: vec![Id::Int(7), Id::Text("red shoe".into())], matrix }
    }

    fn refused(result: Result<Embedded, EmbeddingsError>) -> String {
        result.expect_err("it is refused").to_string()
    }

    #[test]
    fn what_is_written_is_read_and_an_npy_file_needs_ids_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [tensors, npy, ids] = ["e.safetensors", "e.npy", "ids.txt"].map(|name| folder.path().join(name));
        write_embeddings(&tensors, "vectors", &sample()).expect("written");
        assert_eq!(read_embeddings(&tensors, None, "text", None).expect("read"), sample());
        std::fs::write(&npy, npy::encode(&sample().matrix)).expect("written");
        let message = refused(read_embeddings(&npy, None, "text", None));
        assert!(message.ends_with("whose its rows are; name a file with an id a line by --ids"), "{message}");
        std::fs::write(&ids, "7\r\nred shoe\r\n").expect("written");
        assert_eq!(read_embeddings(&npy, None, "text", Some(&ids)).expect("read"), sample());
        std::fs::write(&ids, "7\n").expect("written");
        assert!(refused(read_embeddings(&npy, None, "text", Some(&ids))).ends_with("1 ids for 2 rows"));
        std::fs::write(&ids, "7\n7\n").expect("written");
        assert!(refused(read_embeddings(&npy, None, "text", Some(&ids))).contains("ids.txt: the file names 7 twice"));
        assert!(refused(read_embeddings(&folder.path().join("none"), None, "text", None)).starts_with("cannot read"));
    }

    #[test]
    fn the_right_tensor_is_taken_of_whatever_floating_type() {
        let halves: Vec<u8> = [1.0, -0.5].into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
        let brains: Vec<u8> = [1.0, -0.5].into_iter().flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect();
        let doubles: Vec<u8> = [1.0_f64, -0.5].into_iter().flat_map(f64::to_le_bytes).collect();
        let whole = vec![0_u8; 16];
        let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).expect("whole");
        let bytes = safetensors::serialize(
            [
                ("text", view(Dtype::F16, &[1, 2], &halves)),
                ("image", view(Dtype::BF16, &[1, 2], &brains)),
                ("double", view(Dtype::F64, &[1, 2], &doubles)),
                ("counts", view(Dtype::I64, &[1, 2], &whole)),
                ("flat", view(Dtype::F64, &[2], &doubles)),
            ],
            None,
        )
        .expect("whole");
        let expected = Matrix { shape: [1, 2], values: vec![1.0, -0.5] };
        for (tensor, modality) in [(None, "text"), (Some("image"), "text"), (Some("double"), "text")] {
            let (matrix, ids) = parse_tensors(&bytes, tensor, modality).expect("read");
            assert_eq!((matrix, ids), (expected.clone(), None), "{tensor:?}");
        }
        for (tensor, modality, start) in [
            (None, "sound", "no tensor `sound`; there are counts [1, 2], double [1, 2], flat [2], image [1, 2], text"),
            (Some("counts"), "text", "tensor `counts` is I64 of shape [1, 2], expected two dimensions of F32"),
            (Some("flat"), "text", "tensor `flat` is F64 of shape [2], expected"),
        ] {
            let message = parse_tensors(&bytes, tensor, modality).expect_err("it is refused").to_string();
            assert!(message.starts_with(start), "{message}");
        }
        assert!(parse_tensors(b"no such thing", None, "text").is_err());
    }
}
