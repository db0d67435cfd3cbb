//! `mirra replay`: send a file of events to a server.

use std::path::PathBuf;

use clap::Args;

use super::{DurabilityArg, OutputArgs, ServerAddress};

/// Options of `mirra replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// TSV or CSV, plain or gzip, with a header naming `user item value timestamp [kind]`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Events in one batch.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub batch: u16,
    /// Events a second, evenly; without it as fast as the server takes them.
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// Stop after this many events.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// What an acknowledgement means; without it what the server is configured for.
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityArg>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
