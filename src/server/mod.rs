//! Floor 8: the door for the binary protocol.
//!
//! Thread per core: every arbiter accepts on the shared port (SO_REUSEPORT) and on a port of its own shard, and serves
//! the connections it accepted. Connections are plain tasks, not actors: they share nothing.
//!
//! `connection` reads once, splits all whole frames, makes a `plan` sorted by shard, hands every shard one turn,
//! and writes all replies at once. `convert` is the only place where foreign input is checked.

mod admin;
mod connection;
mod convert;
mod decisions;
mod embeddings;
mod explain;
mod listener;
mod metrics;
mod output;
mod patience;
mod person;
mod places;
mod plan;
mod quota;
mod refused;
mod refusing;
mod rejects;
mod reply;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use self::places::Places;
use self::refusing::Refusing;
use crate::base::limits::{BATCH_EVENTS_MAX, FRAME_BYTES_MAX};
use crate::engine::Engine;
use crate::wire::VERSION;
use crate::wire::commands::HelloReply;
use crate::wire::types::{KindInfo, ShardAddr};

/// How the door stands open.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether an address other than loopback is allowed, while there is no login.
    pub allow_open: bool,
    /// Whether every shard gets a port of its own.
    pub shard_ports: bool,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most frames of one connection that are carried out at a time.
    pub in_flight_max: usize,
    /// Most bytes of replies that a connection may leave unread before it is closed.
    pub output_bytes_max: usize,
    /// Most that all connections together may leave unread before those with more than an equal part are closed.
    pub output_total_bytes_max: usize,
    /// How long peers may take.
    pub patience: Patience,
    /// How long a request may wait for its shard if its connection does not say; zero: as long as it is let in to.
    pub deadline: Duration,
    /// Most events and questions of one connection a second; 0: no limit.
    pub connection_events_per_s: u32,
    /// How far an event may be behind the newest one of its connection, in milliseconds; 0: as far as it likes.
    pub source_late_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_open: false,
            shard_ports: true,
            connections_max: 1_024,
            in_flight_max: 1_024,
            output_bytes_max: 8 << 20,
            output_total_bytes_max: 256 << 20,
            patience: Patience::default(),
            deadline: Duration::ZERO,
            connection_events_per_s: 0,
            source_late_ms: 0,
        }
    }
}

/// How long a peer may take before its connection is closed; zero: for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the connection to a whole HELLO.
    pub hello: Duration,
    /// From a frame's first bytes to its last.
    pub frame: Duration,
    /// To take anything of the replies that wait for it.
    pub write: Duration,
    /// Without a byte.
    pub idle: Duration,
    /// Silence after which the system asks whether the peer's machine is still there, three times.
    pub keepalive: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [hello, frame, write, idle, keepalive] = [2, 10, 10, 300, 15].map(Duration::from_secs);
        Self { hello, frame, write, idle, keepalive }
    }
}

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is not loopback and anybody could use it.
    #[error(
        "{listen} is not a loopback address, and this version has no login: whoever reaches it could read and write every \
         profile; listen on 127.0.0.1, or set [server] allow_open = true if the network itself keeps others out"
    )]
    Open {
        /// Where it would have listened.
        listen: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// An open door.
pub struct Server {
    door: Arc<Door>,
}

/// What all connections share: nothing that changes on the path of an event.
pub(crate) struct Door {
    pub(crate) engine: Engine,
    pub(crate) options: Options,
    addr: SocketAddr,
    shard_map: Vec<ShardAddr>,
    stop: watch::Sender<bool>,
    stopped: Notify,
    refusing: Refusing,
    places: Places,
    /// Bytes of replies that wait in all connections.
    unread: Arc<AtomicUsize>,
    /// Peers that are being told that there is no room.
    turned_away: AtomicUsize,
    /// When the log last said that peers are refused, in milliseconds of uptime; 0: never.
    refused_told_ms: AtomicU64,
}

impl Server {
    /// Opens the door. Must be called within the engine's `System`.
    ///
    /// # Errors
    /// [`ServerError`], which says what to do.
    pub fn open(engine: Engine, mut options: Options) -> Result<Self, ServerError> {
        options.connections_max = listener::connections_max(options.connections_max);
        let bound = listener::bind(&engine, &options)?;
        let door = Arc::new(Door {
            engine,
            options,
            addr: bound.addr,
            shard_map: bound.shard_map(),
            stop: watch::Sender::new(false),
            stopped: Notify::new(),
            refusing: Refusing::new(bound.shards(), Instant::now()),
            places: Places::new(bound.shards()),
            unread: Arc::default(),
            turned_away: AtomicUsize::new(0),
            refused_told_ms: AtomicU64::new(0),
        });
        listener::start(&door, bound);
        Ok(Self { door })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr
    }

    /// Waits until a client says SHUTDOWN.
    pub async fn stopped(&self) {
        self.door.stopped.notified().await;
    }

    /// Accepts no more, lets connections finish what they have read, at most for `patience`.
    pub async fn close(&self, patience: Duration) {
        self.door.engine.give_up_refits(); // else whoever asked for one would be waited for
        self.door.stop.send_replace(true);
        let registry = self.door.engine.registry();
        let deadline = tokio::time::Instant::now() + patience;
        while registry.counts().0 > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Door {
    fn hello(&self) -> HelloReply {
        let engine = self.engine.options();
        let kind =
            |kind: &crate::model::Kind| KindInfo { code: kind.code, name: kind.name.clone(), weight: kind.weight };
        HelloReply {
            version: VERSION,
            server: concat!("mirra ", env!("CARGO_PKG_VERSION")).to_owned(),
            shards: self.engine.shards(),
            shard_map: self.shard_map.clone(),
            kinds: self.engine.schema().kinds.iter().map(kind).collect(),
            strategies: engine.state.strategies.iter().map(|strategy| strategy.name().to_owned()).collect(),
            frame_bytes_max: u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX),
            batch_events_max: u32::try_from(BATCH_EVENTS_MAX).unwrap_or(u32::MAX),
            in_flight_max: u32::try_from(self.options.in_flight_max).unwrap_or(u32::MAX),
            durability: engine.durability as u8,
        }
    }
}
