//! How much of a thread refusing may take.
//!
//! A refusal costs a read, a few hundred nanoseconds a request, and a write. Whoever sends four times what a shard can learn
//! would have it do little else. So the time that refusals take is counted on each thread, and a connection that was refused
//! is not read again before they are a small share of all time: what comes meanwhile gathers and is refused with one read and
//! one write. The pause is short enough that a refusal still comes at once, and never so long that a peer is forgotten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Refusing may take one part in so many of a thread's time.
const ONE_IN: u32 = 8;

/// Least and longest time that a refused connection is not read.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// The account of every thread.
#[derive(Debug)]
pub(super) struct Refusing {
    opened: Instant,
    /// By shard: when what was refused will have been a small enough share, in nanoseconds since `opened`. Written by the
    /// shard's thread alone.
    paid_ns: Vec<AtomicU64>,
}

impl Refusing {
    pub(super) fn new(shards: u16, now: Instant) -> Self {
        Self { opened: now, paid_ns: (0..shards).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Refusing took so long on the thread of `shard`, up to `now`; gives how long its connection is not read: no longer than half of
    /// what the queue takes to empty, or nothing would come when it has.
    pub(super) fn pause(&self, shard: u16, took: Duration, now: Instant, wait: Duration) -> Duration {
        let Some(paid_ns) = self.paid_ns.get(usize::from(shard)) else { return PAUSE_MIN };
        let now_ns = nanos(now.saturating_duration_since(self.opened));
        // Debts that are older than the longest pause are forgotten: they were of another time.
        let longest_ns = now_ns.saturating_add(nanos(PAUSE_MAX));
        let until_ns =
            paid_ns.load(Ordering::Relaxed).max(now_ns).saturating_add(nanos(took).saturating_mul(u64::from(ONE_IN)));
        let until_ns = until_ns.min(longest_ns);
        paid_ns.store(until_ns, Ordering::Relaxed);
        Duration::from_nanos(until_ns - now_ns).min(wait / 2).max(PAUSE_MIN)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn many_refused_connections_take_their_share_and_one_is_hardly_held_up() {
        let (began, cost) = (Instant::now(), Duration::from_micros(20));
        let refusing = Refusing::new(2, began);
        assert_eq!(refusing.pause(0, cost, began + cost, LONG), PAUSE_MIN, "alone");
        // 100 connections that send without end, for a second.
        let (mut now, mut spent) = (began + cost, Duration::ZERO);
        let mut free: Vec<Instant> = vec![now; 100];
        while now < began + Duration::from_secs(1) {
            let at = (0..free.len()).min_by_key(|at| free[*at]).unwrap();
            now = now.max(free[at]) + cost;
            spent += cost;
            free[at] = now + refusing.pause(1, cost, now, LONG);
        }
        let share = spent.as_secs_f64();
        assert!((0.08..0.15).contains(&share), "{share}");
        assert_eq!(refusing.pause(0, cost, now + cost, LONG), PAUSE_MIN, "the other thread has its own account");
    }

    #[test]
    fn nobody_is_forgotten() {
        let began = Instant::now();
        let refusing = Refusing::new(1, began);
        for _ in 0..1_000 {
            let pause = refusing.pause(0, Duration::from_secs(1), began + Duration::from_secs(1), LONG);
            assert!(pause <= PAUSE_MAX, "{pause:?}");
        }
        let wait = Duration::from_millis(8);
        assert_eq!(refusing.pause(0, Duration::ZERO, began, wait), wait / 2, "there will be room");
    }
}
