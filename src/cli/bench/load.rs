//! The worker threads: requests out, answers in, nothing shared between connections.
//!
//! *Closed loop*: each connection keeps `in_flight` requests unanswered and sends the next when an answer comes: it
//! finds the capacity. *Open loop*: requests are due by a Poisson process whether or not the server keeps up, and
//! latency counts from when a request was **due**, so that one long pause is felt by all who would have come meanwhile
//! (no coordinated omission: Tene, "How not to measure latency").
//!
//! A request id is its kind and when it was due, in nanoseconds since the start, so an answer tells its own latency.
//! Latencies of requests due within the window count, whenever they are answered; rates count what was answered within
//! it. What is unanswered `DRAIN` after the end is an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::latency::{Latencies, RequestKind};
use super::socket::{Socket, SocketWriter};
use super::source::Source;
use crate::client::ClientError;
use crate::wire::commands::EventBatch;
use crate::wire::{Header, Status, decode_reply};

/// How long answers are waited for after the last request.
const DRAIN: Duration = Duration::from_secs(10);

/// How long before a request is due its sender stops sleeping and yields instead: the kernel wakes sleepers this late.
const EARLY_NS: u64 = 60_000;

/// Most requests of one write in the open loop.
const WRITE_REQUESTS: usize = 64;

/// When one connection stops sending.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// This long after the start.
    Seconds(f64),
    /// After so many events (requests, if there are no events in the mix).
    Events(u64),
}

/// How one connection behaves.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Unanswered requests in the closed loop.
    pub in_flight: usize,
    /// Requests a second in the open loop; none: closed loop.
    pub rate: Option<f64>,
    /// When it stops.
    pub until: Until,
}

/// What one connection, or all, found within the window.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Events that were learned, or known.
    pub events: u64,
    /// Of these, known.
    pub duplicates: u64,
    /// Requests answered, refusals included.
    pub requests: u64,
    /// Questions about a user of whom there is nothing yet.
    pub not_found: u64,
    /// Requests refused as overloaded, too late or over quota: those that may be sent again.
    pub overloaded: u64,
    /// Requests and events refused for any other reason, and requests never answered.
    pub errors: u64,
    /// What the first refusal said.
    pub first_error: Option<String>,
    /// Latencies of requests due within the window that were not refused.
    pub latencies: Latencies,
    /// Latencies of those refused as overloaded.
    pub refusals: Latencies,
    /// How late the open loop sent, of all requests: what of their latency is the client's own.
    pub lateness: Latencies,
    /// Begin and end of the window, in nanoseconds since the start.
    pub window_ns: (u64, u64),
}

impl Tally {
    /// Adds that of another connection; the window is then the one that holds both.
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.requests += other.requests;
        self.not_found += other.not_found;
        self.overloaded += other.overloaded;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.add(&other.latencies);
        self.refusals.add(&other.refusals);
        self.lateness.add(&other.lateness);
        self.window_ns = (self.window_ns.0.min(other.window_ns.0), self.window_ns.1.max(other.window_ns.1));
    }

    /// Length of the window in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.window_ns.1.saturating_sub(self.window_ns.0)).as_secs_f64()
    }
}

/// Request id of a request of `kind` that is due `due_ns` after the start.
fn request_id(kind: RequestKind, due_ns: u64) -> u64 {
    (kind as u64) << 62 | due_ns & (u64::MAX >> 2)
}

/// Runs one connection to its end; `progress` counts events (or requests) as they are answered.
///
/// # Errors
/// [`ClientError`] if the connection breaks.
pub fn run(
    socket: Socket,
    source: Source,
    pace: Pace,
    began: Instant,
    progress: &AtomicU64,
) -> Result<Tally, ClientError> {
    let sink = Sink::new(&source, pace.until, began, progress);
    match pace.rate {
        None => closed(socket, source, sink, pace.in_flight),
        Some(rate) => open(socket, source, sink, rate),
    }
}

fn closed(mut socket: Socket, mut source: Source, mut sink: Sink<'_>, most: usize) -> Result<Tally, ClientError> {
    let (mut unanswered, began) = (0, sink.began);
    loop {
        let now_ns = sink.now_ns();
        while unanswered < most && sink.wants_more(now_ns, source.sent) {
            let kind = source.pick();
            source.put(&mut socket.out, kind, request_id(kind, now_ns));
            unanswered += 1;
        }
        if unanswered == 0 {
            return Ok(sink.finish(0));
        }
        socket.flush()?;
        match socket.reader.receive(|header, body, now_ns| sink.take(header, body, now_ns), began) {
            Ok(answers) => unanswered -= answers.min(unanswered),
            Err(ClientError::Timeout { .. }) => return Ok(sink.finish(unanswered as u64)),
            Err(error) => return Err(error),
        }
    }
}

/// One thread sends on schedule; this one receives.
fn open(socket: Socket, source: Source, mut sink: Sink<'_>, rate: f64) -> Result<Tally, ClientError> {
    let (mut reader, writer) = socket.split()?;
    reader.set_patience(Duration::from_millis(100))?;
    let (sent, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let schedule = Schedule { until: sink.until, began: sink.began, sent: Arc::clone(&sent), over: Arc::clone(&over) };
    let sender = thread::spawn(move || {
        let lateness = schedule.send(writer, source, rate);
        schedule.over.store(true, Ordering::Release);
        lateness
    });
    let (mut answered, mut over_at, began) = (0_u64, None, sink.began);
    let received = loop {
        if over.load(Ordering::Acquire) {
            let since = *over_at.get_or_insert_with(Instant::now);
            if answered >= sent.load(Ordering::Relaxed) || since.elapsed() > DRAIN {
                break Ok(());
            }
        }
        match reader.receive(|header, body, now_ns| sink.take(header, body, now_ns), began) {
            Ok(answers) => answered += answers as u64,
            Err(ClientError::Timeout { .. }) => {}
            Err(error) => break Err(error),
        }
    };
    reader.close();
    let lateness = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    received?;
    let mut tally = sink.finish(sent.load(Ordering::Relaxed).saturating_sub(answered));
    tally.lateness = lateness?;
    Ok(tally)
}

/// The sending half of the open loop.
struct Schedule {
    until: Until,
    began: Instant,
    sent: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Schedule {
    fn send(&self, mut writer: SocketWriter, mut source: Source, rate: f64) -> Result<Latencies, ClientError> {
        let mut lateness = Latencies::default();
        let mean_ns = 1e9 / rate;
        let mut due = source.gap(mean_ns);
        loop {
            let now_ns = elapsed_ns(self.began);
            let mut put = 0;
            // `as`: a due time is positive and far below 2^62 nanoseconds.
            while due as u64 <= now_ns && put < WRITE_REQUESTS && wants_more(self.until, due as u64, source.sent) {
                let kind = source.pick();
                source.put(&mut writer.out, kind, request_id(kind, due as u64));
                lateness.record(kind, now_ns - due as u64);
                due += source.gap(mean_ns);
                put += 1;
            }
            self.sent.fetch_add(put as u64, Ordering::Relaxed);
            writer.flush()?;
            if !wants_more(self.until, due as u64, source.sent) {
                return Ok(lateness);
            }
            wait_until(self.began, due as u64);
        }
    }
}

fn wait_until(began: Instant, due_ns: u64) {
    loop {
        let left_ns = due_ns.saturating_sub(elapsed_ns(began));
        match left_ns {
            0 => return,
            _ if left_ns > EARLY_NS => thread::sleep(Duration::from_nanos(left_ns - EARLY_NS)),
            _ => thread::yield_now(),
        }
    }
}

fn elapsed_ns(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn wants_more(until: Until, now_ns: u64, sent: u64) -> bool {
    match until {
        Until::Seconds(seconds) => (now_ns as f64) < 1e9 * seconds,
        Until::Events(events) => sent < events,
    }
}

/// Where answers go.
struct Sink<'a> {
    began: Instant,
    until: Until,
    /// Begin of the window; while only events say when it begins, not known at first.
    from_ns: Option<u64>,
    to_ns: u64,
    /// Answered before the window: events, or requests if there are no events.
    warmed: u64,
    events_a_request: u64,
    counts_requests: bool,
    latest_ns: u64,
    tally: Tally,
    progress: &'a AtomicU64,
}

impl<'a> Sink<'a> {
    fn new(source: &Source, until: Until, began: Instant, progress: &'a AtomicU64) -> Self {
        // The first tenth, at most a second, warms caches, maps pages and does not count.
        let (from_ns, to_ns) = match until {
            Until::Seconds(seconds) => (Some((1e9 * (seconds / 10.0).min(1.0)) as u64), (1e9 * seconds) as u64),
            Until::Events(_) => (None, u64::MAX),
        };
        let events_a_request = source.events_a_request();
        let counts_requests = !source.ingests();
        let (warmed, latest_ns, tally) = (0, 0, Tally::default());
        Self { began, until, from_ns, to_ns, warmed, events_a_request, counts_requests, latest_ns, tally, progress }
    }

    fn now_ns(&self) -> u64 {
        elapsed_ns(self.began)
    }

    fn wants_more(&self, now_ns: u64, sent: u64) -> bool {
        wants_more(self.until, now_ns, sent)
    }

    fn take(&mut self, header: Header, body: &[u8], now_ns: u64) {
        let kind = RequestKind::ALL[(header.request_id >> 62) as usize];
        let due_ns = header.request_id & (u64::MAX >> 2);
        self.latest_ns = now_ns;
        let events = if kind == RequestKind::Ingest { self.events_a_request } else { 0 };
        let units = if self.counts_requests { 1 } else { events };
        self.progress.fetch_add(units, Ordering::Relaxed);
        let Some(from_ns) = self.from_ns else {
            self.warmed += units;
            if let Until::Events(all) = self.until
                && (self.warmed * 10 >= all || now_ns >= 1_000_000_000)
            {
                self.from_ns = Some(now_ns);
            }
            return;
        };
        if (from_ns..self.to_ns).contains(&due_ns) {
            let retryable = Status::from_number(header.code).is_some_and(Status::is_retryable);
            let latencies = if retryable { &mut self.tally.refusals } else { &mut self.tally.latencies };
            latencies.record(kind, now_ns.saturating_sub(due_ns));
        }
        if (from_ns..self.to_ns).contains(&now_ns) {
            self.tally.requests += 1;
            self.count(header, body, kind, events);
        }
    }

    fn count(&mut self, header: Header, body: &[u8], kind: RequestKind, events: u64) {
        let tally = &mut self.tally;
        match Status::from_number(header.code) {
            Some(Status::Ok | Status::Partial) if kind == RequestKind::Ingest && events > 1 => {
                match decode_reply::<EventBatch>(body) {
                    Ok(reply) => {
                        tally.events += u64::from(reply.accepted) + u64::from(reply.duplicates);
                        tally.duplicates += u64::from(reply.duplicates);
                        tally.errors += u64::from(reply.rejected);
                        if let Some(error) = reply.errors.into_iter().next() {
                            tally.first_error.get_or_insert(error.message);
                        }
                    }
                    Err(error) => self.refused(&error.to_string()),
                }
            }
            Some(Status::Ok) => tally.events += events,
            Some(Status::Duplicate) => {
                tally.events += events;
                tally.duplicates += events;
            }
            Some(Status::NotFound) => tally.not_found += 1,
            Some(status) if status.is_retryable() => tally.overloaded += 1,
            status => {
                let why = crate::wire::message::decode_error(body).map(|error| error.message).unwrap_or_default();
                let status = status.map_or_else(|| format!("status {}", header.code), |status| status.to_string());
                self.refused(&format!("{status}: {why}"));
            }
        }
    }

    fn refused(&mut self, why: &str) {
        self.tally.errors += 1;
        self.tally.first_error.get_or_insert_with(|| why.to_owned());
    }

    fn finish(mut self, unanswered: u64) -> Tally {
        if unanswered > 0 {
            self.tally.errors += unanswered;
            self.tally.first_error.get_or_insert_with(|| format!("{unanswered} requests were never answered"));
        }
        self.tally.window_ns = (self.from_ns.unwrap_or(self.latest_ns), self.to_ns.min(self.latest_ns));
        self.tally
    }
}
