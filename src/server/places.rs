//! Places on a thread for who has many questions at once.
//!
//! The answers to a plan full of questions take a thread half a millisecond. However many connections ask without end, only
//! so many such plans are under way on a thread at a time, and everybody else waits for the answers of these alone. What
//! waits for a place is not read on.
//!
//! A connection that was held up for a moment has many questions, too, and must not stand behind those that always have: it
//! would fall back further than it was, and stay there. So plans that hold all that was read have places of their own.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// More questions at once than these need a place.
const MANY: usize = 16;

/// Places of each kind on a thread.
const AT_ONCE: usize = 2;

/// How long a place is held at most: far longer than answers take, and no longer than others should wait for those of a shard that
/// stands still.
const HELD_MAX: Duration = Duration::from_millis(100);

/// The places of every thread.
#[derive(Debug)]
pub(super) struct Places(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    /// For plans with room left: the connection has no more to ask.
    catching_up: Arc<Semaphore>,
    /// For plans that are full.
    full: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(threads: u16) -> Self {
        let places = || Arc::new(Semaphore::new(AT_ONCE));
        Self((0..threads).map(|_| Thread { catching_up: places(), full: places() }).collect())
    }

    /// Waits for a place on the thread of `shard`, if so many questions need one; it is held until what comes is dropped.
    pub(super) async fn take(&self, shard: u16, questions: usize, full: bool) -> Option<OwnedSemaphorePermit> {
        let Thread { catching_up, full: of_full } = self.0.get(usize::from(shard)).filter(|_| questions > MANY)?;
        Arc::clone(if full { of_full } else { catching_up }).acquire_owned().await.ok()
    }
}

/// Does the work that the place is for, and gives it back behind that, or when it has been held for long.
pub(super) async fn hold(place: Option<OwnedSemaphorePermit>, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
    if place.is_some() && tokio::time::timeout(HELD_MAX, &mut work).await.is_ok() {
        return;
    }
    drop(place);
    work.await;
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn who_catches_up_does_not_stand_behind_a_crowd() {
        let places = Places::new(2);
        let now = |shard, questions, full| {
            let mut context = Context::from_waker(Waker::noop());
            match pin!(places.take(shard, questions, full)).poll(&mut context) {
                Poll::Ready(place) => Some(place),
                Poll::Pending => None,
            }
        };
        let crowd: Vec<_> = (0..AT_ONCE).map(|_| now(0, 64, true).expect("a place").expect("it is needed")).collect();
        assert!(now(0, 64, true).is_none(), "the places are taken");
        assert!(matches!(now(0, MANY, true), Some(None)), "few need none");
        let held: Vec<_> = (0..AT_ONCE).map(|_| now(0, 40, false).expect("a place").expect("it is needed")).collect();
        assert!(now(0, 40, false).is_none(), "these are taken, too");
        assert!(now(1, 64, true).is_some(), "another thread has its own");
        drop(held);
        assert!(now(0, 40, false).is_some());
        assert!(now(0, 64, true).is_none());
        drop(crowd);
        assert!(now(0, 64, true).is_some());
    }

    #[tokio::test]
    async fn a_place_is_given_back_though_the_work_goes_on() {
        let places = Places::new(1);
        let (told, waits) = tokio::sync::oneshot::channel::<()>();
        let place = places.take(0, 64, true).await;
        let work = hold(place, async { waits.await.expect("it is told") });
        let others = async {
            let _all = [places.take(0, 64, true).await, places.take(0, 64, true).await];
            told.send(()).expect("the work goes on");
        };
        tokio::join!(work, others);
    }
}
