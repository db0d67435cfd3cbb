//! Floor 0: ids and how they are routed, little-endian cursors, copy on write for images, seeded randomness, clock, limits.
//!
//! Pure and domain-free: nothing here does I/O, and time and randomness are values that callers pass on.

pub mod capture;
pub mod clock;
pub mod cursor;
pub mod ids;
pub mod limits;
pub mod moments;
pub mod rng;
pub mod routing;

pub use capture::{Capture, Captured, Sections};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cursor::{CursorError, Reader, Writer};
pub use ids::{Id, IdRef};
pub use moments::Moments;
pub use rng::Rng;
pub use routing::Routing;
