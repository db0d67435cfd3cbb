//! From raw shapes to checked options: limits key by key (those of strategies in `strategy.rs`), then everything that relates two keys in [`validate`].
//!
//! A value out of its limits is recorded and replaced by the nearest allowed one, so that one run reports every
//! problem. Nothing replaced gets out: a configuration with problems is refused whole.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use toml::Table;

use super::error::{ConfigError, Problem};
use super::layers::{Layer, Origins};
use super::raw::{self, Raw};
use super::strategy::StrategyOptions;
use super::{
    Config, DecisionsOptions, DiskOptions, ExchangeOptions, HistoryOptions, JournalOptions, LogFormat, LogLevel,
    LogOptions, MemoryOptions, PrequentialOptions, RankerOptions, RefitOptions, RejectsOptions, ServerOptions,
    ShardsOptions, SnapshotOptions, schema,
};
use crate::base::limits::{
    BATCH_EVENTS_MAX, FRAME_BYTES_MAX, HISTORY_MAX, REJECTS_BYTES_MAX, REJECTS_BYTES_MIN, SHARDS_MAX,
};
use crate::learn::auto::Training;
use crate::model::Durability;

/// Least memory that may be a limit, in bytes.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// A year, in seconds: the longest of the times that are waited for.
const WAIT_S_MAX: u64 = 365 * 86_400;

/// Collects what is wrong.
pub(super) struct Checker<'a> {
    origins: &'a Origins,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(origins: &'a Origins) -> Self {
        Self { origins, problems: Vec::new() }
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Records that the value of `key` cannot be.
    pub(super) fn refuse(&mut self, key: &str, why: String, hint: Option<&'static str>) {
        let setting = self.origins.get(key);
        let value = setting.map_or_else(String::new, |setting| setting.value.to_string());
        let layer = setting.map_or(Layer::BuiltIn, |setting| setting.layer.clone());
        self.problems.push(Problem { key: key.to_owned(), value, why, layer, hint });
    }

    pub(super) fn whole<T: TryFrom<u64> + Default>(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> T {
        if !range.contains(&value) {
            self.refuse(key, format!("must be {} to {}", range.start(), range.end()), None);
        }
        T::try_from(value.clamp(*range.start(), *range.end())).unwrap_or_default()
    }

    pub(super) fn real(&mut self, key: &str, value: f64, range: RangeInclusive<f64>) -> f64 {
        if !range.contains(&value) {
            self.refuse(key, format!("must be {} to {}", range.start(), range.end()), None);
        }
        value.clamp(*range.start(), *range.end())
    }

    /// Above 0, at most `high`.
    pub(super) fn positive(&mut self, key: &str, value: f64, high: f64) -> f64 {
        if value <= 0.0 || value > high {
            self.refuse(key, format!("must be above 0, at most {high}"), None);
            return high;
        }
        value
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, value: &str, choices: &[(&str, T)]) -> T {
        match choices.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                self.refuse(key, format!("must be one of {}", names.join(", ")), None);
                choices[0].1
            }
        }
    }
}

/// Checks a merged table.
pub(super) fn check(table: Table, origins: &Origins) -> Result<Config, ConfigError> {
    let mut checker = Checker::new(origins);
    let c = &mut checker;
    let sections = table.get("strategy").and_then(|value| value.as_table().cloned()).unwrap_or_default();
    let raw: Raw = table.try_into().map_err(shape)?;
    let config = Config {
        server: server(&raw.server, c),
        shards: ShardsOptions {
            count: c.whole("shards.count", raw.shards.count, 0..=u64::from(SHARDS_MAX)),
            queue_events_max: c.whole(
                "shards.queue_events_max",
                raw.shards.queue_events_max,
                BATCH_EVENTS_MAX as u64..=1 << 24,
            ),
            queue_wait_ms: c.whole("shards.queue_wait_ms", raw.shards.queue_wait_ms, 1..=600_000),
            quantum_us: c.whole("shards.quantum_us", raw.shards.quantum_us, 100..=100_000),
        },
        memory: memory(&raw.memory, c),
        disk: DiskOptions { free_min_bytes: raw.disk.free_min_bytes },
        strategy: StrategyOptions::check(&raw.strategy, sections, c),
        schema: schema::check(&raw, c),
        history: HistoryOptions {
            events_max: c.whole("history.events_max", raw.history.events_max, 0..=HISTORY_MAX as u64),
        },
        refit: RefitOptions {
            iterations: c.whole("refit.iterations", raw.refit.iterations, 1..=1_000),
            iterations_warm: c.whole("refit.iterations_warm", raw.refit.iterations_warm, 1..=1_000),
            l2: c.positive("refit.l2", raw.refit.l2, 1e6),
            unobserved_weight: c.real("refit.unobserved_weight", raw.refit.unobserved_weight, 0.0..=1e6),
            seed: raw.refit.seed,
            init_std: c.positive("refit.init_std", raw.refit.init_std, 10.0),
            automatic: raw.refit.automatic,
        },
        ranker: RankerOptions {
            training: c.choice(
                "ranker.training",
                &raw.ranker.training,
                &[("apart", Training::Apart), ("in_step", Training::InStep), ("never", Training::Never)],
            ),
            cpu_share: c.real("ranker.cpu_share", raw.ranker.cpu_share, 0.0..=1.0),
            sample_share: c.real("ranker.sample_share", raw.ranker.sample_share, 0.0..=1.0),
        },
        journal: journal(&raw.journal, c),
        snapshot: SnapshotOptions {
            keep: c.whole("snapshot.keep", raw.snapshot.keep, 2..=64),
            every_s: c.whole("snapshot.every_s", raw.snapshot.every_s, 0..=WAIT_S_MAX),
        },
        exchange: ExchangeOptions {
            publish_ms: c.whole("exchange.publish_ms", raw.exchange.publish_ms, 1..=60_000),
            rows_max: c.whole("exchange.rows_max", raw.exchange.rows_max, 1..=65_536),
        },
        prequential: prequential(&raw.prequential, c),
        decisions: DecisionsOptions {
            kept_max: c.whole("decisions.kept_max", raw.decisions.kept_max, 0..=1 << 20),
            wait_s: c.whole("decisions.wait_s", raw.decisions.wait_s, 1..=WAIT_S_MAX),
        },
        rejects: rejects(&raw.rejects, c),
        log: log(&raw.log, c),
    };
    validate(&config, c);
    if checker.problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { problems: checker.problems }) }
}

/// Everything that relates two keys, or a key and the world.
fn validate(config: &Config, c: &mut Checker<'_>) {
    let Config { server, shards, strategy, history, journal, .. } = config;
    if !server.listen.ip().to_canonical().is_loopback() && !server.allow_open {
        c.refuse(
            "server.listen",
            "other machines could reach it, and there is no login yet, so anybody there could read and write every \
             profile"
                .to_owned(),
            Some("listen on 127.0.0.1, or set server.allow_open = true if the network itself is guarded"),
        );
    }
    let last_port = u32::from(server.listen.port()) + u32::from(shards.count.max(1));
    if server.shard_ports && server.listen.port() != 0 && last_port > u32::from(u16::MAX) {
        c.refuse(
            "server.listen",
            format!("with shard_ports the last shard would listen on port {last_port}, past 65535"),
            Some("take a lower port, or set server.shard_ports = false"),
        );
    }
    if server.output_total_bytes_max < server.output_bytes_max {
        let why = format!("must be at least server.output_bytes_max, which is {}", server.output_bytes_max);
        c.refuse("server.output_total_bytes_max", why, None);
    }
    for (at, one) in strategy.active.iter().enumerate() {
        if strategy.active[..at].iter().any(|other| other.label == one.label) {
            c.refuse("strategy.active", format!("`{}` stands there twice", one.label), None);
        }
        if let Some(reads) = one.strategy.reads_history()
            && reads > history.events_max
        {
            let why = format!(
                "`{}` reads {reads} events of a user, but history.events_max keeps {}",
                one.label, history.events_max
            );
            c.refuse("strategy.active", why, Some("raise history.events_max or lower the strategy's history"));
        }
    }
    if journal.sync_interval_ms != 0 && journal.sync_interval_ms < journal.flush_ms {
        c.refuse(
            "journal.sync_interval_ms",
            format!(
                "must be 0 or at least journal.flush_ms, which is {}: there is nothing to sync between two writes",
                journal.flush_ms
            ),
            None,
        );
    }
}

fn server(raw: &raw::Server, c: &mut Checker<'_>) -> ServerOptions {
    let listen = raw.listen.parse().unwrap_or_else(|_| {
        let why = "must be an IP address and a port, such as 127.0.0.1:7311 or [::1]:7311".to_owned();
        c.refuse("server.listen", why, None);
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    });
    ServerOptions {
        listen,
        allow_open: raw.allow_open,
        shard_ports: raw.shard_ports,
        connections_max: c.whole("server.connections_max", raw.connections_max, 1..=1 << 20),
        in_flight_max: c.whole("server.in_flight_max", raw.in_flight_max, 1..=1 << 20),
        output_bytes_max: c.whole("server.output_bytes_max", raw.output_bytes_max, FRAME_BYTES_MAX as u64..=1 << 30),
        output_total_bytes_max: c.whole(
            "server.output_total_bytes_max",
            raw.output_total_bytes_max,
            FRAME_BYTES_MAX as u64..=1 << 40,
        ),
        hello_timeout_s: c.whole("server.hello_timeout_s", raw.hello_timeout_s, 0..=WAIT_S_MAX),
        frame_timeout_s: c.whole("server.frame_timeout_s", raw.frame_timeout_s, 0..=WAIT_S_MAX),
        write_timeout_s: c.whole("server.write_timeout_s", raw.write_timeout_s, 0..=WAIT_S_MAX),
        idle_timeout_s: c.whole("server.idle_timeout_s", raw.idle_timeout_s, 0..=WAIT_S_MAX),
        // What the system takes for TCP_KEEPIDLE.
        keepalive_s: c.whole("server.keepalive_s", raw.keepalive_s, 0..=32_767),
        deadline_ms: c.whole("server.deadline_ms", raw.deadline_ms, 0..=600_000),
        connection_events_per_s: c.whole(
            "server.connection_events_per_s",
            raw.connection_events_per_s,
            0..=u64::from(u32::MAX),
        ),
        source_late_s: c.whole("server.source_late_s", raw.source_late_s, 0..=WAIT_S_MAX),
        shutdown_s: c.whole("server.shutdown_s", raw.shutdown_s, 0..=3_600),
    }
}

fn memory(raw: &raw::Memory, c: &mut Checker<'_>) -> MemoryOptions {
    let limit_bytes = raw.limit_bytes;
    if limit_bytes != 0 && limit_bytes < MEMORY_BYTES_MIN {
        let why = format!("must be 0, or at least {MEMORY_BYTES_MIN}: an empty server takes some of it");
        c.refuse("memory.limit_bytes", why, None);
    }
    MemoryOptions { limit_bytes }
}

fn journal(raw: &raw::Journal, c: &mut Checker<'_>) -> JournalOptions {
    let levels = Durability::ALL.map(|level| (level.name(), level));
    JournalOptions {
        durability: c.choice("journal.durability", &raw.durability, &levels),
        // A record of the longest frame fits a segment twice over.
        segment_bytes: c.whole("journal.segment_bytes", raw.segment_bytes, 2 * FRAME_BYTES_MAX as u64..=1 << 32),
        flush_ms: c.whole("journal.flush_ms", raw.flush_ms, 1..=60_000),
        sync_interval_ms: c.whole("journal.sync_interval_ms", raw.sync_interval_ms, 0..=3_600_000),
    }
}

fn prequential(raw: &raw::Prequential, c: &mut Checker<'_>) -> PrequentialOptions {
    if raw.fading <= 0.0 || raw.fading >= 1.0 {
        c.refuse("prequential.fading", "must be above 0 and below 1".to_owned(), None);
    }
    PrequentialOptions {
        rank_every: c.whole("prequential.rank_every", raw.rank_every, 0..=u64::from(u32::MAX)),
        fading: raw.fading,
        seed: raw.seed,
    }
}

fn rejects(raw: &raw::Rejects, c: &mut Checker<'_>) -> RejectsOptions {
    let bytes_max = raw.bytes_max;
    if bytes_max != 0 && !(REJECTS_BYTES_MIN..=REJECTS_BYTES_MAX).contains(&bytes_max) {
        let why = format!("must be 0, or {REJECTS_BYTES_MIN} to {REJECTS_BYTES_MAX}");
        c.refuse("rejects.bytes_max", why, None);
    }
    RejectsOptions { bytes_max }
}

fn log(raw: &raw::Log, c: &mut Checker<'_>) -> LogOptions {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    LogOptions {
        level: c.choice("log.level", &raw.level, &levels),
        format: c.choice("log.format", &raw.format, &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    }
}

pub(super) fn shape(source: toml::de::Error) -> ConfigError {
    ConfigError::Shape(Box::new(source))
}
