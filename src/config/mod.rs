//! Configuration: `config.toml` as compiled in, a user's file, the environment, the command line; checked once.
//!
//! Past [`Config::load`] nobody looks at TOML or checks a limit again: the option structs here are plain values with
//! the unit in the name, which the floors below take as their own options. Keys, defaults and reasons stand in
//! `config.toml` at the root of the repository.

mod checks;
mod error;
mod layers;
mod raw;
mod schema;
mod strategy;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use crate::learn::auto::Training;
use crate::model::{Durability, Schema};

pub use error::{ConfigError, Problem};

pub use layers::{ENV_PREFIX, Layer, Origins, Override, Setting};
pub use strategy::{ActiveStrategy, StrategyOptions};

/// The built-in file: the bottom layer, and the documentation of every key.
pub const BUILT_IN: &str = include_str!("../../config.toml");

/// Longest configuration file that is read, in bytes: some hundred times the built-in one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The binary protocol's door.
    pub server: ServerOptions,
    /// Shards and their queues.
    pub shards: ShardsOptions,
    /// How much memory there is.
    pub memory: MemoryOptions,
    /// How much of the disk stays free.
    pub disk: DiskOptions,
    /// Update strategies.
    pub strategy: StrategyOptions,
    /// What the field of use says of events, users and items.
    pub schema: Schema,
    /// What is kept of a user's events.
    pub history: HistoryOptions,
    /// The background refit of the item model.
    pub refit: RefitOptions,
    /// How the ranker of `auto` is taught.
    pub ranker: RankerOptions,
    /// The journal.
    pub journal: JournalOptions,
    /// Snapshots.
    pub snapshot: SnapshotOptions,
    /// How changed items travel between shards.
    pub exchange: ExchangeOptions,
    /// Test-then-learn evaluation.
    pub prequential: PrequentialOptions,
    /// What is remembered of lists served.
    pub decisions: DecisionsOptions,
    /// What is kept of refused events.
    pub rejects: RejectsOptions,
    /// The log.
    pub log: LogOptions,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Address of the binary protocol; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether an address that other machines can reach is allowed.
    pub allow_open: bool,
    /// Whether each shard gets a port of its own: `listen` + 1 + shard, or any free one when `listen` has port 0.
    pub shard_ports: bool,
    /// Most open connections.
    pub connections_max: usize,
    /// Most unanswered frames of one connection.
    pub in_flight_max: usize,
    /// Unsent reply bytes at which a connection is closed.
    pub output_bytes_max: usize,
    /// Unsent reply bytes of all connections past which those with more than an equal part are closed.
    pub output_total_bytes_max: usize,
    /// Seconds until a connection has said HELLO; 0 = for ever, as below.
    pub hello_timeout_s: u64,
    /// Seconds from the first byte of a frame to its last.
    pub frame_timeout_s: u64,
    /// Seconds for which a peer may take none of its replies.
    pub write_timeout_s: u64,
    /// Seconds without a frame until a connection is closed.
    pub idle_timeout_s: u64,
    /// Seconds of silence until the system asks whether the peer is there; 0 = it does not ask.
    pub keepalive_s: u64,
    /// Milliseconds that a request may wait for its shard unless its connection says otherwise; 0 = as the queue allows.
    pub deadline_ms: u64,
    /// Most events and questions of one connection a second; 0 = no limit.
    pub connection_events_per_s: u32,
    /// Seconds behind the newest event of its connection at which an event is refused; 0 = never.
    pub source_late_s: u64,
    /// Seconds that a stopping server gives to requests in flight.
    pub shutdown_s: u64,
}

/// `[shards]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsOptions {
    /// Number of shards; 0 = one a core.
    pub count: u16,
    /// Most events that wait in a shard's queue.
    pub queue_events_max: usize,
    /// Longest that an event is let in to wait, in milliseconds.
    pub queue_wait_ms: u64,
    /// Longest time of turns before a shard lets its thread run something else, in microseconds.
    pub quantum_us: u64,
}

/// `[memory]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Bytes that the process may hold; 0 = no limit.
    pub limit_bytes: u64,
}

/// `[disk]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Bytes that stay free; 0 = down to the last.
    pub free_min_bytes: u64,
}

/// `[history]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Newest events kept of one user.
    pub events_max: usize,
}

/// `[refit]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RefitOptions {
    /// Sweeps of alternating least squares from random factors.
    pub iterations: u32,
    /// Sweeps from the factors of the present model.
    pub iterations_warm: u32,
    /// L2 penalty.
    pub l2: f64,
    /// Weight of every pair as unobserved, against 1 for an event.
    pub unobserved_weight: f64,
    /// Seed of the first factors.
    pub seed: u64,
    /// Standard deviation of the first factors' entries.
    pub init_std: f64,
    /// Whether the engine refits by itself as events come.
    pub automatic: bool,
}

/// `[ranker]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RankerOptions {
    /// Who teaches.
    pub training: Training,
    /// Share of one core for the teacher.
    pub cpu_share: f64,
    /// Share of a shard's time for describing examples.
    pub sample_share: f64,
}

/// `[journal]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// The level when the request names none.
    pub durability: Durability,
    /// Bytes at which a shard begins a new segment file.
    pub segment_bytes: u64,
    /// Longest wait of an `applied` event's record before it is written, in milliseconds.
    pub flush_ms: u64,
    /// Time between background syncs, in milliseconds; 0 = never.
    pub sync_interval_ms: u64,
}

/// `[snapshot]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// Generations kept.
    pub keep: usize,
    /// Seconds between snapshots; 0 = only on command.
    pub every_s: u64,
}

/// `[exchange]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeOptions {
    /// Time between two publications of changed items, in milliseconds.
    pub publish_ms: u64,
    /// Most item rows in one publication.
    pub rows_max: usize,
}

/// `[prequential]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrequentialOptions {
    /// Every n-th event of a shard is ranked before it is learned; 0 = never.
    pub rank_every: u32,
    /// Fading factor of the recent metrics, above 0 and below 1.
    pub fading: f64,
    /// Seed of what evaluation draws.
    pub seed: u64,
}

/// `[decisions]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionsOptions {
    /// Lists served that each shard remembers until something names them; 0 = none.
    pub kept_max: usize,
    /// Seconds after a list in which outcomes count.
    pub wait_s: u64,
}

/// `[rejects]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectsOptions {
    /// Bytes of refused events that are kept; 0 = none.
    pub bytes_max: u64,
}

/// Least severe message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Shape of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Least severe message that is logged.
    pub level: LogLevel,
    /// Shape of the lines.
    pub format: LogFormat,
}

impl Config {
    /// Merges and checks the layers: built-in, `file`, those of `env` that begin with [`ENV_PREFIX`], `overrides`.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, the value, what was expected and the layer. Values out of their limits are all
    /// reported together.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        overrides: &[Override],
    ) -> Result<(Self, Origins), ConfigError> {
        let defaults = BUILT_IN.parse().map_err(|source| ConfigError::Shape(Box::new(source)))?;
        let mut layers = layers::Layers::new(defaults);
        if let Some(path) = file {
            layers.file(path, &read(path)?)?;
        }
        // Sorted, so that of several wrong variables always the same one is named.
        let mut variables: Vec<_> = env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        variables.sort();
        for (name, value) in &variables {
            layers.variable(name, value)?;
        }
        for option in overrides {
            layers.option(option)?;
        }
        let (table, origins) = layers.finish()?;
        let config = checks::check(table, &origins)?;
        Ok((config, origins))
    }

    /// The built-in configuration alone.
    ///
    /// # Errors
    /// None in a released binary: a test loads it.
    pub fn built_in() -> Result<Self, ConfigError> {
        Ok(Self::load(None, [], &[])?.0)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let bytes = File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    Ok(text)
}
