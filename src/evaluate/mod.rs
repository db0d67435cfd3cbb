//! Floor 3: how good predictions and rankings are, event by event and in one pass.
//!
//! Accumulators only: nothing here predicts, nothing takes the time, all sums are `f64`. Bytes that cannot be read
//! back are told with [`CursorError`](crate::base::CursorError), the only error of this folder.

pub mod leave_one_out;
pub mod paired;
pub mod prequential;
pub mod rank;

pub use leave_one_out::{LeaveOneOut, position_of};
pub use paired::{Difference, paired};
pub use prequential::{Prequential, PrequentialOptions, Report};
pub use rank::rank_of;
