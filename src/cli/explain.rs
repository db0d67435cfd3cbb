//! `mirra explain`: why an item has its score for a user.

use clap::Args;
use serde_json::json;

use super::{CliError, OutputArgs, ServerAddress, ask, output, when};
use crate::wire::commands::{Explain, ExplainReply};
use crate::wire::types::KindInfo;

/// Widest bar, in characters.
const BAR_WIDTH: usize = 30;

/// Options of `mirra explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// Id of the item.
    #[arg(value_name = "ITEM")]
    pub item: String,
    /// Strategy that scores; without it the primary one.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// The score that recommendations are ordered by, where that is another than the value predicted.
    #[arg(long)]
    pub ranking: bool,
    /// Newest events told one by one, for strategies that can tell them apart.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub events: u16,
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
pub fn run(args: &ExplainArgs) -> Result<(), CliError> {
    let (user, item) = (ask::id(&args.user, "user")?, ask::id(&args.item, "item")?);
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let strategy = ask::strategy(&client, args.strategy.as_ref())?;
    let request = Explain { user, item, strategy, ranking: args.ranking, events_max: args.events };
    let reply = ask::ask(&mut client, &format!("item {}", request.item), &request)?;
    let kinds = client.hello().kinds.clone();
    if args.output.json {
        let part =
            |part: &crate::wire::types::ScorePart| json!({ "name": part.name, "value": ask::number_json(part.value) });
        let event = |event: &crate::wire::types::EventPart| {
            let (kind, value) = (kind_name(&kinds, event.kind), ask::number_json(event.value));
            json!({ "item": ask::id_json(&event.item), "kind": kind, "time_ms": event.time_ms, "value": value })
        };
        return Ok(output::json(&json!({
            "user": ask::id_json(&request.user),
            "item": ask::id_json(&request.item),
            "strategy": reply.strategy,
            "profile_version": reply.profile_version,
            "basis": basis(reply.basis),
            "score": ask::number_json(reply.score),
            "parts": reply.parts.iter().map(part).collect::<Vec<_>>(),
            "events": reply.events.iter().map(event).collect::<Vec<_>>(),
        }))?);
    }
    let (user, item) = (&request.user, &request.item);
    let head =
        format!("item {item} for user {user}, by {}: {:.4} ({})", reply.strategy, reply.score, basis(reply.basis));
    output::text(&format!("{head}\n\n{}", table(&reply, &kinds)))?;
    Ok(())
}

fn basis(code: u8) -> &'static str {
    if code == 0 { "learned" } else { "new user" }
}

fn kind_name(kinds: &[KindInfo], code: u8) -> String {
    kinds.iter().find(|kind| kind.code == code).map_or_else(|| code.to_string(), |kind| kind.name.clone())
}

/// A line a part, with a bar as long as the part is large.
fn table(reply: &ExplainReply, kinds: &[KindInfo]) -> String {
    let named = reply.parts.iter().map(|part| (part.name.clone(), part.value));
    let of_events = reply.events.iter().map(|event| {
        let (kind, item, day) = (kind_name(kinds, event.kind), &event.item, when::date(event.time_ms));
        (format!("{kind} {item}, {day}"), event.value)
    });
    let parts: Vec<(String, f32)> = named.chain(of_events).collect();
    let largest = parts.iter().map(|(_, value)| value.abs()).fold(f32::MIN_POSITIVE, f32::max);
    let mut table = output::table(&["part", "adds", ""]);
    output::align_right_at(&mut table, &[1]);
    for (name, value) in parts {
        let bar = output::bar(f64::from(value.abs() / largest), BAR_WIDTH);
        table.add_row([name, format!("{value:+.4}"), bar]);
    }
    table.add_row(["score".to_owned(), format!("{:+.4}", reply.score), String::new()]);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;
    use crate::wire::types::{EventPart, ScorePart};

    #[test]
    fn every_part_has_its_line() {
        let kinds = [KindInfo { code: 2, name: "click".into(), weight: 1.0 }];
        let event = EventPart { item: Id::Int(77), kind: 2, time_ms: 1_700_000_000_000, value: -0.5 };
        let parts = vec![ScorePart { name: "offset".into(), value: 0.25 }];
        let (strategy, events) = ("decay".to_owned(), vec![event]);
        let reply = ExplainReply { strategy, profile_version: 3, score: -0.25, basis: 0, parts, events };
        let text = table(&reply, &kinds);
        for part in ["offset", "+0.2500", "click 77, 2023-11-14", "-0.5000", "score", "-0.2500", "█"] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }
}
