//! The rows of a file as statements, one after the other; the first rows tell the types of columns.

use std::iter::Chain;
use std::path::Path;
use std::vec::IntoIter;

use super::{ColumnsError, Plan, Stated, Target, Typing};
use crate::ingest::{Cells, IngestError, Sheet};

/// Rows that are looked at to tell the types of columns.
const SAMPLE_ROWS: usize = 10_000;

/// One row.
#[derive(Debug)]
pub(in crate::cli) struct Row {
    /// Line of the file that it starts on, from 1.
    pub(in crate::cli) line: u64,
    /// What it states, or why it cannot be taken.
    pub(in crate::cli) stated: Result<Stated, String>,
}

/// The rows of a file. An `Err` ends them: the file cannot be read on.
#[derive(Debug)]
pub(in crate::cli) struct Rows {
    plan: Plan,
    cells: Chain<IntoIter<Result<Cells, IngestError>>, Sheet>,
}

impl Rows {
    /// Opens a file of statements about `target`.
    ///
    /// # Errors
    /// [`ColumnsError`].
    pub(in crate::cli) fn open(target: &Target, path: &Path, typing: Typing<'_>) -> Result<Self, ColumnsError> {
        let mut sheet = Sheet::open(path)?;
        let sample: Vec<Result<Cells, IngestError>> = sheet.by_ref().take(SAMPLE_ROWS).collect();
        let plan = Plan::new(target, path, &sheet, typing, &sample.iter().filter_map(|row| row.as_ref().ok()))?;
        Ok(Self { plan, cells: sample.into_iter().chain(sheet) })
    }

    /// How they are read.
    pub(in crate::cli) fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl Iterator for Rows {
    type Item = Result<Row, IngestError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.cells.next()? {
            Ok(cells) => Ok(Row { line: cells.line, stated: self.plan.stated(&cells) }),
            Err(IngestError::Row(error)) => {
                let stated = Err(format!("{} is {:?}, expected {}", error.column, error.found, error.expected));
                Ok(Row { line: error.line, stated })
            }
            Err(error) => Err(error),
        })
    }
}
