//! Floor 1: what operators see: counters and gauges by name ([`metrics`]), log lines ([`log`]).

pub mod log;
pub mod metrics;

pub use metrics::{Metric, Metrics};
