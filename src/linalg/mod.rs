//! Floor 1: vectors and matrices of `f32`. The only folder that names faer and pulp, and the only one with `unsafe`.
//!
//! * [`kernels`]: level-1 arithmetic on padded columns, bit-stable over SIMD widths.
//! * [`slab`]: pages of columns in huge-page-advised memory, one column an entity.
//! * [`score`]: one query against every column, through faer.
//! * [`topk`]: the best k of a score list.

pub mod kernels;
pub mod score;
pub mod slab;
pub mod topk;

pub use slab::Slab;
pub use topk::TopK;

/// `f32`s in one lane group; every column is padded to a multiple of it (64 bytes).
pub const LANES: usize = 16;

/// `rows` rounded up to whole lane groups.
#[must_use]
pub const fn padded(rows: usize) -> usize {
    rows.div_ceil(LANES) * LANES
}
