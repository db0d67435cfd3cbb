//! Floor 3: how good predictions and rankings are, event by event and in one pass.
//!
//! Accumulators only: nothing here predicts, nothing takes the time, all sums are `f64`. Bytes that cannot be read
//! back are told with [`CursorError`](crate::base::CursorError), the only error of this folder.

pub mod auc;
pub mod distinct;
pub mod joins;
pub mod leave_one_out;
pub mod ledger;
pub mod measures;
pub mod paired;
pub mod prequential;
#[cfg(test)]
mod prequential_tests;
pub mod rank;

pub use auc::{ForecastReport, Forecasts};
pub use joins::{Joined, Joins, Outcomes, Shown};
pub use leave_one_out::{LeaveOneOut, position_of};
pub use ledger::{Cohort, Window};
pub use measures::{Measures, Report, Tenth};
pub use paired::{Difference, paired};
pub use prequential::{Judgement, Prequential, PrequentialOptions};
pub use rank::rank_of;
