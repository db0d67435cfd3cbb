//! Act 2: the events go over TCP, in order, pipelined in batches; the server's own figures are asked for on the way.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::source::{DemoItem, Workload};
use super::{DemoError, Interrupt, VECTORS};
use crate::cli::output::Progress;
use crate::client::{BlockingClient, ClientError};
use crate::wire::commands::{EventBatch, EventBatchReply, ItemUpsert, Metrics, Refit, RefitReply};
use crate::wire::types::{Event, StrategyMetrics};
use crate::wire::{Command, Status};

/// Events of a batch.
const BATCH: usize = 256;
/// Batches in flight.
const IN_FLIGHT: usize = 8;
/// Item upserts in flight.
const UPSERTS_IN_FLIGHT: usize = 256;
/// Points of the curve at most, and events between two at least.
const POINTS_MAX: usize = 56;
const POINT_EVENTS_MIN: usize = 250;
/// Share of the stream before the refit and the freezing of the copy.
const FREEZE_AT: f64 = 0.4;

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Learned.
    pub accepted: u64,
    /// Known by their ids, and not learned again.
    pub duplicates: u64,
    /// Refused for good.
    pub rejected: u64,
    /// Sent again after the server asked to wait.
    pub resent: u64,
}

/// Ranks between two looks at the server's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Events sent up to here.
    pub upto: usize,
    /// Events ranked since the point before.
    pub ranked: u64,
    /// Those among the first ten.
    pub hits: u64,
}

/// What the stream gave.
#[derive(Clone, Debug)]
pub struct Streamed {
    /// Acknowledgements.
    pub counts: Counts,
    /// Time of sending and acknowledging, without the refit.
    pub took: Duration,
    /// For each event: whether it was learned, and the rank of its item just before; 0 if it was not ranked.
    pub acks: Vec<(bool, u32)>,
    /// Number of events before the refit.
    pub freeze_at: usize,
    /// The refit.
    pub refit: RefitReply,
    /// The curve of the strategy that answers, by the server's METRICS.
    pub served: Vec<Point>,
    /// The curve of [`VECTORS`], likewise.
    pub points: Vec<Point>,
    /// The server's figures at the end.
    pub metrics: Vec<StrategyMetrics>,
}

/// Tells the server what the items are, before anything happens to them.
///
/// # Errors
/// Any of the client's.
pub fn upsert_items(client: &mut BlockingClient, items: &[DemoItem], time_ms: i64) -> Result<(), DemoError> {
    let mut left: VecDeque<&DemoItem> = items.iter().collect();
    while !left.is_empty() {
        let (mut sent, mut wait_ms) = (HashMap::new(), 0);
        for each in left.drain(..left.len().min(UPSERTS_IN_FLIGHT)) {
            let (item, tags, attributes) = (each.id.clone(), each.tags.clone(), Vec::new());
            sent.insert(client.send(&ItemUpsert { item, time_ms, tags, attributes, durability: 0 })?, each);
        }
        for _ in 0..sent.len() {
            let answer = client.receive()?;
            match answer.reply::<ItemUpsert>() {
                Err(ClientError::Refused { status, retry_after_ms, .. }) if status.is_retryable() => {
                    left.extend(sent.get(&answer.request_id));
                    wait_ms = wait_ms.max(retry_after_ms);
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
        std::thread::sleep(Duration::from_millis(wait_ms.into()));
    }
    Ok(())
}

/// Asks, and again while the server says that it is to be asked later: a machine that is busy with other things is no reason to
/// stop.
///
/// # Errors
/// Any of the client's.
pub fn ask<C: Command>(client: &mut BlockingClient, request: &C) -> Result<C::Reply, DemoError> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match client.call(request) {
            Err(ClientError::Refused { status, retry_after_ms, .. })
                if status.is_retryable() && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(retry_after_ms.max(20).into()));
            }
            answer => return Ok(answer?),
        }
    }
}

/// Sends the stream, with the refit after 40 % of it.
///
/// # Errors
/// Any of the client's; [`DemoError::Interrupted`].
pub fn send(client: &mut BlockingClient, workload: &Workload, interrupt: &Interrupt) -> Result<Streamed, DemoError> {
    let events = workload.events.as_slice();
    let points = (events.len() / POINT_EVENTS_MIN).clamp(1, POINTS_MAX);
    let progress = Progress::new("   events", Some(events.len() as u64));
    let (mut counts, mut acks) = (Counts::default(), vec![(false, 0); events.len()]);
    let (mut curves, mut took) = ([Vec::new(), Vec::new()], Duration::ZERO);
    let (mut before, mut refit, mut from) = ([Point::default(); 2], None, 0);
    for number in 1..=points {
        let upto = events.len() * number / points;
        let began = Instant::now();
        send_range(client, &events[from..upto], &mut acks[from..upto], &mut counts, interrupt, &progress)?;
        took += began.elapsed();
        let metrics = figures(client)?;
        let vectors = metrics.iter().find(|each| each.strategy == VECTORS);
        for ((curve, before), now) in curves.iter_mut().zip(&mut before).zip([metrics.first(), vectors]) {
            let now = now.map_or(*before, |now| point(upto, now));
            curve.push(Point { upto, ranked: now.ranked - before.ranked, hits: now.hits - before.hits });
            *before = now;
        }
        from = upto;
        if refit.is_none() && upto as f64 >= FREEZE_AT * events.len() as f64 {
            progress.label("   events (item model refitted)");
            // Where the server is at a refit of its own, after that.
            refit = Some((upto, ask(client, &Refit { seed: REFIT_SEED })?));
        }
    }
    let metrics = figures(client)?;
    let (freeze_at, refit) = refit.unwrap_or_else(|| unreachable!("the last point lies beyond any share"));
    let [served, points] = curves;
    Ok(Streamed { counts, took, acks, freeze_at, refit, served, points, metrics })
}

/// Seed of the refit: with one of its own a fit begins from random factors, as that of the frozen copy does.
pub const REFIT_SEED: u64 = 1;

/// Sends some events outside the stream, one batch after the other.
///
/// # Errors
/// Any of the client's; [`DemoError::Interrupted`].
pub fn send_some(client: &mut BlockingClient, events: &[Event], interrupt: &Interrupt) -> Result<Counts, DemoError> {
    let (mut counts, mut acks) = (Counts::default(), vec![(false, 0); events.len()]);
    let progress = Progress::new("   events", Some(events.len() as u64));
    send_range(client, events, &mut acks, &mut counts, interrupt, &progress)?;
    Ok(counts)
}

/// What the server says of its strategies, the primary first.
///
/// # Errors
/// Any of the client's.
pub fn figures(client: &mut BlockingClient) -> Result<Vec<StrategyMetrics>, DemoError> {
    Ok(ask(client, &Metrics { strategy: String::new() })?.strategies)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn point(upto: usize, primary: &StrategyMetrics) -> Point {
    let hits = if primary.ranked == 0 { 0.0 } else { primary.hr_10 * primary.ranked as f64 };
    Point { upto, ranked: primary.ranked, hits: hits.round() as u64 }
}

fn send_range(
    client: &mut BlockingClient,
    events: &[Event],
    acks: &mut [(bool, u32)],
    counts: &mut Counts,
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<(), DemoError> {
    let mut waiting: VecDeque<(u64, Vec<usize>)> = VecDeque::new();
    let mut batches: VecDeque<Vec<usize>> =
        (0..events.len()).collect::<Vec<_>>().chunks(BATCH).map(<[usize]>::to_vec).collect();
    while !(batches.is_empty() && waiting.is_empty()) {
        interrupt.check()?;
        while waiting.len() < IN_FLIGHT
            && let Some(batch) = batches.pop_front()
        {
            let id = client.send_batch(0, 1, batch.iter().map(|place| (&events[*place]).into()))?;
            waiting.push_back((id, batch));
        }
        let answer = client.receive()?;
        // One connection's batches to one server may be answered in any order.
        let at = waiting.iter().position(|(id, _)| *id == answer.request_id);
        let Some((_, batch)) = at.and_then(|at| waiting.remove(at)) else { continue };
        let (wait_ms, again) = match answer.reply::<EventBatch>() {
            Ok((_, reply)) => note(&reply, &batch, acks, counts),
            Err(crate::client::ClientError::Refused { status, retry_after_ms, .. }) if status.is_retryable() => {
                (retry_after_ms, batch.clone())
            }
            Err(error) => return Err(error.into()),
        };
        progress.advance((batch.len() - again.len()) as u64);
        if !again.is_empty() {
            counts.resent += again.len() as u64;
            batches.push_front(again);
            std::thread::sleep(Duration::from_millis(u64::from(wait_ms)));
        }
    }
    Ok(())
}

/// Takes a reply apart; gives the wait and the places of the events that are to be sent again.
fn note(reply: &EventBatchReply, batch: &[usize], acks: &mut [(bool, u32)], counts: &mut Counts) -> (u32, Vec<usize>) {
    counts.accepted += u64::from(reply.accepted);
    counts.duplicates += u64::from(reply.duplicates);
    for (place, result) in batch.iter().zip(&reply.results) {
        if Status::from_number(result.status) == Some(Status::Ok) {
            acks[*place] = (true, result.rank_before);
        }
    }
    let (mut wait_ms, mut again) = (0, Vec::new());
    for error in &reply.errors {
        let retryable = Status::from_number(error.status).is_some_and(Status::is_retryable);
        match batch.get(error.index as usize).filter(|_| retryable) {
            Some(place) => {
                again.push(*place);
                wait_ms = error.retry_after_ms.max(wait_ms);
            }
            None => counts.rejected += 1,
        }
    }
    (wait_ms, again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::types::{EventError, EventResult};

    #[test]
    fn every_event_of_a_reply_is_counted_once() {
        let result = |status: Status, rank_before| EventResult {
            status: status.number(),
            shard: 0,
            sequence: 1,
            profile_version: 1,
            score_before: 0.0,
            rank_before,
        };
        let error = |index, status: Status| EventError {
            index,
            status: status.number(),
            retry_after_ms: 7,
            message: String::new(),
        };
        let reply = EventBatchReply {
            accepted: 1,
            duplicates: 1,
            rejected: 2,
            durability: 2,
            shards: Vec::new(),
            errors: vec![error(2, Status::BadRequest), error(3, Status::Overloaded)],
            results: vec![
                result(Status::Ok, 4),
                result(Status::Duplicate, 0),
                result(Status::BadRequest, 0),
                result(Status::Overloaded, 0),
            ],
        };
        let (mut acks, mut counts) = (vec![(false, 0); 20], Counts::default());
        assert_eq!(note(&reply, &[10, 11, 12, 13], &mut acks, &mut counts), (7, vec![13]));
        assert_eq!(counts, Counts { accepted: 1, duplicates: 1, rejected: 1, resent: 0 });
        assert_eq!((acks[10], acks[11]), ((true, 4), (false, 0)));
    }
}
