//! One connection of a replay: batches in flight, in order, each event accounted for.
//!
//! *Order under OVERLOADED.* A server's queue takes at least one full batch, and all connections of a replay together
//! never have more events in flight: alone, a replay is never refused. Beside other clients it may be, while a later
//! batch, already on its way, is taken. Then everything in flight is waited for, what was refused is sent again in its
//! order, and from there on one batch at a time, which keeps every order. Events that were overtaken by a later one of
//! their user in that first moment are counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::account::{Lowest, Reason, Reasons};
use crate::base::Id;
use crate::base::limits::BATCH_EVENTS_MAX;
use crate::client::{BlockingClient, ClientError};
use crate::wire::commands::EventBatch;
use crate::wire::types::{Event, EventError};
use crate::wire::{EventRef, Status};

/// An event and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    /// Its place among all events of the replay, from 0.
    pub(super) number: u64,
    /// Number of the file, from 0.
    pub(super) file: u32,
    /// Line in it.
    pub(super) line: u64,
    /// What is sent.
    pub(super) event: Event,
}

/// What became of the events.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: u64,
    /// Times that an event was refused as OVERLOADED and sent again.
    pub(super) overloaded: u64,
    /// Events that were learned after a later one of their user.
    pub(super) overtaken: u64,
    /// Lowest durability level of all answers.
    pub(super) durability: Lowest,
    /// The first refused events.
    pub(super) reasons: Reasons,
}

impl Tally {
    /// Adds those of another connection.
    pub(super) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.overloaded += other.overloaded;
        self.overtaken += other.overtaken;
        self.durability.join(other.durability);
        self.reasons.join(other.reasons);
    }

    fn reject(&mut self, event: &Numbered, status: Option<Status>, message: &str) {
        self.rejected += 1;
        let status = status.map_or("UNKNOWN", Status::name);
        let message = format!("{message} ({status})");
        self.reasons.add(Reason { file: event.file, line: event.line, message });
    }
}

/// Sends batches over one connection.
#[derive(Debug)]
pub(super) struct Sender {
    client: BlockingClient,
    durability: u8,
    batch: usize,
    /// Most batches in flight.
    window: usize,
    in_flight: VecDeque<(u64, Vec<Numbered>)>,
    /// Refused as OVERLOADED, to be sent again.
    again: Vec<Numbered>,
    /// Users of `again` that nothing later was accepted of yet, and the numbers of their events that wait.
    waiting_users: HashMap<Id, Vec<u64>>,
    /// Numbers of waiting events that a later one of their user was accepted before.
    late: HashSet<u64>,
    retry_after_ms: u32,
    tally: Tally,
}

impl Sender {
    /// A sender of batches of at most `batch` events, one of `connections`.
    pub(super) fn new(client: BlockingClient, durability: u8, batch: usize, connections: u16) -> Self {
        let server_max = client.hello().in_flight_max.max(1) as usize;
        let window = (BATCH_EVENTS_MAX / (batch.max(1) * usize::from(connections.max(1)))).clamp(1, server_max);
        Self {
            client,
            durability,
            batch,
            window,
            in_flight: VecDeque::new(),
            again: Vec::new(),
            waiting_users: HashMap::new(),
            late: HashSet::new(),
            retry_after_ms: 0,
            tally: Tally::default(),
        }
    }

    /// Sends a batch; waits for answers while too many are in flight.
    pub(super) fn send(&mut self, batch: Vec<Numbered>) -> Result<(), ClientError> {
        while self.in_flight.len() >= self.window {
            self.take_answer()?;
            if !self.again.is_empty() {
                self.send_again()?;
            }
        }
        self.put(batch)
    }

    /// Waits until every event has been answered for good.
    pub(super) fn finish(&mut self) -> Result<(), ClientError> {
        while !self.in_flight.is_empty() {
            self.take_answer()?;
            if !self.again.is_empty() {
                self.send_again()?;
            }
        }
        Ok(())
    }

    /// What became of the events; those without an answer are in none of the counts.
    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }

    fn put(&mut self, batch: Vec<Numbered>) -> Result<(), ClientError> {
        let events = batch.iter().map(|numbered| EventRef::from(&numbered.event));
        let request_id = self.client.send_batch(self.durability, 0, events)?;
        self.in_flight.push_back((request_id, batch));
        self.client.flush()
    }

    /// Sends what was refused as OVERLOADED until it is taken, with nothing else in flight.
    fn send_again(&mut self) -> Result<(), ClientError> {
        while !self.in_flight.is_empty() {
            self.take_answer()?;
        }
        self.window = 1;
        while !self.again.is_empty() {
            self.waiting_users.clear();
            let mut again = std::mem::take(&mut self.again);
            again.sort_by_key(|numbered| numbered.number);
            std::thread::sleep(Duration::from_millis(u64::from(std::mem::take(&mut self.retry_after_ms).max(1))));
            let mut rest = again.into_iter().peekable();
            while rest.peek().is_some() && self.again.is_empty() {
                self.put(rest.by_ref().take(self.batch).collect())?;
                self.take_answer()?;
            }
            self.again.extend(rest);
        }
        self.waiting_users.clear();
        Ok(())
    }

    /// Waits for the answer to the oldest request in flight, and counts it.
    fn take_answer(&mut self) -> Result<(), ClientError> {
        let Some((request_id, batch)) = self.in_flight.pop_front() else { return Ok(()) };
        match self.client.receive_for(request_id)?.reply::<EventBatch>() {
            Ok((_, reply)) => {
                self.tally.accepted += u64::from(reply.accepted);
                self.tally.duplicates += u64::from(reply.duplicates);
                self.tally.durability.reached(reply.durability);
                self.count(batch, &reply.errors);
                Ok(())
            }
            Err(ClientError::Refused { status, retry_after_ms, message, .. }) => {
                let error =
                    |index| EventError { index, status: status.number(), retry_after_ms, message: message.clone() };
                let errors: Vec<EventError> = (0..).take(batch.len()).map(error).collect();
                self.count(batch, &errors);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Counts the refused events of a batch, keeps those that can be sent again, and sees who was overtaken.
    fn count(&mut self, batch: Vec<Numbered>, errors: &[EventError]) {
        if errors.is_empty() && self.waiting_users.is_empty() && self.late.is_empty() {
            return;
        }
        let errors: HashMap<usize, &EventError> = errors.iter().map(|error| (error.index as usize, error)).collect();
        for (index, numbered) in batch.into_iter().enumerate() {
            let Some(error) = errors.get(&index) else {
                self.tally.overtaken += u64::from(self.late.remove(&numbered.number));
                self.late.extend(self.waiting_users.remove(&numbered.event.user).into_iter().flatten());
                continue;
            };
            let status = Status::from_number(error.status);
            if status.is_some_and(Status::is_retryable) {
                self.tally.overloaded += 1;
                self.retry_after_ms = self.retry_after_ms.max(error.retry_after_ms);
                self.waiting_users.entry(numbered.event.user.clone()).or_default().push(numbered.number);
                self.again.push(numbered);
            } else {
                self.tally.reject(&numbered, status, &error.message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;
    use crate::base::Rng;
    use crate::client::ClientOptions;
    use crate::wire::commands::{EventBatchReply, Hello, HelloReply, Request};
    use crate::wire::{put_error, put_reply, split};

    /// Events of one user as the server took them.
    type Taken = BTreeMap<Id, Vec<u64>>;

    /// A server of two shards that refuses each shard's part of a batch as OVERLOADED with a chance of a third, until it
    /// has done so `refusals` times, and item 13 for good.
    fn server(seed: u64, mut refusals: u32) -> (String, JoinHandle<Taken>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut rng, mut taken, mut input) = (Rng::new(seed), Taken::new(), Vec::new());
            let mut buffer = vec![0; 1 << 16];
            loop {
                let read = stream.read(&mut buffer).unwrap();
                if read == 0 {
                    return taken;
                }
                input.extend_from_slice(&buffer[..read]);
                let mut out = Vec::new();
                let mut frames = split(&input);
                for frame in frames.by_ref() {
                    let (header, body) = frame.unwrap();
                    match Request::decode(header.code, body).unwrap() {
                        Request::Hello(_) => {
                            put_reply::<Hello>(&mut out, header.request_id, Status::Ok, &hello()).unwrap();
                        }
                        Request::EventBatch(batch) => {
                            answer(&mut out, header.request_id, &batch, &mut rng, &mut refusals, &mut taken);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                let consumed = frames.consumed();
                input.drain(..consumed);
                stream.write_all(&out).unwrap();
            }
        });
        (addr, thread)
    }

    fn hello() -> HelloReply {
        HelloReply {
            version: 1,
            server: "test".to_owned(),
            shards: 2,
            shard_map: Vec::new(),
            kinds: Vec::new(),
            strategies: Vec::new(),
            frame_bytes_max: 1 << 20,
            batch_events_max: 4_096,
            in_flight_max: 4,
            durability: 2,
        }
    }

    fn answer(
        out: &mut Vec<u8>,
        request_id: u64,
        batch: &EventBatch,
        rng: &mut Rng,
        refusals: &mut u32,
        taken: &mut Taken,
    ) {
        let full: Vec<bool> = (0..2).map(|_| *refusals > 0 && rng.below(3) == 0).collect();
        *refusals -= u32::from(*refusals > 0 && full.contains(&true));
        let mut errors = Vec::new();
        let mut accepted = 0;
        for (index, event) in (0..).zip(&batch.events) {
            let mut refuse = |status: Status, retry_after_ms, message: &str| {
                errors.push(EventError { index, status: status.number(), retry_after_ms, message: message.to_owned() });
            };
            if full[usize::from(event.user.as_ref().shard(2))] {
                refuse(Status::Overloaded, 1, "full");
            } else if event.item == Id::Int(13) {
                refuse(Status::BadRequest, 0, "unlucky");
            } else {
                accepted += 1;
                taken.entry(event.user.clone()).or_default().push(event.time_ms.unsigned_abs());
            }
        }
        if accepted == 0 && errors.iter().all(|error| error.status == Status::Overloaded.number()) {
            return put_error(out, request_id, Status::Overloaded, 1, "full");
        }
        let status = if errors.is_empty() { Status::Ok } else { Status::Partial };
        let rejected = u32::try_from(errors.len()).unwrap();
        let (shards, results) = (Vec::new(), Vec::new());
        let reply = EventBatchReply { accepted, duplicates: 0, rejected, durability: 2, shards, errors, results };
        put_reply::<EventBatch>(out, request_id, status, &reply).unwrap();
    }

    #[test]
    fn overloaded_events_are_sent_again_and_every_event_is_counted_once() {
        let (mut overloaded, mut overtaken) = (0, 0);
        for seed in 0..20 {
            let (addr, thread) = server(seed, 30);
            let client = BlockingClient::connect(&addr, &ClientOptions::default()).unwrap();
            let mut sender = Sender::new(client, 0, 4, 1);
            assert_eq!(sender.window, 4);
            let mut rng = Rng::new(seed + 100);
            let events: Vec<Numbered> = (0..300)
                .map(|number| {
                    let (event_id, user, item) = (Id::Int(number + 1), rng.below(6).into(), rng.below(40).into());
                    let event = Event { event_id, user, item, kind: 0, value: 1.0, time_ms: number as i64 };
                    Numbered { number, file: 0, line: number + 2, event }
                })
                .collect();
            for batch in events.chunks(4) {
                sender.send(batch.to_vec()).unwrap();
            }
            sender.finish().unwrap();
            let unlucky = events.iter().filter(|numbered| numbered.event.item == Id::Int(13)).count() as u64;
            let tally = sender.into_tally();
            let taken = thread.join().unwrap();
            assert_eq!((tally.accepted, tally.rejected, tally.duplicates), (300 - unlucky, unlucky, 0), "seed {seed}");
            assert_eq!(tally.durability.name(), Some("journaled"));
            let late = |numbers: &Vec<u64>| {
                numbers
                    .iter()
                    .enumerate()
                    .filter(|(at, number)| numbers[..*at].iter().any(|before| before > *number))
                    .count()
            };
            assert_eq!(tally.overtaken, taken.values().map(late).sum::<usize>() as u64, "seed {seed}: {taken:?}");
            let all: Vec<u64> = {
                let mut all: Vec<u64> = taken.into_values().flatten().collect();
                all.sort_unstable();
                all
            };
            let good = events.iter().filter(|numbered| numbered.event.item != Id::Int(13));
            assert_eq!(all, good.map(|numbered| numbered.number).collect::<Vec<_>>(), "seed {seed}");
            overloaded += tally.overloaded;
            overtaken += tally.overtaken;
        }
        assert!(overloaded > 100 && overtaken > 0, "{overloaded} {overtaken}");
    }

    /// What has no answer is in no count: the replay does not add up then.
    #[test]
    fn a_lost_connection_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut out = Vec::new();
            put_reply::<Hello>(&mut out, 0, Status::Ok, &hello()).unwrap();
            stream.write_all(&out).unwrap();
            let mut first = [0; 64];
            stream.read_exact(&mut first[..16]).unwrap();
        });
        let mut sender = Sender::new(BlockingClient::connect(&addr, &ClientOptions::default()).unwrap(), 0, 1, 1);
        thread.join().unwrap();
        let (event_id, user, item) = (1.into(), 2.into(), 3.into());
        let event = Event { event_id, user, item, kind: 0, value: 1.0, time_ms: 0 };
        let sent = sender.send(vec![Numbered { number: 0, file: 0, line: 2, event }]).and_then(|()| sender.finish());
        assert!(matches!(sent, Err(ClientError::ConnectionLost { .. })), "{sent:?}");
        let tally = sender.into_tally();
        assert_eq!((tally.accepted, tally.rejected, tally.duplicates), (0, 0, 0));
    }
}
