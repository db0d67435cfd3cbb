//! `mirra journal`: look at the journal of a data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OutputArgs;

/// Options of `mirra journal`.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: JournalAction,
}

/// What `mirra journal` does.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalAction {
    /// Check every record against its checksum and its predecessor; tell a torn tail from damage.
    Verify(JournalVerifyArgs),
}

/// Options of `mirra journal verify`.
#[derive(Clone, Debug, Args)]
pub struct JournalVerifyArgs {
    /// Data directory of a server.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Shard to check; without it all of them.
    #[arg(long, value_name = "N")]
    pub shard: Option<u16>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
