//! `mirra similar`: the items most like one item.

use clap::Args;
use serde_json::json;

use super::recommend::{print_scored, scored_json};
use super::{CliError, OutputArgs, ServerAddress, ask, output};
use crate::wire::commands::SimilarItems;

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

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or does not know the item.
pub fn run(args: &SimilarArgs) -> Result<(), CliError> {
    let item = ask::id(&args.item, "item")?;
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let strategy = ask::strategy(&client, args.strategy.as_ref())?;
    let request = SimilarItems { item, k: args.count, strategy };
    let list = ask::ask(&mut client, &format!("item {}", request.item), &request)?;
    if args.output.json {
        let (item, items) = (ask::id_json(&request.item), scored_json(&list.items));
        return Ok(output::json(&json!({ "item": item, "strategy": list.strategy, "items": items }))?);
    }
    if list.items.is_empty() {
        let (item, strategy) = (&request.item, &list.strategy);
        return Ok(output::text(&format!("nothing to compare item {item} with: {strategy} has no item factors yet"))?);
    }
    output::text(&format!("most like item {}, by {} (cosine)\n\n", request.item, list.strategy))?;
    print_scored(&list.items)
}
