//! The command line: one file a subcommand, with its options and what it does.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Results go to standard output (a table, or one JSON object a line with
//! `--json`); errors and progress go to standard error: `error: ...`, each cause on its own line, a hint where there
//! is one.

mod account;
pub mod ask;
pub mod bench;
pub mod child;
mod columns;
pub mod config;
pub mod control;
pub mod demo;
pub mod error;
pub mod evaluate;
pub mod explain;
mod export;
pub mod generate;
pub mod history;
pub mod journal;
pub mod load;
pub mod look;
pub mod metrics;
mod outcomes;
pub mod output;
pub mod predict;
pub mod profile;
pub mod recommend;
pub mod refit;
pub mod rejects;
pub mod replay;
mod replay_report;
mod restore;
pub mod retract;
pub mod schema;
mod sender;
pub mod serve;
pub mod setup;
pub mod similar;
pub mod snapshot;
pub mod stats;
pub mod when;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use error::CliError;

/// A living profile of every user: events in over binary TCP, learned profiles out.
#[derive(Debug, Parser)]
#[command(name = "mirra", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Configuration file, laid over the built-in values; name only the keys that you change.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what Mirra does, on a server of its own: learning, a new taste, drift, kill -9 and back.
    Demo(demo::DemoArgs),
    /// Run the server until it is told to stop.
    Serve(serve::ServeArgs),
    /// Put load on a server and measure what it stands.
    Bench(bench::BenchArgs),
    /// Send files of events to a server, and account for every row.
    Replay(replay::ReplayArgs),
    /// Load attributes of users, or tags and attributes of items, from files.
    Load(load::LoadArgs),
    /// What a server knows about one user: the whole person.
    Profile(profile::ProfileArgs),
    /// The events that a server retains of one user.
    History(history::HistoryArgs),
    /// What a user asks of the profile: mute, less, pause, reset, and back.
    Control(control::ControlArgs),
    /// Take an event of one user away as if it had never come.
    Retract(retract::RetractArgs),
    /// The items that suit one user best.
    Recommend(recommend::RecommendArgs),
    /// How much one user would care for given items.
    Predict(predict::PredictArgs),
    /// Why an item has its score for one user.
    Explain(explain::ExplainArgs),
    /// The items most like one item.
    Similar(similar::SimilarArgs),
    /// Fit the item model of a running server anew.
    Refit(refit::RefitArgs),
    /// What a running server counts.
    Stats(stats::StatsArgs),
    /// Events that a running server refused: look at them, export them, send them again.
    Rejects(rejects::RejectsArgs),
    /// How well a running server's strategies do, by cohort and window.
    Metrics(metrics::MetricsArgs),
    /// Make, list, verify, export and restore snapshots.
    Snapshot(snapshot::SnapshotArgs),
    /// Look at the journal of a data directory, and end a damaged one before its damage.
    Journal(journal::JournalArgs),
    /// Compare strategies on recorded events, by the code that serves them.
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Write users, items and events of a shop, a bank, media, a social network or health to files.
    Generate(generate::GenerateArgs),
    /// The schema of a running server: look at it, check a file against it, put the file's in its place.
    Schema(schema::SchemaArgs),
    /// Look at the configuration.
    Config(config::ConfigArgs),
}

/// Where a running server is: shared by every subcommand that talks to one.
#[derive(Clone, Debug, Args)]
pub struct ServerAddress {
    /// Address of a running server.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7311")]
    pub addr: String,
}

/// Shared by every subcommand that prints a result.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct OutputArgs {
    /// Print JSON for machines: one object a line.
    #[arg(long)]
    pub json: bool,
}

/// How safe an event is when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// In memory: survives a clean stop.
    Applied,
    /// Written to the journal: survives a killed process.
    Journaled,
    /// Synced to the device: survives power loss.
    Durable,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs one command line, program name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // A closed standard output or error is no reason to fail in another way than we are about to.
            let _ = error.print();
            return if usage { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: &Cli) -> Result<(), CliError> {
    match &cli.command {
        Command::Demo(args) => demo::run(args, cli.config.as_deref()),
        Command::Serve(args) => serve::run(args, cli.config.as_deref()),
        Command::Bench(args) => bench::run(args, cli.config.as_deref()),
        Command::Replay(args) => replay::run(args),
        Command::Load(args) => load::run(args),
        Command::Profile(args) => profile::run(args),
        Command::History(args) => history::run(args),
        Command::Control(args) => control::run(args),
        Command::Retract(args) => retract::run(args),
        Command::Recommend(args) => recommend::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Similar(args) => similar::run(args),
        Command::Refit(args) => refit::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Rejects(args) => rejects::run(args),
        Command::Metrics(args) => metrics::run(args),
        Command::Snapshot(args) => snapshot::run(args, cli.config.as_deref()),
        Command::Journal(args) => journal::run(args),
        Command::Evaluate(args) => evaluate_with_progress(args),
        Command::Generate(args) => generate::run(args),
        Command::Schema(args) => schema::run(args, cli.config.as_deref()),
        Command::Config(args) => config::run(args, cli.config.as_deref()),
    }
}

fn evaluate_with_progress(args: &evaluate::EvaluateArgs) -> Result<(), CliError> {
    let mut bar: Option<output::Progress> = None;
    let figures = evaluate::run(args, &mut |done, total| {
        let bar = bar.get_or_insert_with(|| output::Progress::new("events", Some(total)));
        bar.advance(done.saturating_sub(bar.done()));
    })?;
    drop(bar);
    Ok(evaluate::print(&figures, args.output.json)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// clap checks names, defaults and conflicts of a command only when it is built.
    #[test]
    fn every_subcommand_is_sound_and_helps() {
        Cli::command().debug_assert();
        let commands: [(&str, clap::Command); 23] = [
            ("refit", refit::RefitArgs::augment_args(clap::Command::new("refit"))),
            ("demo", demo::DemoArgs::augment_args(clap::Command::new("demo"))),
            ("serve", serve::ServeArgs::augment_args(clap::Command::new("serve"))),
            ("load", load::LoadArgs::augment_args(clap::Command::new("load"))),
            ("replay", replay::ReplayArgs::augment_args(clap::Command::new("replay"))),
            ("evaluate", evaluate::EvaluateArgs::augment_args(clap::Command::new("evaluate"))),
            ("profile", profile::ProfileArgs::augment_args(clap::Command::new("profile"))),
            ("history", history::HistoryArgs::augment_args(clap::Command::new("history"))),
            ("control", control::ControlArgs::augment_args(clap::Command::new("control"))),
            ("retract", retract::RetractArgs::augment_args(clap::Command::new("retract"))),
            ("schema", schema::SchemaArgs::augment_args(clap::Command::new("schema"))),
            ("recommend", recommend::RecommendArgs::augment_args(clap::Command::new("recommend"))),
            ("predict", predict::PredictArgs::augment_args(clap::Command::new("predict"))),
            ("explain", explain::ExplainArgs::augment_args(clap::Command::new("explain"))),
            ("similar", similar::SimilarArgs::augment_args(clap::Command::new("similar"))),
            ("snapshot", snapshot::SnapshotArgs::augment_args(clap::Command::new("snapshot"))),
            ("journal", journal::JournalArgs::augment_args(clap::Command::new("journal"))),
            ("bench", bench::BenchArgs::augment_args(clap::Command::new("bench"))),
            ("stats", stats::StatsArgs::augment_args(clap::Command::new("stats"))),
            ("rejects", rejects::RejectsArgs::augment_args(clap::Command::new("rejects"))),
            ("metrics", metrics::MetricsArgs::augment_args(clap::Command::new("metrics"))),
            ("generate", generate::GenerateArgs::augment_args(clap::Command::new("generate"))),
            ("config", config::ConfigArgs::augment_args(clap::Command::new("config"))),
        ];
        for (name, mut command) in commands {
            command.clone().debug_assert();
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} --{} has no help", argument.get_id());
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains("Usage: "), "{name}: {help}");
        }
    }
}
