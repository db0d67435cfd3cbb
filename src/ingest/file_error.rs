//! Why a file that is read or written as a whole cannot be used.

use std::path::{Path, PathBuf};

use crate::storage::OsDisk;
use crate::storage::StorageError;
use crate::storage::files::write_atomically;

/// Why a file cannot be used; `P` says what can be wrong with its content.
#[derive(Debug, thiserror::Error)]
pub enum FileError<P> {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(StorageError),
    /// What is in it is not what is needed.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: P,
    },
}

impl<P> FileError<P> {
    /// What is wrong with the content of the file at `path`.
    pub(super) fn content(path: &Path, problem: impl Into<P>) -> Self {
        Self::Content { path: path.to_owned(), problem: problem.into() }
    }

    /// The bytes of a file.
    pub(super) fn read(path: &Path) -> Result<Vec<u8>, Self> {
        std::fs::read(path).map_err(|source| Self::Read { path: path.to_owned(), source })
    }

    /// Puts these bytes in the place of a file.
    pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Self> {
        write_atomically(&OsDisk, path, bytes).map_err(Self::Write)
    }
}
