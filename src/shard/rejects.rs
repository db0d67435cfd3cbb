//! Refused events: counted at once by whoever refuses, kept by a thread of their own.
//!
//! Nobody waits for the disk: where the queue to the thread is full the event is counted as dropped, and that is all. The
//! thread writes all that has gathered with one write, and tells readers which segments there are, after everything
//! that was refused before they asked; they read for themselves, so that it goes on writing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded, select};
use tokio::sync::oneshot;

use crate::model::{Reject, RejectReason};
use crate::storage::{RejectSegment, RejectStore, RejectTotals};
use crate::telemetry::{Metric, Metrics};

/// Refused events that wait for the thread: two full batches, some 2 MiB with texts.
const WAITING_MAX: usize = 8_192;

/// Readers that wait for the thread.
const READERS_MAX: usize = 64;

type Counts = [AtomicU64; RejectReason::COUNT];

/// What was refused, as counted by those who refuse.
#[derive(Debug, Default)]
struct Shared {
    counts: Counts,
    dropped: AtomicU64,
    /// Of those dropped, what the store has not been told yet.
    missed: Counts,
}

/// The way to the thread. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct RejectSink {
    shared: Arc<Shared>,
    queue: Option<Sender<Reject>>,
    metrics: Arc<Metrics>,
}

impl RejectSink {
    /// Counts a refused event and hands it to the thread, if that has room; else it counts as dropped.
    pub fn try_send(&self, reject: Reject) {
        let reason = reject.reason.index();
        self.shared.counts[reason].fetch_add(1, Ordering::Relaxed);
        let Some(queue) = &self.queue else { return };
        if queue.try_send(reject).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            self.shared.missed[reason].fetch_add(1, Ordering::Relaxed);
            self.metrics.add(Metric::RejectsDropped, 1);
        }
    }

    /// What was ever refused in this data directory; where none are kept, since the start of the process.
    #[must_use]
    pub fn totals(&self) -> RejectTotals {
        let counts = std::array::from_fn(|at| self.shared.counts[at].load(Ordering::Relaxed));
        RejectTotals { counts, dropped: self.shared.dropped.load(Ordering::Relaxed) }
    }
}

/// What the thread is told beside refused events.
enum Note {
    /// Which segments are there?
    Segments(oneshot::Sender<Vec<RejectSegment>>),
    /// Write what waits, and end.
    Stop,
}

/// The thread, from outside.
#[derive(Debug)]
pub struct RejectKeeper {
    sink: RejectSink,
    notes: Option<Sender<Note>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RejectKeeper {
    /// Starts the thread over a store; without one events are counted alone. Figures of what it does go to `metrics`.
    ///
    /// # Errors
    /// What the system says if there can be no thread.
    pub fn start(store: Option<RejectStore>, metrics: &Arc<Metrics>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let sink = |queue| RejectSink { shared: Arc::clone(&shared), queue, metrics: Arc::clone(metrics) };
        let Some(store) = store else {
            return Ok(Self { sink: sink(None), notes: None, thread: Mutex::new(None) });
        };
        let RejectTotals { counts, dropped } = store.totals();
        shared.counts.iter().zip(counts).for_each(|(count, ever)| count.store(*ever, Ordering::Relaxed));
        shared.dropped.store(*dropped, Ordering::Relaxed);
        let (queue, rejects) = bounded(WAITING_MAX);
        let (notes, told) = bounded(READERS_MAX);
        let (failing, batch) = (false, Vec::new());
        let keeper =
            Keeper { store, shared: Arc::clone(&shared), metrics: Arc::clone(metrics), rejects, batch, failing };
        let thread = thread::Builder::new().name("mirra-rejects".to_owned()).spawn(move || keeper.run(&told))?;
        Ok(Self { sink: sink(Some(queue)), notes: Some(notes), thread: Mutex::new(Some(thread)) })
    }

    /// Where refused events go.
    #[must_use]
    pub fn sink(&self) -> &RejectSink {
        &self.sink
    }

    /// The segments, once they hold everything that this thread has refused so far; `None` if none are kept or too many
    /// ask at once.
    pub fn segments(&self) -> Option<oneshot::Receiver<Vec<RejectSegment>>> {
        let (reply, segments) = oneshot::channel();
        self.notes.as_ref()?.try_send(Note::Segments(reply)).ok()?;
        Some(segments)
    }

    /// Whether events are kept, not counted alone.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.notes.is_some()
    }

    /// Has everything written that was refused, and ends the thread.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(notes), Some(thread)) = (&self.notes, thread) {
            // If it has gone there is nobody to tell, and joining says so.
            let _ = notes.send(Note::Stop);
            if thread.join().is_err() {
                tracing::error!("the thread that keeps refused events has panicked: those of its end are lost");
            }
        }
    }
}

/// The thread's side.
struct Keeper {
    store: RejectStore,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    rejects: Receiver<Reject>,
    batch: Vec<Reject>,
    /// Whether the last write failed: the log hears of the first.
    failing: bool,
}

impl Keeper {
    fn run(mut self, notes: &Receiver<Note>) {
        // Its own handle, since `self` writes meanwhile.
        let rejects = self.rejects.clone();
        loop {
            select! {
                recv(rejects) -> reject => match reject {
                    Ok(reject) => self.batch.push(reject),
                    Err(_) => break,
                },
                recv(notes) -> note => match note {
                    Ok(Note::Segments(reply)) => {
                        self.keep();
                        // A reader that has gone is no fault of ours.
                        let _ = reply.send(self.store.segments());
                    }
                    Ok(Note::Stop) | Err(_) => break,
                },
            }
            self.keep();
        }
        self.keep();
    }

    /// Keeps all that has gathered.
    fn keep(&mut self) {
        self.batch.extend(self.rejects.try_iter().take(WAITING_MAX));
        let (kept, mut done) = self.store.append(&self.batch);
        let lost = (self.batch.len() - kept) as u64;
        self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
        self.metrics.add(Metric::RejectsKept, kept as u64);
        self.metrics.add(Metric::RejectsDropped, lost);
        self.batch.clear();
        self.store.missed(&std::array::from_fn(|at| self.shared.missed[at].swap(0, Ordering::Relaxed)));
        if done.is_ok() {
            done = self.store.tell_totals();
        }
        match &done {
            Err(error) if !self.failing => {
                tracing::error!(error = %error, "refused events are not kept, only counted");
            }
            Ok(()) if self.failing => tracing::info!("refused events are kept again"),
            _ => {}
        }
        self.failing = done.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;
    use crate::model::SentEvent;
    use crate::storage::rejects::{RejectQuery, read};

    const CLUSTER: u64 = 5;

    fn reject(number: u64) -> Reject {
        let (event_id, user, item) = (Id::Int(number), Id::Int(1), Id::Int(2));
        let event = SentEvent { event_id, user, item, kind: 9, value_bits: 0, time_ms: 0 };
        Reject::new(RejectReason::UnknownKind, 7, "it", "kind 9", event)
    }

    fn start(dir: &std::path::Path) -> (RejectKeeper, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let store = RejectStore::open(dir, CLUSTER, 1 << 20).unwrap();
        (RejectKeeper::start(Some(store), &metrics).unwrap(), metrics)
    }

    fn kept(keeper: &RejectKeeper) -> Vec<Id> {
        let segments = keeper.segments().unwrap().blocking_recv().unwrap();
        let page = read(&segments, CLUSTER, RejectQuery { from: 0, max: usize::MAX, reason: None }).unwrap();
        page.rows.into_iter().map(|(_, reject)| reject.event.event_id).collect()
    }

    /// A reader finds what was refused before it asked; all is counted once, over a restart too.
    #[test]
    fn what_is_refused_is_kept_and_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for round in 0..3_u64 {
            let (keeper, metrics) = start(dir.path());
            assert_eq!(keeper.sink().totals().sum(), round * 500);
            for number in round * 500..round * 500 + 500 {
                keeper.sink().try_send(reject(number));
                expected.push(Id::Int(number));
                if number % 100 == 7 {
                    assert_eq!(kept(&keeper), expected);
                }
            }
            assert_eq!(keeper.sink().totals().counts[RejectReason::UnknownKind.index()], round * 500 + 500);
            keeper.stop();
            assert_eq!(metrics.get(Metric::RejectsKept), 500);
            keeper.sink().try_send(reject(0));
            let totals = keeper.sink().totals();
            assert_eq!((totals.sum(), totals.dropped), (round * 500 + 501, 1), "after the end it is dropped");
        }
    }

    /// With a thread that stands still the queue fills; what has no room is counted, and counted after a restart.
    #[test]
    fn a_full_queue_drops_and_never_waits() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::default());
        let store = RejectStore::open(dir.path(), CLUSTER, 8 << 20).unwrap();
        let shared = Arc::new(Shared::default());
        let (queue, rejects) = bounded(WAITING_MAX);
        let sink = RejectSink { shared: Arc::clone(&shared), queue: Some(queue), metrics: Arc::clone(&metrics) };
        let sent = WAITING_MAX as u64 + 100;
        (0..sent).for_each(|number| sink.try_send(reject(number)));
        assert_eq!((sink.totals().sum(), sink.totals().dropped), (sent, 100));
        assert_eq!(metrics.get(Metric::RejectsDropped), 100);
        drop(sink);
        let batch = Vec::new();
        let (_notes, told) = bounded(1);
        Keeper { store, shared, metrics: Arc::clone(&metrics), rejects, batch, failing: false }.run(&told);
        assert_eq!((metrics.get(Metric::RejectsKept), metrics.get(Metric::RejectsDropped)), (sent - 100, 100));
        let store = RejectStore::open(dir.path(), CLUSTER, 8 << 20).unwrap();
        assert_eq!((store.totals().sum(), store.totals().dropped), (sent, 100));
    }

    #[test]
    fn without_a_store_events_are_counted_alone() {
        let metrics = Arc::new(Metrics::default());
        let keeper = RejectKeeper::start(None, &metrics).unwrap();
        (0..9).for_each(|number| keeper.sink().try_send(reject(number)));
        assert_eq!((keeper.sink().totals().sum(), keeper.sink().totals().dropped), (9, 0));
        assert!(keeper.segments().is_none() && !keeper.keeps());
        keeper.stop();
    }
}
