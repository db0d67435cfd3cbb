//! Why an evaluation failed.

use crate::cli::columns::ColumnsError;
use crate::engine::EngineError;
use crate::ingest::IngestError;
use crate::ingest::embeddings::EmbeddingsError;
use crate::ingest::tensors::TensorsError;
use crate::learn::ParameterError;

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file cannot be read.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// A table of users or items cannot be used.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// A file of embeddings cannot be used.
    #[error(transparent)]
    Embeddings(#[from] EmbeddingsError),
    /// A file of weights cannot be used or written.
    #[error(transparent)]
    Tensors(#[from] TensorsError),
    /// No strategy has this name.
    #[error("no strategy is called {name:?}, nearest is {nearest:?}, there are {}", known.join(", "))]
    UnknownStrategy {
        /// What was asked for.
        name: String,
        /// The most similar name.
        nearest: &'static str,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A strategy has no parameter of this name.
    #[error("{strategy} has no parameter {name:?}, nearest is {nearest:?}, it has {}", known.join(", "))]
    UnknownParameter {
        /// The strategy.
        strategy: &'static str,
        /// What was asked for.
        name: String,
        /// The most similar name.
        nearest: &'static str,
        /// All names.
        known: Vec<&'static str>,
    },
    /// What stands after the colon is not `key=number`.
    #[error("{found:?} in strategy {spec:?} is not KEY=NUMBER")]
    NotAssignment {
        /// The specification.
        spec: String,
        /// The part that cannot be read.
        found: String,
    },
    /// A value is out of its range.
    #[error("strategy {spec:?}: {source}")]
    Parameter {
        /// The specification.
        spec: String,
        /// What is wrong.
        source: ParameterError,
    },
    /// A strategy that is kept from a table that is not there.
    #[error("strategy {spec:?}: there is no table that {parameter} could keep from it; give --{flag} FILE")]
    NoTable {
        /// The specification.
        spec: String,
        /// The parameter.
        parameter: &'static str,
        /// The flag that names the table.
        flag: &'static str,
    },
    /// Types of columns without a table that could have them.
    #[error("--types is about columns of --users and --items, and neither is given")]
    NothingToType,
    /// A flag that this protocol does not know, or needs.
    #[error("--{flag} {} protocol {protocol}", if *needed { "is needed for" } else { "means nothing in" })]
    Flag {
        /// The flag.
        flag: &'static str,
        /// The protocol.
        protocol: &'static str,
        /// Whether it is missing (or too much).
        needed: bool,
    },
    /// What the others should be compared with does not run.
    #[error("--against {name:?} is none of the strategies that run: {}", there.join(", "))]
    Against {
        /// What was asked for.
        name: String,
        /// What runs.
        there: Vec<String>,
    },
    /// The plot cannot be drawn or written.
    #[error("cannot write the plot {}: {why}", file.display())]
    Plot {
        /// Where to.
        file: std::path::PathBuf,
        /// Why.
        why: String,
    },
    /// Nothing is left to learn from.
    #[error("no events to evaluate: {bad} bad rows, {below} rows below --min-value, in {files} file(s)")]
    NoEvents {
        /// Files read.
        files: usize,
        /// Rows that cannot be events.
        bad: u64,
        /// Rows below the smallest value.
        below: u64,
    },
    /// The item model cannot be fitted.
    #[error("fitting the item model for {strategy:?} failed: {source}")]
    Fit {
        /// The strategy.
        strategy: String,
        /// Why.
        source: EngineError,
    },
}

impl EvaluateError {
    /// Whether the command line is to blame (exit code 2), not the data (exit code 1).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::UnknownStrategy { .. }
            | Self::UnknownParameter { .. }
            | Self::NotAssignment { .. }
            | Self::Parameter { .. }
            | Self::Against { .. }
            | Self::NoTable { .. }
            | Self::NothingToType
            | Self::Flag { .. } => true,
            Self::Ingest(_)
            | Self::Columns(_)
            | Self::Embeddings(_)
            | Self::Tensors(_)
            | Self::Plot { .. }
            | Self::NoEvents { .. }
            | Self::Fit { .. } => false,
        }
    }
}
