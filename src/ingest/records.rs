//! Records of a TSV or CSV file, plain or gzip, whatever its columns: what [`Table`](super::Table) and
//! [`Sheet`](super::Sheet) have in common.
//!
//! The first line names the columns. Tab, comma or semicolon separate, whichever the header has first in that order. Only
//! files with commas or semicolons may quote. Gzip is told by its first bytes. Memory is bounded: a row over
//! [`ROW_BYTES_MAX`] (say, after a quote that never closes) ends the stream.

use std::fs::File;
use std::io::{BufRead, Error, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::header::split;
use super::source::{Fault, RowGuard, decompressed, too_long};
use super::{IngestError, RowError};

/// Longest row, in bytes (a few buffers more may be read before it is noticed).
pub const ROW_BYTES_MAX: usize = 1 << 20;

/// Characters of a bad field that a message shows.
pub(super) const FOUND_CHARS: usize = 64;

/// A file, record by record.
pub(super) struct Records {
    pub(super) name: String,
    /// Names of the columns.
    pub(super) header: Vec<String>,
    /// Line that the present record starts on, from 1.
    pub(super) line: u64,
    rows: csv::Reader<Box<dyn Read + Send>>,
    record: csv::ByteRecord,
    since_row: Arc<AtomicUsize>,
    ended: bool,
}

impl Records {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, IngestError> {
        let file = File::open(path).map_err(|source| IngestError::Open { path: path.to_owned(), source })?;
        Self::from_reader(file, &path.display().to_string())
    }

    /// Reads the header from bytes, plain or gzip; `name` is for messages (and, if it ends in `.gz`, demands gzip).
    pub(super) fn from_reader(source: impl Read + Send + 'static, name: &str) -> Result<Self, IngestError> {
        let name = name.to_owned();
        let unreadable =
            |error: &Error| IngestError::Unreadable { name: name.clone(), line: 0, reason: error.to_string() };
        let mut plain = decompressed(source, &name).map_err(|fault| match fault {
            Fault::Read(error) => unreadable(&error),
            Fault::NotGzip(found) => IngestError::NotGzip { name: name.clone(), found },
        })?;
        let mut header = Vec::new();
        let limit = ROW_BYTES_MAX as u64;
        plain.by_ref().take(limit).read_until(b'\n', &mut header).map_err(|error| unreadable(&error))?;
        if header.len() == ROW_BYTES_MAX {
            return Err(unreadable(&Error::new(ErrorKind::InvalidData, too_long())));
        }
        let header = String::from_utf8_lossy(&header);
        let header = header.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
        let delimiter =
            [b'\t', b',', b';'].into_iter().find(|&mark| header.as_bytes().contains(&mark)).unwrap_or(b'\t');
        let header = split(header, delimiter);
        if header.iter().all(String::is_empty) {
            return Err(IngestError::NoHeader { name });
        }
        let since_row = Arc::new(AtomicUsize::new(0));
        let guarded: Box<dyn Read + Send> = Box::new(RowGuard::new(plain, Arc::clone(&since_row)));
        let rows = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            // A carriage return before it is trimmed off with other blanks; this way lines are counted right.
            .terminator(csv::Terminator::Any(b'\n'))
            .quoting(delimiter != b'\t')
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(guarded);
        Ok(Self { name, header, line: 1, rows, record: csv::ByteRecord::new(), since_row, ended: false })
    }

    /// Goes on to the next record that is not blank. `None` at the end, and after the first error.
    pub(super) fn advance(&mut self) -> Option<Result<(), IngestError>> {
        while !self.ended {
            self.since_row.store(0, Ordering::Relaxed);
            match self.rows.read_byte_record(&mut self.record) {
                Ok(true) => {
                    self.line = self.line_of_record();
                    if !(self.record.len() == 1 && self.record[0].trim_ascii().is_empty()) {
                        return Some(Ok(()));
                    }
                }
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    let (name, line, reason) = (self.name.clone(), self.line, error.to_string());
                    return Some(Err(IngestError::Unreadable { name, line, reason }));
                }
            }
        }
        None
    }

    /// Fields of the present record.
    pub(super) fn fields(&self) -> usize {
        self.record.len()
    }

    /// A field of the present record without blanks around it; `column` is for messages.
    pub(super) fn field(&self, at: usize, column: &'static str, expected: &'static str) -> Result<&str, RowError> {
        let Some(raw) = self.record.get(at) else {
            return Err(self.bad(column, "(end of row)", expected));
        };
        let text = std::str::from_utf8(raw).map_err(|_| self.bad(column, &String::from_utf8_lossy(raw), "UTF-8"))?;
        Ok(text.trim())
    }

    /// The error that says what stands in the present record and what may.
    pub(super) fn bad(&self, column: &'static str, found: &str, expected: &'static str) -> RowError {
        let found = found.chars().take(FOUND_CHARS).collect();
        RowError { line: self.line, column, found, expected }
    }

    /// Line that the record starts on. The reader's own figure for a record counts blank lines before it, too, so it is
    /// told from where the reader stands now: behind the record's line end (which every record has, see [`RowGuard`]).
    fn line_of_record(&self) -> u64 {
        let within = self.record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
        // The header's line was read before this reader began to count.
        1 + self.rows.position().line().saturating_sub(within + 1)
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Records").field("name", &self.name).field("line", &self.line).finish_non_exhaustive()
    }
}
