//! Ports: one that all shards' threads share, and one for each shard.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connection::{linger, serve};
use super::patience::keep_alive;
use super::reply::Failure;
use super::{Door, Options, ServerError};
use crate::engine::{Connection, Engine, OPERATORS_MAX};
use crate::wire::types::ShardAddr;

/// Bytes of replies, and of requests, that the system holds of one connection (Linux counts as much again for its own).
const SOCKET_BYTES: usize = 256 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// How long to wait after the system refused to accept (it is out of descriptors): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Peers that are told at a time that there is no room: each takes a descriptor for a moment.
const TURNED_AWAY_MAX: usize = 64;

/// Open files that a server needs beside its connections: ports, journals, the snapshot store, a snapshot under way.
const OTHER_FILES: u64 = 256;

/// As many connections as are wanted, or as the system allows open files for: past that nobody would be told anything.
/// Raises the process's own limit as far as it may go.
pub(super) fn connections_max(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    if let Some(maximum) = limit.maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(maximum), maximum: Some(maximum) });
        let files = if raised.is_ok() { maximum } else { limit.current.unwrap_or(maximum) };
        // Those that are turned away and those of operators have a descriptor for a moment, too.
        let others = OTHER_FILES.min(files / 2) + (TURNED_AWAY_MAX + OPERATORS_MAX) as u64;
        let most = usize::try_from(files.saturating_sub(others)).unwrap_or(usize::MAX).max(1);
        if most < wanted {
            tracing::warn!(
                wanted,
                most,
                files,
                "fewer connections than configured: the system allows so many open files"
            );
            return most;
        }
    }
    wanted
}
/// Milliseconds between two lines of the log about peers for which there is no room.
const TOLD_EVERY_MS: u64 = 1_000;

/// Ports that are bound.
pub(super) struct Bound {
    pub(super) addr: SocketAddr,
    /// The shared port, once for each shard's thread.
    shared: Vec<StdListener>,
    /// Each shard's own port, if they have one.
    own: Vec<StdListener>,
}

impl Bound {
    /// Threads that accept.
    pub(super) fn shards(&self) -> u16 {
        u16::try_from(self.shared.len()).unwrap_or(u16::MAX)
    }

    pub(super) fn shard_map(&self) -> Vec<ShardAddr> {
        let addr = |(shard, listener): (u16, &StdListener)| {
            listener.local_addr().ok().map(|addr| ShardAddr { shard, addr: addr.to_string() })
        };
        (0..).zip(&self.own).filter_map(addr).collect()
    }
}

/// Binds every port, so that what is wrong is known before anything starts.
pub(super) fn bind(engine: &Engine, options: &Options) -> Result<Bound, ServerError> {
    let listen = options.listen;
    if !listen.ip().is_loopback() && !options.allow_open {
        return Err(ServerError::Open { listen });
    }
    refuse_taken(listen)?;
    let first = listen_on(listen)?;
    let addr = first.local_addr().map_err(|source| ServerError::Listen { addr: listen, source })?;
    let mut shared = vec![first];
    for _ in 1..engine.shards() {
        shared.push(listen_on(addr)?);
    }
    let mut own = Vec::new();
    if options.shard_ports && engine.shards() > 1 {
        for shard in 0..engine.shards() {
            let port = if listen.port() == 0 { 0 } else { listen.port().saturating_add(1 + shard) };
            own.push(listen_on(SocketAddr::new(listen.ip(), port))?);
        }
    }
    Ok(Bound { addr, shared, own })
}

/// Sharing a port among our own threads would let a second server share it too, unnoticed, and take half of the
/// connections: so the address is first bound once without sharing.
fn refuse_taken(addr: SocketAddr) -> Result<(), ServerError> {
    if addr.port() == 0 {
        return Ok(());
    }
    let probe = || -> std::io::Result<()> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(1)
    };
    probe().map_err(|source| ServerError::Listen { addr, source })
}

fn listen_on(addr: SocketAddr) -> Result<StdListener, ServerError> {
    let open = || -> std::io::Result<StdListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?; // or a restart would wait for old connections to be forgotten
        // Connections have it from here. Left to itself the system holds many megabytes of each that is not read, and once that
        // is all it has for sockets, everybody's packets are dropped.
        socket.set_send_buffer_size(SOCKET_BYTES)?;
        socket.set_recv_buffer_size(SOCKET_BYTES)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| ServerError::Listen { addr, source })
}

/// Starts accepting on every shard's thread.
pub(super) fn start(door: &Arc<Door>, bound: Bound) {
    for (shard, listener) in (0..).zip(bound.shared) {
        accept_on(door, shard, listener);
    }
    for (shard, listener) in (0..).zip(bound.own) {
        accept_on(door, shard, listener);
    }
}

fn accept_on(door: &Arc<Door>, shard: u16, listener: StdListener) {
    let task_door = Arc::clone(door);
    let started = door.engine.spawn_on(shard, async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => accept(task_door, shard, listener).await,
            Err(error) => tracing::error!(shard, error = %error, "the port cannot be used on this thread"),
        }
    });
    if !started {
        tracing::error!(shard, "the shard's thread has gone before its port was opened");
    }
}

async fn accept(door: Arc<Door>, shard: u16, listener: TcpListener) {
    let mut stop = door.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = Connection { peer, shard, client: String::new() };
                let Some(admitted) = door.engine.registry().admit(connection, door.options.connections_max) else {
                    tell_refused(&door, peer);
                    tokio::task::spawn_local(turn_away(Arc::clone(&door), stream));
                    continue;
                };
                let _ = stream.set_nodelay(true); // a hint: without it replies are late, not wrong
                keep_alive(&stream, &door.options.patience);
                tokio::task::spawn_local(serve(Arc::clone(&door), shard, admitted, stream));
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Says in the log that there is no room, once a second: whoever insists would fill the disk with it.
fn tell_refused(door: &Door, peer: SocketAddr) {
    let (_, [_, refused, _]) = door.engine.registry().counts();
    let now_ms = door.engine.uptime_ms();
    let told_ms = door.refused_told_ms.load(Ordering::Relaxed);
    let due = told_ms == 0 || now_ms.saturating_sub(told_ms) >= TOLD_EVERY_MS;
    // Of several threads one says it.
    let mine = || door.refused_told_ms.compare_exchange(told_ms, now_ms.max(1), Ordering::Relaxed, Ordering::Relaxed);
    if due && mine().is_ok() {
        tracing::warn!(peer = %peer, max = door.options.connections_max, refused, "connections refused: too many");
    }
}

/// Tells a peer that there is no room, unless too many are being told already: then it is closed without a word.
async fn turn_away(door: Arc<Door>, stream: TcpStream) {
    if door.turned_away.fetch_add(1, Ordering::Relaxed) < TURNED_AWAY_MAX {
        let mut out = Vec::new();
        Failure::no_room().put(&mut out, 0);
        if stream.writable().await.is_ok() && stream.try_write(&out).is_ok() {
            linger(&stream).await;
        }
    }
    door.turned_away.fetch_sub(1, Ordering::Relaxed);
}
