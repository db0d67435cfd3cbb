//! `mirra history`: the events that a server retains of one user, page by page.

use clap::Args;
use serde_json::json;

use super::{CliError, OutputArgs, ServerAddress, ask, output, when};
use crate::client::BlockingClient;
use crate::wire::commands::{ProfileHistory, ProfileHistoryReply};
use crate::wire::types::RecentEvent;

/// Options of `mirra history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// From this time on: a day (`2026-01-31`), a moment (`2026-01-31T20:15:00`), both UTC, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<(i64, i64)>,
    /// Up to this time; a day counts to its end.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<(i64, i64)>,
    /// Only events of this kind; may be repeated.
    #[arg(long = "kind", value_name = "NAME")]
    pub kinds: Vec<String>,
    /// Most events.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=4_096))]
    pub max: u16,
    /// Pass over this many of the newest: the next page.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u32,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn moment(text: &str) -> Result<(i64, i64), String> {
    when::parse(text).ok_or_else(|| {
        "a day such as 2026-01-31, a moment such as 2026-01-31T20:15:00, or milliseconds since 1970".to_owned()
    })
}

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached, does not know the user or a kind.
pub fn run(args: &HistoryArgs) -> Result<(), CliError> {
    let user = ask::id(&args.user, "user")?;
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let kinds = args.kinds.iter().map(|name| code(&client, name)).collect::<Result<Vec<u8>, CliError>>()?;
    let (from_ms, to_ms) = (args.from.map_or(0, |(begin, _)| begin), args.to.map_or(0, |(_, end)| end));
    let request = ProfileHistory { user, from_ms, to_ms, kinds, skip: args.skip, max: args.max };
    let page = ask::ask(&mut client, &format!("user {}", request.user), &request)?;
    if args.output.json {
        let event = |event: &RecentEvent| {
            let (item, kind) = (ask::id_json(&event.item), kind_name(&client, event.kind));
            json!({ "item": item, "kind": kind, "value": ask::number_json(event.value), "time_ms": event.time_ms })
        };
        return Ok(output::json(&json!({
            "user": ask::id_json(&request.user),
            "matching": page.matching,
            "skip": request.skip,
            "events": page.events.iter().map(event).collect::<Vec<_>>(),
        }))?);
    }
    print(&client, &request, &page)
}

fn print(client: &BlockingClient, request: &ProfileHistory, page: &ProfileHistoryReply) -> Result<(), CliError> {
    let (matching, told, skip) = (u64::from(page.matching), page.events.len() as u64, u64::from(request.skip));
    let of = output::plural(matching, "retained event");
    if told == 0 {
        return Ok(output::text(&format!("user {}: {of}, none shown", request.user))?);
    }
    output::text(&format!("user {}: {} to {} of {of}, the newest first\n\n", request.user, skip + 1, skip + told))?;
    let now_ms = ask::now_ms();
    let mut table = output::table(&["item", "kind", "when", "age", "value"]);
    output::align_right_at(&mut table, &[3, 4]);
    for event in &page.events {
        let (date, age) = (when::date(event.time_ms), when::age(event.time_ms, now_ms));
        let kind = kind_name(client, event.kind);
        table.add_row([event.item.to_string(), kind, date, age, event.value.to_string()]);
    }
    output::text(&table.to_string())?;
    if skip + told < matching {
        output::text(&format!("{} more: --skip {}", output::grouped(matching - skip - told), skip + told))?;
    }
    Ok(())
}

fn kind_name(client: &BlockingClient, code: u8) -> String {
    let known = client.hello().kinds.iter().find(|kind| kind.code == code);
    known.map_or_else(|| format!("kind {code}"), |kind| kind.name.clone())
}

fn code(client: &BlockingClient, name: &str) -> Result<u8, CliError> {
    let kinds = &client.hello().kinds;
    kinds.iter().find(|kind| kind.name == name).map(|kind| kind.code).ok_or_else(|| {
        let known: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        CliError::Failed(format!("no kind `{name}` on this server; there are: {}", known.join(", ")))
    })
}
