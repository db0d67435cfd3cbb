//! How much may wait for a shard.
//!
//! An actix mailbox is no bound: `do_send` ignores its capacity and every clone of an address gets a slot of its own. So
//! whoever wants to send takes credits first, one an event or question; where there are not enough, the request is
//! refused at once as overloaded, and the queue never grows past its limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The credits of one shard.
#[derive(Clone, Debug)]
pub struct Queue {
    waiting: Arc<AtomicUsize>,
    max: usize,
}

/// Credits taken; given back when dropped, which is when the work is done or thrown away.
#[derive(Debug)]
pub struct Credits {
    waiting: Arc<AtomicUsize>,
    count: usize,
}

impl Queue {
    /// A queue of at most `max` events and questions.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { waiting: Arc::default(), max }
    }

    /// Takes `count` credits, if there are as many. An empty queue takes any count, so that no limit is too small for
    /// one request.
    #[must_use]
    pub fn take(&self, count: usize) -> Option<Credits> {
        let before = self.waiting.fetch_add(count, Ordering::Relaxed);
        let credits = Credits { waiting: Arc::clone(&self.waiting), count };
        (before == 0 || before + count <= self.max).then_some(credits)
    }

    /// Events and questions that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Credits {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_limit_and_all_come_back() {
        let queue = Queue::new(10);
        let first = queue.take(7).expect("room for 7");
        assert!(queue.take(4).is_none(), "11 are too many");
        let second = queue.take(3).expect("room for 3");
        assert_eq!(queue.waiting(), 10);
        drop((first, second));
        assert_eq!(queue.waiting(), 0);
        assert!(queue.take(1_000).is_some(), "alone, any size goes");
        assert_eq!(queue.waiting(), 0);
    }
}
