//! Who is connected: the control plane's list, behind a dashmap because every thread adds and removes. No event and no
//! read of a profile ever looks here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The shard whose thread serves it.
    pub shard: u16,
    /// What the client calls itself; empty before HELLO.
    pub client: String,
}

/// The list.
#[derive(Debug, Default)]
pub struct Registry {
    connections: DashMap<u64, Connection>,
    next: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Registry {
    /// Adds a connection, unless `max` are there; gives its number.
    #[must_use]
    pub fn admit(&self, connection: Connection, max: usize) -> Option<u64> {
        if self.connections.len() >= max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.insert(number, connection);
        Some(number)
    }

    /// A client has said what it is.
    pub fn name(&self, number: u64, client: &str) {
        if let Some(mut connection) = self.connections.get_mut(&number) {
            client.clone_into(&mut connection.client);
        }
    }

    /// Takes a connection off the list.
    pub fn dismiss(&self, number: u64) {
        self.connections.remove(&number);
    }

    /// Connections now, accepted ever, refused ever.
    #[must_use]
    pub fn counts(&self) -> (usize, u64, u64) {
        (self.connections.len(), self.accepted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}
