//! `mirra serve`: run the server until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, output, setup};
use crate::base::SystemClock;
use crate::config::{Config, Override};
use crate::engine::{self, Engine, Opened, SnapshotReport, StartReport};
use crate::ingest::tensors::read_tensors;
use crate::server::Server;
use crate::shard::{StartProgress, StartStatus, StartStep};
use crate::storage::OsDisk;
use crate::storage::files::write_atomically;

/// Options of `mirra serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Address of the binary protocol; port 0 takes any free port [configuration: server.listen].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Directory of journal and snapshots; made if it does not exist, recovered from if it does.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Number of shards, 0 for one a core [configuration: shards.count].
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Allow an address that other machines can reach; there is no login yet [configuration: server.allow_open].
    #[arg(long)]
    pub allow_open: bool,
    /// File to write when the port answers: one JSON object with `addr` and `pid`.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Safetensors file that strategy `attention` goes on from (docs/neural.md). It goes into the journal once: later
    /// starts with the same file, or without one, change nothing.
    #[arg(long, value_name = "FILE.safetensors")]
    pub weights: Option<PathBuf>,
}

impl ServeArgs {
    /// The options that stand over the configuration.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let listen = self.listen.as_ref().map(|listen| Override::new("server.listen", listen.as_str(), "--listen"));
        let shards = self.shards.map(|count| Override::new("shards.count", i64::from(count), "--shards"));
        let open = self.allow_open.then(|| Override::new("server.allow_open", true, "--allow-open"));
        [listen, shards, open].into_iter().flatten().collect()
    }
}

/// What the ready file says.
#[derive(Debug, Serialize)]
struct Ready {
    addr: String,
    pid: u32,
    shards: u16,
    sequences: Vec<u64>,
    start_ms: u64,
}

/// Runs the server until SIGTERM, SIGINT or a client's SHUTDOWN.
///
/// # Errors
/// [`CliError`] if it cannot start, or if the journals could not be synced at the end.
pub fn run(args: &ServeArgs, config_file: Option<&Path>) -> Result<(), CliError> {
    let (config, origins) = setup::load(config_file, &args.overrides())?;
    setup::start_log(&config, &origins)?;
    engine::block_on(serve(args, &config))
}

async fn serve(args: &ServeArgs, config: &Config) -> Result<(), CliError> {
    let mut options = setup::engine_options(config, &args.data_dir);
    options.pretrained = args.weights.as_deref().map(read_tensors).transpose()?.map(Arc::new);
    let telling = tell_progress(Arc::clone(&options.progress));
    let opened = Engine::start(options, Arc::new(SystemClock));
    drop(telling);
    let Opened { engine, report } = opened?;
    tell(&report);
    let server = Server::open(engine.clone(), setup::server_options(config))?;
    let (addr, shards) = (server.addr().to_string(), engine.shards());
    tracing::info!(addr, shards, start_ms = report.took_ms, "serving");
    if let Some(path) = &args.ready_file {
        let (pid, start_ms) = (std::process::id(), report.took_ms);
        let ready = Ready { addr, pid, shards, sequences: report.sequences, start_ms };
        write_atomically(&OsDisk, path, &serde_json::to_vec(&ready).map_err(std::io::Error::from)?)?;
    }
    if config.snapshot.every_s > 0 {
        tokio::task::spawn_local(snapshot_every(engine.clone(), Duration::from_secs(config.snapshot.every_s)));
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let why = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = server.stopped() => "SHUTDOWN",
    };
    tracing::info!(why, "stopping: finishing what was accepted");
    server.close(Duration::from_secs(config.server.shutdown_s)).await;
    if !engine.stop().await {
        return Err(CliError::UncleanStop);
    }
    tracing::info!("stopped: every journal is synced");
    Ok(())
}

/// How often a start that takes long says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Says how far the start is, until what is given back is dropped.
fn tell_progress(progress: Arc<StartProgress>) -> Sender<()> {
    let (alive, ended) = channel::<()>();
    let tell = move || {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TELL_EVERY) {
            tracing::info!("starting: {}", told(&progress.status()));
        }
    };
    // Where there is no thread for it, the start goes on untold.
    let _ = std::thread::Builder::new().name("mirra-progress".to_owned()).spawn(tell);
    alive
}

fn told(status: &StartStatus) -> String {
    let of = |(done, all): (u64, u64)| format!("{} of {}", output::bytes(done.min(all)), output::bytes(all));
    match status.step {
        StartStep::Opening => "opening the snapshot store".to_owned(),
        StartStep::Checking => "looking for the newest whole snapshot".to_owned(),
        StartStep::Starting => "starting the shards".to_owned(),
        StartStep::Reading => format!(
            "{} of snapshots read, {} of journals ({} operations) replayed",
            of(status.image_bytes),
            of(status.journal_bytes),
            output::grouped(status.operations)
        ),
    }
}

/// What an operator should know of a start.
fn tell(report: &StartReport) {
    for line in report.store.iter().chain(&report.passed_over).chain(&report.torn) {
        tracing::warn!("{line}");
    }
    let (generation, replayed, took_ms) = (report.generation, report.replayed, report.took_ms);
    tracing::info!(generation, replayed, took_ms, sequences = ?report.sequences, "recovered");
}

async fn snapshot_every(engine: Engine, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        if engine.is_stopping() {
            return;
        }
        match engine.snapshot().await {
            Ok(SnapshotReport { generation, bytes, took_ms, .. }) => {
                tracing::info!(generation, bytes, took_ms, "snapshot");
            }
            Err(error) => tracing::error!(error = %error, "the snapshot failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;
    use crate::config::{Config, Layer};

    #[test]
    fn a_start_that_takes_long_says_how_far_it_is() {
        let status = StartStatus {
            step: StartStep::Reading,
            image_bytes: (1 << 20, 4 << 20),
            journal_bytes: (3 << 20, 2 << 20), // segments may grow while they are read
            operations: 12_345,
        };
        let said =
            "1.00 MiB of 4.00 MiB of snapshots read, 2.00 MiB of 2.00 MiB of journals (12,345 operations) replayed";
        assert_eq!(told(&status), said);
    }

    #[test]
    fn options_stand_over_the_configuration() {
        let line = ["serve", "--data-dir", "d", "--listen", "0.0.0.0:0", "--shards", "3", "--allow-open"];
        let matches = ServeArgs::augment_args(clap::Command::new("serve")).get_matches_from(line);
        let args = ServeArgs::from_arg_matches(&matches).unwrap();
        let (config, origins) = Config::load(None, [], &args.overrides()).unwrap();
        assert_eq!(config.server.listen.to_string(), "0.0.0.0:0");
        assert_eq!(config.shards.count, 3);
        let layer = |key: &str| origins.get(key).unwrap().layer.clone();
        assert_eq!(layer("shards.count"), Layer::CommandLine("--shards".to_owned()));
        assert_eq!(origins.changed().count(), 3);
    }
}
