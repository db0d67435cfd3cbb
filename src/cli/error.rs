//! Why a subcommand failed, and how that is told: the message, each cause on its own line, a hint.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use super::child::ChildError;
use super::columns::ColumnsError;
use super::demo::DemoError;
use super::evaluate::EvaluateError;
use crate::client::ClientError;
use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::ingest::IngestError;
use crate::ingest::embeddings::EmbeddingsError;
use crate::ingest::tensors::TensorsError;
use crate::server::ServerError;
use crate::storage::StorageError;

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The result cannot be printed.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
    /// The engine does not start, or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The door does not open.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The disk, or what is on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The server was not reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The demonstration stopped.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// An evaluation failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A server of the command's own does not start.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The end was not clean.
    #[error(
        "the journals could not be synced at the end: the log says why; `mirra journal verify` tells what is there"
    )]
    UncleanStop,
    /// It was carried out, or tried, and the outcome is not good: the message says all there is to say.
    #[error("{0}")]
    Failed(String),
    /// A file of events cannot be read.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// A file of weights cannot be used.
    #[error(transparent)]
    Tensors(#[from] TensorsError),
    /// A file of embeddings cannot be used.
    #[error(transparent)]
    Embeddings(#[from] EmbeddingsError),
    /// Arguments that parse but contradict each other.
    #[error("{0}")]
    Usage(String),
}

impl From<ColumnsError> for CliError {
    fn from(error: ColumnsError) -> Self {
        match error {
            ColumnsError::Ingest(error) => error.into(),
            ColumnsError::Unfit(message) => Self::Failed(message),
        }
    }
}

impl CliError {
    /// 2 for wrong usage, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Evaluate(error) if error.is_usage() => 2,
            _ => 1,
        }
    }

    /// What to do about it, where that does not follow from the message.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Usage(_) => Some("`mirra --help` and `mirra COMMAND --help` show the usage".to_owned()),
            Self::Client(ClientError::NotConnected { .. }) => {
                Some("is a server running there? `mirra serve --data-dir DIR` starts one".to_owned())
            }
            Self::Storage(StorageError::Locked { .. }) => {
                Some("while a server runs on it, `mirra snapshot create` and `mirra stats` ask the server".to_owned())
            }
            _ => None,
        }
    }

    /// What goes to standard error: `error: ...`, then the causes and the hint, each on a line of its own.
    #[must_use]
    pub fn report(&self) -> String {
        report(self, self.hint().as_deref())
    }
}

/// The report of any error.
#[must_use]
pub fn report(error: &dyn Error, hint: Option<&str>) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  caused by: {}", inner.to_string().trim_end().replace('\n', "\n    "));
        cause = inner.source();
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "  hint: {hint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_report_has_message_causes_and_hint_on_their_own_lines() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = CliError::from(ConfigError::Read { path: PathBuf::from("a.toml"), source });
        assert_eq!(error.report(), "error: cannot read the configuration file a.toml\n  caused by: no such file\n");
        assert_eq!(error.exit_code(), 1);
        let usage = CliError::Usage("two files".to_owned());
        assert_eq!(usage.exit_code(), 2);
        assert_eq!(usage.report().lines().count(), 2);
        assert!(usage.report().contains("\n  hint: `mirra --help`"));
    }
}
