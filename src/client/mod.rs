//! Floor 8: the client. Asynchronous over tokio ([`Client`]) and blocking over a plain socket ([`BlockingClient`]).
//!
//! One connection an address; many requests in flight on each, joined to their replies by request id; everything that
//! is queued goes out in one write. Where the server hands out a shard map, each request goes straight to the owner of
//! its user or item. Broken connections come back by themselves, with backoff; what was in flight is reported as
//! [`ClientError::ConnectionLost`] and **never silently sent twice**, except events that carry event ids, which the
//! server recognises.
//!
//! ```no_run
//! # async fn example() -> Result<(), mirra::client::ClientError> {
//! use mirra::client::{Client, ClientOptions};
//! use mirra::wire::commands::ProfileGet;
//!
//! let client = Client::connect("127.0.0.1:7171", ClientOptions::default()).await?;
//! let profile = client.call(&ProfileGet { user: "user-7".into(), recent_max: 10, factors: false }).await?;
//! # Ok(())
//! # }
//! ```

mod answer;
mod blocking;
mod connection;
mod error;
mod routing;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod example_tests;
#[cfg(test)]
mod peer;

use std::sync::Arc;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, Instant};

pub use answer::Answer;
pub use blocking::BlockingClient;
pub use error::ClientError;

use crate::base::{Rng, Routing};
use crate::wire::commands::{EventBatch, EventBatchReply, EventPut, EventPutReply, Hello, HelloReply, RoutingGet};
use crate::wire::types::Event;
use crate::wire::{Command, Status, VERSION};
use connection::{Link, Session};
use routing::{Part, Router, merge};

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Name that the server logs.
    pub name: String,
    /// Secret; empty if the server asks for none.
    pub token: String,
    /// Longest wait for a connection and its HELLO.
    pub connect_timeout_ms: u64,
    /// Longest wait for a reply, reconnecting and repeating included.
    pub request_timeout_ms: u64,
    /// Most requests in flight on one connection; the server's limit holds where it is lower.
    pub in_flight_max: usize,
    /// Whether to connect to every address of the shard map and send requests to their owners.
    pub shard_aware: bool,
    /// How long to wait between attempts to reconnect.
    pub reconnect: Backoff,
    /// How often a request that event ids make harmless to repeat is sent again after its connection broke.
    pub repeats_max: u32,
    /// Seed of the jitter: give each of many clients its own.
    pub seed: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            name: "mirra-client".to_owned(),
            token: String::new(),
            connect_timeout_ms: 2_000,
            request_timeout_ms: 5_000,
            in_flight_max: 1_024,
            shard_aware: true,
            reconnect: Backoff::default(),
            repeats_max: 3,
            seed: 0,
        }
    }
}

impl ClientOptions {
    /// The HELLO that opens a session.
    fn hello(&self) -> Hello {
        Hello { client: self.name.clone(), version_min: VERSION, version_max: VERSION, token: self.token.clone() }
    }
}

/// Exponential backoff with jitter, so that the clients of a server that comes back do not all come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait before the first attempt.
    pub first_ms: u64,
    /// Longest wait.
    pub max_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first_ms: 20, max_ms: 2_000 }
    }
}

impl Backoff {
    /// Wait before attempt number `attempt` (from 0): doubled each time up to the maximum, then a uniform draw from its
    /// upper half.
    #[must_use]
    pub fn delay_ms(self, attempt: u32, rng: &mut Rng) -> u64 {
        let factor = 1_u64.checked_shl(attempt).unwrap_or(u64::MAX);
        let whole = self.first_ms.saturating_mul(factor).min(self.max_ms);
        let half = whole / 2;
        half + rng.below((whole - half).saturating_add(1))
    }
}

/// A client. Cheap to clone; all clones share the connections, which close with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    hello: HelloReply,
    router: Router,
    /// One an address; the first is the address that was asked for.
    links: Vec<Arc<Link>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Client {
    /// Connects and says HELLO; where the server hands out a shard map, connects to its other addresses too. One of those
    /// that does not answer is tried again in the background, and its requests go to `addr` meanwhile. Must be called
    /// within a tokio runtime (of either kind), which then runs the connections.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`], [`ClientError::Refused`] (for instance a wrong token), [`ClientError::Version`],
    /// [`ClientError::Wire`].
    pub async fn connect(addr: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let first = Session::open(addr, &options).await?;
        let hello = first.hello.clone();
        let mapped = if options.shard_aware { hello.shard_map.as_slice() } else { &[] };
        let (router, addrs) = Router::new(addr, hello.shards, mapped);
        let in_flight = options.in_flight_max.min(usize::try_from(hello.in_flight_max).unwrap_or(usize::MAX)).max(1);
        let mut inner = Inner { options, hello, router, links: Vec::new(), tasks: Vec::new() };
        let mut first = Some(first);
        for addr in addrs {
            let link = Arc::new(Link::new(addr, in_flight));
            let session = match first.take() {
                Some(session) => Some(session),
                None => Session::open(link.addr(), &inner.options).await.ok(),
            };
            if session.is_some() {
                link.opened();
            }
            inner.tasks.push(tokio::spawn(connection::run(Arc::clone(&link), session, inner.options.clone())));
            inner.links.push(link);
        }
        let mut client = Self { inner: Arc::new(inner) };
        if client.inner.links.len() > 1 {
            let routing = client.routing().await?;
            if let Some(inner) = Arc::get_mut(&mut client.inner) {
                inner.router.routing = routing;
            }
        }
        Ok(client)
    }

    /// How the server routes ids to its shards.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn routing(&self) -> Result<Routing, ClientError> {
        routing::told(self.call(&RoutingGet {}).await)
    }

    /// What the server said when the client connected: limits, kinds, strategies, shard map.
    #[must_use]
    pub fn hello(&self) -> &HelloReply {
        &self.inner.hello
    }

    /// Sends a request to the owner of its user or item, and waits for the reply.
    ///
    /// # Errors
    /// Any [`ClientError`]; see [`ClientError::is_outcome_unknown`].
    pub async fn call<C: Command>(&self, request: &C) -> Result<C::Reply, ClientError> {
        self.call_with_status(request).await.map(|(_, reply)| reply)
    }

    /// As [`Client::call`], with the status: OK, PARTIAL or DUPLICATE.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_with_status<C: Command>(&self, request: &C) -> Result<(Status, C::Reply), ClientError> {
        let link = request.route().map_or(0, |id| self.inner.router.link_of(id));
        self.call_on(link, request).await
    }

    /// Records one event. DUPLICATE says that its event id was seen before.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn put_event(&self, event: Event, durability: u8) -> Result<(Status, EventPutReply), ClientError> {
        self.call_with_status(&EventPut { event, durability }).await
    }

    /// Records events. Where the server handed out a shard map, each owner gets its own part, side by side, and the
    /// replies are merged: places and results are those of `batch`. If some parts fail and others do not, the events of
    /// the failed ones stand among the errors: with the server's status if it refused, with INTERNAL if whether they
    /// were learned is not known.
    ///
    /// # Errors
    /// As [`Client::call`], if no part succeeded.
    pub async fn put_batch(&self, batch: EventBatch) -> Result<EventBatchReply, ClientError> {
        let (durability, want, events) = (batch.durability, batch.want, batch.events.len());
        let mut parts = self.inner.router.split(batch.events);
        if parts.len() <= 1 {
            let (link, events) = parts.pop().map_or((0, Vec::new()), |part| (part.link, part.events));
            return self.call_on(link, &EventBatch { durability, want, events }).await.map(|(_, reply)| reply);
        }
        let mut running = JoinSet::new();
        for Part { link, indices, events } in parts {
            let client = self.clone();
            running.spawn(async move {
                let done = client.call_on(link, &EventBatch { durability, want, events }).await;
                (indices, done.map(|(_, reply)| reply))
            });
        }
        let mut done = Vec::new();
        while let Some(joined) = running.join_next().await {
            // A part ends in no other way than by returning: nothing cancels it while the set lives.
            done.extend(joined.ok());
        }
        merge(events, want, done)
    }

    /// One request on one link, repeated where that is harmless.
    async fn call_on<C: Command>(&self, link: usize, request: &C) -> Result<(Status, C::Reply), ClientError> {
        let options = &self.inner.options;
        let deadline = Instant::now() + Duration::from_millis(options.request_timeout_ms);
        let mut repeats = 0;
        let mut lost = None;
        loop {
            // Any address serves every shard, a hop slower: so one that is down does not stop its users.
            let [first, ..] = self.inner.links.as_slice() else { unreachable!("a client has a link from the start") };
            let chosen = self.inner.links.get(link).filter(|link| link.is_open()).unwrap_or(first);
            match chosen.request(request, deadline, options.request_timeout_ms).await {
                Err(error @ ClientError::ConnectionLost { .. })
                    if request.is_repeatable() && repeats < options.repeats_max =>
                {
                    repeats += 1;
                    lost = Some(error);
                }
                // Not sent this time, but it was the time before: what became of it is not known.
                Err(error @ ClientError::NotConnected { .. }) => return Err(lost.unwrap_or(error)),
                done => return done?.reply::<C>(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_maximum_and_spreads() {
        let (backoff, mut rng) = (Backoff { first_ms: 20, max_ms: 2_000 }, Rng::new(1));
        for attempt in [0, 1, 2, 5, 6, 7, 8, 40, 63, 64, u32::MAX] {
            let whole = if attempt < 7 { 20 << attempt } else { 2_000 };
            let draws: Vec<u64> = (0..200).map(|_| backoff.delay_ms(attempt, &mut rng)).collect();
            assert!(draws.iter().all(|delay| (whole / 2..=whole).contains(delay)), "attempt {attempt}: {draws:?}");
            assert!(draws.iter().any(|delay| *delay != draws[0]), "attempt {attempt} has no jitter");
        }
        assert_eq!(Backoff { first_ms: 0, max_ms: 0 }.delay_ms(3, &mut rng), 0);
    }
}
