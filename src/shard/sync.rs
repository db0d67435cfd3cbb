//! The thread that syncs one shard's journal and then lets the durable answers go.
//!
//! Group commit: whatever has gathered while one sync ran is covered by the next. A failed sync poisons the journal
//! (the handle does that), and every answer that waited says so; nothing is retried, because a second sync may report
//! success for pages that the kernel has dropped.

use std::thread;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::messages::{Refusal, StepDone};
use super::queue::Credits;
use crate::model::Durability;
use crate::storage::SyncHandle;

/// An answer that waits for its journal record.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) steps: Vec<StepDone>,
    pub(super) durability: Durability,
    pub(super) credits: Option<Credits>,
    pub(super) reply: oneshot::Sender<Vec<StepDone>>,
}

impl Held {
    /// Lets the answer go. An asker that has gone is no fault of ours.
    pub(super) fn release(self, reached: Durability) {
        let Self { mut steps, credits, reply, .. } = self;
        for step in &mut steps {
            if let StepDone::Written(written) = step {
                written.durability = reached;
            }
        }
        drop(credits);
        let _ = reply.send(steps);
    }

    /// Refuses the writes of the turn: they are applied in memory, but the journal does not hold them.
    pub(super) fn refuse(self, refusal: Refusal) {
        let Self { mut steps, credits, reply, .. } = self;
        for step in steps.iter_mut().filter(|step| matches!(step, StepDone::Written(_))) {
            *step = StepDone::Refused(refusal);
        }
        drop(credits);
        let _ = reply.send(steps);
    }
}

/// A request to sync, and the answers that wait for it.
pub(super) struct SyncRequest {
    pub(super) handle: SyncHandle,
    pub(super) answers: Vec<Held>,
}

/// Syncs that may wait: the thread takes all of them at once, so a few are plenty.
const REQUESTS_MAX: usize = 64;

/// The way to the thread; it ends when this is dropped and what waits is done.
#[derive(Debug, Clone)]
pub(super) struct Syncer {
    requests: Sender<SyncRequest>,
}

impl Syncer {
    /// Starts the thread of `shard`.
    pub(super) fn start(shard: u16) -> std::io::Result<Self> {
        let (requests, receiver) = bounded(REQUESTS_MAX);
        thread::Builder::new().name(format!("mirra-sync-{shard}")).spawn(move || run(&receiver))?;
        Ok(Self { requests })
    }

    /// Asks for a sync; gives the request back if too many wait.
    pub(super) fn ask(&self, request: SyncRequest) -> Result<(), Vec<Held>> {
        match self.requests.try_send(request) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) => Err(request.answers),
        }
    }
}

fn run(requests: &Receiver<SyncRequest>) {
    while let Ok(first) = requests.recv() {
        let SyncRequest { mut handle, mut answers } = first;
        for next in requests.try_iter() {
            handle = next.handle; // made later, so it covers more
            answers.extend(next.answers);
        }
        match handle.sync() {
            Ok(_) => answers.into_iter().for_each(|held| held.release(Durability::Durable)),
            Err(error) => {
                tracing::error!(error = %error, "the journal could not be synced: the shard takes no more writes");
                answers.into_iter().for_each(|held| held.refuse(Refusal::ReadOnly));
            }
        }
    }
}
