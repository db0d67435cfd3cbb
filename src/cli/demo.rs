//! `mirra demo`: a server, a stream of events and what it learned from them, in one process.

use clap::Args;

use super::OutputArgs;

/// Options of `mirra demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Events to send.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub events: u64,
    /// Users in the generated stream.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub users: u64,
    /// Items in the generated stream.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub items: u64,
    /// Seed of the generated stream: the same seed gives the same events.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
