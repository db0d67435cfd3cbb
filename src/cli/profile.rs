//! `mirra profile`: what a server knows about one user.

use clap::Args;

use super::{OutputArgs, ServerAddress};

/// Options of `mirra profile`.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Strategy whose profile is shown; without it the primary one.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// Show the profile vector as well.
    #[arg(long)]
    pub vector: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
