//! `mirra stats`: what a running server counts.

use clap::Args;

use super::{OutputArgs, ServerAddress};

/// Options of `mirra stats`.
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Print again every so many seconds, until interrupted.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub every: Option<u32>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
