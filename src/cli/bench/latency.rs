//! Latencies by kind of request, in high-dynamic-range histograms (three significant digits from 1 ns to a minute).
//!
//! Each connection fills its own; they are added up at the end, so percentiles are those of all requests together and
//! never a mean of percentiles.

use hdrhistogram::Histogram;
use serde::Serialize;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// EVENT_BATCH, or EVENT_PUT where a batch is one event.
    Ingest,
    /// PROFILE_GET.
    Profile,
    /// RECOMMEND.
    Recommend,
    /// PROFILE_PARTS.
    Parts,
}

impl RequestKind {
    /// All kinds, by number.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Profile, Self::Recommend, Self::Parts];

    /// Its name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Profile => "profile",
            Self::Recommend => "recommend",
            Self::Parts => "parts",
        }
    }
}

/// Longest latency that is told apart, in nanoseconds; longer ones count as this one.
const LONGEST_NS: u64 = 60_000_000_000;

/// Histograms of one connection, or of all.
#[derive(Clone, Debug)]
pub struct Latencies {
    kinds: [Histogram<u64>; RequestKind::ALL.len()],
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the requests took no longer.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { kinds: std::array::from_fn(|_| empty()) }
    }
}

impl Latencies {
    /// Counts one request.
    #[inline]
    pub fn record(&mut self, kind: RequestKind, took_ns: u64) {
        self.kinds[kind as usize].saturating_record(took_ns.max(1));
    }

    /// Adds those of another connection.
    pub fn add(&mut self, other: &Self) {
        for (all, one) in self.kinds.iter_mut().zip(&other.kinds) {
            // Bounds are those of `empty` on both sides, so one takes all values of the other.
            let added = all.add(one);
            debug_assert!(added.is_ok(), "{added:?}");
        }
    }

    /// Requests of one kind.
    #[must_use]
    pub fn count(&self, kind: RequestKind) -> u64 {
        self.kinds[kind as usize].len()
    }

    /// Percentiles of one kind; none if there was no such request.
    #[must_use]
    pub fn of(&self, kind: RequestKind) -> Option<Percentiles> {
        percentiles(&self.kinds[kind as usize])
    }

    /// Percentiles of all kinds together; none if there was no request.
    #[must_use]
    pub fn overall(&self) -> Option<Percentiles> {
        let mut all = empty();
        for kind in &self.kinds {
            let added = all.add(kind);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        percentiles(&all)
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("1 ns to a minute with 3 digits is a valid range")
}

fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a minute")]
    let us = |quantile: f64| (histogram.value_at_quantile(quantile) as f64 / 10.0).round() / 100.0;
    (!histogram.is_empty()).then(|| Percentiles {
        p50: us(0.5),
        p90: us(0.9),
        p99: us(0.99),
        p999: us(0.999),
        max: us(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_connections_together() {
        let (mut fast, mut slow) = (Latencies::default(), Latencies::default());
        for us in 1..=900_u64 {
            fast.record(RequestKind::Ingest, us * 1_000);
        }
        for us in 901..=1_000_u64 {
            slow.record(RequestKind::Ingest, us * 1_000);
        }
        slow.record(RequestKind::Recommend, u64::MAX);
        fast.add(&slow);
        let ingest = fast.of(RequestKind::Ingest).unwrap();
        for (found, expected) in [(ingest.p50, 500.0), (ingest.p90, 900.0), (ingest.p99, 990.0), (ingest.max, 1_000.0)]
        {
            assert!((found - expected).abs() <= expected / 500.0, "{found} for {expected}");
        }
        assert_eq!((fast.count(RequestKind::Ingest), fast.count(RequestKind::Recommend)), (1_000, 1));
        assert!(fast.overall().unwrap().max >= 59e6, "longer than the longest counts as the longest");
        assert_eq!(fast.of(RequestKind::Profile), None);
        assert_eq!(Latencies::default().overall(), None);
    }
}
