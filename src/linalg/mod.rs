//! Floor 1: vectors and matrices of `f32`. The only folder that names faer, pulp and dyn-stack, and the only one with
//! `unsafe`. Storage is `f32`; sums that run over a whole catalogue are kept in `f64`.
//!
//! * [`kernels`]: level-1 arithmetic on padded columns, bit-stable over SIMD widths.
//! * [`online`]: steps of learners that see one event at a time: stacked factors, least squares, a small network.
//! * [`prefetch`]: asking memory early.
//! * [`slab`]: pages of columns in huge-page-advised memory, one column an entity.
//! * [`scatter`]: sums over sparse rows, by item.
//! * [`score`]: one query against every column, through faer.
//! * [`topk`]: the best k of a score list.
//! * [`solve`]: small positive definite systems; [`als`]: item factors by iALS, users folded in exactly.
//! * [`axes`]: a model in its principal axes, where users are folded in by smaller systems.
//! * [`conjugate`]: the same by a few steps of conjugate gradients, for long histories and long factors.
//! * [`sweep`]: one factor by coordinate descent.
//! * [`attention`]: a user's newest items as one vector, learned by its gradient.

pub mod als;
pub mod attention;
pub mod axes;
pub mod conjugate;
pub mod dense;
pub mod fold_in;
pub mod interactions;
pub mod kernels;
pub mod online;
pub mod prefetch;
pub mod scatter;
pub mod score;
pub mod slab;
pub mod solve;
pub mod sweep;
pub mod topk;

pub use als::{FitProgress, IalsOptions, ItemFactors};
pub use axes::AxesSolver;
pub use conjugate::ConjugateSolver;
pub use fold_in::{FoldInTerms, fold_in};
pub use interactions::Interactions;
pub use slab::Slab;
pub use solve::{NotPositiveDefinite, SpdSolver};
pub use sweep::Sweep;
pub use topk::{BestSet, TopK};

/// `f32`s in one lane group; every column is padded to a multiple of it (64 bytes).
pub const LANES: usize = 16;

/// `rows` rounded up to whole lane groups.
#[must_use]
pub const fn padded(rows: usize) -> usize {
    rows.div_ceil(LANES) * LANES
}

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
