//! Refused events: the one way by which they are counted and kept, and the way to look at them.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Engine, EngineError, spawn_thread};
use crate::model::{Event, Reject, RejectReason, SentEvent};
use crate::shard::{Home, RejectKeeper};
use crate::storage::rejects::read;
use crate::storage::{RejectPage, RejectQuery, RejectStore, RejectTotals};
use crate::telemetry::{Metric, Metrics};

/// Threads that look at once: each holds a segment in memory. Others wait for their turn.
pub(super) const LOOKERS_MAX: usize = 2;

impl Engine {
    /// Counts a refused event under its reason and keeps it, if there is room. Never waits.
    pub fn reject(&self, reject: Reject) {
        let metrics = self.metrics(self.route(reject.event.user.as_ref()));
        metrics.add(Metric::EventsRejected, 1);
        metrics.add(metric(reject.reason), 1);
        self.inner.rejects.sink().try_send(reject);
    }

    /// As [`Self::reject`], for an event that passed the door and was refused behind it. `source` is the name that the
    /// client gave, `message` what it is told; the event's id is kept as an integer by which a repeat is recognised.
    pub fn reject_event(&self, event: &Event<'_>, reason: RejectReason, source: &str, message: &str) {
        self.reject(Reject::new(reason, self.clock().now_ms(), source, message, SentEvent::from(event)));
    }

    /// What was ever refused in this data directory, kept or not; where none are kept, since the start of the process.
    #[must_use]
    pub fn reject_totals(&self) -> RejectTotals {
        self.inner.rejects.sink().totals()
    }

    /// The refused events that are kept, with all that this thread has refused so far. Read on a thread of their own.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if too many look at once, [`EngineError::Stopping`], [`EngineError::Storage`].
    pub async fn rejects(&self, query: RejectQuery) -> Result<RejectPage, EngineError> {
        const WHAT: &str = "look at the refused events";
        let keeper = &self.inner.rejects;
        if !keeper.keeps() || query.max == 0 {
            return Ok(RejectPage::default());
        }
        let lookers = Arc::clone(&self.inner.lookers);
        let turn = lookers.acquire_owned().await.map_err(|_| EngineError::Stopping(WHAT))?;
        let segments = keeper.segments().ok_or(EngineError::Busy(WHAT))?;
        let segments = segments.await.map_err(|_| EngineError::Stopping(WHAT))?;
        let cluster_id = self.inner.home.cluster_id;
        let (sender, receiver) = oneshot::channel();
        spawn_thread("mirra-look", move || {
            // Nobody may wait any more.
            let _ = sender.send(read(&segments, cluster_id, query));
            drop(turn);
        })?;
        let page = receiver.await.map_err(|_| EngineError::Lost(WHAT))??;
        if page.damaged > 0 {
            let damaged = page.damaged;
            tracing::warn!(damaged, "refused events are damaged in some places: what lay there was passed over");
        }
        Ok(page)
    }
}

/// The store of a data directory; with `bytes_max` 0 there is none, and nothing in it stays.
pub(super) fn open_store(home: &Home, bytes_max: u64) -> Result<Option<RejectStore>, EngineError> {
    let dir = home.dir.rejects_dir();
    if bytes_max == 0 {
        RejectStore::clear(&dir)?;
        return Ok(None);
    }
    Ok(Some(RejectStore::open(&dir, home.cluster_id, bytes_max)?))
}

/// The thread that keeps them.
pub(super) fn start_keeper(store: Option<RejectStore>, metrics: &Arc<Metrics>) -> Result<RejectKeeper, EngineError> {
    RejectKeeper::start(store, metrics).map_err(EngineError::Thread)
}

/// The figure that counts events refused for a reason.
fn metric(reason: RejectReason) -> Metric {
    match reason {
        RejectReason::Unreadable => Metric::RejectedUnreadable,
        RejectReason::ValueNotFinite => Metric::RejectedValueNotFinite,
        RejectReason::ValueOutOfRange => Metric::RejectedValueOutOfRange,
        RejectReason::UnknownKind => Metric::RejectedUnknownKind,
        RejectReason::Before1970 => Metric::RejectedBefore1970,
        RejectReason::InTheFuture => Metric::RejectedInTheFuture,
        RejectReason::TooLate => Metric::RejectedTooLate,
        RejectReason::Burst => Metric::RejectedBurst,
        RejectReason::Quarantined => Metric::RejectedQuarantined,
        RejectReason::Paused => Metric::RejectedPaused,
        RejectReason::Attribute => Metric::RejectedAttribute,
        RejectReason::Merged => Metric::RejectedMerged,
        RejectReason::Memory => Metric::RejectedMemory,
        RejectReason::Poison => Metric::RejectedPoison,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_figure_of_its_name() {
        for reason in RejectReason::ALL {
            assert_eq!(metric(reason).name(), format!("rejected_{}", reason.name()));
        }
    }
}
