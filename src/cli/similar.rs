//! `mirra similar`: the items most like one item.

use clap::Args;

use super::{OutputArgs, ServerAddress};

/// Options of `mirra similar`.
#[derive(Clone, Debug, Args)]
pub struct SimilarArgs {
    /// Id of the item.
    #[arg(value_name = "ITEM")]
    pub item: String,
    /// How many items.
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub count: u16,
    /// Strategy whose item factors are compared; without it the primary one.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
