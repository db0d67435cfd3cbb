//! Who is connected, and how far the sources of events have come: the control plane's list, behind a dashmap because
//! every thread adds and removes. No event and no read of a profile ever looks here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;

use crate::pipeline::{Counts, Sources, Watermark};

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

/// Connections above the limit that a machine's own operators may open, to look and to stop.
pub const OPERATORS_MAX: usize = 8;

/// A connection that was let in.
#[derive(Debug)]
pub struct Admitted {
    /// Its number, above 0.
    pub number: u64,
    /// Where it tells how far its events have come.
    pub course: Arc<Course>,
    /// Whether it has an operator's place: it may not read or write profiles.
    pub operator: bool,
}

/// How far the events of one connection have come: told by the connection, read by whoever asks. Relaxed: each is a
/// figure by itself.
#[derive(Debug)]
pub struct Course {
    largest_ms: AtomicI64,
    events: AtomicU64,
    late: AtomicU64,
    late_max_ms: AtomicU64,
}

impl Course {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { largest_ms: AtomicI64::new(i64::MIN), events: zero(), late: zero(), late_max_ms: zero() }
    }

    /// Tells all that came so far.
    pub fn tell(&self, mark: &Watermark) {
        let Counts { events, late, late_max_ms } = mark.counts;
        self.largest_ms.store(mark.largest_ms, Ordering::Relaxed);
        self.events.store(events, Ordering::Relaxed);
        self.late.store(late, Ordering::Relaxed);
        self.late_max_ms.store(late_max_ms, Ordering::Relaxed);
    }

    fn told(&self) -> Watermark {
        let figures = [&self.events, &self.late, &self.late_max_ms];
        let [events, late, late_max_ms] = figures.map(|figure| figure.load(Ordering::Relaxed));
        let counts = Counts { events, late, late_max_ms };
        Watermark { largest_ms: self.largest_ms.load(Ordering::Relaxed), counts }
    }
}

/// The list.
#[derive(Debug, Default)]
pub struct Registry {
    connections: DashMap<u64, (Connection, Arc<Course>)>,
    /// What came over connections that have gone.
    gone: Mutex<Sources>,
    next: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    given_up: AtomicU64,
}

impl Registry {
    /// Adds a connection, unless `max` are there: then an operator's may still come, as long as one of their places is free.
    #[must_use]
    pub fn admit(&self, connection: Connection, max: usize) -> Option<Admitted> {
        let there = self.connections.len();
        let operator = there >= max;
        if operator && !(connection.peer.ip().to_canonical().is_loopback() && there < max + OPERATORS_MAX) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let number = 1 + self.next.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let course = Arc::new(Course::new());
        self.connections.insert(number, (connection, Arc::clone(&course)));
        Some(Admitted { number, course, operator })
    }

    /// A connection was closed because its peer was too slow, or silent.
    pub fn gave_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has said what it is.
    pub fn name(&self, number: u64, client: &str) {
        if let Some(mut connection) = self.connections.get_mut(&number) {
            client.clone_into(&mut connection.0.client);
        }
    }

    /// Takes a connection off the list.
    pub fn dismiss(&self, number: u64) {
        // Held over both, as below: who asks meanwhile finds the connection in one of the two.
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, (connection, course))) = self.connections.remove(&number)
            && course.told().counts.events > 0
        {
            gone.add(&connection.client, &course.told());
        }
    }

    /// How far the sources of events have come, by the names of the clients: connections that are and that were.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sources = gone.clone();
        for held in &self.connections {
            let (connection, course) = held.value();
            let told = course.told();
            if told.counts.events > 0 {
                sources.add(&connection.client, &told);
            }
        }
        sources
    }

    /// Connections now; accepted, refused and given up ever.
    #[must_use]
    pub fn counts(&self) -> (usize, [u64; 3]) {
        let ever = [&self.accepted, &self.refused, &self.given_up].map(|count| count.load(Ordering::Relaxed));
        (self.connections.len(), ever)
    }
}
