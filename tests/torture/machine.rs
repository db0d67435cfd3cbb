//! What the machine takes from a program that does nothing but look at the clock, so that a figure of time can be told from
//! the place where it was measured: no stall that a bar finds means anything below that one.

use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A gap between two looks that is longer was somebody else's time; looks are 50 ns apart.
const GAP: Duration = Duration::from_micros(100);

/// How long it is looked at.
const LONG: Duration = Duration::from_secs(3);

/// The share of every core that others had for some seconds, and the longest that one of them had it.
pub fn taken() -> Value {
    let cores = available_parallelism().map_or(1, usize::from);
    let found: Vec<(Duration, Duration)> = std::thread::scope(|scope| {
        let looks: Vec<_> = (0..cores).map(|_| scope.spawn(gaps)).collect();
        looks.into_iter().map(|look| look.join().expect("the look ends")).collect()
    });
    let sum: Duration = found.iter().map(|(sum, _)| *sum).sum();
    let longest = found.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
    json!({ "share": sum.as_secs_f64() / (LONG * cores as u32).as_secs_f64(), "longest_ms": longest.as_secs_f64() * 1e3 })
}

/// The sum of the gaps that one thread found, and the longest.
fn gaps() -> (Duration, Duration) {
    let began = Instant::now();
    let (mut before, mut sum, mut longest) = (began, Duration::ZERO, Duration::ZERO);
    while before - began < LONG {
        let now = Instant::now();
        let gap = now - before;
        if gap > GAP {
            sum += gap;
        }
        longest = longest.max(gap);
        before = now;
    }
    (sum, longest)
}
