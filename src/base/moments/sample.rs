//! Values and their sums, for tests.

use proptest::prelude::*;

use super::Moments;

/// The sums of values that can be counted.
pub(crate) fn moments(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    assert!(values.iter().all(|value| moments.add(*value)), "{values:?}");
    moments
}

/// Small ones, with fractions, and the largest that are allowed.
pub(crate) fn values(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![-5.0..5.0, Just(0.0), -1e9..1e9, Just(1e9), Just(-1e9), Just(3.5)];
    proptest::collection::vec(value, count)
}
