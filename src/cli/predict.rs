//! `mirra predict`: how much one user would care for given items.

use clap::Args;

use super::{OutputArgs, ServerAddress};

/// Options of `mirra predict`.
#[derive(Clone, Debug, Args)]
pub struct PredictArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// Ids of the items.
    #[arg(value_name = "ITEM", required = true)]
    pub items: Vec<String>,
    /// Strategy that scores; without it the primary one.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
