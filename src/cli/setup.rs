//! From the configuration to the options that each floor takes.

use std::path::Path;
use std::time::Duration;

use super::CliError;
use crate::base::Routing;
use crate::config::{Config, LogFormat, LogLevel, Origins, Override};
use crate::engine;
use crate::learn::Strategy;
use crate::linalg::IalsOptions;
use crate::shard::DecisionOptions;
use crate::shard::actor::Pace;
use crate::shard::teacher::TeachingPace;
use crate::storage::JournalOptions;
use crate::telemetry::log;
use crate::{server, state};

/// Loads the configuration as every subcommand does: built in, `--config`, this process's environment, its options.
///
/// # Errors
/// [`CliError::Config`].
pub fn load(file: Option<&Path>, overrides: &[Override]) -> Result<(Config, Origins), CliError> {
    Ok(Config::load(file, super::config::environment(), overrides)?)
}

/// Starts the log, and tells every value that differs from the built-in one.
///
/// # Errors
/// Never for a checked configuration: its level is one of the filter's.
pub fn start_log(config: &Config, origins: &Origins) -> Result<(), CliError> {
    let level = match config.log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let format = match config.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    // sled tells its own story at these levels; what matters of it comes through our own lines.
    log::start(&format!("{level},sled=warn"), format).map_err(CliError::Usage)?;
    for setting in origins.changed() {
        tracing::info!(key = %setting.key, value = %setting.value, set_by = %setting.layer, "configured");
    }
    Ok(())
}

/// Options of the engine over `data_dir`.
#[must_use]
pub fn engine_options(config: &Config, data_dir: &Path) -> engine::Options {
    let mut options = engine::Options::new(data_dir);
    options.state = state_options(config);
    options.pace = Pace {
        quantum_us: config.shards.quantum_us,
        flush_ms: config.journal.flush_ms,
        sync_interval_ms: config.journal.sync_interval_ms,
        publish_ms: config.exchange.publish_ms,
        rows_max: config.exchange.rows_max,
    };
    options.queue_events_max = config.shards.queue_events_max;
    options.queue_wait_max = Duration::from_millis(config.shards.queue_wait_ms);
    options.journal = JournalOptions { segment_bytes: config.journal.segment_bytes, ..JournalOptions::default() };
    options.durability = config.journal.durability;
    options.snapshot_keep = config.snapshot.keep;
    options.refit = refit_options(config);
    options.refit_sweeps = config.refit.iterations_warm as usize;
    options.refit_automatically = config.refit.automatic;
    options.teaching = TeachingPace { cpu_share: config.ranker.cpu_share, sample_share: config.ranker.sample_share };
    options.decisions = DecisionOptions {
        kept_max: config.decisions.kept_max,
        wait_ms: i64::try_from(config.decisions.wait_s.saturating_mul(1_000)).unwrap_or(i64::MAX),
    };
    options.memory_limit_bytes = config.memory.limit_bytes;
    options.disk_free_min_bytes = config.disk.free_min_bytes;
    options.rejects_bytes_max = config.rejects.bytes_max;
    options
}

/// Options of a shard's machine.
#[must_use]
pub fn state_options(config: &Config) -> state::Options {
    let strategies: Vec<Strategy> = config.strategy.active.iter().map(|active| active.strategy.clone()).collect();
    let half_life_s = strategies.iter().find_map(|strategy| match strategy {
        Strategy::Popularity(popularity) => Some(popularity.half_life_s),
        _ => None,
    });
    state::Options {
        shards: shards(config),
        routing: Routing::Plain,
        popularity_half_life_s: half_life_s
            .or_else(|| config.strategy.parameter("popularity", "half_life_s"))
            .unwrap_or_default(),
        strategies,
        schema: config.schema.clone(),
        history_max: config.history.events_max,
        rank_every: config.prequential.rank_every,
        fading: config.prequential.fading,
        seed: config.prequential.seed,
        training: config.ranker.training,
    }
}

/// How item models are fitted.
#[must_use]
pub fn refit_options(config: &Config) -> IalsOptions {
    let refit = &config.refit;
    IalsOptions {
        iterations: refit.iterations as usize,
        l2: refit.l2,
        unobserved_weight: refit.unobserved_weight,
        init_std: refit.init_std,
        seed: refit.seed,
        ..IalsOptions::default()
    }
}

/// Options of the door.
#[must_use]
pub fn server_options(config: &Config) -> server::Options {
    let server = &config.server;
    server::Options {
        listen: server.listen,
        allow_open: server.allow_open,
        shard_ports: server.shard_ports,
        connections_max: server.connections_max,
        in_flight_max: server.in_flight_max,
        output_bytes_max: server.output_bytes_max,
        output_total_bytes_max: server.output_total_bytes_max,
        patience: server::Patience {
            hello: Duration::from_secs(server.hello_timeout_s),
            frame: Duration::from_secs(server.frame_timeout_s),
            write: Duration::from_secs(server.write_timeout_s),
            idle: Duration::from_secs(server.idle_timeout_s),
            keepalive: Duration::from_secs(server.keepalive_s),
        },
        deadline: Duration::from_millis(server.deadline_ms),
        connection_events_per_s: server.connection_events_per_s,
        source_late_ms: 1_000 * server.source_late_s,
    }
}

/// The configured number of shards, or one a core.
fn shards(config: &Config) -> u16 {
    match config.shards.count {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            u16::try_from(cores).unwrap_or(u16::MAX).min(crate::base::limits::SHARDS_MAX)
        }
        count => count,
    }
}
