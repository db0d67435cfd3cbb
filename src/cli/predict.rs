//! `mirra predict`: how much one user would care for given items.

use clap::Args;
use serde_json::json;

use super::{CliError, OutputArgs, ServerAddress, ask, output};
use crate::base::Id;
use crate::wire::commands::Predict;

/// Widest bar, in characters.
const BAR_WIDTH: usize = 30;

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

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or refuses.
pub fn run(args: &PredictArgs) -> Result<(), CliError> {
    let user = ask::id(&args.user, "user")?;
    let items = args.items.iter().map(|item| ask::id(item, "item")).collect::<Result<Vec<Id>, CliError>>()?;
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let strategy = ask::strategy(&client, args.strategy.as_ref())?;
    let request = Predict { user, items, strategy };
    let reply = ask::ask(&mut client, &format!("user {}", request.user), &request)?;
    if args.output.json {
        let object = |(item, score): (&Id, &crate::wire::types::Score)| {
            let (item, basis) = (ask::id_json(item), basis_name(score.basis));
            json!({ "item": item, "score": ask::number_json(score.score), "basis": basis })
        };
        let scores: Vec<_> = request.items.iter().zip(&reply.scores).map(object).collect();
        let (user, version) = (ask::id_json(&request.user), reply.profile_version);
        return Ok(output::json(
            &json!({ "user": user, "strategy": reply.strategy, "profile_version": version, "scores": scores }),
        )?);
    }
    let version = match reply.profile_version {
        0 => "not seen yet".to_owned(),
        version => format!("version {version} of the profile"),
    };
    output::text(&format!("for user {} ({version}), by {}\n\n", request.user, reply.strategy))?;
    let scores: Vec<f32> = reply.scores.iter().map(|score| score.score).collect();
    let mut table = output::table(&["item", "score", "basis", ""]);
    output::align_right_at(&mut table, &[1]);
    for ((item, score), bar) in request.items.iter().zip(&reply.scores).zip(output::bars(&scores, BAR_WIDTH)) {
        table.add_row([item.to_string(), format!("{:.4}", score.score), basis_name(score.basis).to_owned(), bar]);
    }
    Ok(output::text(&table.to_string())?)
}

/// What a score rests on.
fn basis_name(basis: u8) -> &'static str {
    match basis {
        0 => "learned",
        1 => "new user",
        2 => "new item",
        3 => "neither seen",
        _ => "unknown",
    }
}
