//! `mirra bench`: load on a server, and what it stood.
//!
//! ```text
//! load.rs    the worker threads, closed and open loop     source.rs  what one connection asks
//! users.rs   Zipf's law                                    socket.rs  one connection
//! latency.rs histograms                                    process.rs a server of the bench's own
//! report.rs  what is printed
//! ```
//! `benches/load.rs` runs the same code over fixed scenarios.

pub mod latency;
pub mod load;
pub mod report;
pub mod socket;
pub mod source;
pub mod users;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;
use tempfile::TempDir;

use super::child::{Launch, ServerProcess};
use super::output::Progress;
use super::{CliError, DurabilityArg, OutputArgs};
use crate::base::ids::mix as mix_bits;
use crate::base::{IdRef, Rng, Routing};
use crate::client::{BlockingClient, ClientOptions};
use crate::wire::commands::HelloReply;
use load::{Pace, Tally, Until};
use report::{Report, Settings};
use socket::Socket;
use source::Source;
use users::Zipf;

/// Name of the behaviour kind of the events sent.
const KIND: &str = "event";

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Shares of the requests, in per cent; they add up to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mix {
    /// Event batches.
    pub ingest: u8,
    /// Reads of a profile.
    pub profile: u8,
    /// Recommendations.
    pub recommend: u8,
    /// Whole persons told: all parts but what is sensitive.
    pub parts: u8,
}

/// Options of `mirra bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Address of a running server; without it the bench starts one of its own on loopback.
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: Option<String>,
    /// Connections.
    #[arg(long, value_name = "C", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Unanswered requests of each connection.
    #[arg(long, value_name = "F", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub in_flight: u16,
    /// Events in one batch.
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub batch: u16,
    /// What an acknowledgement means.
    #[arg(long, value_enum, default_value = "journaled")]
    pub durability: DurabilityArg,
    /// Seconds to run [default: 10, unless --events is given].
    #[arg(long, value_name = "S", conflicts_with = "events")]
    pub seconds: Option<f64>,
    /// Events to send, in place of a time.
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// Events a second over all connections, sent on schedule whether or not the server keeps up, so that latency
    /// counts the waiting; without it each connection sends as soon as it may.
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// Longest that a request may wait for its shard, in milliseconds; 0: as the server is configured.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub deadline_ms: u32,
    /// Users, drawn by Zipf's law.
    #[arg(long, value_name = "U", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub users: u32,
    /// Items, drawn by Zipf's law.
    #[arg(long, value_name = "I", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub items: u32,
    /// Shares of the requests in per cent, which add up to 100, such as `ingest=90,profile=5,recommend=5`; `parts` are whole
    /// persons (PROFILE_PARTS).
    #[arg(long, value_name = "SHARES", default_value = "ingest=100", value_parser = mix)]
    pub mix: Mix,
    /// Seed of all draws.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Send events without ids: the server then looks for no repeats.
    #[arg(long)]
    pub no_event_ids: bool,
    /// Whether each connection goes to the port of one shard and asks about its users alone, where there are such
    /// ports; otherwise every batch holds users of all shards.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub shard_aware: bool,
    /// Shards of the bench's own server, 0 for one a core [configuration: shards.count].
    #[arg(long, value_name = "N", conflicts_with = "addr")]
    pub shards: Option<u16>,
    /// Strategy of the bench's own server, with or without parameters; may be repeated [configuration: strategy.active].
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", conflicts_with = "addr")]
    pub strategy: Vec<String>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl BenchArgs {
    /// Variables for a server of the bench's own.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let name = format!("{}STRATEGY__ACTIVE", crate::config::ENV_PREFIX);
        if self.strategy.is_empty() { Vec::new() } else { vec![(name, format!("{:?}", self.strategy))] }
    }
}

impl Default for BenchArgs {
    /// What the command line without options means; `benches/load.rs` changes some of it for each scenario.
    fn default() -> Self {
        Self {
            addr: None,
            connections: 4,
            in_flight: 16,
            batch: 64,
            durability: DurabilityArg::Journaled,
            seconds: None,
            events: None,
            rate: None,
            deadline_ms: 0,
            users: 100_000,
            items: 10_000,
            mix: Mix { ingest: 100, ..Mix::default() },
            seed: 1,
            no_event_ids: false,
            shard_aware: true,
            shards: None,
            strategy: Vec::new(),
            output: OutputArgs::default(),
        }
    }
}

/// Runs the load and prints what the server stood.
///
/// # Errors
/// [`CliError`] if no server is reached or started, a connection breaks, or the result cannot be printed.
pub fn run(args: &BenchArgs, config: Option<&Path>) -> Result<(), CliError> {
    let report = match &args.addr {
        Some(addr) => measure(args, addr)?,
        None => {
            // Under TMPDIR: point that at the device to be measured. Dropped after the server that writes into it.
            let dir = TempDir::with_prefix("mirra-bench-")?;
            let config = config.map(Path::to_owned);
            let (shards, env) = (args.shards, args.environment());
            let server = ServerProcess::start(&Launch { shards, config, env, ..Launch::new(dir.path()) })?;
            measure(args, server.addr())?
        }
    };
    report.print(args.output.json)?;
    Ok(())
}

/// Runs the load on the server at `addr`.
///
/// # Errors
/// [`CliError::Client`] if it is not reached or a connection breaks, [`CliError::Usage`] if it has no fitting kind.
pub fn measure(args: &BenchArgs, addr: &str) -> Result<Report, CliError> {
    if args.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
        || args.seconds.is_some_and(|seconds| !(seconds.is_finite() && seconds > 0.0))
    {
        return Err(CliError::Usage("--rate and --seconds must be above 0".to_owned()));
    }
    let mut client = BlockingClient::connect(addr, &ClientOptions::default())?;
    let (hello, routing) = (client.hello().clone(), client.routing()?);
    drop(client);
    let mut workers = Vec::new();
    for (number, source) in (0..).zip(sources(args, &hello, routing)?) {
        let to = hello.shard_map.get(usize::from(shard_of(number, args, &hello))).filter(|_| is_aware(args, &hello));
        workers.push((Socket::connect(to.map_or(addr, |to| &to.addr), args.deadline_ms)?, source));
    }
    let tally = drive(workers, pace(args), args)?;
    Ok(Report::new(&tally, settings(args, &hello, addr)))
}

/// Runs every connection on a thread of its own, shows progress meanwhile, adds up.
fn drive(workers: Vec<(Socket, Source)>, pace: Pace, args: &BenchArgs) -> Result<Tally, CliError> {
    let done = AtomicU64::new(0);
    let (began, progress) = (Instant::now(), Progress::new("load", args.events));
    let tallies = thread::scope(|scope| {
        let run = |(socket, source)| {
            let done = &done;
            scope.spawn(move || load::run(socket, source, pace, began, done))
        };
        let threads: Vec<_> = workers.into_iter().map(run).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(SHOW_EVERY);
            progress.advance(done.swap(0, Ordering::Relaxed));
        }
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Result<Vec<Tally>, _>>()
    })?;
    let mut tallies = tallies.into_iter();
    let mut whole = tallies.next().unwrap_or_default();
    tallies.for_each(|tally| whole.add(tally));
    Ok(whole)
}

fn pace(args: &BenchArgs) -> Pace {
    let connections = u64::from(args.connections);
    let until = match (args.events, args.seconds) {
        (Some(events), _) => Until::Events(events.div_ceil(connections)),
        (None, seconds) => Until::Seconds(seconds.unwrap_or(10.0)),
    };
    // The rate is in events: of so many requests only a share carries any, and those carry a batch.
    let events_a_request = f64::from(args.batch) * f64::from(args.mix.ingest) / 100.0;
    let per_request = if args.mix.ingest == 0 { 1.0 } else { events_a_request };
    let rate = args.rate.map(|rate| rate / per_request / f64::from(args.connections));
    Pace { in_flight: usize::from(args.in_flight), rate, until }
}

fn is_aware(args: &BenchArgs, hello: &HelloReply) -> bool {
    args.shard_aware && hello.shard_map.len() == usize::from(hello.shards)
}

/// The shard that connection `number` belongs to, as the place of its port in the map.
fn shard_of(number: u16, args: &BenchArgs, hello: &HelloReply) -> u16 {
    if is_aware(args, hello) { number % hello.shards.max(1) } else { 0 }
}

/// What each connection asks.
fn sources(args: &BenchArgs, hello: &HelloReply, routing: Routing) -> Result<Vec<Source>, CliError> {
    let all =
        |count| Zipf::new(count, |_| true).map(Arc::new).ok_or_else(|| CliError::Usage("nothing to draw".to_owned()));
    let kind = hello.kinds.iter().find(|kind| kind.name == KIND).or(hello.kinds.first());
    let kind = kind.ok_or_else(|| CliError::Usage("the server knows no behaviour kind".to_owned()))?.code;
    let (users, items) = (all(args.users)?, all(args.items)?);
    let owned = |at: u16| {
        let shard = hello.shard_map.get(usize::from(at))?.shard;
        Zipf::new(args.users, |user| routing.shard(IdRef::Int(user), hello.shards) == shard).map(Arc::new)
    };
    let by_shard: Vec<Option<Arc<Zipf>>> =
        if is_aware(args, hello) { (0..hello.shards).map(owned).collect() } else { Vec::new() };
    // Unique over runs too, so that a second run on the same server is not one of repeats.
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let first_id = mix_bits(u64::try_from(now_ns).unwrap_or(u64::MAX));
    let source = |number: u16| Source {
        rng: Rng::new(mix_bits(args.seed) ^ u64::from(number)),
        // A shard without any of the users gets those of the others: its server passes them on.
        users: by_shard
            .get(usize::from(shard_of(number, args, hello)))
            .cloned()
            .flatten()
            .unwrap_or_else(|| Arc::clone(&users)),
        items: Arc::clone(&items),
        mix: args.mix,
        batch: args.batch,
        durability: code(args.durability),
        kind,
        next_event_id: (!args.no_event_ids).then(|| first_id.wrapping_add(u64::from(number) << 40)),
        sent: 0,
    };
    Ok((0..args.connections).map(source).collect())
}

/// The level's number on the wire.
fn code(durability: DurabilityArg) -> u8 {
    match durability {
        DurabilityArg::Applied => 1,
        DurabilityArg::Journaled => 2,
        DurabilityArg::Durable => 3,
    }
}

fn settings(args: &BenchArgs, hello: &HelloReply, addr: &str) -> Settings {
    Settings {
        server: hello.server.clone(),
        addr: addr.to_owned(),
        own_server: args.addr.is_none(),
        shards: hello.shards,
        strategies: hello.strategies.clone(),
        shard_aware: is_aware(args, hello),
        connections: args.connections,
        in_flight: args.rate.is_none().then_some(args.in_flight),
        rate: args.rate,
        batch: args.batch,
        durability: ["applied", "journaled", "durable"][usize::from(code(args.durability)) - 1],
        users: args.users,
        items: args.items,
        mix: args.mix,
        seed: args.seed,
        event_ids: !args.no_event_ids,
    }
}

/// Parses `ingest=90,profile=5,recommend=5`; what is not named has no share.
fn mix(text: &str) -> Result<Mix, String> {
    let mut mix = Mix::default();
    for part in text.split(',') {
        let (name, share) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=SHARE"))?;
        let share = share.parse().map_err(|_| format!("`{share}` is not a whole number of per cent"))?;
        match name {
            "ingest" => mix.ingest = share,
            "profile" => mix.profile = share,
            "recommend" => mix.recommend = share,
            "parts" => mix.parts = share,
            _ => return Err(format!("`{name}` is not one of ingest, profile, recommend, parts")),
        }
    }
    match [mix.ingest, mix.profile, mix.recommend, mix.parts].map(u16::from).iter().sum::<u16>() {
        100 => Ok(mix),
        sum => Err(format!("the shares add up to {sum}, not 100")),
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn the_default_is_the_command_line_without_options() {
        let matches = BenchArgs::augment_args(clap::Command::new("bench")).get_matches_from(["bench"]);
        let args = BenchArgs::from_arg_matches(&matches).unwrap();
        assert_eq!(format!("{args:?}"), format!("{:?}", BenchArgs::default()));
    }

    #[test]
    fn rates_are_events_over_all_connections() {
        let mix = Mix { ingest: 50, profile: 25, recommend: 25, parts: 0 };
        let args = BenchArgs { connections: 2, batch: 10, mix, rate: Some(1_000.0), ..BenchArgs::default() };
        assert_eq!(pace(&args).rate, Some(100.0), "5 events a request, two connections");
        let reads = Mix { profile: 100, ..Mix::default() };
        assert_eq!(pace(&BenchArgs { mix: reads, ..args }).rate, Some(500.0));
    }

    #[test]
    fn shares_add_up_to_100() {
        assert_eq!(mix("ingest=90,profile=5,recommend=5"), Ok(Mix { ingest: 90, profile: 5, recommend: 5, parts: 0 }));
        assert_eq!(mix("recommend=60,parts=40"), Ok(Mix { recommend: 60, parts: 40, ..Mix::default() }));
        for wrong in ["", "ingest", "ingest=x", "ingest=300", "other=100", "ingest=90", "ingest=90,profile=11"] {
            assert!(mix(wrong).is_err(), "{wrong:?}");
        }
    }
}
