//! `mirra recommend`: the items that suit one user best.

use clap::Args;
use serde_json::json;

use super::{CliError, OutputArgs, ServerAddress, ask, output};
use crate::base::Id;
use crate::wire::commands::Recommend;
use crate::wire::types::ScoredItem;

/// Widest bar, in characters.
const BAR_WIDTH: usize = 30;

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
    /// Only items with this tag; may be repeated, any of them is enough.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// No items with this tag; may be repeated.
    #[arg(long = "deny-tag", value_name = "TAG")]
    pub deny_tags: Vec<String>,
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

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or refuses.
pub fn run(args: &RecommendArgs) -> Result<(), CliError> {
    let user = ask::id(&args.user, "user")?;
    let deny_items = args.deny.iter().map(|item| ask::id(item, "item")).collect::<Result<Vec<Id>, CliError>>()?;
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let request = Recommend {
        user,
        k: args.count,
        exclude_seen: !args.include_known,
        allow_items: Vec::new(),
        deny_items,
        allow_tags: args.tags.clone(),
        deny_tags: args.deny_tags.clone(),
        strategy: ask::strategy(&client, args.strategy.as_ref())?,
    };
    let list = ask::ask(&mut client, &format!("user {}", request.user), &request)?;
    let basis = if list.basis == 0 { "learned" } else { "popularity" };
    if args.output.json {
        return Ok(output::json(&json!({
            "user": ask::id_json(&request.user),
            "strategy": list.strategy,
            "basis": basis,
            "profile_version": list.profile_version,
            "decision_id": list.decision_id,
            "items": scored_json(&list.items),
        }))?);
    }
    let rests_on = match (list.basis, list.profile_version) {
        (0, version) => format!("version {version} of the profile"),
        (_, 0) => "popularity: the user was not seen yet".to_owned(),
        _ => "popularity: the profile has no taste of its own yet (items without tags need a `mirra refit`)".to_owned(),
    };
    output::text(&format!("for user {}, by {}, from {rests_on}\n", request.user, list.strategy))?;
    output::text(&format!("decision {}\n\n", list.decision_id))?;
    print_scored(&list.items)
}

/// Items and scores as JSON, with ranks from 1.
pub(super) fn scored_json(items: &[ScoredItem]) -> Vec<serde_json::Value> {
    let object = |(rank, scored): (u64, &ScoredItem)| json!({ "rank": rank, "item": ask::id_json(&scored.item), "score": ask::number_json(scored.score) });
    (1..).zip(items).map(object).collect()
}

/// Prints items and scores, the best first.
pub(super) fn print_scored(items: &[ScoredItem]) -> Result<(), CliError> {
    if items.is_empty() {
        return Ok(output::text("no items")?);
    }
    let scores: Vec<f32> = items.iter().map(|scored| scored.score).collect();
    let mut table = output::table(&["rank", "item", "score", ""]);
    output::align_right_at(&mut table, &[0, 2]);
    for ((rank, scored), bar) in (1..).zip(items).zip(output::bars(&scores, BAR_WIDTH)) {
        table.add_row([rank.to_string(), scored.item.to_string(), format!("{:.4}", scored.score), bar]);
    }
    Ok(output::text(&table.to_string())?)
}
