//! `mirra retract`: take an event away as if it had never come.

use clap::Args;
use serde_json::json;

use super::{CliError, DurabilityArg, OutputArgs, ServerAddress, ask, output};
use crate::wire::commands::EventRetract;

/// Options of `mirra retract`.
#[derive(Clone, Debug, Args)]
pub struct RetractArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// Id that the event was sent with.
    #[arg(value_name = "EVENT_ID")]
    pub event_id: String,
    /// Durability level to reach before the answer; without it the server's.
    #[arg(long, value_name = "LEVEL")]
    pub durability: Option<DurabilityArg>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached, or retains no such event.
pub fn run(args: &RetractArgs) -> Result<(), CliError> {
    let (user, event_id) = (ask::id(&args.user, "user")?, ask::id(&args.event_id, "event")?);
    let request = EventRetract { user, event_id, durability: ask::durability_code(args.durability) };
    let subject = format!("event {} of user {}", request.event_id, request.user);
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let reply = ask::ask(&mut client, &subject, &request)?;
    let durability = ask::durability_name(reply.durability);
    if args.output.json {
        return Ok(output::json(&json!({
            "user": ask::id_json(&request.user),
            "event_id": ask::id_json(&request.event_id),
            "shard": reply.shard,
            "sequence": reply.sequence,
            "version": reply.version,
            "durability": durability,
            "exact": reply.exact,
        }))?);
    }
    let left = if reply.exact {
        "all is as if it had never come"
    } else {
        "sums, history and facets are as if it had never come; vectors learned event by event keep a trace of it"
    };
    Ok(output::text(&format!("{subject} is gone (version {}, {durability}): {left}", reply.version))?)
}
