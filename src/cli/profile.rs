//! `mirra profile`: what a server knows about one user.

use clap::Args;
use serde_json::{Value, json};

use super::{CliError, OutputArgs, ServerAddress, ask, output, when};
use crate::client::BlockingClient;
use crate::wire::commands::{ProfileGet, ProfileGetReply};
use crate::wire::types::ArmProfile;

/// Widest bar, in characters.
const BAR_WIDTH: usize = 16;

/// Numbers of a vector in a line.
const VECTOR_COLUMNS: usize = 8;

/// Options of `mirra profile`.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// Id of the user.
    #[arg(value_name = "USER")]
    pub user: String,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Strategy whose profile vector is shown; without it those of all strategies.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// Most recent events shown.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=4_096))]
    pub recent: u16,
    /// Show the numbers of the profile vectors as well.
    #[arg(long)]
    pub vector: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or does not know the user.
pub fn run(args: &ProfileArgs) -> Result<(), CliError> {
    let user = ask::id(&args.user, "user")?;
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let strategy = ask::strategy(&client, args.strategy.as_ref())?;
    let request = ProfileGet { user, recent_max: args.recent, factors: true };
    let mut profile = ask::ask(&mut client, &format!("user {}", request.user), &request)?;
    profile.arms.retain(|arm| strategy.is_empty() || arm.strategy == strategy);
    if args.output.json {
        return Ok(output::json(&to_json(&client, &profile, args.vector))?);
    }
    print(&client, &profile, args.vector)
}

fn kind_name(client: &BlockingClient, code: u8) -> String {
    let known = client.hello().kinds.iter().find(|kind| kind.code == code);
    known.map_or_else(|| format!("kind {code}"), |kind| kind.name.clone())
}

/// Euclidean length.
fn length(arm: &ArmProfile) -> f64 {
    arm.factor.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt()
}

fn to_json(client: &BlockingClient, profile: &ProfileGetReply, vector: bool) -> Value {
    let arms = profile.arms.iter().map(|arm| {
        let (dim, length) = (arm.factor.len(), length(arm));
        let mut object = json!({ "strategy": arm.strategy, "epoch": arm.epoch, "dim": dim, "length": length });
        if vector {
            object["vector"] = arm.factor.iter().map(|number| ask::number_json(*number)).collect();
        }
        object
    });
    let recent = profile.recent.iter().map(|event| {
        let (item, kind) = (ask::id_json(&event.item), kind_name(client, event.kind));
        json!({ "item": item, "kind": kind, "value": ask::number_json(event.value), "time_ms": event.time_ms })
    });
    json!({
        "user": ask::id_json(&profile.user),
        "shard": profile.shard,
        "version": profile.version,
        "events": profile.events,
        "first_ms": profile.first_ms,
        "last_ms": profile.last_ms,
        "value_mean": profile.value_mean,
        "attributes": profile.attributes.iter().map(ask::attribute_json).collect::<Vec<_>>(),
        "strategies": arms.collect::<Vec<_>>(),
        "recent": recent.collect::<Vec<_>>(),
        "digest": format!("{:016x}", profile.digest),
    })
}

fn print(client: &BlockingClient, profile: &ProfileGetReply, vector: bool) -> Result<(), CliError> {
    let now_ms = ask::now_ms();
    output::text(&format!("user {}\n\n", profile.user))?;
    let mut facts =
        vec![("events", output::grouped(profile.events)), ("version", output::grouped(u64::from(profile.version)))];
    if profile.events > 0 {
        facts.push(("first event", when::date_and_age(profile.first_ms, now_ms)));
        facts.push(("last event", when::date_and_age(profile.last_ms, now_ms)));
    }
    if profile.value_mean.is_finite() {
        facts.push(("mean value", format!("{:.3}", profile.value_mean)));
    }
    facts.push(("shard", profile.shard.to_string()));
    facts.push(("digest", format!("{:016x}", profile.digest)));
    output::text(&output::facts(facts.into_iter().map(|(name, fact)| [name.to_owned(), fact])).to_string())?;
    if !profile.attributes.is_empty() {
        let mut table = output::table(&["attribute", "value", "set"]);
        for attribute in &profile.attributes {
            let (name, value) = (attribute.name.clone(), ask::attribute_text(&attribute.value));
            table.add_row([name, value, when::age(attribute.time_ms, now_ms)]);
        }
        output::text(&format!("\n{table}"))?;
    }
    if !profile.arms.is_empty() {
        let mut table = output::table(&["strategy", "epoch", "floats", "length"]);
        output::align_right(&mut table, 1);
        for arm in &profile.arms {
            let row = [arm.strategy.clone(), arm.epoch.to_string(), arm.factor.len().to_string()];
            table.add_row(row.into_iter().chain([format!("{:.3}", length(arm))]));
        }
        output::text(&format!("\n{table}"))?;
    }
    for arm in profile.arms.iter().filter(|_| vector) {
        output::text(&format!("\nvector of {}", arm.strategy))?;
        for numbers in arm.factor.chunks(VECTOR_COLUMNS) {
            let line: String = numbers.iter().map(|number| format!("{number:>10.4}")).collect();
            output::text(&line)?;
        }
    }
    if !profile.recent.is_empty() {
        let mut table = output::table(&["recent", "kind", "when", "age", "value", ""]);
        output::align_right_at(&mut table, &[3, 4]);
        let values: Vec<f32> = profile.recent.iter().map(|event| event.value).collect();
        for (event, bar) in profile.recent.iter().zip(output::bars(&values, BAR_WIDTH)) {
            let (date, age) = (when::date(event.time_ms), when::age(event.time_ms, now_ms));
            let kind = kind_name(client, event.kind);
            table.add_row([event.item.to_string(), kind, date, age, event.value.to_string(), bar]);
        }
        output::text(&format!("\n{table}"))?;
    }
    Ok(())
}
