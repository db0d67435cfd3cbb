//! Floor 1, numbers: the only home of faer, pulp and dyn-stack.
//!
//! Storage is `f32`; sums that run over a whole catalogue are kept in `f64`. Nothing here knows what a user is beyond
//! the row of a matrix, and nothing takes the time or draws randomness that a caller did not pass on.

pub mod als;
pub mod fold_in;
pub mod interactions;
pub mod solve;

pub use als::{FitProgress, IalsOptions, ItemFactors};
pub use fold_in::{FoldInTerms, fold_in};
pub use interactions::Interactions;
pub use solve::{NotPositiveDefinite, SpdSolver};

/// What can go wrong on this floor.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LinalgError {
    /// A matrix that must be positive definite is not.
    #[error(transparent)]
    NotPositiveDefinite(#[from] NotPositiveDefinite),
    /// An option is outside what it may be.
    #[error("{option} is {found}, allowed {allowed}")]
    BadOption {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: f64,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// A pair names a row that is not there.
    #[error("pair {at} is user {user}, item {item}, but there are {users} users and {items} items")]
    PairOutOfRange {
        /// Position of the pair.
        at: usize,
        /// The user it names.
        user: u32,
        /// The item it names.
        item: u32,
        /// Users there are.
        users: usize,
        /// Items there are.
        items: usize,
    },
    /// A weight is not a finite number above 0, or weights and pairs are not equally many.
    #[error("weight {at} is {found}, allowed are as many finite weights above 0 as pairs ({pairs})")]
    BadWeight {
        /// Position of the first bad (or the first missing or extra) weight.
        at: usize,
        /// The weight, or NaN if it is missing.
        found: f32,
        /// Pairs there are.
        pairs: usize,
    },
    /// There is nothing to learn from.
    #[error("no pairs to fit {users} users and {items} items to")]
    NoPairs {
        /// Users there are.
        users: usize,
        /// Items there are.
        items: usize,
    },
    /// Progress was reported and the caller said stop.
    #[error("fit stopped by the caller in iteration {iteration} of {iterations}")]
    Stopped {
        /// Iteration that was under way, from 1.
        iteration: usize,
        /// Iterations asked for.
        iterations: usize,
    },
}
