//! Floor 3: cleaning, as pure algorithms: the noise term ([`noise`]), users that behave like machines ([`abuse`]), and
//! how far each source has come in time ([`watermark`]).
//!
//! Nothing here knows of profiles, shards or sockets: times and values are arguments, verdicts are return values.

pub mod abuse;
pub mod noise;
pub mod watermark;

pub use abuse::{AbuseLimits, Grain, Pulse, Suspicion, Verdict};
pub use noise::{Imputed, Moments};
pub use watermark::{Arrival, Counts, Sources, Watermark};
