//! Floor 3: what is known of one person beyond tastes, as pure algorithms: risks, and traits computed from readings.

pub mod churn;
pub mod formula;
