//! `mirra demo`: what Mirra is for, shown in half a minute on a real server, every claim checked.
//!
//! A server is started as a child process of this binary over a temporary directory; events go to it over TCP; one
//! user changes their mind; the living profiles are held against a frozen copy; the server is killed and comes back.
//! Every line with a tick was checked: the exit code is 0 only if all of them hold.

mod crash;
mod error;
mod figures;
mod plot;
mod profile;
mod screen;
mod source;
mod stream;
mod twin;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;
use console::style;

pub use error::DemoError;

use super::child::{Launch, ServerProcess};
use super::{CliError, OutputArgs, output};
use crate::client::{BlockingClient, ClientOptions};
use crate::config::Config;
use figures::Figures;
use screen::{Screen, thousands};
use source::{Size, Workload};

/// Options of `mirra demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Events to send from this file (TSV or CSV, plain or gzip, header `user item value timestamp [kind]`), instead of
    /// the generated stream.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Events to send; at most as many as the file has.
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub events: u32,
    /// Users in the generated stream; without it one for every 100 events, 30 to 5,000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub users: Option<u32>,
    /// Items in the generated stream.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(100..))]
    pub items: u32,
    /// Seed of the generated stream: the same seed gives the same events.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Number of shards of the server.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Set by Ctrl-C and SIGTERM, looked at between steps, so that the server is stopped and its directory removed.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Watches for the signals of this process.
    fn watch() -> Result<Self, DemoError> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.flag);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("mirra-signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return; // the signals then end the process as they always do
                };
                tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
                flag.store(true, Ordering::Relaxed);
            });
        })?;
        Ok(interrupt)
    }

    /// # Errors
    /// [`DemoError::Interrupted`] if it was.
    pub fn check(&self) -> Result<(), DemoError> {
        if self.flag.load(Ordering::Relaxed) { Err(DemoError::Interrupted) } else { Ok(()) }
    }
}

/// What every act uses.
struct Stage {
    screen: Screen,
    interrupt: Interrupt,
    launch: Launch,
    config: Config,
    workload: Workload,
}

/// Runs the demonstration.
///
/// # Errors
/// [`CliError::Demo`] if anything fails, or is not as it was to be shown.
pub fn run(args: &DemoArgs, config_file: Option<&Path>) -> Result<(), CliError> {
    Ok(show(args, config_file)?)
}

fn show(args: &DemoArgs, config_file: Option<&Path>) -> Result<(), DemoError> {
    let began = Instant::now();
    let interrupt = Interrupt::watch()?;
    let dir = tempfile::Builder::new().prefix("mirra-demo-").tempdir()?;
    let env = environment(args);
    let config = Config::load(config_file, env.iter().cloned(), &[])?.0;
    let mut launch = Launch::new(dir.path());
    (launch.config, launch.env) = (config_file.map(Path::to_owned), env);
    let kinds = config.schema.kinds.clone();
    let size = Size { events: args.events as usize, users: args.users, items: args.items, seed: args.seed };
    let workload = match &args.data {
        Some(path) => source::file(path, size.events, &kinds)?,
        None => source::generated(size, &kinds)?,
    };
    let mut stage = Stage { screen: Screen::new(args.output.json), interrupt, launch, config, workload };
    let figures = acts(&mut stage, began)?;
    if args.output.json {
        output::json(&figures)?;
    }
    // Said aloud, as a directory that cannot be removed is the one thing that the demonstration would leave behind.
    dir.close()?;
    Ok(())
}

/// The strategy whose profile is one vector: the one that the frozen copy is of.
const VECTORS: &str = "decay";

/// What differs from the built-in configuration: short vectors and histories, as there are few items and tastes turn
/// fast; every event or every few ranked; `auto`, the default, first, and others to hold it against.
fn environment(args: &DemoArgs) -> Vec<(String, String)> {
    let every = (args.events / 20_000).clamp(1, 100);
    let strategies = r#"["auto", "decay", "fold_in", "popularity"]"#;
    let settings = [
        ("SHARDS__COUNT", args.shards.to_string()),
        ("STRATEGY__ACTIVE", strategies.to_owned()),
        ("STRATEGY__DECAY__DIM", "16".to_owned()),
        ("STRATEGY__DECAY__RECENCY", "0.85".to_owned()),
        ("STRATEGY__FOLD_IN__DIM", "16".to_owned()),
        ("STRATEGY__FOLD_IN__RECENCY", "0.85".to_owned()),
        ("HISTORY__EVENTS_MAX", "64".to_owned()),
        ("PREQUENTIAL__RANK_EVERY", every.to_string()),
        ("LOG__LEVEL", "info".to_owned()),
    ];
    settings.into_iter().map(|(key, value)| (format!("{}{key}", crate::config::ENV_PREFIX), value)).collect()
}

fn acts(stage: &mut Stage, began: Instant) -> Result<Figures, DemoError> {
    let server = open(stage)?;
    let mut client = connect(&server)?;
    let (streamed, items_ms) = events(stage, &mut client)?;
    let changed = profile::act(stage, &mut client)?;
    let accuracy = figures::act(stage, &streamed, items_ms)?;
    let crash = crash::act(stage, server, client)?;
    let figures = Figures::new(stage, &streamed, &changed, accuracy, crash, began.elapsed());
    figures.close(&stage.screen)?;
    Ok(figures)
}

fn connect(server: &ServerProcess) -> Result<BlockingClient, DemoError> {
    // A refit or a snapshot may take its time on a busy machine.
    let options = ClientOptions { name: "mirra-demo".to_owned(), request_timeout_ms: 60_000, ..Default::default() };
    Ok(BlockingClient::connect(server.addr(), &options)?)
}

/// Act 1.
fn open(stage: &mut Stage) -> Result<ServerProcess, DemoError> {
    let Stage { screen, launch, config, workload, .. } = stage;
    let version = env!("CARGO_PKG_VERSION");
    let title = format!("{} {}", style("mirra").cyan().bold(), style(version).dim());
    screen.line(&format!("\n {title}  a living profile of every user: events in, learned profiles out"))?;
    screen.act("A server of its own: a child process, a free port, an empty directory")?;
    let server = ServerProcess::start(launch)?;
    let names: Vec<&str> = config.strategy.active.iter().map(|active| active.label.as_str()).collect();
    screen.fact("server", &format!("{} · process {}", server.addr(), server.ready().pid))?;
    screen.fact("strategies", &format!("{} (the first answers)", names.join(", ")))?;
    let size = format!("{} users, {} items", thousands(workload.users as u64), thousands(workload.items.len() as u64));
    screen.fact("data", &format!("{} · {size}", workload.name))?;
    let fresh = server.ready().sequences.iter().all(|sequence| *sequence == 0);
    let claim = format!("ready after {}, nothing learned yet", output::duration(server.waited()));
    screen.check(fresh && server.ready().shards == config.shards.count, &claim)?;
    Ok(server)
}

/// Act 2.
fn events(stage: &mut Stage, client: &mut BlockingClient) -> Result<(stream::Streamed, i64), DemoError> {
    let Stage { screen, interrupt, workload, .. } = stage;
    screen.act("Events over TCP, each learned before it is acknowledged")?;
    let items_ms = workload.events.iter().map(|event| event.time_ms).min().unwrap_or(0).max(1);
    stream::upsert_items(client, &workload.items, items_ms)?;
    let streamed = stream::send(client, workload, interrupt)?;
    let (counts, sent) = (&streamed.counts, workload.events.len() as u64);
    let rate = sent as f64 / streamed.took.as_secs_f64();
    let took = output::duration(streamed.took);
    screen.fact("events", &format!("{} in {took}: {} events/s", thousands(sent), output::count(rate)))?;
    if workload.bad_rows > 0 {
        screen.fact("bad rows", &format!("{} left out", thousands(workload.bad_rows)))?;
    }
    let refit = &streamed.refit;
    let fitted = [refit.users, refit.items, refit.pairs].map(thousands);
    let size = format!("{} users × {} items, {} pairs", fitted[0], fitted[1], fitted[2]);
    let at = thousands(streamed.freeze_at as u64);
    screen.fact("refit", &format!("after {at} events: {size}, {} ms", refit.took_ms))?;
    let each = [counts.accepted, counts.duplicates, counts.rejected].map(thousands);
    let claim =
        format!("{} accepted + {} duplicate + {} rejected = {} sent", each[0], each[1], each[2], thousands(sent));
    screen.check(counts.accepted + counts.duplicates + counts.rejected == sent && counts.accepted > 0, &claim)?;
    Ok((streamed, items_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup;

    #[test]
    fn its_configuration_is_one() {
        for events in [1_000, 400_000, u32::MAX] {
            let output = OutputArgs { json: true };
            let args = DemoArgs { data: None, events, users: None, items: 300, seed: 1, shards: 3, output };
            let (config, origins) = Config::load(None, environment(&args), &[]).unwrap();
            assert_eq!((config.shards.count, origins.changed().count() > 4), (3, true));
            assert!((1..=100).contains(&config.prequential.rank_every));
            assert!(setup::state_options(&config).strategies.iter().any(|strategy| strategy.name() == VECTORS));
            assert_eq!(setup::state_options(&config).strategies[0].name(), "auto");
        }
    }

    #[test]
    fn an_interrupt_is_noticed() {
        let interrupt = Interrupt::default();
        interrupt.check().unwrap();
        interrupt.flag.store(true, Ordering::Relaxed);
        assert!(matches!(interrupt.check(), Err(DemoError::Interrupted)));
    }
}
