//! What a whole server stands on this machine: `mirra bench` with fixed scenarios, one JSON line each
//! (`cargo bench --bench load`; `cargo bench --bench load -- 5` for 5 s a scenario instead of 3).
//!
//! * `batched_*`: 4 connections with 4 batches of 256 events in flight each: what bulk ingestion stands at each level
//!   of durability. Client and server share the cores, so `events_per_s` is what the machine does with both.
//! * `single_*`: one connection, one request at a time: latency is the path of one event without any queue.
//! * `mixed_open`: 90 % single events, 5 % profiles, 5 % recommendations, due by a Poisson process at half the rate
//!   that `mixed_closed` has just reached, latency counted from when each was due: what a caller sees at a sane load.
//!   Past half, queues explain more of the latency than the server does.
//!
//! All with `decay`, so that what is compared is the server; `mirra bench --strategy auto` tells what the default costs.
//!
//! Each scenario has a fresh server in a process of its own. On a machine that does other work too, repeat, and compare
//! builds in turns (A B A B), never one after the other.

use mirra::cli::bench::report::Report;
use mirra::cli::bench::{BenchArgs, Mix, measure};
use mirra::cli::child::{Launch, ServerProcess};
use mirra::cli::{CliError, DurabilityArg};

#[derive(serde::Serialize)]
struct Line<'a> {
    scenario: &'a str,
    #[serde(flatten)]
    report: &'a Report,
}

fn run(scenario: &str, args: &BenchArgs) -> Result<Report, CliError> {
    let dir = tempfile::TempDir::with_prefix("mirra-bench-")?;
    let program = Some(env!("CARGO_BIN_EXE_mirra").into());
    let launch = Launch { program, shards: args.shards, env: args.environment(), ..Launch::new(dir.path()) };
    let server = ServerProcess::start(&launch)?;
    let report = measure(args, server.addr())?;
    mirra::cli::output::json(&Line { scenario, report: &report })?;
    Ok(report)
}

fn main() -> Result<(), CliError> {
    // cargo adds options of its own, such as --bench.
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(3.0);
    let (applied, journaled, durable) = (DurabilityArg::Applied, DurabilityArg::Journaled, DurabilityArg::Durable);
    let base = BenchArgs { seconds: Some(seconds), strategy: vec!["decay".to_owned()], ..BenchArgs::default() };
    let batched = BenchArgs { connections: 4, in_flight: 4, batch: 256, ..base.clone() };
    let single = BenchArgs { connections: 1, in_flight: 1, batch: 1, ..base.clone() };
    for (name, args, durability) in [
        ("batched_applied", &batched, applied),
        ("batched_journaled", &batched, journaled),
        ("batched_durable", &batched, durable),
        ("single_applied", &single, applied),
        ("single_journaled", &single, journaled),
        ("single_durable", &single, durable),
    ] {
        run(name, &BenchArgs { durability, ..args.clone() })?;
    }
    let mix = Mix { ingest: 90, profile: 5, recommend: 5, parts: 0 };
    let mixed = BenchArgs { connections: 4, in_flight: 16, batch: 1, durability: applied, mix, ..base };
    let capacity = run("mixed_closed", &mixed)?.events_per_s;
    run("mixed_open", &BenchArgs { rate: Some(capacity / 2.0), ..mixed })?;
    Ok(())
}
