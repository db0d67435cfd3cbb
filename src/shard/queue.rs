//! How much may wait for a shard, and how long.
//!
//! An actix mailbox is no bound: `do_send` ignores its capacity and every clone of an address gets a slot of its own. So
//! whoever wants to send takes credits first, one an event or question; where there are not enough, the request is
//! refused at once as overloaded, and the queue never grows past its limit.
//!
//! *Time.* A count says little of how long the last in the queue waits: an event costs one to twenty microseconds, a list
//! hundreds. So the shard tells how fast its queue moves (units done over the time that passed while any waited, sockets and
//! snapshots included), and what would wait longer than it may is refused while it can still go elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Units after which what was measured before counts half: some milliseconds of work.
const MEMORY_UNITS: u64 = 4_096;

/// Most that the time between two turns counts, in times of the second turn's own. What a thread does between turns is also
/// refusing: were all of it taken for the price of a unit, few would be let in, the thread would do little but refuse, and
/// the price would stay.
const BETWEEN_MAX: u32 = 2;

/// The credits of one shard.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    max: usize,
    wait_max: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    /// Units that are not answered.
    unanswered: AtomicUsize,
    /// Of these, units that are not begun: the others wait for the journal or the device, and hold up nobody.
    waiting: AtomicUsize,
    /// Nanoseconds that one unit has taken of late; 0: not known yet.
    unit_ns: AtomicU64,
}

/// Credits taken; given back when dropped, which is when the work is answered or thrown away.
#[derive(Debug)]
pub struct Credits {
    shared: Arc<Shared>,
    count: usize,
    begun: bool,
}

impl Queue {
    /// A queue of at most `max` events and questions, none of which waits longer than `wait_max`, as far as can be told.
    #[must_use]
    pub fn new(max: usize, wait_max: Duration) -> Self {
        Self { shared: Arc::default(), max, wait_max }
    }

    /// Takes `count` credits for work that may wait `within`, if that is less than the queue's own limit. An empty queue
    /// takes any count, so that no limit is too small for one request; what costs nothing (control) is always taken.
    ///
    /// # Errors
    /// How long the queue takes to empty, where it has no room.
    pub fn take(&self, count: usize, within: Option<Duration>) -> Result<Credits, Duration> {
        let before = self.shared.unanswered.fetch_add(count, Ordering::Relaxed);
        let waiting = self.shared.waiting.fetch_add(count, Ordering::Relaxed);
        let credits = Credits { shared: Arc::clone(&self.shared), count, begun: false };
        let wait = self.wait_behind(waiting);
        let allowed = within.map_or(self.wait_max, |within| within.min(self.wait_max));
        let fits = count == 0 || before == 0 || before + count <= self.max && wait <= allowed;
        if fits { Ok(credits) } else { Err(wait) }
    }

    /// Events and questions that are not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.shared.unanswered.load(Ordering::Relaxed)
    }

    /// How long what comes now would wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait_behind(self.shared.waiting.load(Ordering::Relaxed))
    }

    fn wait_behind(&self, units: usize) -> Duration {
        Duration::from_nanos((units as u64).saturating_mul(self.shared.unit_ns.load(Ordering::Relaxed)))
    }
}

impl Credits {
    /// Units that they stand for.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The work is begun: what comes behind it no longer waits for it to begin.
    pub fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.shared.waiting.fetch_sub(self.count, Ordering::Relaxed);
        }
    }
}

impl Drop for Credits {
    fn drop(&mut self) {
        self.begin();
        self.shared.unanswered.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// Measures how fast a queue moves; the shard that empties it holds it.
#[derive(Debug)]
pub struct Flow {
    queue: Queue,
    units: u64,
    ns: u64,
    /// When a turn ended behind which others waited: what comes next is measured from there.
    busy_since: Option<Instant>,
}

impl Flow {
    /// Of a queue.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self { queue, units: 0, ns: 0, busy_since: None }
    }

    /// A turn of `units` that began at `began` has ended at `now`.
    pub fn turn(&mut self, units: usize, began: Instant, now: Instant) {
        let units = units as u64;
        let own = now.saturating_duration_since(began);
        let between = self.busy_since.map_or(Duration::ZERO, |since| began.saturating_duration_since(since));
        let took = own + between.min(own * BETWEEN_MAX);
        self.busy_since = (self.queue.shared.waiting.load(Ordering::Relaxed) > 0).then_some(now);
        self.units += units;
        self.ns = self.ns.saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.queue.shared.unit_ns.store(self.ns / self.units.max(1), Ordering::Relaxed);
        if self.units >= MEMORY_UNITS {
            self.units /= 2;
            self.ns /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn never_more_than_the_limit_and_all_come_back() {
        let queue = Queue::new(10, LONG);
        let first = queue.take(7, None).expect("room for 7");
        assert!(queue.take(4, None).is_err(), "11 are too many");
        let second = queue.take(3, None).expect("room for 3");
        assert_eq!(queue.unanswered(), 10);
        drop((first, second));
        assert_eq!(queue.unanswered(), 0);
        assert!(queue.take(1_000, None).is_ok(), "alone, any size goes");
        assert_eq!(queue.unanswered(), 0);
    }

    #[test]
    fn nobody_is_let_in_to_wait_longer_than_allowed() {
        let queue = Queue::new(1_000_000, Duration::from_millis(50));
        let mut flow = Flow::new(queue.clone());
        let began = Instant::now();
        // 100 units in 10 ms: 100 microseconds each.
        flow.turn(100, began, began + Duration::from_millis(10));
        let mut held = queue.take(400, None).expect("an empty queue");
        assert_eq!(queue.wait(), Duration::from_millis(40));
        let more = queue.take(200, None).expect("40 ms are allowed, whatever it adds itself");
        assert_eq!(queue.take(1, None).expect_err("60 ms are not"), Duration::from_millis(60));
        drop(more);
        assert_eq!(
            queue.take(1, Some(Duration::from_millis(30))).expect_err("not within 30"),
            Duration::from_millis(40)
        );
        assert!(queue.take(1, Some(Duration::from_millis(45))).is_ok());
        held.begin();
        assert_eq!((queue.wait(), queue.unanswered()), (Duration::ZERO, 400), "what is begun is not waited for");
        assert!(queue.take(1, Some(Duration::ZERO)).is_ok());
    }

    /// While work waits, what the thread does between two turns is part of what a unit takes; while none waits, it is not.
    #[test]
    fn time_between_turns_counts_while_others_wait() {
        let queue = Queue::new(1_000, LONG);
        let mut flow = Flow::new(queue.clone());
        let ms = |ms| Duration::from_millis(ms);
        let began = Instant::now();
        flow.turn(10, began, began + ms(1));
        flow.turn(10, began + ms(100), began + ms(101)); // idle in between
        let credits = queue.take(30, None).expect("room");
        assert_eq!(queue.wait(), ms(3));
        flow.turn(10, began + ms(200), began + ms(201)); // 20 more wait behind it
        flow.turn(10, began + ms(202), began + ms(203)); // 2 ms, not 1
        drop(credits);
        let credits = queue.take(40, None).expect("room");
        assert_eq!(queue.wait(), ms(5), "5 ms for 40 units");
        flow.turn(10, began + ms(303), began + ms(304)); // 3 ms, not 101: it was not the queue that took them
        drop(credits);
        let _credits = queue.take(50, None).expect("room");
        assert_eq!(queue.wait(), ms(8), "8 ms for 50 units");
    }
}
