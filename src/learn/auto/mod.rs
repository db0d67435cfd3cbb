//! `auto`: a bank of cheap statistics proposes and describes candidates, a small network learned online ranks them.
//!
//! Each part of the bank answers "how much" for any item, and none is trusted alone. Their best items are the
//! candidates ([`gather`]); some fifty numbers, nearly all logarithms, describe each ([`features`]); a network
//! ([`network`]) orders them. It is trained before every event ([`trainer`]) to give the item that came the highest
//! share among the candidates. Half-lives, exponents and blends are therefore weights that a stream teaches, and nothing
//! has to be set for it.

use crate::base::Rng;
use crate::base::ids::mix;
use crate::linalg::IalsOptions;

pub mod example;
pub mod explain;
pub mod features;
pub mod gather;
mod image;
pub mod network;
pub mod newcomers;
pub mod ranker;
mod sums;
pub mod trainer;
mod vectors;

/// Who teaches the ranker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Training {
    /// Nobody: it answers as it is.
    Never,
    /// The shard, before each event.
    InStep,
    /// An actor of its own, from examples of all shards.
    Apart,
}

/// L2 penalty of the item factors' fit, and of folding users in.
pub const L2: f64 = 0.006;
/// Weight of every pair as unobserved, against 1 for an event.
pub const UNOBSERVED_WEIGHT: f64 = 0.2;
/// Newest events that a fit is over.
pub const FIT_WINDOW: usize = crate::learn::bank::window::WINDOW_MAX;
/// Most events from one fit to the next.
const FIT_EVERY_MAX: u64 = 150_000;
/// Events learned before the first fit.
pub const FIRST_FIT: u64 = 1_000;
/// Sweeps of the first fit, and of later ones, which go on from the factors there are.
const SWEEPS: [usize; 2] = [8, 2];
/// Standard deviation of a first factor's norm.
const INIT_STD: f64 = 0.1;

/// After a fit at `events`, the number of events at which the next is due: a quarter more, up to `FIT_EVERY_MAX`.
#[must_use]
pub fn next_fit(events: u64) -> u64 {
    (events + events / 4).min(events + FIT_EVERY_MAX).max(FIRST_FIT)
}

/// How the factors are fitted: `first` from nothing, else from the present ones.
#[must_use]
pub fn fit_options(first: bool, seed: u64) -> IalsOptions {
    IalsOptions {
        dim: gather::MODEL_DIM,
        iterations: SWEEPS[usize::from(!first)],
        l2: L2,
        unobserved_weight: UNOBSERVED_WEIGHT,
        init_std: INIT_STD,
        seed,
    }
}

/// Where an item's factor starts: where it stands, and at random where there is nothing yet (zeros would stay zeros): in
/// all axes of a new item, and in those that an older model did not have.
pub fn start_factor(column: &[f32], row: u32, options: &IalsOptions) -> Vec<f32> {
    let mut rng = Rng::new(mix(options.seed ^ u64::from(row)));
    let std = options.init_std / (options.dim as f64).sqrt();
    let number = |held: &f32| {
        let drawn = (std * rng.normal()) as f32;
        if *held == 0.0 { drawn } else { *held }
    };
    column[..options.dim].iter().map(number).collect()
}
