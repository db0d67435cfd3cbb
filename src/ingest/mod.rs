//! Floor 8: rows of behaviour from files, and generated ones. The only home of csv,
//! flate2 and safetensors ([`tensors`]).
//!
//! [`Table`] reads what people have (TSV or CSV, plain or gzip); [`DriftStream`] makes what nobody has at hand: a stream
//! whose users change; [`fields`] makes shops, banks, media, networks and health, with known truth, clean or dirty. All are
//! iterators of [`Row`] (or hold one), so that whatever replays one replays the other. [`Sheet`] reads rows of any
//! columns: attributes of users and items.

use std::path::PathBuf;

use crate::base::Id;

pub mod embeddings;
pub mod fields;
pub mod file_error;
pub mod generate;
mod header;
pub mod npy;
mod records;
pub mod sheet;
mod source;
pub mod table;
pub mod tensors;
pub mod time;
pub mod write;

pub use generate::{DriftOptions, DriftStream, GeneratedItem};
pub use sheet::{Cells, Sheet};
pub use table::{HeldOut, Table, TableOptions};
pub use time::TimeUnit;
pub use write::TableWriter;

/// One event, as it stands in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Line of the file that it starts on, from 1 (the header is on line 1); of a generated stream its number, from 1.
    pub line: u64,
    /// Who.
    pub user: Id,
    /// What.
    pub item: Id,
    /// Value (rating, price, seconds...); 1 in a file without values.
    pub value: f32,
    /// When, in milliseconds since 1970-01-01 UTC; 0 in a file without times.
    pub time_ms: i64,
    /// Behaviour kind, if the file has one.
    pub kind: Option<String>,
    /// The event's own id, if the file has one.
    pub event_id: Option<Id>,
}

/// A row that cannot be an event. The rows after it can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {column} is {found:?}, expected {expected}")]
pub struct RowError {
    /// Line of the file, from 1.
    pub line: u64,
    /// Column.
    pub column: &'static str,
    /// What stands there, cut to a readable length.
    pub found: String,
    /// What may stand there.
    pub expected: &'static str,
}

/// What can go wrong with a file of events.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// One row is bad: the only error after which reading goes on.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is called `.gz` but does not start as gzip does.
    #[error("{name} is called .gz but starts with bytes {found:02x?} instead of [1f, 8b]: rename it if it is plain")]
    NotGzip {
        /// Which file.
        name: String,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// There is no first line.
    #[error("{name} is empty, expected a header line that names the columns: user, item and others")]
    NoHeader {
        /// Which file.
        name: String,
    },
    /// The header lacks a column that must be there.
    #[error("header of {name} has no column {missing:?}, nearest is {nearest:?}, found {}", found.join(", "))]
    MissingColumn {
        /// Which file.
        name: String,
        /// The column.
        missing: &'static str,
        /// The most similar column that is there.
        nearest: String,
        /// The columns that are there (the first 32).
        found: Vec<String>,
    },
    /// The header has a column twice.
    #[error("header of {name} has column {column:?} twice")]
    RepeatedColumn {
        /// Which file.
        name: String,
        /// The column.
        column: &'static str,
    },
    /// Reading failed: a damaged or cut gzip file, a disk error, or a row without end.
    #[error("reading {name} failed after line {line}: {reason}")]
    Unreadable {
        /// Which file.
        name: String,
        /// Last line that was read whole.
        line: u64,
        /// Why.
        reason: String,
    },
}

impl IngestError {
    /// Whether reading has ended with this error.
    #[must_use]
    pub fn stops(&self) -> bool {
        !matches!(self, Self::Row(_))
    }
}
