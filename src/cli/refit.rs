//! `mirra refit`: fit the item model of a running server anew.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{CliError, OutputArgs, ServerAddress, ask, output};
use crate::wire::commands::{Refit, RefitReply};

/// Options of `mirra refit`.
#[derive(Clone, Debug, Args)]
pub struct RefitArgs {
    /// Seed of random factors to start from, above 0; without it the fit goes on from the present model.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seed: Option<u64>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs it. The server goes on serving meanwhile.
///
/// # Errors
/// [`CliError`] if the server is not reached, or has nothing to fit.
pub fn run(args: &RefitArgs) -> Result<(), CliError> {
    let mut client = ask::connect(&args.server, ask::LONG_TIMEOUT_MS)?;
    let request = Refit { seed: args.seed.unwrap_or(0) };
    let RefitReply { epoch, users, items, pairs, took_ms } = ask::ask(&mut client, "the item model", &request)?;
    if args.output.json {
        let reply = json!({ "epoch": epoch, "users": users, "items": items, "pairs": pairs, "took_ms": took_ms });
        return Ok(output::json(&reply)?);
    }
    let took = output::duration(Duration::from_millis(took_ms));
    Ok(output::text(&format!("epoch {epoch}: {users} users x {items} items, {pairs} pairs, {took}"))?)
}
