//! How much may wait for a shard, and how long.
//!
//! An actix mailbox is no bound: `do_send` ignores its capacity and every clone of an address gets a slot of its own. So
//! whoever wants to send takes credits first, one an event or question; where there are not enough, the request is
//! refused at once as overloaded, and the queue never grows past its limit.
//!
//! *Time.* A count says little of how long the last in the queue waits: an event costs one to twenty microseconds, a list
//! hundreds. So the shard tells how fast its queue moves (units done over the time that passed while any waited, sockets and
//! snapshots included), and what would wait longer than it may is refused while it can still go elsewhere.
//!
//! *Shares.* A part of the queue is kept for who has little in it, as they come first (`fair`): while many ask without end,
//! one who asks now and then is let in all the same, and hardly waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Units after which what was measured before counts half: some milliseconds of work.
const MEMORY_UNITS: u64 = 4_096;

/// Most that the time between two turns counts, in times of the second turn's own. What a thread does between turns is also
/// refusing: were all of it taken for the price of a unit, few would be let in, the thread would do little but refuse, and
/// the price would stay.
const BETWEEN_MAX: u32 = 2;

/// Most units that a connection has waiting who asks for little: its turns come first (`fair`).
pub(super) const LITTLE: usize = 4;

/// Others ask for much who have so many times as much waiting.
const MUCH: usize = 4;

/// The part of a queue that is kept for who asks for little, one in so many.
const KEPT: usize = 8;

/// What one connection has waiting at each shard.
#[derive(Clone, Debug)]
pub struct Share {
    number: u64,
    waiting: Arc<[AtomicUsize]>,
}

impl Share {
    /// Nothing waits of the connection with this number, above 0.
    #[must_use]
    pub fn new(number: u64, shards: u16) -> Self {
        Self { number, waiting: (0..shards).map(|_| AtomicUsize::new(0)).collect() }
    }

    /// The connection.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// The credits of one shard.
#[derive(Clone, Debug)]
pub struct Queue {
    shard: usize,
    shared: Arc<Shared>,
    max: usize,
    wait_max: Duration,
}

#[derive(Debug)]
struct Shared {
    /// Units that are not answered.
    unanswered: AtomicUsize,
    /// Of these, units that are not begun: the others wait for the journal or the device, and hold up nobody.
    waiting: AtomicUsize,
    /// Connections that have units waiting.
    flows: AtomicIsize,
    /// Nanoseconds that one unit has taken of late; 0: not known yet.
    unit_ns: AtomicU64,
    /// Since when nothing moves, in nanoseconds since `opened`; 0: it moves.
    still_ns: AtomicU64,
    opened: Instant,
}

/// Credits taken; given back when dropped, which is when the work is answered or thrown away.
#[derive(Debug)]
pub struct Credits {
    shared: Arc<Shared>,
    share: Option<(Share, usize)>,
    count: usize,
    begun: bool,
}

impl Queue {
    /// The queue of a shard, of at most `max` events and questions, none of which waits longer than `wait_max`, as far as can be told.
    #[must_use]
    pub fn new(shard: u16, max: usize, wait_max: Duration) -> Self {
        let (unanswered, waiting, flows) = Default::default();
        let (unit_ns, still_ns, opened) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
        let shared = Arc::new(Shared { unanswered, waiting, flows, unit_ns, still_ns, opened });
        Self { shard: usize::from(shard), shared, max, wait_max }
    }

    /// Takes `count` credits of a connection, if it is one's, for work that may wait `within`, if that is less than the queue's
    /// own limit. An empty queue takes any count, so that no limit is too small for one request; what costs nothing (control) is
    /// always taken.
    ///
    /// # Errors
    /// How long the queue takes to empty, where it has no room.
    pub fn take(&self, count: usize, within: Option<Duration>, share: Option<&Share>) -> Result<Credits, Duration> {
        let (others, own) = self.load(share);
        let before = self.shared.unanswered.fetch_add(count, Ordering::Relaxed);
        let waiting = self.shared.waiting.fetch_add(count, Ordering::Relaxed);
        let share = share.filter(|_| count > 0).cloned();
        if let Some(share) = &share
            && share.waiting[self.shard].fetch_add(count, Ordering::Relaxed) == 0
        {
            self.shared.flows.fetch_add(1, Ordering::Relaxed);
        }
        let share = share.map(|share| (share, self.shard));
        let credits = Credits { shared: Arc::clone(&self.shared), share, count, begun: false };
        let wait = self.wait_behind(waiting);
        let allowed = within.map_or(self.wait_max, |within| within.min(self.wait_max));
        // Who asks for little comes before the others, and waits for a part of what they wait for.
        let (max, wait_max) = match others {
            0 => (self.max, allowed),
            each if own + count <= LITTLE && (own + count) * MUCH <= each => (self.max, 2 * allowed),
            _ => (self.max - self.max / KEPT, allowed),
        };
        let fits = count == 0 || before == 0 || before + count <= max && wait <= wait_max;
        if fits { Ok(credits) } else { Err(wait) }
    }

    /// What each of the other connections has waiting, in the mean, and what this one has.
    fn load(&self, share: Option<&Share>) -> (usize, usize) {
        let own = share.map_or(0, |share| share.waiting[self.shard].load(Ordering::Relaxed));
        // Others come and go meanwhile: what is read may be off by them, for a moment.
        let flows = self.shared.flows.load(Ordering::Relaxed).max(0).unsigned_abs();
        let waiting = self.shared.waiting.load(Ordering::Relaxed).saturating_sub(own);
        (waiting.checked_div(flows - usize::from(own > 0 && flows > 0)).unwrap_or(0), own)
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
        let moving_ns = (units as u64).saturating_mul(self.shared.unit_ns.load(Ordering::Relaxed));
        let still_ns = match self.shared.still_ns.load(Ordering::Relaxed) {
            0 => 0,
            // How long it still takes is not known: as long as it took so far.
            since_ns => self.shared.now_ns().saturating_sub(since_ns),
        };
        Duration::from_nanos(moving_ns.max(still_ns))
    }

    /// Nothing moves from now on, or it moves again.
    pub(super) fn stands_still(&self, still: bool) {
        let since_ns = if still { self.shared.now_ns() } else { 0 };
        self.shared.still_ns.store(since_ns, Ordering::Relaxed);
    }
}

impl Shared {
    /// Nanoseconds since the queue was made, at least 1.
    fn now_ns(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
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
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.shared.waiting.fetch_sub(self.count, Ordering::Relaxed);
        if let Some((share, shard)) = &self.share
            && share.waiting[*shard].fetch_sub(self.count, Ordering::Relaxed) == self.count
        {
            self.shared.flows.fetch_sub(1, Ordering::Relaxed);
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
        let queue = Queue::new(0, 10, LONG);
        let first = queue.take(7, None, None).expect("room for 7");
        assert!(queue.take(4, None, None).is_err(), "11 are too many");
        let second = queue.take(3, None, None).expect("room for 3");
        assert_eq!(queue.unanswered(), 10);
        drop((first, second));
        assert_eq!(queue.unanswered(), 0);
        assert!(queue.take(1_000, None, None).is_ok(), "alone, any size goes");
        assert_eq!(queue.unanswered(), 0);
    }

    #[test]
    fn nobody_is_let_in_to_wait_longer_than_allowed() {
        let queue = Queue::new(0, 1_000_000, Duration::from_millis(50));
        let mut flow = Flow::new(queue.clone());
        let began = Instant::now();
        // 100 units in 10 ms: 100 microseconds each.
        flow.turn(100, began, began + Duration::from_millis(10));
        let mut held = queue.take(400, None, None).expect("an empty queue");
        assert_eq!(queue.wait(), Duration::from_millis(40));
        let more = queue.take(200, None, None).expect("40 ms are allowed, whatever it adds itself");
        assert_eq!(queue.take(1, None, None).expect_err("60 ms are not"), Duration::from_millis(60));
        drop(more);
        assert_eq!(
            queue.take(1, Some(Duration::from_millis(30)), None).expect_err("not within 30"),
            Duration::from_millis(40)
        );
        assert!(queue.take(1, Some(Duration::from_millis(45)), None).is_ok());
        held.begin();
        assert_eq!((queue.wait(), queue.unanswered()), (Duration::ZERO, 400), "what is begun is not waited for");
        assert!(queue.take(1, Some(Duration::ZERO), None).is_ok());
    }

    #[test]
    fn who_asks_for_little_is_let_in_while_others_ask_for_much() {
        let queue = Queue::new(0, 800, Duration::from_millis(50));
        let mut flow = Flow::new(queue.clone());
        let began = Instant::now();
        flow.turn(100, began, began + Duration::from_millis(10)); // 100 microseconds each
        let many: Vec<Share> = (1..=9).map(|number| Share::new(number, 1)).collect();
        let held: Vec<Credits> = many.iter().map(|share| queue.take(60, None, Some(share)).expect("50 ms")).collect();
        assert!(queue.take(60, None, Some(&many[0])).is_err(), "54 ms are too long for who has 60 waiting");
        let (one, two) = (Share::new(10, 1), Share::new(11, 1));
        assert!(queue.take(60, None, Some(&one)).is_err(), "and for who asks for as much");
        let little: Vec<Credits> = (0..4).map(|_| queue.take(1, None, Some(&one)).expect("little")).collect();
        assert!(queue.take(1, None, Some(&one)).is_err(), "five are not little");
        assert!(queue.take(1, None, Some(&two)).is_ok());
        drop(held);
        assert!(queue.take(60, None, Some(&many[0])).is_ok());
        drop(little);
        assert_eq!((queue.unanswered(), queue.shared.flows.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn nobody_is_let_in_to_a_queue_that_has_stood_still_for_longer_than_allowed() {
        let queue = Queue::new(0, 1_000, Duration::from_millis(20));
        let held = queue.take(1, None, None).expect("an empty queue");
        queue.stands_still(true);
        std::thread::sleep(Duration::from_millis(30));
        let wait = queue.take(1, None, None).expect_err("it may take as long again");
        assert!(wait >= Duration::from_millis(30), "{wait:?}");
        queue.stands_still(false);
        assert!(queue.take(1, None, None).is_ok());
        drop(held);
    }

    /// While work waits, what the thread does between two turns is part of what a unit takes; while none waits, it is not.
    #[test]
    fn time_between_turns_counts_while_others_wait() {
        let queue = Queue::new(0, 1_000, LONG);
        let mut flow = Flow::new(queue.clone());
        let ms = |ms| Duration::from_millis(ms);
        let began = Instant::now();
        flow.turn(10, began, began + ms(1));
        flow.turn(10, began + ms(100), began + ms(101)); // idle in between
        let credits = queue.take(30, None, None).expect("room");
        assert_eq!(queue.wait(), ms(3));
        flow.turn(10, began + ms(200), began + ms(201)); // 20 more wait behind it
        flow.turn(10, began + ms(202), began + ms(203)); // 2 ms, not 1
        drop(credits);
        let credits = queue.take(40, None, None).expect("room");
        assert_eq!(queue.wait(), ms(5), "5 ms for 40 units");
        flow.turn(10, began + ms(303), began + ms(304)); // 3 ms, not 101: it was not the queue that took them
        drop(credits);
        let _credits = queue.take(50, None, None).expect("room");
        assert_eq!(queue.wait(), ms(8), "8 ms for 50 units");
    }
}
