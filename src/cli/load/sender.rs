//! Upserts over one connection: many in flight, each row accounted for.
//!
//! *Order under OVERLOADED.* Of two rows about one user or item the later one must win. Where the server refuses a row for
//! now, everything in flight is waited for; then that row is sent again, after the pause that was asked for, and so is
//! every later row of the same id that was taken meanwhile: an upsert can be repeated without harm.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::base::Id;
use crate::cli::account::{Lowest, Reason, Reasons};
use crate::client::{Answer, BlockingClient, ClientError};
use crate::wire::commands::{EmbeddingPut, ItemGet, ItemUpsert, UserUpsert};
use crate::wire::types::WriteAck;
use crate::wire::{Command, Status};

/// A request that states something of one user or item.
pub(super) trait Upsert: Command<Reply = WriteAck> {
    /// Whom or what it is about.
    fn id(&self) -> &Id;
}

impl Upsert for UserUpsert {
    fn id(&self) -> &Id {
        &self.user
    }
}

impl Upsert for EmbeddingPut {
    fn id(&self) -> &Id {
        &self.item
    }
}

impl Upsert for ItemUpsert {
    fn id(&self) -> &Id {
        &self.item
    }
}

/// A request and the row that it comes from.
#[derive(Debug)]
pub(super) struct Waiting<C> {
    /// Number of the file, from 0.
    pub(super) file: u32,
    /// Line in it.
    pub(super) line: u64,
    /// What is sent.
    pub(super) request: C,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) loaded: u64,
    pub(super) refused: u64,
    /// Times that a row was refused as OVERLOADED and sent again.
    pub(super) overloaded: u64,
    /// Lowest durability level of all answers.
    pub(super) durability: Lowest,
    /// The first refused rows.
    pub(super) reasons: Reasons,
}

/// Sends requests over one connection.
#[derive(Debug)]
pub(super) struct Sender<C> {
    client: BlockingClient,
    /// Most requests in flight.
    window: usize,
    /// With their request ids, oldest first.
    in_flight: VecDeque<(u64, Waiting<C>)>,
    /// To be sent again, in the order of the rows.
    again: Vec<Waiting<C>>,
    /// Ids of `again`.
    again_ids: HashSet<Id>,
    retry_after_ms: u32,
    tally: Tally,
}

impl<C: Upsert> Sender<C> {
    /// A sender of at most `in_flight` requests at a time, fewer if the server takes fewer.
    pub(super) fn new(client: BlockingClient, in_flight: usize) -> Self {
        let server_max = client.hello().in_flight_max.max(1) as usize;
        Self {
            client,
            window: in_flight.clamp(1, server_max),
            in_flight: VecDeque::new(),
            again: Vec::new(),
            again_ids: HashSet::new(),
            retry_after_ms: 0,
            tally: Tally::default(),
        }
    }

    /// Sends a row; waits for answers while too many are in flight.
    pub(super) fn send(&mut self, row: Waiting<C>) -> Result<(), ClientError> {
        if self.in_flight.len() >= self.window {
            // By half a window: what is then queued goes out in one write.
            self.wait_until(self.window / 2)?;
            if !self.again.is_empty() {
                self.finish()?;
            }
        }
        self.put(row)
    }

    /// Waits until every row has been answered for good.
    pub(super) fn finish(&mut self) -> Result<(), ClientError> {
        self.wait_until(0)?;
        while !self.again.is_empty() {
            let pause_ms = std::mem::take(&mut self.retry_after_ms).max(1);
            std::thread::sleep(Duration::from_millis(u64::from(pause_ms)));
            self.again_ids.clear();
            let mut rows = std::mem::take(&mut self.again).into_iter();
            while self.again.is_empty() && rows.len() > 0 {
                for row in rows.by_ref().take(self.window) {
                    self.put(row)?;
                }
                self.wait_until(0)?;
            }
            self.again_ids.extend(rows.as_slice().iter().map(|row| row.request.id().clone()));
            self.again.extend(rows);
        }
        self.again_ids.clear();
        Ok(())
    }

    /// Counts a row that is not sent.
    pub(super) fn refuse(&mut self, file: u32, line: u64, message: String) {
        self.tally.refused += 1;
        self.tally.reasons.add(Reason { file, line, message });
    }

    /// What became of the rows; those without an answer are in none of the counts.
    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }

    /// The tags that an item has, after all that was sent before.
    pub(super) fn tags_of(&mut self, item: &Id) -> Result<Vec<String>, ClientError> {
        self.wait_for(item)?;
        loop {
            match self.client.call(&ItemGet { item: item.clone() }) {
                Ok(reply) => return Ok(reply.tags),
                Err(ClientError::Refused { status: Status::NotFound, .. }) => return Ok(Vec::new()),
                Err(ClientError::Refused { status, retry_after_ms, .. }) if status.is_retryable() => {
                    std::thread::sleep(Duration::from_millis(u64::from(retry_after_ms.max(1))));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the answers to rows about one item, if any is in flight.
    fn wait_for(&mut self, id: &Id) -> Result<(), ClientError> {
        if self.in_flight.iter().any(|(_, row)| row.request.id() == id) || self.again_ids.contains(id) {
            return self.finish();
        }
        Ok(())
    }

    fn put(&mut self, row: Waiting<C>) -> Result<(), ClientError> {
        match self.client.send(&row.request) {
            Ok(request_id) => {
                self.in_flight.push_back((request_id, row));
                Ok(())
            }
            // Over a limit of the protocol: nothing was queued.
            Err(error) if !error.is_outcome_unknown() => {
                self.refuse(row.file, row.line, error.to_string());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes answers until at most `left` requests are in flight.
    fn wait_until(&mut self, left: usize) -> Result<(), ClientError> {
        while self.in_flight.len() > left {
            let Some((request_id, _)) = self.in_flight.front() else { break };
            let answer = self.client.receive_for(*request_id)?;
            // Answered: until now it could be waited for again.
            if let Some((_, row)) = self.in_flight.pop_front() {
                self.count(row, &answer)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, row: Waiting<C>, answer: &Answer) -> Result<(), ClientError> {
        match answer.reply::<C>() {
            // An earlier row of this id has still to be sent: this one after it.
            Ok(_) if self.again_ids.contains(row.request.id()) => self.again.push(row),
            Ok((_, ack)) => {
                self.tally.loaded += 1;
                self.tally.durability.reached(ack.durability);
            }
            Err(ClientError::Refused { status, retry_after_ms, .. }) if status.is_retryable() => {
                self.tally.overloaded += 1;
                self.retry_after_ms = self.retry_after_ms.max(retry_after_ms);
                self.again_ids.insert(row.request.id().clone());
                self.again.push(row);
            }
            Err(ClientError::Refused { status, message, .. }) => {
                self.refuse(row.file, row.line, format!("{message} ({status})"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
