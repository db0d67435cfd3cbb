//! `mirra recommend`: the items that suit one user best.

use clap::Args;

use super::{OutputArgs, ServerAddress};

/// Options of `mirra recommend`.
#[derive(Clone, Debug, Args)]
pub struct RecommendArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// How many items.
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub count: u16,
    /// Also items that the user has met already.
    #[arg(long)]
    pub include_known: bool,
    /// Item that must not appear; may be repeated.
    #[arg(long = "deny", value_name = "ITEM")]
    pub deny: Vec<String>,
    /// Strategy that ranks; without it the primary one.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
