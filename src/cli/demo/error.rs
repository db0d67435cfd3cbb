//! Why the demonstration stopped.

use std::io;

use crate::cli::child::ChildError;
use crate::client::ClientError;
use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::ingest::IngestError;

/// Why the demonstration stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something that it was to show is not so.
    #[error("the demo was to show that {0}, and that is not so")]
    Claim(String),
    /// Ctrl-C, or SIGTERM.
    #[error("interrupted; the server is stopped and its directory removed")]
    Interrupted,
    /// There are too few events to show anything with.
    #[error("{name} has {found} usable events, at least {least} are needed")]
    TooFew {
        /// Where they come from.
        name: String,
        /// Events found.
        found: usize,
        /// Events needed.
        least: usize,
    },
    /// The server process.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A request.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The item model of the frozen copy.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data file.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The temporary directory, or the output.
    #[error(transparent)]
    Io(#[from] io::Error),
}
