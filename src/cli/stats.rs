//! `mirra stats`: what a running server counts.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{CliError, OutputArgs, ServerAddress, ask, output};
use crate::client::BlockingClient;
use crate::wire::commands::{Metrics, Stats};
use crate::wire::types::{Stat, StrategyMetrics};

/// Options of `mirra stats`.
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Print again every so many seconds, until interrupted.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub every: Option<u32>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What stands together for people: a heading and the figures under it. What is not named here comes last.
const GROUPS: &[(&str, &[&str])] = &[
    ("server", &["uptime_ms", "shards", "epoch", "panics"]),
    ("holds", &["users", "items", "column_bytes"]),
    ("events", &["events_applied", "events_duplicate", "events_rejected", "events_overloaded"]),
    ("stream", &["lag_ms", "events_late", "late_max_ms"]),
    ("work", &["queries", "turns", "queued"]),
    ("journal", &["sequence", "durable_sequence", "journal_bytes", "journals_poisoned"]),
    ("connections", &["connections", "connections_accepted", "connections_refused"]),
];

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or refuses.
pub fn run(args: &StatsArgs) -> Result<(), CliError> {
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    loop {
        let stats = ask::ask(&mut client, "the server", &Stats {})?.stats;
        let strategies = ask::ask(&mut client, "the server", &Metrics { strategy: String::new() })?.strategies;
        if args.output.json {
            output::json(&to_json(&client, &stats, &strategies))?;
        } else {
            print(&client, &args.server.addr, &stats, &strategies)?;
        }
        let Some(seconds) = args.every else { return Ok(()) };
        std::thread::sleep(std::time::Duration::from_secs(u64::from(seconds)));
        if !args.output.json {
            output::text("\n")?;
        }
    }
}

fn to_json(client: &BlockingClient, stats: &[Stat], strategies: &[StrategyMetrics]) -> Value {
    let figures: Map<String, Value> = stats.iter().map(|stat| (stat.name.clone(), figure_json(stat.value))).collect();
    let strategy = |metrics: &StrategyMetrics| {
        json!({
            "strategy": metrics.strategy,
            "events": metrics.events,
            "scored": metrics.scored,
            "rmse": metrics.rmse,
            "mae": metrics.mae,
            "recent_rmse": metrics.recent_rmse,
            "recent_mae": metrics.recent_mae,
            "ranked": metrics.ranked,
            "hr_10": metrics.hr_10,
            "ndcg_10": metrics.ndcg_10,
            "mrr_10": metrics.mrr_10,
            "hr_100": metrics.hr_100,
            "recent_hr_10": metrics.recent_hr_10,
            "recent_ndcg_10": metrics.recent_ndcg_10,
        })
    };
    let strategies: Vec<Value> = strategies.iter().map(strategy).collect();
    json!({ "server": client.hello().server, "stats": figures, "strategies": strategies })
}

/// Whole numbers as whole numbers.
fn figure_json(value: f64) -> Value {
    // 2^53: up to here doubles hold every whole number.
    let whole = value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
    if whole { json!(value as u64) } else { json!(value) }
}

fn print(client: &BlockingClient, addr: &str, stats: &[Stat], strategies: &[StrategyMetrics]) -> Result<(), CliError> {
    output::text(&format!("{} at {addr}\n\n", client.hello().server))?;
    let mut rows = Vec::new();
    let named = |name: &str| stats.iter().find(|stat| stat.name == name);
    let mut heading = "";
    for (group, names) in GROUPS {
        for stat in names.iter().filter_map(|name| named(name)) {
            let left = if heading == *group { "" } else { *group };
            rows.push([left.to_owned(), label(&stat.name, group), figure(stat)]);
            heading = group;
        }
    }
    // Reasons for which nothing was refused say nothing.
    let speaks = |stat: &&Stat| !stat.name.starts_with("rejected_") || stat.value > 0.0;
    for stat in
        stats.iter().filter(speaks).filter(|stat| !GROUPS.iter().any(|(_, names)| names.contains(&stat.name.as_str())))
    {
        let left = if heading == "other" { "" } else { "other" };
        rows.push([left.to_owned(), label(&stat.name, "other"), figure(stat)]);
        heading = "other";
    }
    let mut table = output::facts(rows);
    output::align_right(&mut table, 2);
    output::text(&table.to_string())?;
    let mut table = output::table(&[
        "strategy", "events", "scored", "rmse", "recent", "ranked", "hr@10", "recent", "ndcg@10", "mrr@10", "hr@100",
    ]);
    output::align_right(&mut table, 1);
    for metrics in strategies {
        let decimal = |figure: f64| if figure.is_finite() { format!("{figure:.4}") } else { "-".to_owned() };
        table.add_row([
            metrics.strategy.clone(),
            output::grouped(metrics.events),
            output::grouped(metrics.scored),
            decimal(metrics.rmse),
            decimal(metrics.recent_rmse),
            output::grouped(metrics.ranked),
            decimal(metrics.hr_10),
            decimal(metrics.recent_hr_10),
            decimal(metrics.ndcg_10),
            decimal(metrics.mrr_10),
            decimal(metrics.hr_100),
        ]);
    }
    Ok(output::text(&format!("\n{table}"))?)
}

/// A figure's name without the group's.
fn label(name: &str, group: &str) -> String {
    let name = match name.strip_prefix(group) {
        Some("") => "now",
        Some(rest) => rest.strip_prefix('_').unwrap_or(name),
        None => name,
    };
    name.replace('_', " ")
}

/// A figure with the unit that its name ends in.
fn figure(stat: &Stat) -> String {
    if !stat.value.is_finite() || stat.value < 0.0 {
        return "-".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above; saturates")]
    let whole = stat.value as u64;
    match stat.name.rsplit('_').next() {
        Some("bytes") => output::bytes(whole),
        Some("ms") => output::duration(std::time::Duration::from_millis(whole)),
        Some("us") => output::duration(std::time::Duration::from_micros(whole)),
        _ if stat.value.fract() == 0.0 => output::grouped(whole),
        _ => output::count(stat.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_of_their_name() {
        let cases = [
            ("uptime_ms", 125_000.0, "2 min 5 s"),
            ("column_bytes", 1_536.0, "1.50 KiB"),
            ("rank_us_p99", 7.0, "7"),
            ("events_applied", 1_234_567.0, "1,234,567"),
            ("load", 0.25, "0.25"),
            ("nothing", f64::NAN, "-"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(figure(&Stat { name: name.to_owned(), value }), expected, "{name}");
        }
        let labels = [
            ("events_applied", "events", "applied"),
            ("connections", "connections", "now"),
            ("journals_poisoned", "journal", "journals poisoned"),
            ("journal_bytes", "journal", "bytes"),
        ];
        for (name, group, expected) in labels {
            assert_eq!(label(name, group), expected);
        }
        assert_eq!(figure_json(3.0).to_string(), "3");
        assert_eq!(figure_json(0.5).to_string(), "0.5");
        assert_eq!(figure_json(f64::NAN), Value::Null);
    }

    /// A figure that is renamed must not silently leave its group.
    #[test]
    fn every_grouped_figure_of_a_shard_exists() {
        let mut door = vec!["uptime_ms", "shards", "connections", "connections_accepted", "connections_refused"];
        door.extend(["lag_ms", "events_late", "late_max_ms"]);
        let known: Vec<&str> = crate::telemetry::Metric::ALL.iter().map(|metric| metric.name()).collect();
        for name in GROUPS.iter().flat_map(|(_, names)| *names) {
            assert!(door.contains(name) || known.contains(name), "{name}");
        }
    }
}
