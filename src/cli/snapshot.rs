//! `mirra snapshot`: make, list, verify and restore snapshots.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OutputArgs, ServerAddress};

/// Options of `mirra snapshot`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: SnapshotAction,
}

/// What `mirra snapshot` does.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotAction {
    /// Tell a running server to write a snapshot, and wait until it is complete.
    Create(SnapshotCreateArgs),
    /// List the generations in a data directory, newest first.
    List(SnapshotListArgs),
    /// Check every chunk of a generation against its checksum.
    Verify(SnapshotVerifyArgs),
    /// Make a new data directory from a generation.
    Restore(SnapshotRestoreArgs),
}

/// Options of `mirra snapshot create`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotCreateArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra snapshot list`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotListArgs {
    /// Data directory of a server.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra snapshot verify`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotVerifyArgs {
    /// Data directory of a server.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Generation to check; without it all of them.
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra snapshot restore`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotRestoreArgs {
    /// Data directory that holds the snapshot; it is not changed.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Directory to make; it must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// Generation to restore; without it the newest that verifies.
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
    /// Leave out the journal after the snapshot: the state as the snapshot has it.
    #[arg(long)]
    pub without_journal: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
